"""`chosctl install kmod` with a mock dkms, modinfo and modprobe: the steps it takes, and what it says is missing."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from chosns import __version__
from chosns.errors import ChosError
from chosns.integrate import command, engine
from chosns.integrate.kmod import KernelModule
from chosns.integrate.model import Machine, Request
from chosns.system.installed import module_source

MODULE, KERNEL = f"chos/{__version__}", os.uname().release
STEPS = [f"dkms add {MODULE}", f"dkms build {MODULE} -k {KERNEL}", f"dkms install {MODULE} -k {KERNEL}"]
KMOD = KernelModule()

# Keeps the state in a file, prints it as `dkms status` does, writes down what else it is asked for.
MOCK_DKMS = r"""#!/bin/sh
state=@ROOT@/state
case $1 in status) cat $state; exit 0 ;; esac
echo "$*" >>@ROOT@/log
if [ "$1" = "$(cat @ROOT@/broken)" ]; then
    echo 'Error! Bad return status for module build' >&2; echo 'Consult the log.' >&2
    exit 10
fi
line() { echo "@LINE@: $1" >$state; }
case $1 in
    add) echo "@ADDED@: added" >$state ;;
    build) line built ;;
    install) line 'installed (original_module exists)' ;;
    uninstall) line built ;;
    unbuild) echo "@ADDED@: added" >$state ;;
    remove) : >$state ;;
esac
"""
NEW = (MODULE, f"{MODULE}, {KERNEL}, x86_64")
OLD = (f"chos, {__version__}", f"chos, {__version__}, {KERNEL}, x86_64")  # before DKMS 3


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A node with DKMS, headers and the module's source."""
    source = tmp_path / module_source().lstrip("/")
    for directory in (source, tmp_path / "bin", tmp_path / f"lib/modules/{KERNEL}/build", tmp_path / "var/lib"):
        directory.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    for path in (source / "dkms.conf", source / "main.c", tmp_path / "proc/modules", tmp_path / "state"):
        path.write_text("")
    (tmp_path / "broken").write_text("nothing")
    mock(tmp_path, "modinfo", f"#!/bin/sh\necho {__version__}\n")
    mock(tmp_path, "modprobe", "#!/bin/sh\n")
    speak(tmp_path, NEW)
    for place, _, names in os.walk(tmp_path):
        os.chmod(place, 0o755)
        for name in names:
            path = Path(place, name)
            path.chmod(path.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))
    monkeypatch.setattr(command, "PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return Machine(str(tmp_path), (os.getuid(), 0), {})


def mock(root: Path, name: str, text: str) -> None:
    path = root / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def speak(root: Path, lines: tuple[str, str]) -> None:
    text = MOCK_DKMS.replace("@ROOT@", str(root)).replace("@ADDED@", lines[0]).replace("@LINE@", lines[1])
    mock(root, "dkms", text)


def steps(node: Machine) -> list[str]:
    return [change.name for change in KMOD.plan(node, Request()).changes]


def install(node: Machine) -> None:
    engine.install(KMOD, node, KMOD.plan(node, Request()))


def undo(node: Machine) -> None:
    engine.undo(KMOD, node, engine.plan_undo(KMOD, node))


def asked(node: Machine) -> list[str]:
    """What the mock was asked for since the last time."""
    path = Path(node.root, "log")
    said = path.read_text().splitlines() if path.exists() else []
    path.write_text("")
    return said


@pytest.mark.parametrize("lines", [NEW, OLD])
def test_mock_dkms_there_and_back(node: Machine, lines: tuple[str, str]) -> None:
    speak(Path(node.root), lines)
    assert steps(node) == STEPS and asked(node) == []
    install(node)
    add = f"add {MODULE} --sourcetree {os.path.dirname(module_source())}"
    assert asked(node) == [add, *(step[len("dkms ") :] for step in STEPS[1:])]
    again = KMOD.plan(node, Request())
    assert not again.changes and list(again.present) == STEPS
    undo(node)
    assert asked(node) == [f"uninstall {MODULE} -k {KERNEL}", f"unbuild {MODULE} -k {KERNEL}", f"remove {MODULE} --all"]
    assert Path(node.root, "state").read_text() == "" and not engine.installed(KMOD, node)


def test_mock_dkms_what_others_did_stays(node: Machine) -> None:
    state = Path(node.root, "state")
    state.write_text(f"{MODULE}, {KERNEL}, x86_64: built\n{MODULE}, 0.0-other, x86_64: installed\n")
    assert steps(node) == STEPS[2:]
    install(node)
    undo(node)
    assert state.read_text() == f"{MODULE}, {KERNEL}, x86_64: built\n"
    state.write_text(f"chos/0.1, {KERNEL}, x86_64: installed\nchos-other/{__version__}: added\n")
    assert steps(node) == STEPS


def test_mock_dkms_what_a_package_has_installed(node: Machine) -> None:
    """There is nothing to do, to record or to take back."""
    state = Path(node.root, "state")
    state.write_text(f"{MODULE}, {KERNEL}, x86_64: installed\n")
    plan = KMOD.plan(node, Request())
    assert not plan.changes and list(plan.present) == STEPS
    install(node)
    assert asked(node) == [] and not engine.installed(KMOD, node)
    undo(node)
    assert state.read_text() == f"{MODULE}, {KERNEL}, x86_64: installed\n"


def test_mock_dkms_the_next_version_of_a_package(node: Machine) -> None:
    """What chosctl has done and the package has removed since is forgotten; what is there now stays."""
    install(node)
    state = Path(node.root, "state")
    state.write_text(f"chos/99.0, {KERNEL}, x86_64: installed\n")
    asked(node)
    undo(node)
    assert asked(node) == [] and not engine.installed(KMOD, node)


def test_mock_dkms_for_another_kernel_only(node: Machine) -> None:
    Path(node.root, "state").write_text(f"{MODULE}, {KERNEL}-other, x86_64: installed\n")
    assert steps(node) == STEPS[1:]


def test_mock_dkms_undo_under_the_next_kernel(node: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DKMS has built for that one meanwhile goes too."""
    install(node)
    asked(node)
    uname = os.uname_result(("Linux", "n", "9.9.9", "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: uname)
    Path(node.root, "state").write_text(f"{MODULE}, 9.9.9, x86_64: installed\n")
    undo(node)
    assert asked(node) == [f"remove {MODULE} --all"]


def test_mock_dkms_a_build_that_fails(node: Machine) -> None:
    """The compiler's own words, as the log goes; everything is taken back."""
    log = Path(node.root, f"var/lib/dkms/{MODULE}/build/make.log")
    log.parent.mkdir(parents=True)
    Path(node.root, "broken").write_text("build")
    with pytest.raises(ChosError, match="Bad return status for module build"):
        install(node)
    assert Path(node.root, "state").read_text() == "" and not engine.installed(KMOD, node)
    log.write_text("  CC main.o\nmain.c:7:1: error: unknown type\nmake: *** [main.o] Error 1\n")
    log.chmod(0o644)
    with pytest.raises(ChosError, match=r"main\.c:7:1: error: unknown type"):
        install(node)
    assert asked(node)[-1] == f"remove {MODULE} --all"


def test_mock_dkms_whose_source_is_gone(node: Machine) -> None:
    """DKMS says so, ends with 0, and has the module still: nothing is forgotten."""
    install(node)
    mock(Path(node.root), "dkms", "#!/bin/sh\nprintf 'Error! Could not locate dkms.conf file.\\nFile: gone\\n' >&2\n")
    with pytest.raises(ChosError, match="Could not locate dkms.conf") as error:
        undo(node)
    assert error.value.hint == "File: gone" and engine.installed(KMOD, node)


def test_mock_dkms_an_older_module_comes_first(node: Machine) -> None:
    mock(
        Path(node.root),
        "modinfo",
        "#!/bin/sh\ncase $3 in -F) echo 0.9 ;; *) echo /lib/modules/x/extra/chos.ko ;; esac\n",
    )
    with pytest.raises(ChosError, match=f"is version 0.9, not {__version__}") as error:
        install(node)
    assert error.value.object == "/lib/modules/x/extra/chos.ko"
    assert Path(node.root, "state").read_text() == ""


def test_mock_dkms_a_module_that_modprobe_refuses(node: Machine) -> None:
    mock(Path(node.root), "modprobe", "#!/bin/sh\necho 'FATAL: Module chos not found.' >&2\nexit 1\n")
    with pytest.raises(ChosError, match="FATAL: Module chos not found"):
        install(node)
    assert Path(node.root, "state").read_text() == ""


def without(name: str) -> Callable[[Path], None]:
    def take(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return take


@pytest.mark.parametrize(
    ("break_it", "message", "hints"),
    [
        (without("proc/modules"), "takes no modules", ["CONFIG_MODULES", "backend ns"]),
        (
            without("bin/dkms"),
            "dkms: is not installed",
            ["apt install dkms linux-headers-", "kernel-devel-", "--print"],
        ),
        (without(f"lib/modules/{KERNEL}/build"), "headers are missing", [f"linux-headers-{KERNEL}", "kernel-devel"]),
        (without(module_source().lstrip("/")), "source is not installed", ["chos-dkms", "-Ddkms=true"]),
        (without("bin/modprobe"), "modprobe: is not installed", ["install kmod"]),
        (
            lambda root: (root / module_source().lstrip("/") / "main.c").chmod(0o666),
            "writable by others than its owner",
            [],
        ),
    ],
)
def test_mock_dkms_what_is_missing(
    node: Machine, break_it: Callable[[Path], None], message: str, hints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATH", f"{node.root}/bin")
    (Path(node.root) / "bin/cat").symlink_to("/bin/cat")
    break_it(Path(node.root))
    with pytest.raises(ChosError, match=message) as error:
        install(node)
    assert [hint for hint in hints if hint not in error.value.hint] == []


def test_the_lines_to_print() -> None:
    """Those without DKMS are the manual's."""
    dkms, make = (snippet.text.splitlines() for snippet in KMOD.snippets(Request()))
    assert [line.split()[:2] for line in dkms] == [["dkms", "add"], ["dkms", "build"], ["dkms", "install"]]
    manual = (Path(__file__).parents[2] / "docs/kmod.md").read_text()
    assert len(make) == 2 and all(f"`{line}`" in manual for line in make)
