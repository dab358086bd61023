"""Compares a generation's mounts with its plan, which is in its manifest. Pure; `repair` acts on the result.

A file system that is mounted on the base after `chosctl up` appears inside with the flags that it has on the base. If
it lacks nosuid, its set-uid programs run with the tree's loader: docs/security.md, rule 34.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from chosns.errors import RegistryError
from chosns.lazydata import dataclass
from chosns.system.mountinfo import Mount, parse_mount
from chosns.system.paths import is_below
from chosns.system.syscalls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

_BITS = {"nosuid": MOUNT_ATTR_NOSUID, "nodev": MOUNT_ATTR_NODEV, "ro": MOUNT_ATTR_RDONLY}
_LOCAL = "/local"
# Network file systems, those in user space, and those that stand on others.
_ASKING = (
    *("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "afs", "ceph", "lustre", "gpfs", "panfs", "beegfs"),
    *("orangefs", "pvfs2", "coda", "ocfs2", "gfs2", "fuse", "fuseblk", "overlay"),
)
_KERNELS = ("/proc", "/sys", "/dev")  # where the kernel's own file systems are mounted, automatically too


class Lacking(NamedTuple):
    """A mount inside that lacks flags (MOUNT_ATTR_ bits) that the plan has for its place."""

    mount: Mount
    flags: int

    @property
    def names(self) -> str:
        """The flags, as mount(8) calls them."""
        return ",".join(name for name, bit in _BITS.items() if self.flags & bit)


@dataclass(frozen=True)
class Wanted:
    """Which flags a plan has for each place.

    places:   target of an operation → MOUNT_ATTR_ bits; they also apply to everything below it
    launcher: the launcher's place, empty if there is none: the only mount of the base without nosuid
    """

    places: Mapping[str, int]
    launcher: str = ""

    def at(self, target: str) -> int:
        """The bits for a mount at `target`: those of the innermost operation that covers it."""
        while target not in self.places:
            if target == "/":
                return MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
            target = target.rpartition("/")[0] or "/"
        return self.places[target]

    def everywhere_below(self, target: str) -> int:
        """The bits that every place at or below `target` has."""
        bits = self.at(target)
        for place, wanted in self.places.items():
            if is_below(place, target):
                bits &= wanted
        return bits


def wanted_by(manifest: Mapping[str, Any], generation: str = "") -> Wanted:
    """The flags of the plan in a generation's manifest; nosuid and nodev everywhere if there is no plan.

    :param generation: the generation to which the manifest belongs.
    :raises RegistryError: there is a plan that cannot be understood. Nothing is guessed then, because nosuid everywhere
        would take the launcher's rights.
    """
    places: dict[str, int] = {}
    launcher = ""
    for operation in _operations(manifest, generation):
        flags = operation.get("flags")
        target = operation.get("target") or operation.get("put_old")
        if flags is None or not target:
            continue
        if not isinstance(target, str) or not isinstance(flags, list):
            raise _damaged(generation)
        places[target] = sum(bit for name, bit in _BITS.items() if name in flags)
        # All binds of the base are nosuid, except that of the launcher.
        if operation.get("operation") == "Bind" and operation.get("side") == "base" and "nosuid" not in flags:
            launcher = target
    return Wanted(places, launcher)


def _operations(manifest: Mapping[str, Any], generation: str) -> list[dict[str, Any]]:
    plan = manifest.get("plan")
    if plan is None:
        return []
    operations = plan.get("operations", []) if isinstance(plan, dict) else None
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise _damaged(generation)
    return operations


def _damaged(generation: str) -> RegistryError:
    name = generation.rpartition(".")[0]
    hint = f"`chosctl up --renew {name}` makes a new generation; end what still runs in this one"
    return RegistryError("its manifest.json is damaged", object=generation, hint=hint)


def compare(mountinfo: bytes, wanted: Wanted) -> Iterator[Lacking]:
    """The mounts that lack flags of the plan.

    :param mountinfo: /proc/PID/mountinfo of the generation's namespace. There may be very many lines, so most of them
        are skipped after a quick test.
    """
    read_only = tuple(_escape(place) for place, bits in wanted.places.items() if bits & MOUNT_ATTR_RDONLY)
    for line in _lines(mountinfo):
        fields = line.split(b" ", 6)
        if b"nosuid" in fields[5] and b"nodev" in fields[5] and not (read_only and fields[4].startswith(read_only)):
            continue
        mount = parse_mount(line.decode("utf-8", "surrogateescape"))
        flags = wanted.at(mount.target)
        for name in mount.flags:
            flags &= ~_BITS.get(name, 0)
        if flags:
            yield Lacking(mount, flags)


def tops(mountinfo: bytes, wanted: Wanted, flag: int) -> list[Mount]:
    """Where to set a flag recursively, so that all mounts that lack it get it, including those covered by other mounts.

    These are the outermost mounts below which the plan has the flag everywhere. They are few, and most are near the
    top, so that their paths are short.
    """
    lacking = [mount for mount, flags in compare(mountinfo, wanted) if flags & flag]
    return _outermost(lacking, mountinfo, wanted, flag) if lacking else []


def at_once(mountinfo: bytes, wanted: Wanted, flag: int, device: str = "") -> list[Mount]:
    """Of the outermost mounts below which the plan has `flag` everywhere, those that a process may keep open, and whose
    flags it can set without waiting.

    They are the plan's own mounts, which exist as long as their generation. So keeping them open prevents no unmount on
    the base. Neither they nor the mounts that they are on ask a server. And no other mount covers them.

    :param device: that of the base's root directory (`MAJOR:MINOR`). If it does not answer, nothing works anyway.
    """
    mounts = _parsed(mountinfo)
    numbers = {mount.number: mount for mount in mounts}
    found = []
    for top in _outermost(mounts, mountinfo, wanted, flag):
        if top.target in wanted.places and not any(
            _asks(above) and above.device != device for above in _with_parents(top, numbers)
        ):
            there = uppermost(mountinfo, top.target)
            if there is not None and there.number == top.number:
                found.append(top)
    return found


def _asks(mount: Mount) -> bool:
    """Whether looking at its root directory may have to wait for a server."""
    return mount.fstype.partition(".")[0] in _ASKING


def _with_parents(mount: Mount, mounts: Mapping[int, Mount]) -> Iterator[Mount]:
    above: Mount | None = mount
    for _ in range(len(mounts) + 1):  # what changed while mountinfo was read could be a circle
        if above is None:
            return
        yield above
        above = mounts.get(above.parent) if above.parent != above.number else None


def _outermost(some: Iterable[Mount], mountinfo: bytes, wanted: Wanted, flag: int) -> list[Mount]:
    mounts = {mount.number: mount for mount in _parsed(mountinfo)}
    found: dict[int, Mount] = {}
    uniform: dict[str, bool] = {}
    for mount in some:
        top = None
        for above in _with_parents(mount, mounts):
            if above.target not in uniform:
                uniform[above.target] = bool(wanted.everywhere_below(above.target) & flag)
            if not uniform[above.target]:
                break
            top = above
        if top is not None:
            found[top.number] = top
    return list(found.values())


def _parsed(mountinfo: bytes) -> list[Mount]:
    return [parse_mount(line.decode("utf-8", "surrogateescape")) for line in _lines(mountinfo)]


def automounts(mountinfo: bytes) -> set[str]:
    """The places where an automounter of the base waits, by the base's names, without the kernel's own places."""
    found = set()
    for line in _lines(mountinfo):
        if b" - autofs " in line:
            place = on_base(parse_mount(line.decode("utf-8", "surrogateescape")).target)
            if not any(is_below(place, own) for own in _KERNELS):
                found.add(place)
    return found


def on_base(target: str) -> str:
    """The name on the base of a place inside. Most mounts of the base are seen twice inside: below /local, too."""
    return target[len(_LOCAL) :] or "/" if is_below(target, _LOCAL) else target


def _lines(mountinfo: bytes) -> list[bytes]:
    return [line for line in mountinfo.split(b"\n") if line]  # not splitlines: a name may have \r in it


def uppermost(mountinfo: bytes, target: str) -> Mount | None:
    """The mount that is visible at `target`: of several, the one on which no other is. Their order does not show it."""
    name = _escape(target)
    lines = [line for line in _lines(mountinfo) if line.split(b" ", 6)[4] == name]
    found = [parse_mount(line.decode("utf-8", "surrogateescape")) for line in lines]
    below = {mount.parent for mount in found if mount.parent != mount.number}
    return next((mount for mount in reversed(found) if mount.number not in below), None)


def _escape(path: str) -> bytes:
    """A path in the spelling of mountinfo."""
    return re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match[0][0], os.fsencode(path))
