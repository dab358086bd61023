"""The registry's own mount, /run/chos: made before the first environment, removed after the last.

Root only, on the base. A process that makes or removes it holds a lock outside of it, /run/chos.lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from chosns.registry.access import make_ours
from chosns.registry.reader import PATH
from chosns.registry.writer import RegistryWriter
from chosns.system import syscalls
from chosns.system.mountinfo import read_mounts

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def create_registry() -> RegistryWriter:
    """Open the registry; make it and its private mount if they are missing. Root, on the base.

    Sets the umask, because everybody must be able to read what is made here, whatever umask root's shell has.
    """
    os.umask(0o022)
    with _mount_lock():
        with contextlib.suppress(FileExistsError):
            os.mkdir(PATH, 0o755)
        if not any(mount.target == PATH and mount.fstype == "tmpfs" for mount in read_mounts()):
            attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
            mount = syscalls.new_mount("tmpfs", {"mode": "0755", "size": "16m", "source": "chos"}, attributes)
            syscalls.move_mount(mount, syscalls.AT_FDCWD, PATH)
            os.close(mount)
        # Done each time, because a writer may have been killed in between, or all mounts may have been made shared.
        # Private first, because a shared mount refuses pins. Unbindable implies private.
        syscalls.mount("", PATH, syscalls.MS_UNBINDABLE)
        root = os.open(PATH, _DIRECTORY)
    make_ours(root, 0o755)
    for name in ("env", "gen", "failed", "serial", "module", "stage"):
        _make_directory(root, name)
    return RegistryWriter(root)


def _make_directory(root: int, name: str) -> None:
    """Make a directory of the registry if it is missing, and correct its owner and mode if they were changed."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=root)
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=root)
    except NotADirectoryError:  # a file or a link
        os.unlink(name, dir_fd=root)
        os.mkdir(name, 0o755, dir_fd=root)
        return
    try:
        make_ours(fd, 0o755)
    finally:
        os.close(fd)


def remove_registry() -> None:
    """Unmount an empty registry. If another process reads it at this moment, or starts to fill it, leave it as it
    is."""
    with _mount_lock():
        for _ in range(20):
            try:
                syscalls.umount(PATH)
                break
            except OSError as error:
                if error.errno == errno.EINVAL:  # another `down` was first
                    break
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.01)
        with contextlib.suppress(OSError):
            os.rmdir(PATH)


@contextlib.contextmanager
def _mount_lock() -> Iterator[None]:
    """Allow one process at a time to make or remove the registry's mount. Not by a lock on /run itself, which any user
    could hold."""
    fd = os.open(f"{PATH}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
