"""Restricts inside, as the plan says, what was mounted on the base after `chosctl up`: docs/security.md, rule 34.

Looks at every pinned generation, old ones too, and sets missing flags in place. This takes effect at once, and changes
nothing on the base. Old generations get the launcher that is installed now. `node.hands` calls `repair` with the
registry's lock; callers that only want to know call `look`.

Child processes that are root enter the generations' namespaces. Entering moves their root directory; it is set back to
the base's at once, and in between only two descriptors are opened (`Visitor`). So Python and libc never open a file of
a tree. A file system that does not answer delays its own generation only, by a time limit.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from chosns.errors import ChangedError, ChosError
from chosns.lazydata import dataclass
from chosns.mounts.late import Lacking, Wanted, automounts, compare, on_base, tops, uppermost, wanted_by
from chosns.mounts.verify import Origins, Shown
from chosns.mounts.worker import Worker
from chosns.registry import PATH, Generation
from chosns.system import procfs, syscalls
from chosns.system.inside import open_inside
from chosns.system.installed import find_launcher, launcher_problem
from chosns.system.mountflags import STRICT, open_mount, restrict
from chosns.system.mountinfo import Mount

_TIME_LIMIT = 10.0  # seconds; only a file system that does not answer takes so long
_MOST = 1000  # mounts of one generation that are reported by name
_ATTEMPTS = 3  # attempts, if a mount is not found at its place because its directory was moved meanwhile
# The generation's directory is gone, or its pin is gone and only the file below it is left.
RETIRED = (errno.ENOENT, errno.EINVAL)
_FLAGS = (syscalls.MOUNT_ATTR_NOSUID, syscalls.MOUNT_ATTR_NODEV, syscalls.MOUNT_ATTR_RDONLY)
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Findings:
    """What was found in one generation.

    late:       the base's name of a mount that lacks nosuid inside, although the plan has it → type of its file system
    lacking:    how many mounts lack any flag of the plan
    automounts: where an automounter of the base may mount more, by the base's names
    launcher:   whether the launcher there is missing, or is not the one that is installed now
    problem:    why the generation could not be looked at; then nothing else is known
    """

    generation: Generation
    late: dict[str, str]
    lacking: int
    automounts: tuple[str, ...]
    launcher: bool
    problem: str = ""


class Repaired(NamedTuple):
    """`notes`: for the administrator. `whole`: no mount is known to allow more than its plan."""

    notes: list[str]
    whole: bool


def look(generations: Sequence[Generation], limit: float = _TIME_LIMIT) -> list[Findings]:
    """Look at the mounts of each generation. Root, on the base. :raises ChosError: none could be looked at."""
    pinned = [generation for generation in generations if generation.pinned and generation.manifest]
    if not pinned:
        return []
    found = []
    # One second more for each generation, because there may be very many mounts.
    with Worker(lambda worker: _look(worker, pinned), "mounts inside", limit + len(pinned)) as worker:
        for generation in pinned:
            seen = worker.expect("seen")
            if "problem" in seen:
                found.append(Findings(generation, {}, 0, (), False, seen["problem"]))
            elif not seen["gone"]:
                late, places = seen["late"], tuple(seen["automounts"])
                found.append(Findings(generation, late, seen["lacking"], places, seen["launcher"]))
    return found


def repair(generations: Sequence[Generation], limit: float = _TIME_LIMIT, *, launchers: bool = True) -> Repaired:
    """Restrict mounts that lack flags of the plan, and replace old launchers. Root, on the base.

    :param launchers: replace launchers; only with the registry's lock, so that no two processes do it at once.
    """
    try:
        seen = look(generations, limit)
    except ChosError as error:
        return Repaired([f"{error}: what was mounted since may give rights inside"], False)
    restricted: dict[str, None] = {}
    renewed, notes, whole = [], [], True
    for found in seen:
        found = found if launchers else replace(found, launcher=False)
        if found.problem:
            notes.append(not_looked_at(found))
            whole = False
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


def not_looked_at(seen: Findings) -> str:
    """The note about a generation with a problem."""
    return f"{seen.problem}: what was mounted since may give rights in it"


def some(names: Sequence[str], most: int = 5) -> str:
    """A list for people, cut off after some items."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class Visitor:
    """Descriptors of the base that let a process go from one namespace into the next and back; a context manager."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as opened:
            self._root = os.open("/", _DIRECTORY)
            opened.callback(os.close, self._root)
            self.proc = os.open(procfs.DIRECTORY, _DIRECTORY)
            opened.callback(os.close, self.proc)
            self._registry = os.open(PATH, _DIRECTORY)
            opened.callback(os.close, self._registry)
            self._opened = opened.pop_all()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._opened.close()

    def enter(self, generation: str) -> tuple[int, int]:
        """Enter a generation's namespace, but keep the base's root directory. Returns descriptors of the generation's
        root and of its mountinfo."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        pin = os.open(f"gen/{generation}/ns", flags, dir_fd=self._registry)
        try:
            with self._moved(pin):
                # The root directory at the moment of opening decides which mounts mountinfo lists, and under which
                # names.
                mounts = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
                try:
                    return os.open("/", _DIRECTORY), mounts
                except OSError:
                    os.close(mounts)
                    raise
        finally:
            os.close(pin)

    def go(self, pin: int) -> None:
        """Enter the namespace of an open pin, but keep the base's root directory."""
        with self._moved(pin):
            pass

    @contextlib.contextmanager
    def _moved(self, pin: int) -> Iterator[None]:
        """Inside this context the root directory is the namespace's."""
        try:
            syscalls.setns(pin, syscalls.CLONE_NEWNS)
            yield
        finally:
            os.fchdir(self._root)
            os.chroot(".")


def _look(worker: Worker, generations: Sequence[Generation]) -> None:
    """The child process that looks. It sends one report for each generation, in order."""
    installed = _installed_launcher()
    with Visitor() as visitor:
        for generation in generations:
            try:
                report = _look_at(visitor, generation, installed)
            except ChosError as error:
                report = {"problem": str(error)}
            except OSError as error:
                gone = error.errno in RETIRED
                report = {"gone": True} if gone else {"problem": f"{generation}: {error.strerror}"}
            worker.send("seen", **report)


def _look_at(visitor: Visitor, generation: Generation, installed: Shown | None) -> dict[str, Any]:
    wanted = wanted_by(generation.manifest, str(generation))
    root, mounts = visitor.enter(str(generation))
    try:
        return {"gone": False, **_seen(read_all(mounts), wanted, installed)}
    finally:
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
    """What a bind of the base's launcher would show; None if no working launcher is installed."""
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


def _mend(worker: Worker, found: Findings) -> None:
    """The child process that repairs one generation. It ends afterwards, so it closes nothing itself."""
    wanted = wanted_by(found.generation.manifest, str(found.generation))
    copy = _launcher_copy() if found.launcher else -1
    root, mounts = Visitor().enter(str(found.generation))
    before = {_key(mount): mount for mount, _ in compare(read_all(mounts), wanted)}
    for _ in range(_ATTEMPTS):
        _restrict_all(root, mounts, wanted)
        now = read_all(mounts)
        after = {_key(one.mount): one for one in compare(now, wanted)}
        left = {on_base(one.mount.target): None for key, one in after.items() if key in before and _matters(one, now)}
        if not left:
            break
    if copy >= 0:
        _exchange(root, wanted.launcher, copy, uppermost(read_all(mounts), wanted.launcher))
    done = {on_base(mount.target): None for key, mount in before.items() if key not in after}
    worker.send("mended", done=list(done)[:_MOST], left=list(left)[:_MOST], launcher=copy >= 0)


def _restrict_all(root: int, mounts: int, wanted: Wanted) -> None:
    """Set the missing flags, nosuid first: if a file system on the way to a mount does not answer, at least that is
    done. The result is read back later: a mount may be covered by another, and read-only is refused while a file is
    open for writing."""
    lacking = [flags for _, flags in compare(read_all(mounts), wanted)]
    for flag in (flag for flag in _FLAGS if any(flags & flag for flags in lacking)):
        for top in tops(read_all(mounts), wanted, flag):
            with contextlib.suppress(OSError):
                restrict(root, top, flag, recursive=True)
        for mount, flags in compare(read_all(mounts), wanted):
            if flags & flag:
                with contextlib.suppress(OSError):
                    restrict(root, mount, flag)


def _key(mount: Mount) -> tuple[int, str, str]:
    """Identifies a mount even if its directory is moved. Mount numbers are reused, so what it shows is compared too."""
    return mount.number, mount.device, mount.root


def _matters(lacking: Lacking, mountinfo: bytes) -> bool:
    """Whether the administrator is told that this mount still lacks flags.

    Always if it lacks nosuid. If it lacks only other flags, only if it is visible. A covered mount cannot be restricted
    alone, only together with everything below some mount above it. For nodev this is not done at /local, because
    /local/dev must keep its devices. When the mount becomes visible, the next `up` restricts it. Until then it gives no
    right: its devices are the base's, and on the base it lacks nodev as well.
    """
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


def _exchange(root: int, target: str, copy: int, there: Mount | None) -> None:
    """Replace the old launcher by the copy. The copy is mounted beneath the old one, and then the old one is unmounted,
    so that there is a launcher at every moment. (Mounting on top of it is impossible, because its file is deleted.) A
    process that has the old one open gains no right from it, because that mount is in no namespace any more. Linux
    before 6.5 cannot mount beneath; there the launcher is missing for some microseconds.

    :param there: the old launcher; None if there is none because an earlier replacement was interrupted.
    :raises ChangedError: it is not there any more.
    """
    if there is None:
        _put(root, target, copy)
        return
    old = open_mount(root, there)
    if old is None:
        raise ChangedError("was moved while the launcher was exchanged", object=target, hint="run `chosctl up` again")
    try:
        try:
            syscalls.move_mount(copy, old, "", beneath=True)
            beneath = True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            beneath = False
        syscalls.umount_open(old)
    finally:
        os.close(old)
    if not beneath:
        _put(root, target, copy)


def _put(root: int, target: str, copy: int) -> None:
    spot = open_inside(root, target, os.O_PATH | os.O_NOFOLLOW, STRICT)
    try:
        syscalls.move_mount(copy, spot, "")
    finally:
        os.close(spot)


def read_all(fd: int) -> bytes:
    """The whole content of a file of /proc."""
    os.lseek(fd, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(fd, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
