"""Files of /proc whose length a process's owner chooses: read up to a limit. Imports nothing large."""

from __future__ import annotations

import os
from collections.abc import Iterator

_LONGEST = 4096  # bytes of a command line that are read; a process may have megabytes of it


def command_line(pid: int | str) -> str:
    """The arguments of a process with blanks between them, `…` at the end where there are more than are read. Empty
    where it has none, or is not the caller's to know."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
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
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0
