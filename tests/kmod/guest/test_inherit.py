"""Who is in an environment: the children of who is, however they are made, and nobody else."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from chosfs import LIBC, PROC, Child, call, child, link, parameter, place, setchos, state, wait_for
from uring import Ring

pytestmark = pytest.mark.usefixtures("module")
A = ("/os/a", "a")


def test_fork() -> None:
    """Children and their children."""

    def enter() -> tuple[tuple[str, str], tuple[str, str]]:
        setchos("/os/a")
        return child(state), child(lambda: child(lambda: child(state)))

    assert child(enter) == (A, A)
    assert child(state) == ("/", "real")


def test_vfork_and_exec() -> None:
    """posix_spawn makes its child by vfork; what is executed is inside."""

    def enter() -> str:
        setchos("/os/a")
        read, pipe = os.pipe()
        pid = os.posix_spawn(
            "/bin/readlink", ["readlink", "/proc/chos/link"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, pipe, 1)]
        )
        os.waitpid(pid, 0)
        return os.read(read, 100).decode().strip()

    assert child(enter) == "/os/a"


def test_a_parent_that_exits_first() -> None:
    """The orphan's parent is gone, its session too: it is inside all the same, and so are its children."""
    read, pipe = os.pipe()

    def enter() -> None:
        setchos("/os/a")
        if os.fork() == 0:
            os.setsid()
            parent = os.getpid()
            if os.fork() == 0:
                wait_for(lambda: os.getppid() != parent, "the orphan has a new parent")
                os.write(pipe, repr((state(), child(state))).encode())
                os._exit(0)
            os._exit(0)

    child(enter)
    os.close(pipe)
    assert os.read(read, 1000).decode() == repr((A, A))
    os.close(read)


def test_threads() -> None:
    """A thread is where its maker was; setchos in one moves that one only."""

    def enter() -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        setchos("/os/a")
        step = threading.Barrier(2)

        def thread() -> None:
            seen.append(state())
            setchos("/os/b")
            seen.append(state())
            inner = threading.Thread(target=lambda: seen.append(state()))
            inner.start()
            inner.join()
            step.wait()

        other = threading.Thread(target=thread)
        other.start()
        step.wait()
        other.join()
        return [*seen, state()]

    assert child(enter) == [A, ("/os/b", "b"), ("/os/b", "b"), A]


def test_threads_share_a_root_directory_no_more() -> None:
    """setchos gives the caller a root directory of its own; what other threads do does not reach it."""

    def enter() -> tuple[tuple[str, str], tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        go, done = threading.Event(), threading.Event()

        def thread() -> None:
            go.wait()
            seen.append(state())
            done.set()

        other = threading.Thread(target=thread)
        other.start()
        setchos("/os/a")
        go.set()
        done.wait()
        other.join()
        return state(), seen[0]

    # The thread has no path of its own and its parent none: it is where it was.
    assert child(enter) == (A, ("/", "real"))


def test_exec_by_a_thread() -> None:
    """Whoever executes a program, leader or not, its own environment goes on in it, not the leader's."""

    def enter() -> str:
        read, pipe = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(pipe, 1)
            setchos("/os/a")

            def thread() -> None:
                setchos("/os/b")
                os.execv(
                    "/bin/sh",
                    ["sh", "-c", "readlink /proc/chos/link; . /etc/os-release; echo $ID; readlink /proc/chos/link"],
                )

            threading.Thread(target=thread).start()
            signal.pause()
        os.close(pipe)
        os.waitpid(pid, 0)
        with os.fdopen(read) as file:
            return file.read()

    assert child(enter).split() == ["/os/b", "b", "/os/b"]


def test_io_uring_workers() -> None:
    """A worker that the kernel makes for a process inside sees what the process sees."""

    def enter() -> str:
        setchos("/os/a")
        ring = Ring()
        text = ring.read_file("/etc/os-release")
        ring.close()
        return text

    try:
        assert child(enter) == "ID=a\n"
    except AssertionError as error:
        if "io_uring_setup" in str(error):
            pytest.skip("this kernel has no io_uring")
        raise


def test_setchos_by_an_io_uring_worker() -> None:
    """A worker would only move itself, so it is told no."""

    def enter() -> tuple[int, tuple[str, str]]:
        ring = Ring()
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        result = ring.write(descriptor, b"/os/a")
        ring.close()
        return result, state()

    try:
        result, after = child(enter)
    except AssertionError as error:
        if "io_uring_setup" in str(error):
            pytest.skip("this kernel has no io_uring")
        raise
    assert (result, after) == (-errno.EOPNOTSUPP, ("/", "real"))


def test_shared_file_system_data() -> None:
    """A process made with CLONE_FS shares the root directory until one of the two enters."""
    clone_fs, sigchld = 0x200, 17

    def enter() -> tuple[tuple[str, str], int]:
        ready, go = os.pipe()
        pid = LIBC.syscall(56, clone_fs | sigchld, 0, 0, 0, 0)
        if pid == 0:
            os.read(ready, 1)
            os._exit(0 if place() == "real" else 1)
        setchos("/os/a")
        os.write(go, b"x")
        return state(), os.waitpid(pid, 0)[1]

    assert child(enter) == (A, 0)


def fork_as(number: int) -> int:
    """fork(2) whose child gets that number: clone3(2) with set_tid."""
    tid = ctypes.c_int32(number)
    arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(tid), 1, 0)
    return call("syscall", 435, arguments, ctypes.sizeof(arguments))


def test_recycled_numbers() -> None:
    """Processes with the numbers of dead ones that were inside are not; nor with that of one who entered itself."""
    numbers = range(20_000, 20_010)

    def run(number: int, function: Callable[[], bool]) -> None:
        if fork_as(number) == 0:
            os._exit(0 if function() else 1)
        assert os.waitpid(number, 0)[1] == 0

    def family() -> None:
        setchos("/os/a")
        for number in numbers:
            run(number, lambda: state() == A)

    def enter() -> bool:
        setchos("/os/b")
        return link() == "/os/b"

    child(family)
    for number in numbers:
        run(number, lambda: state() == ("/", "real"))
        run(number, enter)
        run(number, lambda: state() == ("/", "real"))


def test_each_task_is_counted_and_let_go() -> None:
    """The table holds the tasks that are inside, threads too, and none when they are gone."""

    def enter() -> list[str]:
        setchos("/os/a")
        counts = [parameter("processes")]
        stop = threading.Event()
        threads = [threading.Thread(target=stop.wait) for _ in range(5)]
        for thread in threads:
            thread.start()
        counts.append(parameter("processes"))
        stop.set()
        for thread in threads:
            thread.join()
        wait_for(lambda: parameter("processes") == "1", "the threads are gone")
        return counts

    assert child(enter) == ["1", "6"]
    wait_for(lambda: parameter("processes") == "0", "the child is gone")


def test_other_interpreters() -> None:
    """A new program that forks, daemonises and executes again; the link is there to the end."""

    def enter() -> str:
        setchos("/os/a")
        script = "(sh -c 'sh -c \"readlink /proc/chos/link\" & wait') & wait"
        return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()

    assert child(enter) == "/os/a"


def test_a_traced_child() -> None:
    """ptrace(2) makes the tracer the parent, but not the ancestor."""
    attach = 16

    def enter() -> None:
        setchos("/os/a")
        os.write(go, b"x")
        os.read(release, 1)
        os.write(answer_end, link().encode())

    ready, go = os.pipe()
    release, release_end = os.pipe()
    answer, answer_end = os.pipe()
    process = Child(enter)
    os.read(ready, 1)
    LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def trace() -> None:
        assert LIBC.ptrace(attach, process.pid, None, None) == 0
        os.waitpid(process.pid, 0)

    child(trace)  # which ends, and lets go
    os.write(release_end, b"x")
    assert os.read(answer, 100) == b"/os/a"
    process.result()
    for descriptor in (ready, go, release, release_end, answer, answer_end):
        os.close(descriptor)


def test_python_itself() -> None:
    """A base's interpreter that goes on running inside sees the tree's files."""

    def enter() -> tuple[str, bool]:
        setchos("/os/a")
        return place(), Path(f"/local{sys.executable}").exists()

    assert child(enter) == ("a", True)
