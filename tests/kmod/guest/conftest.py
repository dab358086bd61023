"""Tests of chos.ko: they run in a virtual machine (`make kmod`), which they may break.

Each loads the module itself and leaves it unloaded: whatever a test did, `rmmod` succeeding afterwards says that no
task, file or mount still holds on to it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chosfs import load, mount, parameter, unload, unmount, wait_for, write

TINY = Path(__file__).resolve().parents[3] / ".cache/trees/tiny"
LINKED = ("bin", "etc", "lib", "lib64", "sbin", "usr", "opt", "var", "home")
BOUND = ("proc", "dev", "sys", "tmp", "os", "guest")


def pytest_sessionstart(session: pytest.Session) -> None:
    if socket.gethostname() != "node" or not os.path.exists("/guest/command"):
        pytest.exit("these tests load a kernel module: use `make kmod`", returncode=4)


def run(*command: str) -> str:
    """A command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{command} → {result.returncode}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session", autouse=True)
def trees() -> None:
    """Three trees, alice, and /chos as the original's boot script makes it."""
    run("useradd", "-m", "alice")
    Path("/os").mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        tree = Path("/os") / name
        for part in (*LINKED, *BOUND):
            (tree / part).mkdir(parents=True)
        shutil.copy(TINY / "bin/busybox", tree / "bin/")
        for applet in ("sh", "cat", "readlink", "true"):
            (tree / "bin" / applet).symlink_to("busybox")
        (tree / "etc/os-release").write_text(f"ID={name}\n")
    Path("/chos").mkdir()
    Path("/chos/chos").symlink_to("/")
    for name in LINKED:
        (Path("/chos") / name).symlink_to(f"/proc/chos/link/{name}")
    for name in (*BOUND, "local"):
        (Path("/chos") / name).mkdir()
        # What is mounted or unmounted on the base later comes and goes there, too.
        run("mount", "--rbind", "--make-rslave", f"/{name}".replace("/local", "/"), f"/chos/{name}")


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Iterator[None]:
    """The module, its files mounted, /os/a and /os/b allowed."""
    if os.path.exists("/sys/module/chos"):
        pytest.fail("a test before this one left the module loaded")
    load()
    mount()
    write("valid", "/os/a")
    write("valid", "/os/b")
    yield
    unmount()
    wait_for(lambda: parameter("processes") == "0", "every task that had an environment is gone")
    unload()
