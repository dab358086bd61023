"""The file that entries are recorded in (chos.toml(5), table `records`): made with what its writers need.

Jobs write into it as their user, so everybody may append, and only root may read or truncate it. Called by `node.act`;
the lines are libchos/enter/record.c's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from dataclasses import replace

from chosns.config.trusted import trusted_directory
from chosns.errors import ConfigError
from chosns.lazydata import dataclass
from chosns.model import Jobs

_MODE = 0o622
_GETFLAGS, _SETFLAGS, _APPEND_ONLY = 0x80086601, 0x40086602, 0x20  # linux/fs.h, FS_IOC_*; ioctl_iflags(2)


@dataclass(frozen=True)
class Fault:
    """A problem with the file. `refused`: it is so serious that nothing is recorded in it."""

    text: str
    refused: bool


def with_record_file(jobs: Jobs, *, make: bool = True) -> tuple[Jobs, str]:
    """Make the file and its directory if they are missing; what exists stays as it is.

    :param make: False to change nothing: what is missing counts as made.
    :return: `jobs`, without the file if it is refused: a refused file is not published, so nobody writes into it. And
        why
        entries are not recorded there, or not safely; empty if there is no problem.
    """
    fault = _make(jobs.file, make) if jobs.file else None
    if fault is None:
        return jobs, ""
    if not fault.refused:
        return jobs, fault.text
    return replace(jobs, file=""), f"entries are not recorded: {fault.text}"


def _make(path: str, make: bool) -> Fault | None:
    """Make it, with its directory."""
    directory, name = os.path.split(path)
    above, last = os.path.split(directory)
    try:
        if not make and not os.path.lexists(path):
            return None
        if last and make:
            with trusted_directory("/", above) as parent, contextlib.suppress(FileExistsError):
                if parent is not None:
                    os.mkdir(last, 0o755, dir_fd=parent)
        with trusted_directory("/", directory) as parent:
            if parent is None:
                return Fault(f"{directory} does not exist", refused=True)
            fd, new = _open(name, parent)
            try:
                if new:
                    os.fchmod(fd, _MODE)
                return _state(fd, path, new)
            finally:
                os.close(fd)
    except ConfigError as error:
        return Fault(str(error), refused=True)
    except OSError as error:
        return Fault(f"{path}: {error.strerror}", refused=True)


def _open(name: str, parent: int) -> tuple[int, bool]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent), True
    except FileExistsError:
        return os.open(name, flags, dir_fd=parent), False


def _state(fd: int, path: str, new: bool) -> Fault | None:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != 0:
        return Fault(f"{path} is not a file of root's", refused=True)
    if not new and info.st_mode & 0o022 == 0:
        mode = f"{info.st_mode & 0o777:04o}"
        return Fault(
            f"users' jobs leave no record in {path}: its mode is {mode}, theirs to write with 0622", refused=False
        )
    try:
        flags = struct.unpack("l", fcntl.ioctl(fd, _GETFLAGS, bytes(8)))[0]
        if new:
            flags |= _APPEND_ONLY
            fcntl.ioctl(fd, _SETFLAGS, struct.pack("l", flags))
    except OSError:
        flags = 0
    if info.st_mode & 0o022 and not flags & _APPEND_ONLY:
        text = f"{path} is not append-only (chattr +a), so users can overwrite each other's records in it"
        return Fault(text, refused=False)
    return None
