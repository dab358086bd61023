"""Finds one mount below a root directory, and sets its flags. Called by `verify`, `repair` and `watch`, as root.

A path alone does not say which mount is meant: users rename the directories above it, and put links in their place, at
any moment. So the way there goes through no link, and what is found is compared with the number in mountinfo before
anything is changed. As long as somebody has a descriptor of a mount, the base cannot unmount it.
No automounter is asked: an open with O_PATH does not, and `syscalls` says so to the others.
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
    """The root directory of `mount`, below `root`; None where its path leads elsewhere by now, or nowhere.

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
    """Set flags (MOUNT_ATTR_ bits) of `mount`, and of all that is mounted below it where `recursive`; of no other.

    The directory that it is in is held meanwhile, not the mount: the base would find it busy. In that directory, nobody
    can move a mount point or put something else in its place.

    :raises OSError: it is there and cannot be restricted. Nothing is said of one that is gone, or moved.
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
