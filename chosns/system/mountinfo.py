"""Reading /proc/PID/mountinfo (proc_pid_mountinfo(5)), and which of its lines a descriptor is on."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from chosns.system import procfs


class Mount(NamedTuple):
    """One line: where, with which per-mount flags, and how it propagates (`shared:N`, `master:N`, …).

    `root`: what of its file system is shown; `device`: st_dev of that file system, as `MAJOR:MINOR`.
    `source`: what was mounted, as who did it says.
    `options`: of the file system, as its driver tells them.
    `number`: the mount's own id, and `parent` that of the mount that it is on.
    """

    target: str
    root: str
    flags: list[str]
    propagation: list[str]
    fstype: str
    device: str
    number: int
    parent: int
    source: str = ""
    options: str = ""


_ESCAPE = re.compile(r"\\([0-7]{3})")


def read_mounts(path: str = procfs.of("self", "mountinfo")) -> list[Mount]:
    """Every mount of the process's namespace, in the kernel's order."""
    # Lines end in \n only: a mount point of a user's (FUSE) may have \r in its name, which the kernel does not escape.
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return [parse_mount(line) for line in file]


def parse_mount(line: str) -> Mount:
    """One line of mountinfo."""
    fields = line.split(" ")
    end = fields.index("-", 6)
    flags, propagation, fstype = fields[5].split(","), fields[6:end], fields[end + 1]
    where, root = fields[4], fields[3]
    if "\\" in line:
        where, root = _unescape(where), _unescape(root)
    source, options = fields[end + 2], " ".join(fields[end + 3 :]).rstrip("\n")
    return Mount(where, root, flags, propagation, fstype, fields[2], int(fields[0]), int(fields[1]), source, options)


def mount_number(fd: int) -> int:
    """The first field of mountinfo's line for the mount that a descriptor is on (proc_pid_fdinfo(5))."""
    info = os.open(procfs.of("self", f"fdinfo/{fd}"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(info, 4096).partition(b"mnt_id:")[2].split(None, 1)[0])
    finally:
        os.close(info)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
