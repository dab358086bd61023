"""Much at once, bounded: afterwards nothing is wrong, lost or left, and the kernel has not complained."""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import time

import pytest
from chosfs import (
    Child,
    become,
    link,
    load,
    mount,
    parameter,
    place,
    refused,
    setchos,
    state,
    unload,
    unmount,
    wait_for,
    write,
)
from uring import Ring

pytestmark = pytest.mark.usefixtures("module")
SECONDS = 2.0
NAMES = {"/os/a": "a", "/os/b": "b"}


def until() -> float:
    return time.monotonic() + SECONDS


def fork_tree(path: str, depth: int) -> int:
    """Two children at each step, which look for themselves; how many there were."""
    assert state() == (path, NAMES[path])
    if depth == 0:
        return 1
    children = [Child(fork_tree, path, depth - 1) for _ in range(2)]
    return 1 + sum(process.result() for process in children)


def test_fork_storms() -> None:
    """Four families in two environments at once."""

    def family(path: str) -> int:
        become("alice")
        setchos(path)
        return fork_tree(path, 3)

    families = [Child(family, path) for path in (*NAMES, *NAMES)]
    assert [process.result() for process in families] == [15] * 4
    assert parameter("lost") == "0"


def test_there_and_back() -> None:
    """Processes that enter, leave and look, while the list is emptied and filled: each is where it says."""

    def wanderer(seed: int) -> int:
        choice = random.Random(seed)
        moves = 0
        end = until()
        while time.monotonic() < end:
            path = choice.choice(["/os/a", "/os/b", "/"])
            before = link()
            if refused(setchos, path) == "ok":
                before = path
                moves += 1
            assert link() == before
            assert place() == NAMES.get(before, "real")
        return moves

    def administrator() -> int:
        end, count = until(), 0
        while time.monotonic() < end:
            write("valid", "-")
            for path in NAMES:
                write("valid", path)
            count += 1
        return count

    processes = [Child(wanderer, seed) for seed in range(4)]
    processes.append(Child(administrator))
    assert all(process.result() > 0 for process in processes)


def test_others_leave_the_list() -> None:
    """While one path goes from the list and comes back, another is refused to nobody."""

    def wanderer() -> int:
        moves = 0
        end = until()
        while time.monotonic() < end:
            setchos("/os/b")
            setchos("/")
            moves += 1
        return moves

    def administrator() -> int:
        end, count = until(), 0
        while time.monotonic() < end:
            write("valid", "-/os/a")
            write("valid", "/os/a")
            count += 1
        return count

    processes = [Child(wanderer) for _ in range(2)]
    processes.append(Child(administrator))
    assert all(process.result() > 0 for process in processes)


def test_threads_that_wander() -> None:
    """Threads of one process, each in an environment of its own, making and ending threads all the time."""

    def process() -> list[str]:
        wrong: list[str] = []

        def look(path: str) -> None:
            if state() != (path, NAMES[path]):
                wrong.append(f"{path}: {state()}")

        def wander(path: str) -> None:
            end = until()
            while time.monotonic() < end:
                setchos(path)
                inner = threading.Thread(target=look, args=(path,))
                inner.start()
                look(path)
                inner.join()

        threads = [threading.Thread(target=wander, args=(path,)) for path in (*NAMES, *NAMES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return wrong

    assert Child(process).result() == []


def test_unloading_again_and_again() -> None:
    """rmmod tried all the time, the files unmounted and mounted: refused while anyone is inside, and nobody notices."""

    def inside(path: str) -> int:
        os.close(stop_end)
        count = 0
        while not select.select([stop], [], [], 0)[0]:
            # The files may be away for a moment, and the links of /chos with them.
            with contextlib.suppress(FileNotFoundError):
                setchos(path)
                count += 1
                os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        return count

    stop, stop_end = os.pipe()
    holders = [Child(inside, path) for path in NAMES]
    wait_for(lambda: int(parameter("processes")) >= len(NAMES), "they are inside")
    end = until()
    refusals = 0
    while time.monotonic() < end:
        if refused(unmount) == "ok":
            refusals += refused(unload) == "EAGAIN"
            if not os.path.exists("/sys/module/chos"):
                pytest.fail("the module was unloaded under its users")
            mount()
    os.close(stop_end)
    os.close(stop)
    assert all(process.result() > 0 for process in holders)
    assert refusals > 0


def test_the_last_one_out() -> None:
    """rmmod in a race with the exit of the last process that was inside: refused or not, but never half."""
    for _ in range(10):
        process = Child(setchos, "/os/a")
        unmounted = False
        deadline = time.monotonic() + 60
        while os.path.exists("/sys/module/chos"):
            assert time.monotonic() < deadline
            unmounted = unmounted or (refused(unmount) == "ok")
            if unmounted:
                refused(unload)
        # Whether it was in time to enter is the race.
        with contextlib.suppress(AssertionError):
            process.result()
        reload()


def reload() -> None:
    load()
    mount()
    for path in NAMES:
        write("valid", path)


def test_killed_while_they_multiply() -> None:
    """A family that forks all the time is killed in the middle."""

    def family() -> None:
        os.setpgid(0, 0)
        setchos("/os/a")
        os.write(go, b"x")
        while True:
            if os.fork() == 0:
                os._exit(0) if os.fork() else time.sleep(0.01)
                os._exit(0)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.001)

    for _ in range(3):
        ready, go = os.pipe()
        process = Child(family)
        os.read(ready, 1)
        time.sleep(SECONDS / 10)
        os.killpg(process.pid, 9)
        os.waitpid(process.pid, 0)
        os.close(ready)
        os.close(go)
    wait_for(lambda: parameter("processes") == "0", "the families are gone")


def test_rings() -> None:
    """io_uring workers that come and go, in two environments."""

    def ring(path: str) -> int:
        setchos(path)
        end, count = until(), 0
        while time.monotonic() < end:
            worker = Ring()
            for _ in range(5):
                assert worker.read_file("/etc/os-release") == f"ID={NAMES[path]}\n"
                count += 1
            worker.close()
        return count

    processes = [Child(ring, path) for path in NAMES]
    try:
        assert all(process.result() > 0 for process in processes)
    except AssertionError as error:
        if "io_uring_setup" in str(error):
            pytest.skip("this kernel has no io_uring")
        raise
