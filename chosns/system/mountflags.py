"""Finds one mount below a root directory, and sets its flags. Called by `verify`, `repair` and `watch`, as root.

A path is not enough to identify a mount: users can rename directories above it at any moment, and put links in their
place. So no link is followed, and before anything is changed the result is compared with the number in mountinfo. As
long as a process has a descriptor of a mount, the base cannot unmount it. No automounter is triggered: an open with
O_PATH does not do that, and `syscalls` passes the flag against it to the other calls.
"""

from __future__ import annotations

import errno
import os

from chosns.system import syscalls
from chosns.system.inside import INSIDE, open_inside
from chosns.system.mountinfo import Mount, mount_number

STRICT = syscalls.RESOLVE_NO_SYMLINKS | INSIDE
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def open_mount(root: int, mount: Mount) -> int | None:
    """The root directory of `mount`, below `root`; None if its path now leads elsewhere or does not exist.

    :param mount: as mountinfo has it when `root` is the root directory.
    """
    try:
        spot = open_inside(root, mount.target, os.O_PATH | os.O_NOFOLLOW, STRICT)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    try:
        if mount_number(spot) == mount.number:
            found, spot = spot, -1
            return found
        return None
    finally:
        if spot >= 0:
            os.close(spot)


def restrict(root: int, mount: Mount, flags: int, *, recursive: bool = False) -> None:
    """Set flags (MOUNT_ATTR_ bits) of `mount`, and if `recursive` of everything mounted below it, but of no other
    mount.

    Meanwhile the directory that contains the mount point is held open, and not the mount itself, which would be busy
    for the base. A mount point in that directory cannot be moved or replaced.

    :raises OSError: it exists and cannot be restricted. It is no error if it is gone or was moved.
    """
    parent, _, name = mount.target.rpartition("/")
    try:
        directory = open_inside(root, parent or "/", os.O_PATH | os.O_NOFOLLOW, STRICT)
    except OSError as error:
        if error.errno in _GONE:
            return
        raise
    try:
        if syscalls.mount_at(directory, name or ".") == mount.number:
            syscalls.mount_setattr(directory, name or ".", set_=flags, recursive=recursive)
    except OSError as error:
        if error.errno not in (*_GONE, errno.EINVAL):  # unmounted since the look
            raise
    finally:
        os.close(directory)
