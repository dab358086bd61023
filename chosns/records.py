"""The file that entries are recorded in (chos.toml(5), table `records`): made with what its writers need.

Jobs write in it as their user, so everybody may append and nobody but root read or cut it. Called by `lifecycle`; the
lines are libchos/record.c's.
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
from chosns.model import Jobs

_MODE = 0o622
_GETFLAGS, _SETFLAGS, _APPEND_ONLY = 0x80086601, 0x40086602, 0x20  # linux/fs.h, FS_IOC_*; ioctl_iflags(2)


_REFUSED = "entries are not recorded: "


def with_record_file(jobs: Jobs) -> tuple[Jobs, str]:
    """Make the file where it is missing, and its directory; what is there already stays as it is.

    :return: `jobs`, without the file where it is refused: what is refused is not published, and nobody writes in it.
        And why entries are not recorded there, or not safely; empty where all is well.
    """
    problem = _make(jobs.file) if jobs.file else ""
    return (replace(jobs, file="") if problem.startswith(_REFUSED) else jobs), problem


def _make(path: str) -> str:
    """The problem with it, as above."""
    directory, name = os.path.split(path)
    above, last = os.path.split(directory)
    try:
        if last:
            with trusted_directory("/", above) as parent, contextlib.suppress(FileExistsError):
                if parent is not None:
                    os.mkdir(last, 0o755, dir_fd=parent)
        with trusted_directory("/", directory) as parent:
            if parent is None:
                return f"{_REFUSED}{directory} does not exist"
            fd, new = _open(name, parent)
            try:
                if new:
                    os.fchmod(fd, _MODE)
                return _state(fd, path, new)
            finally:
                os.close(fd)
    except ConfigError as error:
        return f"{_REFUSED}{error}"
    except OSError as error:
        return f"{_REFUSED}{path}: {error.strerror}"


def _open(name: str, parent: int) -> tuple[int, bool]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent), True
    except FileExistsError:
        return os.open(name, flags, dir_fd=parent), False


def _state(fd: int, path: str, new: bool) -> str:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != 0:
        return f"{_REFUSED}{path} is not a file of root's"
    if not new and info.st_mode & 0o022 == 0:
        return (
            f"users' jobs leave no record in {path}: its mode is {info.st_mode & 0o777:04o}, theirs to write with 0622"
        )
    try:
        flags = struct.unpack("l", fcntl.ioctl(fd, _GETFLAGS, bytes(8)))[0]
        if new:
            flags |= _APPEND_ONLY
            fcntl.ioctl(fd, _SETFLAGS, struct.pack("l", flags))
    except OSError:
        flags = 0
    if info.st_mode & 0o022 and not flags & _APPEND_ONLY:
        return f"{path} is not append-only (chattr +a), so users can overwrite each other's records in it"
    return ""
