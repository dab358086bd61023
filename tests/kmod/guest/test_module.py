"""Loading, unloading, parameters: nothing in use is taken away, nothing is left."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chosfs import PROC, Child, child, load, mount, parameter, refused, setchos, state, unload, unmount, wait_for, write


@pytest.fixture
def unloaded() -> Iterator[None]:
    """Before and after: no module."""
    assert not os.path.exists("/sys/module/chos")
    yield
    if os.path.exists("/sys/module/chos"):
        refused(unmount)
        unload()


@pytest.mark.usefixtures("module")
def test_busy_while_mounted() -> None:
    """Unloading is refused while the files are mounted; they go on working."""
    assert refused(unload) == "EAGAIN"
    assert child(enter_and_look) == ("/os/a", "a")


def enter_and_look() -> tuple[str, str]:
    setchos("/os/a")
    return state()


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["setchos", "resetchos", "valid", "version", "savestate"])
def test_busy_while_a_file_is_open(name: str) -> None:
    """Also after a lazy unmount."""
    descriptor = os.open(
        f"{PROC}/{name}", os.O_WRONLY if name.endswith("setchos") or name == "resetchos" else os.O_RDONLY
    )
    assert refused(unmount) == "EBUSY"
    subprocess.run(["umount", "-l", PROC], check=True)
    assert refused(unload) == "EAGAIN"
    os.close(descriptor)
    wait_for(lambda: refused(mount) == "ok", "it can be mounted again")


@pytest.mark.usefixtures("module")
def test_busy_while_a_task_is_inside() -> None:
    """With nothing mounted any more, a process that is in an environment keeps the module, and finds all as it was."""
    ready, go = os.pipe()
    release, release_end = os.pipe()

    def stay() -> tuple[str, str]:
        setchos("/os/a")
        os.write(go, b"x")
        os.read(release, 1)
        return state()

    process = Child(stay)
    os.read(ready, 1)
    unmount()
    assert refused(unload) == "EAGAIN"
    mount()
    os.write(release_end, b"x")
    assert process.result() == ("/os/a", "a")
    for descriptor in (ready, go, release, release_end):
        os.close(descriptor)


@pytest.mark.usefixtures("module")
def test_loaded_twice() -> None:
    """Refused."""
    assert refused(load) == "EEXIST"


@pytest.mark.usefixtures("module")
def test_mounted_twice() -> None:
    """Both mounts show the same."""
    Path("/mnt/chos").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "chosfs", "chosfs", "/mnt/chos"], check=True)
    write("valid", "/os/c")
    assert Path("/mnt/chos/valid").read_text() == "/os/a\n/os/b\n/os/c\n"
    subprocess.run(["umount", "/mnt/chos"], check=True)


@pytest.mark.usefixtures("unloaded")
def test_nothing_is_left() -> None:
    """No directory, no file system type, no file in the way."""
    before = Path("/proc/filesystems").read_text()
    load()
    mount()
    unmount()
    unload()
    assert not os.path.exists(PROC)
    assert Path("/proc/filesystems").read_text() == before


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("size", ["0", "100000", "4294967295"])
def test_max(size: str) -> None:
    """The size of the table: no process is refused for it."""
    load(f"max={size}")
    mount()
    write("valid", "/os/a")
    assert parameter("max") == size
    children = [Child(stay_until, "/os/a") for _ in range(20)]
    wait_for(lambda: parameter("processes") == "20", "all are inside")
    for process in children:
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)
    wait_for(lambda: parameter("processes") == "0", "all are gone")
    unmount()
    unload()


def stay_until(path: str) -> None:
    setchos(path)
    while True:
        time.sleep(100)


@pytest.mark.usefixtures("unloaded")
def test_bad_parameters() -> None:
    """Numbers that only the module writes cannot be given; nonsense is refused. The module is not loaded then."""
    assert [refused(load, text) for text in ("max=x", "max=-1", "processes=5", "lost=5", "debug=maybe")] == [
        "EINVAL",
        "EINVAL",
        "EPERM",
        "EPERM",
        "EINVAL",
    ]
    assert not os.path.exists("/sys/module/chos")


@pytest.mark.usefixtures("unloaded")
def test_something_else_is_called_chos() -> None:
    """A second directory or file system of that name is not made."""
    load()
    assert refused(load) == "EEXIST"
    unload()


@pytest.mark.usefixtures("unloaded")
def test_loaded_again_and_again() -> None:
    """While processes come and go; each time an environment works."""
    storm = subprocess.Popen(["sh", "-c", "while :; do /bin/true & /bin/true; wait; done"])
    try:
        for _ in range(10):
            load()
            mount()
            write("valid", "/os/a")
            assert child(enter_and_look) == ("/os/a", "a")
            unmount()
            wait_for(lambda: parameter("processes") == "0", "nobody is inside")
            unload()
    finally:
        storm.kill()
        storm.wait()
