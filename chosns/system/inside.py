"""Opens a path below a directory, and never outside of it, whatever links and `..` the path contains (openat2(2))."""

from __future__ import annotations

import errno

from chosns.system import syscalls

INSIDE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_RACES = 16  # openat2 answers EAGAIN when a rename elsewhere might have let it out: try again


def open_inside(root: int, path: str, flags: int, resolve: int = INSIDE) -> int:
    """Open `path` below the directory `root` and nowhere else. :raises OSError: with `path` in it."""
    for attempt in range(_RACES):
        try:
            return syscalls.openat2(root, path.lstrip("/") or ".", flags, resolve)
        except OSError as error:
            if error.errno != errno.EAGAIN or attempt == _RACES - 1:
                raise OSError(error.errno, error.strerror, path) from None
    raise AssertionError("unreachable")
