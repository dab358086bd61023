"""Finds out which accounts could change what a path leads to: for OS trees, for files in them, for sources of binds.

Every directory of the path, and the file itself, are checked by owner and mode. If there is an ACL, its mask is the
mode's group bits (acl(5)). Everything is opened with O_PATH only, and nothing is read. Called by `check` and `sources`,
in a worker, because looking may hang.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

from chosns.errors import ConfigError
from chosns.model import Policy
from chosns.system.inside import open_inside
from chosns.system.mountinfo import Mount, mount_number, read_mounts
from chosns.system.paths import is_below, join, parent, split

ROOT = frozenset({0})
_STEPS = 1000  # components and links on the way; more is a loop
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_FUSE_USER = re.compile(r"\buser_id=(\d+)")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Others(NamedTuple):
    """Another account that could change it: the path, the reason, and the command that corrects it. `last`: see
    Step."""

    path: str
    why: str
    mend: str
    last: bool


class Step(NamedTuple):
    """A directory, link or file of the path; `last`: whether it is the last one."""

    path: str
    status: os.stat_result
    last: bool


class Looks(NamedTuple):
    """What was seen in one root, so that nothing is looked at twice.

    `steps`: path → what it is, and where it leads if it is a link. `users`: mount → who mounted it, if it is FUSE.
    """

    steps: dict[str, tuple[os.stat_result, str]]
    users: dict[int, int | None]


def steps(root: int, path: str, looked: Looks | None = None) -> Iterator[Step]:
    """Walk `path` in the directory `root`, every link followed there.

    :param looked: the steps of earlier walks in this root, to be used again, and added to.
    :raises OSError: with the path of the step that cannot be looked at; ELOOP after too many.
    """
    done, todo = "/", split(path)
    looked = looked or Looks({}, {})
    for _ in range(_STEPS):
        if done not in looked.steps:
            looked.steps[done] = _look(root, done)
        status, target = looked.steps[done]
        if todo and not target and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), done)
        yield Step(done, status, not todo and not target)
        if target:
            done, todo = "/" if target.startswith("/") else parent(done), [*split(target), *todo]
        elif todo:
            part = todo.pop(0)
            done = parent(done) if part == ".." else join([*split(done), part])
        else:
            return
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _look(root: int, path: str) -> tuple[os.stat_result, str]:
    fd = _place(root, path)
    try:
        status = os.fstat(fd)
        return status, os.readlink("", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else ""
    finally:
        os.close(fd)


def _place(root: int, path: str) -> int:
    """A descriptor of what is at `path`. It is opened as a directory, so that an automounter mounts it first."""
    try:
        return open_inside(root, path, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    except NotADirectoryError:
        return open_inside(root, path, os.O_PATH | os.O_NOFOLLOW)


def others(
    root: int, path: str, owners: Collection[int] = ROOT, *, sticky: bool = True, looked: Looks | None = None
) -> Others | None:
    """The first step of `path` in `root` that an account other than `owners` could change; None if there is none.

    :param sticky: accept sticky directories in the path, because nobody can move root's files in them.
    :param looked: see `steps`.
    :raises OSError: as `steps`.
    """
    looked = looked or Looks({}, {})
    device = None
    for step in steps(root, path, looked):
        status, mode = step.status, step.status.st_mode
        # The owner of a link matters only in a sticky directory, where the owner may replace it.
        if status.st_uid not in owners and (sticky or not stat.S_ISLNK(mode)):
            why = f"belongs to {account(status.st_uid)}, not to root"
            return Others(step.path, why, "chown -h root:root", step.last)
        if not stat.S_ISLNK(mode) and mode & _WRITABLE and (step.last or not sticky or not mode & stat.S_ISVTX):
            return Others(step.path, "is writable by others than root", "chmod go-w", step.last)
        # The owner that FUSE shows is not reliable: its server chooses it.
        user = _fuse_user_at(root, step.path, looked.users) if device not in (None, status.st_dev) else None
        if user is not None and user not in owners:
            return Others(step.path, f"was mounted by {account(user)} (FUSE)", "umount", step.last)
        device = status.st_dev
    return None


def others_inside(tree: int, paths: Collection[str], owners: Collection[int] = ROOT) -> Others | None:
    """`others` for each of these paths in a tree. Missing ones are ignored."""
    looked = Looks({}, {})  # most lie in the same few directories
    for path in paths:
        try:
            found = others(tree, path, owners, sticky=False, looked=looked)
        except OSError as error:
            if error.errno in (*_ABSENT, errno.EACCES):
                continue
            raise
        if found:
            return found
    return None


def owners_of(policy: Policy) -> frozenset[int]:
    """The accounts that may own a tree. :raises ConfigError: the configured account does not exist here."""
    if not policy.owner:
        return ROOT
    try:
        return ROOT | {pwd.getpwnam(policy.owner).pw_uid}
    except KeyError:
        message = f"account {policy.owner}, which may own the OS tree, is unknown on this node"
        raise ConfigError(message, object="owner", hint="correct `owner`, or create the account") from None


def account(uid: int) -> str:
    """How messages call a user."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def is_fuse(mount: Mount) -> bool:
    """Whether the file system is FUSE, which is served by a process."""
    return mount.fstype in ("fuse", "fuseblk") or mount.fstype.startswith("fuse.")


def is_private(mount: Mount) -> bool:
    """Whether only the user who mounted it may read it, and not even root (fuse(8))."""
    return is_fuse(mount) and "allow_other" not in mount.options.split(",")


def private_fuse(path: str) -> Mount | None:
    """The FUSE file system that only its user may read and that contains `path`, which has no links; None if there is
    none."""
    around = [mount for mount in read_mounts() if is_below(path, mount.target)]
    # Of several at one place the last is on top.
    top = max(reversed(around), key=lambda mount: len(split(mount.target)), default=None)
    return top if top and is_private(top) else None


def mount_of(fd: int) -> Mount | None:
    """The line of mountinfo for the mount that a descriptor is on."""
    return _mount(mount_number(fd))


def _mount(number: int) -> Mount | None:
    return next((mount for mount in read_mounts() if mount.number == number), None)


def _fuse_user_at(root: int, path: str, known: dict[int, int | None]) -> int | None:
    """The user who mounted the FUSE file system at `path`.

    :param known: mount → that, of mounts that were asked for. The mount table may be long, and an overlay shows another
        device with every file.
    """
    fd = _place(root, path)
    try:
        number = mount_number(fd)
    finally:
        os.close(fd)
    if number not in known:
        mount = _mount(number)
        match = _FUSE_USER.search(mount.options) if mount and is_fuse(mount) else None
        known[number] = int(match[1]) if match else None
    return known[number]
