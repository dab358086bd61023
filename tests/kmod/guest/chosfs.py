"""What the guest's tests do with /proc/chos, in processes of their own."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import pwd
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROC = "/proc/chos"
LIMIT = 120  # seconds after which a process counts as hung
LIBC = ctypes.CDLL(None, use_errno=True)
MODULE = f"/usr/lib/modules/{os.uname().release}/updates/chos.ko"
REAL_ROOT = (os.stat("/").st_dev, os.stat("/").st_ino)


def write(name: str, data: str | bytes) -> None:
    """One write(2) to a file of /proc/chos."""
    descriptor = os.open(f"{PROC}/{name}", os.O_WRONLY)
    try:
        data = data.encode() if isinstance(data, str) else data
        assert os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


def setchos(path: str) -> None:
    """As a user's program does it."""
    write("setchos", path + "\n")


def link() -> str:
    """Where /proc/chos/link leads the caller."""
    return os.readlink(f"{PROC}/link")


def parameter(name: str) -> str:
    """A parameter of the loaded module."""
    return Path(f"/sys/module/chos/parameters/{name}").read_text().strip()


def place() -> str:
    """Where the caller's root directory is: `real`, or the `ID=` of what it sees."""
    root = os.stat("/")
    if (root.st_dev, root.st_ino) == REAL_ROOT:
        return "real"
    return Path("/etc/os-release").read_text().strip().removeprefix("ID=")


def state() -> tuple[str, str]:
    """Link and root directory."""
    return link(), place()


def refused(function: Callable[..., Any], *arguments: Any) -> str:
    """The name of the error number that a call fails with, `ok` when it does not fail."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


class Child:
    """A process in which a function runs; `result()` waits for what it returns and raises what it raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._read, pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            try:
                answer: tuple[bool, Any] = (True, function(*arguments))
            except BaseException as error:
                answer = (False, f"{error!r}\n{traceback.format_exc()}")
            with os.fdopen(pipe, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)
        os.close(pipe)

    def result(self) -> Any:
        with os.fdopen(self._read, "rb") as file:
            data = file.read()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child ended with status {status}"
        good, answer = pickle.loads(data)
        if not good:
            raise AssertionError(f"in the child: {answer}")
        return answer


def child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    return Child(function, *arguments).result()


def become(user: str) -> None:
    """Be a user from now on."""
    account = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def wait_for(check: Callable[[], Any], what: str) -> Any:
    """The first true answer of `check`; fails when there is none before LIMIT."""
    deadline = time.monotonic() + LIMIT
    while not (answer := check()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)
    return answer


def end(*pids: int) -> None:
    """Kill and reap."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def call(name: str, *arguments: Any) -> int:
    """A function of libc that returns -1 when it fails."""
    answer = getattr(LIBC, name)(*arguments)
    if answer == -1:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}")
    return int(answer)


def load(parameters: str = "") -> None:
    """insmod chos."""
    descriptor = os.open(MODULE, os.O_RDONLY)
    try:
        call("syscall", 313, descriptor, parameters.encode(), 0)  # finit_module
    finally:
        os.close(descriptor)


def unload() -> None:
    """rmmod chos; refused, not waited for, when something holds on to it."""
    call("syscall", 176, b"chos", os.O_NONBLOCK)  # delete_module


def mount() -> None:
    """The files, at /proc/chos."""
    call("mount", b"chosfs", PROC.encode(), b"chosfs", 0, None)


def unmount() -> None:
    """No files any more."""
    call("umount2", PROC.encode(), 0)
