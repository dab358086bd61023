"""tools/kernel and tools/guest where a kernel, or the compiler for its module, cannot be had; with mocks of apt-get."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as tools/kernel does"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the kernels are x86-64's"),
    pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="the kernels are Debian's"),
]


def run(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A tool of the checkout, which installs nothing."""
    environ = {**os.environ, "CHOS_SKIP_MISSING": "1", **environ}
    return subprocess.run([str(REPO / argv[0]), *argv[1:]], env=environ, capture_output=True, text=True, check=False)


def tool(directory: Path, name: str, text: str) -> None:
    """A program that says it is another."""
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A kernel that looks as if tools/kernel had made it; its module's build fails as with a mistake of ours."""
    config = hashlib.sha256((REPO / "tests/kmod/uml.config").read_bytes()).hexdigest()[:12]
    kernel = tmp_path / f"uml_6.1-{config}"
    headers = kernel / "layer/usr/src/headers"
    headers.mkdir(parents=True)
    (headers / "Makefile").write_text("modules:\n\t@echo chos.c: a mistake of ours >&2; false\n")
    (kernel / "complete").touch()
    (kernel / "release").write_text("6.1\n")
    (kernel / "make").write_text("KDIR=/usr/src/headers\n")
    (kernel / "tree").write_text("tiny\n")
    return kernel


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("", "Debian's mirror has no kernel 6.12"),
        ("linux-image-6.12.9-amd64 - Linux", "cannot fetch from Debian's mirror"),
    ],
)
def test_a_kernel_that_the_mirror_lacks_is_skipped_with_mocks(tmp_path: Path, found: str, said: str) -> None:
    """Neither a version that is gone nor a mirror in the middle of an update is a failure of what is tested."""
    tool(
        tmp_path,
        "apt-get",
        '[ "$1" != indextargets ] || echo http://mirror.invalid/debian main Debian\n'
        'case "$*" in *download*) exit 100 ;; esac',
    )
    tool(tmp_path, "apt-cache", f'case "$*" in *search*) echo "{found}" ;; esac')
    done = run(
        "tools/kernel", "--path", "6.12", PATH=f"{tmp_path}:{os.environ['PATH']}", CHOS_KERNELS=str(tmp_path / "kept")
    )
    assert done.returncode == 77, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


def test_a_module_whose_compiler_cannot_be_had_is_skipped(kept: Path) -> None:
    """Neither the machine's gcc nor the OS tree's is as new as the kernel's own."""
    (kept / "gcc").write_text("999\n")
    done = run("tools/guest", "--build", "", "uml", "--", "true", CHOS_KERNELS=str(kept.parent))
    assert done.returncode == 77, done
    assert "the module for uml needs gcc 999 or newer" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("wanted", ["1", None])
def test_a_module_that_does_not_compile_fails(kept: Path, wanted: str | None) -> None:
    """With a compiler that is new enough, the mistake is ours; what is built here is built by the machine's own."""
    if wanted is not None:
        (kept / "gcc").write_text(f"{wanted}\n")
    done = run("tools/guest", "--build", "", "uml", "--", "true", CHOS_KERNELS=str(kept.parent))
    assert done.returncode == 125, done
    assert "a mistake of ours" in done.stderr
    assert "the module could not be built for uml" in done.stderr.splitlines()[-1]


def test_a_module_is_not_taken_from_below_a_guest_that_runs(kept: Path) -> None:
    """One of another kernel, or of other sources, is made beside it. (The kernel of this test cannot be started.)"""

    def modules() -> set[Path]:
        return set((REPO / ".cache/guest").glob("uml*/usr/lib/modules/6.1/updates/chos.ko"))

    (kept / "initrd").touch()
    (kept / "layer/usr/src/headers/Makefile").write_text("modules:\n\ttouch /usr/src/chos/chos.ko\n")
    before = modules()
    try:
        for number in (1, 2):
            (kept / "make").write_text(f"KDIR=/usr/src/headers NUMBER={number}\n")
            done = run("tools/guest", "--build", "", "uml", "--", "true", CHOS_KERNELS=str(kept.parent))
            assert "the guest ended before its command did" in done.stderr, done
            assert before < modules() and len(modules() - before) == number, done
    finally:
        for module in modules() - before:
            shutil.rmtree(module.parents[5])


def test_what_others_made_and_use_stays(kept: Path) -> None:
    """Only what nobody has asked for in a month is removed, and links that lead nowhere."""
    old, other, another = (kept.parent / name for name in ("uml_old", "uml_other", "debug_old"))
    for directory in (old, other, another):
        directory.mkdir()
    for directory in (old, another):
        os.utime(directory, (0, 0))
    os.utime(kept, (0, 0))
    (kept.parent / "uml.gone").symlink_to("uml_gone")
    done = run("tools/kernel", "--path", "uml", CHOS_KERNELS=str(kept.parent))
    assert (done.returncode, done.stdout) == (0, f"{kept.parent}/uml\n"), done
    assert sorted(path.name for path in kept.parent.iterdir() if not path.name.startswith(".")) == sorted(
        ["debug_old", "uml", kept.name, "uml_other"]
    )
