"""Who may enter: the mode, group and POSIX ACL of a generation's directory, which the kernel enforces."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from chosns.registry.formats import acl, acl_groups

_ACL_XATTR = "system.posix_acl_access"
_CLOSED = (0, 0, 0o700, None)  # owner, group, mode and ACL of a directory that only root may enter
_NO_ACL = (errno.ENODATA, errno.EOPNOTSUPP)


def grant(fd: int, group_ids: Sequence[int]) -> None:
    """Open the directory `fd` to everyone (if no group is given), to one group, or to several by an ACL, and to nobody
    else.

    A directory that is right already is not touched, so that no user is refused for a moment.
    """
    _set(fd, _wanted(group_ids))


def narrow(fd: int, group_ids: Sequence[int]) -> bool:
    """Close the directory `fd` to everyone who is in none of these groups (if none is given, close it to nobody). Never
    opens it to anybody.

    :returns: whether anybody except root may still enter.
    """
    left = narrowed(may_enter(fd), group_ids)
    if left is None:
        grant(fd, group_ids)
        return True
    if left:
        grant(fd, sorted(left))
    else:
        _set(fd, _CLOSED)
    return bool(left)


def narrowed(entrants: frozenset[int] | None, group_ids: Sequence[int]) -> frozenset[int] | None:
    """Who may enter once `narrow` has closed a directory: groups by number; None: everyone. Pure.

    :param entrants: who may enter now.
    """
    wanted = frozenset(group_ids)
    if entrants is None:
        return wanted or None
    return entrants & wanted if wanted else entrants


def may_enter(fd: int) -> frozenset[int] | None:
    """The groups that may enter the directory `fd`; None where everyone may."""
    _, gid, mode, entries = _found(fd)
    if mode & 0o001:
        return None
    if entries is not None:
        return frozenset(acl_groups(entries))
    return frozenset({gid}) if mode & 0o010 else frozenset()


def is_granted(fd: int) -> bool:
    """Whether owner, mode and ACL of the directory `fd` are exactly what `grant` or `narrow` makes for its entrants."""
    entrants = may_enter(fd)
    return _found(fd) == (_CLOSED if entrants == frozenset() else _wanted(sorted(entrants or ())))


def _set(fd: int, wanted: tuple[int, int, int, bytes | None]) -> None:
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
    """Make root the owner of `fd`, with exactly this mode, if that is not so already."""
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
