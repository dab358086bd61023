"""Reading and replacing files of other programs, as root, safely.

Every directory on the way is checked by descriptor (`config.trusted`); a file is replaced by one rename, and keeps
owner, mode and extended attributes, such as the SELinux label and the ACL. What dies at any point leaves the old file
or the new one; a temporary file beside it is removed the next time.

Must never follow a link in the last place, or write to a file that others may write. Called by `engine` and `record`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from chosns.config.trusted import display_path, read_trusted, trusted_directory
from chosns.integrate.model import InstallError, Machine
from chosns.system import fault

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LARGEST = 8 << 20
_BOUND = {"security.ima", "security.evm"}  # signatures of the old file
_PRINT = "--print shows what to change where the file is managed"
_HINTS = {
    errno.ENOSPC: "the file system is full: df -h, df -i",
    errno.EDQUOT: "a quota is used up",
    errno.EROFS: f"remount it writable; {_PRINT}",
    errno.EACCES: "become root",
    errno.EPERM: "become root; lsattr shows whether it is immutable",
    errno.EBUSY: f"it is a mount point; {_PRINT}",
}


def read(machine: Machine, path: str) -> str | None:
    """The text of a regular file, or None where there is none.

    :raises ConfigError: a link, not a regular file, or others may write it or a directory above.
    """
    with _parent(machine, path) as (directory, name):
        if directory is None or _status(directory, name, path, machine) is None:
            return None
    return read_trusted(machine.root, path, machine.uids)


def read_foreign(machine: Machine, path: str) -> str:
    """The text of another program's file that is only read, through links: where it is is that program's affair.

    :raises InstallError: it cannot be read, is larger than any configuration, or is no file: a FIFO would never end.
    """
    shown = display_path(machine.root, path)
    try:
        fd = os.open(shown, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise InstallError(f"cannot be read: {error.strerror}", object=shown, hint="nothing was changed") from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InstallError("is not a regular file", object=shown, hint="put an ordinary file here")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InstallError("is larger than 8 MiB, so it was not read", object=shown, hint=_PRINT)
    return content.decode("utf-8", "surrogateescape")


def listing(machine: Machine, path: str) -> list[str]:
    """The names in a directory; none where there is none."""
    with trusted_directory(machine.root, path, machine.uids) as directory:
        return [] if directory is None else sorted(os.listdir(directory))


def put(machine: Machine, path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file, or make it, with `mode` then."""
    with errors(machine, path), _parent(machine, path) as (directory, name):
        if directory is None:
            raise InstallError("its directory does not exist", object=display_path(machine.root, path))
        old = _status(directory, name, path, machine)
        temporary = _sweep(directory, name)
        fault.point()
        new = os.open(temporary, _NEW, 0o600, dir_fd=directory)
        try:
            if old is None:
                os.fchmod(new, mode)
            else:
                _like_old(directory, name, new)
            _write(new, text.encode("utf-8", "surrogateescape"))
            os.fsync(new)
            fault.point()
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise
        finally:
            os.close(new)
        fault.point()
        os.fsync(directory)


def sweep(machine: Machine, path: str) -> None:
    """Remove what a process that was killed left beside a file."""
    with errors(machine, path), _parent(machine, path) as (directory, name):
        if directory is not None:
            _sweep(directory, name)


def remove(machine: Machine, path: str) -> None:
    """Remove a file, if there is one."""
    with errors(machine, path), _parent(machine, path) as (directory, name):
        if directory is not None:
            fault.point()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            os.fsync(directory)


def make_directory(machine: Machine, path: str, mode: int) -> None:
    """Make a directory, and those above it for everybody to see; those that are there stay as they are."""
    parts = path.strip("/").split("/")
    for length in range(1, len(parts) + 1):
        with errors(machine, path), _parent(machine, "/" + "/".join(parts[:length])) as (directory, name):
            if directory is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, mode if length == len(parts) else 0o755, dir_fd=directory)


def remove_directory(machine: Machine, path: str) -> None:
    """Remove a directory if it is there and empty."""
    with errors(machine, path), _parent(machine, path) as (directory, name):
        if directory is not None:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                    raise


@contextlib.contextmanager
def _parent(machine: Machine, path: str) -> Iterator[tuple[int | None, str]]:
    above, name = os.path.split(path.rstrip("/"))
    with trusted_directory(machine.root, above, machine.uids) as directory:
        yield directory, name


def _sweep(directory: int, name: str) -> str:
    """Remove the temporary file of an earlier process; its name."""
    temporary = f".{name}.chosctl-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    return temporary


def _status(directory: int, name: str, path: str, machine: Machine) -> os.stat_result | None:
    """What is there, when it is a plain file."""
    shown = display_path(machine.root, path)
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise InstallError("is a symbolic link, and is not changed", object=shown, hint=_PRINT)
    if not stat.S_ISREG(status.st_mode):
        raise InstallError("is not a regular file, and is not changed", object=shown, hint="put an ordinary file here")
    return status


def _like_old(directory: int, name: str, new: int) -> None:
    """Give a new file what the old one has besides its content."""
    old = os.open(name, _OLD, dir_fd=directory)
    try:
        status, own = os.fstat(old), os.fstat(new)
        if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
            os.fchown(new, status.st_uid, status.st_gid)
        attributes = os.listxattr(old)
        for attribute in set(attributes) - _BOUND:
            os.setxattr(new, attribute, os.getxattr(old, attribute))
        if "system.posix_acl_access" not in attributes:  # the directory's default
            with contextlib.suppress(OSError):
                os.removexattr(new, "system.posix_acl_access")
        os.fchmod(new, stat.S_IMODE(status.st_mode))
    finally:
        os.close(old)


def _write(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]


@contextlib.contextmanager
def errors(machine: Machine, path: str) -> Iterator[None]:
    """Turn an OSError inside into an error with a hint."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        shown = display_path(machine.root, path)
        raise InstallError(f"cannot be changed: {error.strerror}", object=shown, hint=hint) from error
