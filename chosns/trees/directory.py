"""A `View` of a real root directory. A hostile tree cannot make it look outside of that directory.

Every look is one openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, so links, `..` and magic links of /proc in
the tree stay inside it. It only looks; nothing here writes or mounts.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from chosns.plan.view import Kind
from chosns.system.inside import open_inside

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class DirectoryView:
    """The directory `path`, held open until `close`; a context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._kinds: dict[str, Kind | None] = {}

    def close(self) -> None:
        """Release the directory."""
        os.close(self.fd)

    def __enter__(self) -> DirectoryView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def kind(self, path: str) -> Kind | None:
        """See View. What the caller may not look at counts as missing."""
        if path not in self._kinds:
            self._kinds[path] = self._look(path)
        return self._kinds[path]

    def _look(self, path: str) -> Kind | None:
        try:
            fd = open_inside(self.fd, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in _NOTHING or error.errno == errno.EACCES:
                return None
            raise
        try:
            return _kind_of(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def readlink(self, path: str) -> str:
        """See View."""
        fd = open_inside(self.fd, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)

    def entries(self, path: str) -> dict[str, Kind]:
        """See View. Types come from the directory itself, so a mount point that hangs is not touched."""
        fd = open_inside(self.fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(fd) as listing:
                return {entry.name: _kind_of_entry(entry) for entry in listing}
        finally:
            os.close(fd)


def _kind_of(mode: int) -> Kind:
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    if stat.S_ISLNK(mode):
        return Kind.LINK
    return Kind.FILE if stat.S_ISREG(mode) else Kind.OTHER


def _kind_of_entry(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.DIRECTORY
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER
