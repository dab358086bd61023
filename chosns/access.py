"""Who may enter: the mode, group and POSIX ACL of a generation's directory, which the kernel enforces."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from chosns.formats import acl

_ACL_XATTR = "system.posix_acl_access"
_NO_ACL = (errno.ENODATA, errno.EOPNOTSUPP)


def grant(fd: int, group_ids: Sequence[int]) -> None:
    """Open the directory `fd` to everyone (no group), one group, or several by an ACL; and to nobody else.

    One that is right already is not touched, so that nobody is refused meanwhile.
    """
    wanted = _wanted(group_ids)
    if _found(fd) == wanted:
        return
    uid, gid, mode, entries = wanted
    os.fchmod(fd, 0o700)
    if entries is None and _acl(fd) is not None:
        os.removexattr(fd, _ACL_XATTR)
    os.fchown(fd, uid, gid)
    if entries is not None:
        os.setxattr(fd, _ACL_XATTR, entries)
    else:
        os.fchmod(fd, mode)


def make_ours(fd: int, mode: int) -> None:
    """Give what `fd` is to root with exactly this mode, where it is not so."""
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (0, 0):
        os.fchown(fd, 0, 0)
    if status.st_mode & 0o7777 != mode:
        os.fchmod(fd, mode)


def _wanted(group_ids: Sequence[int]) -> tuple[int, int, int, bytes | None]:
    """Owner, group, mode and ACL."""
    if len(set(group_ids)) > 1:
        return 0, 0, 0o750, acl(group_ids)  # the mode's group bits are the ACL's mask
    return (0, group_ids[0], 0o750, None) if group_ids else (0, 0, 0o755, None)


def _found(fd: int) -> tuple[int, int, int, bytes | None]:
    status = os.fstat(fd)
    return status.st_uid, status.st_gid, status.st_mode & 0o7777, _acl(fd)


def _acl(fd: int) -> bytes | None:
    try:
        return os.getxattr(fd, _ACL_XATTR)
    except OSError as error:
        if error.errno in _NO_ACL:
            return None
        raise
