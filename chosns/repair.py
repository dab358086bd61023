"""Keeps what comes to the base after `chosctl up` as restricted inside as the plan says: docs/security.md, rule 34.

Looks at every generation that is pinned, old ones too, and restricts in place what lacks flags: at once, and without
a trace on the base. Gives old generations the launcher that is installed now. `repair` is called by `lifecycle` with
the registry's lock; whoever wants to know only calls `look`.

Children of root's go into the generations' namespaces. Their root directory stays the base's, so that nothing of a tree
is opened, whatever Python or libc think of. A file system that does not answer costs its generation a time limit.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from chosns import syscalls
from chosns.backends.worker import Worker
from chosns.errors import ChangedError, ChosError
from chosns.install import find_launcher, launcher_problem
from chosns.late import Lacking, Wanted, automounts, compare, on_base, tops, uppermost, wanted_by
from chosns.mountinfo import Mount
from chosns.registry import PATH, Generation
from chosns.trees.view import INSIDE, open_inside
from chosns.verify import Origins, Shown

_TIME_LIMIT = 10.0  # seconds: nothing here takes long, unless a file system on the way does not answer
_MOST = 1000  # mounts of one generation that are reported by name
_FLAGS = (syscalls.MOUNT_ATTR_NOSUID, syscalls.MOUNT_ATTR_NODEV, syscalls.MOUNT_ATTR_RDONLY)
_STRICT = syscalls.RESOLVE_NO_SYMLINKS | INSIDE
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Seen:
    """What was found in one generation.

    late:       base's name of a mount that lacks nosuid inside, though the plan wants it → type of its file system
    lacking:    how many mounts lack any flag of the plan
    automounts: where an automounter of the base may mount more, by the base's names
    launcher:   the launcher there is missing, or another than the one that is installed now
    """

    generation: Generation
    late: dict[str, str]
    lacking: int
    automounts: tuple[str, ...]
    launcher: bool


class Repaired(NamedTuple):
    """`notes`: what an administrator is told. `whole`: nothing is known to allow more than its plan."""

    notes: list[str]
    whole: bool


def look(generations: Sequence[Generation], limit: float = _TIME_LIMIT) -> list[Seen]:
    """Look at the mounts of each generation. Root, on the base. :raises ChosError: they could not be looked at."""
    pinned = [generation for generation in generations if generation.pinned and generation.manifest]
    if not pinned:
        return []
    found = []
    # A second more for each: there may be very many mounts.
    with Worker(lambda worker: _look(worker, pinned), "mounts inside", limit + len(pinned)) as worker:
        for generation in pinned:
            seen = worker.expect("seen")
            if not seen["gone"]:
                late, places = seen["late"], tuple(seen["automounts"])
                found.append(Seen(generation, late, seen["lacking"], places, seen["launcher"]))
    return found


def repair(generations: Sequence[Generation], limit: float = _TIME_LIMIT, *, launchers: bool = True) -> Repaired:
    """Restrict what lacks flags of the plan, and exchange launchers of old. Root, on the base.

    :param launchers: exchange them; with the registry's lock held, or two might do it at once.
    """
    try:
        seen = look(generations, limit)
    except ChosError as error:
        return Repaired([f"{error}: what was mounted since may give rights inside"], False)
    restricted: dict[str, None] = {}
    renewed, notes, whole = [], [], True
    for found in seen:
        found = found if launchers else replace(found, launcher=False)
        if not found.lacking and not found.launcher:
            continue
        name = str(found.generation)
        try:
            with Worker(partial(_mend, found=found), name, limit) as worker:
                report = worker.expect("mended")
        except ChosError as error:
            notes.append(f"{error}: what was mounted since may give rights in it")
            whole = False
            continue
        restricted.update(dict.fromkeys(report["done"]))
        renewed += [name] if report["launcher"] else []
        if report["left"]:
            notes.append(f"{name}: {some(report['left'])} cannot be restricted as planned")
            whole = False
    if restricted:
        notes.append(f"mounted since, and restricted inside now: {some(list(restricted))}")
    if renewed:
        notes.append(f"the launcher that is installed now is also in {some(renewed)}")
    return Repaired(notes, whole)


def some(names: Sequence[str], most: int = 5) -> str:
    """A list for people, cut."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class Visitor:
    """A process's descriptors of the base, by which it gets from one namespace into the next."""

    def __init__(self) -> None:
        self._root = os.open("/", _DIRECTORY)
        self.proc = os.open("/proc", _DIRECTORY)
        self._registry = os.open(PATH, _DIRECTORY)

    def close(self) -> None:
        """Let go of them."""
        for fd in (self._root, self.proc, self._registry):
            os.close(fd)

    def enter(self, generation: str) -> tuple[int, int]:
        """Go into a generation's namespace, but not below its root: descriptors of that, and of its mountinfo."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        pin = os.open(f"gen/{generation}/ns", flags, dir_fd=self._registry)
        try:
            syscalls.setns(pin, syscalls.CLONE_NEWNS)
        finally:
            os.close(pin)
        try:
            # The root directory at the moment of opening says which mounts are listed, and under which names.
            return os.open("/", _DIRECTORY), os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        finally:
            os.fchdir(self._root)
            os.chroot(".")


def _look(worker: Worker, generations: Sequence[Generation]) -> None:
    """The child that looks: one report for each generation, in order."""
    installed = _installed_launcher()
    base = Visitor()
    for generation in generations:
        try:
            root, mounts = base.enter(str(generation))
        except OSError:  # retired meanwhile
            worker.send("seen", gone=True)
            continue
        worker.send("seen", gone=False, **_seen(read_all(mounts), wanted_by(generation.manifest), installed))
        os.close(root)
        os.close(mounts)


def _seen(mountinfo: bytes, wanted: Wanted, installed: Shown | None) -> dict[str, Any]:
    lacking = list(compare(mountinfo, wanted))
    late: dict[str, str] = {}
    for mount, flags in lacking:
        if flags & syscalls.MOUNT_ATTR_NOSUID and mount.fstype != "autofs" and len(late) < _MOST:
            late[on_base(mount.target)] = mount.fstype
    there = uppermost(mountinfo, wanted.launcher)
    same = installed and there and (there.device, there.root) == (installed.device, installed.root)
    return {
        "late": late,
        "lacking": len(lacking),
        "automounts": sorted(automounts(mountinfo))[:_MOST],
        "launcher": bool(wanted.launcher and installed and not same),
    }


def _installed_launcher() -> Shown | None:
    """What a bind of the launcher would show, from the base; None where there is none that works."""
    launcher = find_launcher()
    if launcher is None or launcher_problem():
        return None
    fd = os.open(launcher.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return Origins().of(fd)
    except ChangedError:
        return None
    finally:
        os.close(fd)


def _mend(worker: Worker, found: Seen) -> None:
    """The child that repairs one generation."""
    wanted = wanted_by(found.generation.manifest)
    copy = _launcher_copy() if found.launcher else -1
    root, mounts = Visitor().enter(str(found.generation))
    lacking = list(compare(read_all(mounts), wanted))
    before = {_key(mount): mount for mount, _ in lacking}
    # nosuid first: should a file system on the way to some mount not answer, at least that is done.
    for flag in (flag for flag in _FLAGS if any(flags & flag for _, flags in lacking)):
        for target in tops(read_all(mounts), wanted, flag):
            _restrict(root, target, flag, recursive=True)
        for mount, flags in compare(read_all(mounts), wanted):
            if flags & flag:
                _restrict(root, mount.target, flag)
    if copy >= 0:
        missing = uppermost(read_all(mounts), wanted.launcher) is None
        _exchange(root, wanted.launcher, copy, missing=missing)
    now = read_all(mounts)
    after = {_key(one.mount): one for one in compare(now, wanted)}
    left = {on_base(one.mount.target): None for key, one in after.items() if key in before and _matters(one, now)}
    done = {on_base(mount.target): None for key, mount in before.items() if key not in after}
    worker.send("mended", done=list(done)[:_MOST], left=list(left)[:_MOST], launcher=copy >= 0)


def _key(mount: Mount) -> tuple[int, str]:
    return mount.number, mount.target  # numbers are given again


def _restrict(root: int, target: str, flag: int, *, recursive: bool = False) -> None:
    """Set a flag of the mount at `target`, of all below it too where `recursive`; what comes of it is seen afterwards.

    By its path, and not by a descriptor: as long as somebody has one of a mount, it cannot be unmounted on the base.
    """
    with contextlib.suppress(OSError):  # it is gone again; under another; or, for read-only, somebody is writing there
        syscalls.mount_setattr(root, target[1:], set_=flag, recursive=recursive)


def _matters(lacking: Lacking, mountinfo: bytes) -> bool:
    """Whether it is worth a word. A mount under another may lack nodev below /local, where /local/dev has not: then it
    waits for the `up` after it has come to light. No right comes from that: it is the same device on the base."""
    there = uppermost(mountinfo, lacking.mount.target)
    in_sight = there is not None and there.number == lacking.mount.number
    return in_sight or bool(lacking.flags & syscalls.MOUNT_ATTR_NOSUID)


def _launcher_copy() -> int:
    """A detached bind of the installed launcher, as the plans have it: read-only, nodev, a slave of the base's."""
    launcher = find_launcher()
    assert launcher is not None
    copy = syscalls.open_tree(syscalls.AT_FDCWD, launcher.path, syscalls.OPEN_TREE_CLONE)
    flags = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV
    syscalls.mount_setattr(copy, "", set_=flags, propagation=syscalls.MS_SLAVE)
    return copy


def _exchange(root: int, target: str, copy: int, *, missing: bool) -> None:
    """Put the copy in the place of the launcher of old: under it, then take that away, so that there is one at every
    moment. On it nothing can be mounted, for its file is deleted. Whoever has it open gets no rights by it any more: it
    is in no namespace. Linux before 6.5 knows no under; there it is missing for some microseconds.

    :param missing: there is none, because that was interrupted.
    """
    old = open_inside(root, target, os.O_PATH | os.O_NOFOLLOW, _STRICT)
    try:
        if missing:
            syscalls.move_mount(copy, old, "")
            return
        try:
            syscalls.move_mount(copy, old, "", beneath=True)
            above = True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            above = False
        syscalls.umount_open(old)
    finally:
        os.close(old)
    if not above:
        _exchange(root, target, copy, missing=True)


def read_all(fd: int) -> bytes:
    """All of a file of /proc, as it is now."""
    os.lseek(fd, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(fd, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
