"""Sees who opens or executes files of an environment, with what credentials: fanotify's permission events.

Whoever opens such a file is held by the kernel until this program has read its credentials from /proc and written
them down, so nothing is missed and nothing is guessed. It marks whole file systems that only the environment has:
the tree's, and those that `chosctl up` made for it. `python3 watcher.py TREE PIN SOCKET...` prints one JSON object a
line until it is killed. An open with O_PATH reads nothing, and the kernel does not report it.

Each SOCKET is a path in the tree where a daemon could listen: a connection is written down with its peer's uid.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_CLASS_CONTENT, _CLOEXEC, _UNLIMITED, _REPORT_TID = 0x04, 0x01, 0x30, 0x100
_ADD, _FILESYSTEM = 0x01, 0x100
_OPEN_PERM, _OPEN_EXEC_PERM, _ONDIR = 0x10000, 0x40000, 0x40000000
_ALLOW = 1
_NEWNS, _PDEATHSIG = 0x20000, 1
_libc = ctypes.CDLL(None, use_errno=True)
_EVENT = struct.Struct("=IBBHQii")
_PEER = struct.Struct("=iII")


@dataclasses.dataclass(frozen=True)
class Access:
    """One open, execution or connection."""

    kind: str  # open, exec, connect
    path: str
    name: str  # of the process
    uids: tuple[int, ...]  # real, effective, saved, of the file system
    permitted: int
    pid: int

    @property
    def privileged(self) -> bool:
        """It is root, could be root again, or holds a capability."""
        return 0 in self.uids or self.permitted != 0

    def __str__(self) -> str:
        return f"{self.kind} {self.path} by {self.name} uids={self.uids} caps={self.permitted:x}"


class Watch:
    """The running program, and what it has seen."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._read = 0

    def take(self) -> list[Access]:
        """What has been seen since the last time. Who has ended has been written down whole."""
        with self._output.open(encoding="utf-8") as file:
            file.seek(self._read)
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith("\n")]
        self._read += sum(len(line.encode()) for line in lines)
        found = [json.loads(line) for line in lines]
        return [Access(**{**one, "uids": tuple(one["uids"])}) for one in found]


@contextlib.contextmanager
def watching(tree: Path, pin: Path, sockets: list[Path], output: Path) -> Iterator[Watch]:
    """Everything that happens in an environment until the end of the block."""
    words = [sys.executable, "-I", __file__, str(tree), str(pin), *map(str, sockets)]
    with output.open("w") as file:
        program = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    assert program.stderr
    if program.stderr.readline() != "ready\n":
        raise AssertionError(f"the watcher did not start: {program.communicate()[1]}")
    try:
        yield Watch(output)
    finally:
        program.kill()  # the kernel lets whoever is held go on
        program.communicate()


def main(tree: str, pin: str, *sockets: str) -> None:
    listeners = [_listen(path) for path in sockets]
    for where in _own_file_systems(tree, pin).values():
        # Each has a process of its own: to see a file of an overlay this program opens it, and so that of the tree.
        group = _mark(pin, where)
        if os.fork() == 0:
            _serve(group, [])
        os.close(group)
    print("ready", file=sys.stderr, flush=True)
    _serve(-1, listeners)


def _serve(group: int, listeners: list[socket.socket]) -> None:
    _call(_libc.prctl(_PDEATHSIG, signal.SIGKILL), "prctl")
    with selectors.DefaultSelector() as selector:
        if group >= 0:
            os.set_blocking(group, False)
            selector.register(group, selectors.EVENT_READ)
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.fileobj, socket.socket):
                    _accept(key.fileobj)
                else:
                    _answer(group)


def _call(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _own_file_systems(tree: str, pin: str) -> dict[str, str]:
    """The device of each file system that only the environment has, and a place where it is, as seen inside."""
    status = os.stat(tree)
    own = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    base = {line.split()[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()} - {own}
    inside = subprocess.check_output(["nsenter", f"--mount={pin}", "cat", "/proc/self/mountinfo"], text=True)
    places = [line.split() for line in inside.splitlines()]
    return {words[2]: words[4] for words in places if words[2] not in base}


def _mark(pin: str, where: str) -> int:
    """A group that is asked about each open in a file system. A child goes inside to name it."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    group = _call(_libc.fanotify_init(_CLASS_CONTENT | _CLOEXEC | _UNLIMITED | _REPORT_TID, flags), "fanotify_init")
    if (child := os.fork()) == 0:
        with open(pin, "rb") as namespace:
            _call(_libc.setns(namespace.fileno(), _NEWNS), "setns")
        mask = ctypes.c_uint64(_OPEN_PERM | _OPEN_EXEC_PERM | _ONDIR)
        _call(_libc.fanotify_mark(group, _ADD | _FILESYSTEM, mask, -100, where.encode()), where)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{where}: cannot be marked")
    return group


def _answer(group: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            events = os.read(group, 65536)
            while events:
                size, _, _, _, mask, fd, tid = _EVENT.unpack_from(events)
                events = events[size:]
                if fd < 0:  # the queue is full, or the file could not be opened for us
                    print(json.dumps({"kind": "lost", "path": "", "name": "", "uids": [0], "permitted": 0, "pid": tid}))
                    continue
                kind = "exec" if mask & _OPEN_EXEC_PERM else "open"
                if os.getpgid(tid) != os.getpgrp():  # not the watcher itself
                    _write(kind, os.readlink(f"/proc/self/fd/{fd}"), tid)
                os.write(group, struct.pack("=iI", fd, _ALLOW))
                os.close(fd)


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(64)
    return listener


def _accept(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _ = _PEER.unpack(peer)
    seen = {"kind": "connect", "path": listener.getsockname(), "name": "?", "uids": [uid], "permitted": 0, "pid": pid}
    print(json.dumps(seen), flush=True)
    connection.close()


def _write(kind: str, path: str, tid: int) -> None:
    """The credentials of a task that the kernel holds."""
    lines = Path(f"/proc/{tid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    uids = [int(word) for word in status["Uid"].split()]
    permitted = int(status["CapPrm"], 16) | int(status["CapEff"], 16)
    seen = {"kind": kind, "path": path, "name": status["Name"], "uids": uids, "permitted": permitted, "pid": tid}
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
