"""The files of /proc: where they are, and how those are read whose length a process's owner chooses.

No other module has their names' beginning in it. Imports nothing large.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

DIRECTORY = "/proc"
MODULES = "/proc/modules"
_LONGEST = 4096  # bytes of a command line that are read; a process may have megabytes of it


def of(pid: int | str, file: str = "") -> str:
    """The path of a file of a process's, or of its directory."""
    return f"{DIRECTORY}/{pid}/{file}" if file else f"{DIRECTORY}/{pid}"


def descriptor(fd: int) -> str:
    """A path to what this process has open: no name on the way can be changed, none has to be escaped."""
    return of("self", f"fd/{fd}")


def own_descriptors() -> list[int]:
    """What this process has open, and the one that was open while looking."""
    return [int(entry) for entry in os.listdir(of("self", "fd"))]


def processes() -> list[int]:
    """The processes that there are, in no order; any of them may have ended by now."""
    return [int(entry) for entry in os.listdir(DIRECTORY) if entry.isdigit()]


def root(pid: int | str) -> str:
    """What a process's root directory is called. :raises OSError: it has ended, or the caller may not know it."""
    return os.readlink(of(pid, "root"))


def boot_time() -> int:
    """When this machine was started, in seconds since 1970."""
    with open(f"{DIRECTORY}/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime "))


def command_line(pid: int | str) -> str:
    """The arguments of a process with blanks between them, `…` at the end where there are more than are read. Empty
    where it has none, or is not the caller's to know."""
    try:
        with open(of(pid, "cmdline"), "rb", buffering=0) as file:
            text = file.read(_LONGEST + 1)
    except OSError:
        return ""
    more = " …" if len(text) > _LONGEST else ""
    return os.fsdecode(text[:_LONGEST].rstrip(b"\0").replace(b"\0", b" ")) + more


def first_lines(path: str, most: int) -> Iterator[bytes]:
    """The lines of a file of /proc, as they are read, without their ends; none that begins after `most` bytes."""
    with open(path, "rb", buffering=0) as file:
        rest = b""
        while most > 0 and (chunk := file.read(1 << 15)):
            most -= len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def mount_namespace(pid: int | str) -> int:
    """Inode number of a process's mount namespace; 0 where it is gone, or not the caller's to know."""
    try:
        return os.stat(of(pid, "ns/mnt")).st_ino
    except OSError:
        return 0
