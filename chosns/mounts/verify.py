"""Reads back what the kernel says is mounted, and compares it with the plan: docs/security.md, rule 18.

Called by `backends.ns` in the namespace that `execute` has built. Reads mountinfo only, because asking a file system
might hang. Changes only one thing: mounts that came from the base meanwhile get the same restrictions as the others.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from chosns.errors import BuildError, ChangedError
from chosns.mounts.differences import differences
from chosns.plan.operations import Flags, MakeDirectory, MakeSymlink, Plan
from chosns.system import procfs, syscalls
from chosns.system.mountflags import restrict
from chosns.system.mountinfo import Mount, mount_number, parse_mount, read_mounts
from chosns.system.paths import join, split

_ATTRIBUTE_OF = {
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "ro": syscalls.MOUNT_ATTR_RDONLY,
}


_CHANGED = "a mount came or went on the base while it was being built"
_AGAIN = "run `chosctl up` again; where mounts come and go all the time: which, and why?"


class Shown(NamedTuple):
    """What a mount shows: which part of which file system, and whose mounts it follows (`master:N`)."""

    device: str
    root: str
    masters: frozenset[str]


class Origins:
    """Finds out what a copy of a descriptor's mount will show, from the present mount table of this namespace."""

    def __init__(self) -> None:
        with open(procfs.of("self", "mountinfo"), "rb") as file:
            self._lines = {line.partition(b" ")[0]: line for line in file.read().split(b"\n")}
        self._mounts: dict[bytes, Mount] = {}

    def of(self, fd: int) -> Shown:
        """:raises ChangedError: it is on a mount that was not there."""
        path = os.readlink(procfs.descriptor(fd))
        number = b"%d" % mount_number(fd)
        if number not in self._lines:
            raise ChangedError(_CHANGED, object=path, hint=_AGAIN)
        if number not in self._mounts:
            self._mounts[number] = parse_mount(self._lines[number].decode("utf-8", "surrogateescape"))
        mount = self._mounts[number]
        below = split(path)[len(split(mount.target)) :]
        return Shown(mount.device, join([*split(mount.root), *below]), _masters(mount))


def whole(mount: int) -> Shown:
    """What a mount of a new file system shows: all of it, and it receives mounts from no other."""
    device = os.fstat(mount).st_dev
    return Shown(f"{os.major(device)}:{os.minor(device)}", "/", frozenset())


def _shown(mount: Mount) -> Shown:
    return Shown(mount.device, mount.root, _masters(mount))


def _masters(mount: Mount) -> frozenset[str]:
    return frozenset(tag for tag in mount.propagation if tag.startswith("master:"))


def attributes(flags: Flags) -> int:
    """MOUNT_ATTR_ bits of `flags`."""
    return (
        (syscalls.MOUNT_ATTR_NOSUID if flags.nosuid else 0)
        | (syscalls.MOUNT_ATTR_NODEV if flags.nodev else 0)
        | (syscalls.MOUNT_ATTR_RDONLY if flags.read_only else 0)
    )


def verify(plan: Plan, root: int, shown: dict[str, Shown], numbers: dict[str, int]) -> None:
    """Compare what the kernel says is mounted in this namespace with the plan.

    Every operation's mount must exist, show what it was made to show, and receive mounts from the base if its source
    does. Every mount must be at least as restricted as the operation that covers it. None may be shared, because
    then something mounted inside would show on the base. A mount that came from the base meanwhile is restricted here.

    :param shown: what must be visible at each target.
    :param numbers: which mount is at a target, at least for those after the pivot.
    :raises BuildError: naming the first difference.
    :raises ChangedError: something was mounted or unmounted on the base, but not inside.
    """
    wanted = {
        op.target: attributes(op.flags) for op in plan.operations if not isinstance(op, (MakeDirectory, MakeSymlink))
    }
    found = read_mounts()
    mounts = {mount.target: mount for mount in found}  # the uppermost at each place
    missing = set(wanted) - set(mounts)
    if missing:
        raise BuildError(f"nothing is mounted at {min(missing)}", object=plan.environment)
    _compare(plan, found, shown)
    for mount in mounts.values():
        if mount.propagation and mount.propagation[0].startswith("shared:"):
            raise BuildError(f"{mount.target} is a shared mount", object=plan.environment)
        lacking = _wanted_at(mount.target, wanted)
        for name in mount.flags:
            lacking &= ~_ATTRIBUTE_OF.get(name, 0)
        if lacking and _shown(mount) == shown.get(mount.target):
            raise BuildError(f"{mount.target} lacks flags of the plan", object=plan.environment)
        if lacking:
            restrict(root, mount, lacking)
    changed = differences(plan, found, numbers)
    if changed:  # mountinfo is read in pieces, so a mount that came in between is not a difference
        changed &= differences(plan, read_mounts(), numbers)
    if changed:
        raise ChangedError(f"{_CHANGED}: {min(changed)}", object=plan.environment, hint=_AGAIN)


def _wanted_at(target: str, wanted: dict[str, int]) -> int:
    """The flags of the innermost operation that covers `target`; the root's covers everything."""
    while target not in wanted:
        target = target.rpartition("/")[0] or "/"
    return wanted[target]


def _compare(plan: Plan, mounts: list[Mount], shown: dict[str, Shown]) -> None:
    """Check that at each target is the mount made for it, even if it is covered by one that came from the base
    since."""
    at: dict[str, list[Mount]] = {}
    for mount in mounts:
        if mount.target in shown:
            at.setdefault(mount.target, []).append(mount)
    for target, wanted in shown.items():
        there = [_shown(mount) for mount in at[target]]
        if wanted in there:
            continue
        if wanted[:2] in [found[:2] for found in there]:
            raise BuildError(f"{target} does not follow the base's mounts", object=plan.environment)
        raise BuildError(f"{target} shows something else than the plan says", object=plan.environment)
