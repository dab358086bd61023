"""Reads a configuration file only if nobody but root can have written it (docs/security.md, rule 22).

Every component of a path is opened below the one before it, without following links, and checked by its descriptor, so
that what was checked is what is read. A symbolic link is followed by this code, inside `root`, and only if its owner is
trusted too. Sticky directories are not accepted: in `/tmp` anybody may create the next name.

Must never: read from a path a second time, follow a link out of `root`, block on a FIFO. Called by `site`, and
by `integrate`, which also writes into such directories.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from chosns.errors import ConfigError

MAX_SIZE = 1 << 20
MAX_LINKS = 40
_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def display_path(root: str, path: str) -> str:
    """How messages name `path` (absolute, inside `root`): with the root in front, unless that is `/`."""
    return os.path.join(root, path.lstrip("/")) if root != "/" else path


def read_trusted(root: str, path: str, trusted_uids: Sequence[int] = (0,)) -> str | None:
    """The text of a regular file, or None where there is no such file.

    Bytes that are not UTF-8 come as surrogates, as in file names.

    :param root: the directory that stands for `/`; checked too, what is above it is not.
    :raises ConfigError: not trusted, not a regular file, larger than 1 MiB, unreadable.
    """
    shown = display_path(root, path)
    with _as_config_error(shown), contextlib.ExitStack() as stack:
        found = _walk(stack, root, path, trusted_uids)
        if found is None:
            return None
        parent, name, expected = found
        if not stat.S_ISREG(expected.st_mode):
            raise ConfigError("not a regular file", object=shown, hint="put an ordinary file here")
        fd = os.open(name, _READ, dir_fd=parent)
        stack.callback(os.close, fd)
        actual = os.fstat(fd)
        if (actual.st_dev, actual.st_ino) != (expected.st_dev, expected.st_ino):
            raise ConfigError("was replaced while it was read", object=shown, hint="try again")
        _check(shown, actual, trusted_uids)
        return _read(fd, shown).decode("utf-8", "surrogateescape")


def list_trusted(root: str, path: str, trusted_uids: Sequence[int] = (0,)) -> list[str]:
    """The sorted names in a directory; none where there is no such directory.

    :raises ConfigError: as `read_trusted`, and where it is not a directory.
    """
    with _as_config_error(display_path(root, path)), trusted_directory(root, path, trusted_uids) as fd:
        return [] if fd is None else sorted(os.listdir(fd))


@contextlib.contextmanager
def trusted_directory(root: str, path: str, trusted_uids: Sequence[int] = (0,)) -> Iterator[int | None]:
    """A descriptor of a directory, or None if there is none. Nobody else can change what its entries lead to.

    :raises ConfigError: as `read_trusted`, and where it is not a directory.
    """
    shown = display_path(root, path)
    with contextlib.ExitStack() as stack:
        with _as_config_error(shown):
            found = _walk(stack, root, path, trusted_uids)
            if found is not None:
                parent, name, info = found
                if not stat.S_ISDIR(info.st_mode):
                    raise ConfigError("not a directory", object=shown, hint="remove it, or make a directory of it")
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                stack.callback(os.close, fd)
                _check(shown, os.fstat(fd), trusted_uids)
        yield None if found is None else fd


@contextlib.contextmanager
def _as_config_error(shown: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "become root" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise ConfigError(f"cannot be read: {error.strerror}", object=shown, hint=hint) from error


def _read(fd: int, shown: str) -> bytes:
    content = b""
    while len(content) <= MAX_SIZE:
        chunk = os.read(fd, MAX_SIZE + 1 - len(content))
        if not chunk:
            return content
        content += chunk
    raise ConfigError("is larger than 1 MiB", object=shown, hint="this is not a configuration file")


def _check(shown: str, info: os.stat_result, trusted_uids: Sequence[int]) -> None:
    """Refuse an object that another account owns or may change. (A link has no mode of its own.)"""
    if info.st_uid not in trusted_uids:
        raise ConfigError(f"belongs to user {info.st_uid}, not to root", object=shown, hint=f"chown root {shown}")
    if not stat.S_ISLNK(info.st_mode) and info.st_mode & 0o022:
        raise ConfigError("is writable by others than its owner", object=shown, hint=f"chmod go-w {shown}")


def _walk(
    stack: contextlib.ExitStack, root: str, path: str, trusted_uids: Sequence[int]
) -> tuple[int, str, os.stat_result] | None:
    """Resolve `path` below `root`: a descriptor of the parent, the last name and its status, or None."""

    def opened(name: str, at: int | None) -> int:
        fd = os.open(name, _WALK, dir_fd=at)
        stack.callback(os.close, fd)
        return fd

    try:
        top = opened(os.path.realpath(root), None)
    except FileNotFoundError:
        return None
    _check(root, os.fstat(top), trusted_uids)
    ancestry = [(top, root)]
    todo = _components(path)
    links = 0
    while todo:
        name = todo.pop(0)
        parent, above = ancestry[-1]
        if name == "..":
            ancestry = ancestry[:-1] or ancestry
            continue
        shown = os.path.join(above, name)
        try:
            fd = opened(name, parent)
        except FileNotFoundError:
            return None
        info = os.fstat(fd)
        _check(shown, info, trusted_uids)
        if stat.S_ISLNK(info.st_mode):
            links += 1
            if links > MAX_LINKS:
                raise ConfigError("too many symbolic links", object=shown, hint="look for a loop")
            target = os.readlink("", dir_fd=fd)
            todo = _components(target) + todo
            ancestry = ancestry[:1] if target.startswith("/") else ancestry
        elif todo and not stat.S_ISDIR(info.st_mode):
            raise ConfigError("not a directory", object=shown, hint="")
        elif not todo:
            return parent, name, info
        else:
            ancestry.append((fd, shown))
    return ancestry[-1][0], ".", os.fstat(ancestry[-1][0])


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
