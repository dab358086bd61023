"""An environment while it is being planned: what is at its top level, and a `View` of the whole.

`planner` decides what goes where. This module knows what a path inside will then mean, so that links and missing
directories of both sides can be handled before anything is mounted.
"""

from __future__ import annotations

from dataclasses import field
from typing import Union

from chosns.errors import PlanError
from chosns.lazydata import dataclass
from chosns.model import Policy
from chosns.plan.operations import (
    Bind,
    Entry,
    Flags,
    Hide,
    MakeDirectory,
    MakeSymlink,
    Operation,
    Overlay,
    Reason,
    Side,
)
from chosns.plan.view import Kind, Resolution, View, resolve
from chosns.system.paths import is_below, join, parent, split


@dataclass(frozen=True)
class TopDirectory:
    """A directory of the tree or the base that stands at the environment's top level."""

    side: Side
    source: str


@dataclass(frozen=True)
class Own:
    """A directory on the environment's own tmpfs."""


@dataclass(frozen=True)
class Link:
    """A symbolic link on the environment's own tmpfs."""

    to: str


Place = Union[TopDirectory, Own, Link]
# The place of the base's root. Links may lead there; nothing is ever mounted there by name.
_LOCAL = Bind("base", "/", "/local", Reason("the base's root"))


def _behind(mount: Bind, path: str) -> str:
    """The path on the mount's own side of `path`, which is on `mount`."""
    return join([*split(mount.source), *split(path)[len(split(mount.target)) :]])


@dataclass
class Layout:
    """Collects operations, and is a `View` of what they will show."""

    environment: str
    tree: View
    base: View
    policy: Policy
    top: dict[str, Place] = field(default_factory=dict)
    own: list[Operation] = field(default_factory=list)
    shown: list[Bind] = field(default_factory=list)
    nested: list[Bind] = field(default_factory=list)
    hidden: list[Hide] = field(default_factory=list)
    overlays: dict[str, list[Entry]] = field(default_factory=dict)
    notes: list[Reason] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    # The View of what users will see.

    def kind(self, path: str) -> Kind | None:
        parts = split(path)
        if not parts:
            return Kind.DIRECTORY
        place = self.top.get(parts[0])
        if isinstance(place, Link):
            return Kind.LINK if len(parts) == 1 else None
        mount = self._mount(path)
        if mount is None:
            made = next((op for op in self.own if isinstance(op, MakeDirectory) and op.target == path), None)
            return None if made is None else Kind.FILE if made.file else Kind.DIRECTORY
        entry = self._entry(path) if mount.side == "tree" else None
        if entry is not None:
            at_it = is_below(path, entry[0])
            return Kind.DIRECTORY if not at_it else Kind.LINK if entry[1].to else entry[1].kind
        return self._view(mount).kind(_behind(mount, path))

    def readlink(self, path: str) -> str:
        place = self.top.get(split(path)[0])
        if isinstance(place, Link):
            return place.to
        mount = self._mount(path)
        assert mount is not None, path
        entry = self._entry(path) if mount.side == "tree" else None
        return entry[1].to if entry else self._view(mount).readlink(_behind(mount, path))

    def entries(self, path: str) -> dict[str, Kind]:
        mount = self._mount(path)
        assert mount is not None, path
        return self._view(mount).entries(_behind(mount, path))

    def _view(self, mount: Bind) -> View:
        return self.tree if mount.side == "tree" else self.base

    def _mount(self, path: str) -> Bind | None:
        """The mount that `path` is on; None where that is the environment's own tmpfs."""
        mounts = {bind.target: bind for bind in (_LOCAL, *self.shown, *self.nested)}
        here = join(split(path))
        while here != "/":
            if here in mounts:
                return mounts[here]
            here = here.rpartition("/")[0] or "/"
        return None

    def _entry(self, path: str) -> tuple[str, Entry] | None:
        """A generated entry at `path`, or one below it that makes a directory of `path`; with its place."""
        placed = [
            (f"{lower}/{entry.path}", entry)
            for lower, entries in self.overlays.items()
            if is_below(path, lower)
            for entry in entries
        ]
        exact = [item for item in placed if item[0] == path]
        return next(
            iter(
                exact
                or [item for item in placed if is_below(item[0], path) and self.tree.kind(path) is not Kind.DIRECTORY]
            ),
            None,
        )

    # Placing things.

    @property
    def tree_flags(self) -> Flags:
        return Flags(self.policy.nosuid, self.policy.nodev, self.policy.read_only)

    def show(self, name: str, side: Side, source: str, flags: Flags, why: Reason) -> None:
        """Show the directory `source` of one side as `/name`."""
        self.top[name] = TopDirectory(side, source)
        self.shown.append(Bind(side, source, "/" + name, why, flags))

    def link(self, name: str, to: str, why: Reason) -> None:
        """Make `/name` a link."""
        self.top[name] = Link(to)
        self.own.append(MakeSymlink("/" + name, to, why))

    def directory(self, path: str, why: Reason, *, file: bool = False) -> None:
        """Make a directory (or an empty file) on the tmpfs, and what is missing above it."""
        above = parent(path)
        if above != "/" and self.kind(above) is None:
            self.directory(above, why)
        self.top.setdefault(split(path)[0], Own())
        self.own.append(MakeDirectory(path, why, file))

    def place_base(self, source: str, target: str, flags: Flags, why: Reason) -> None:
        """Show a file or directory of the base at `target`, wherever that is, without touching the tree.

        It replaces what was placed at the same target before. What is placed below another place must come after it.

        :raises PlanError: `target` is in a directory of the base in which it does not exist.
        """
        found = resolve(self.base, source)
        if found is None or found.kind not in (Kind.DIRECTORY, Kind.FILE):
            raise PlanError(
                "is not a file or directory of the base", object=source, hint="create it, or make the line optional"
            )
        spot = self._spot(target)
        if self._is_already(spot.path, found.path, flags):
            self.notes.append(Reason(f"{target}: already shown from the base"))
            return
        if self.kind(spot.path) is Kind.LINK:
            there = resolve(self, target)
            if there is not None and there.kind is not None and self._is_already(there.path, found.path, flags):
                self.notes.append(Reason(f"{target}: the link there leads to the base's {found.path} already"))
                return
        self._clear(spot.path)
        if len(split(spot.path)) == 1 and found.kind is Kind.DIRECTORY:
            self.show(split(spot.path)[0], "base", found.path, flags, why)
        else:
            self._mount_point(spot, target, found.kind, why)
            self.nested.append(Bind("base", found.path, spot.path, why, flags))

    def hide(self, target: str, why: Reason) -> None:
        """Show an empty directory over one of the tree's. Call it after everything of the base is placed, outer
        directories before inner ones."""
        spot = resolve(self, target, follow_last=False)
        mount = self._mount(spot.path) if spot else None
        if spot is None or spot.kind is None or mount is None or mount.side != "tree":
            return
        if any(is_below(spot.path, hidden.target) for hidden in self.hidden):
            return
        self._clear(spot.path)
        if len(split(spot.path)) == 1:
            self.directory(spot.path, why)
        elif spot.kind is Kind.DIRECTORY:
            self.hidden.append(Hide(spot.path, why))
        else:
            self.add_entry(spot.path, why)

    def place_launcher(
        self, path: str, links: tuple[str, ...], scripts: tuple[tuple[str, str], ...], flags: Flags, why: Reason
    ) -> None:
        """Show the base's launcher at its own path, with `links` to it and `scripts` (name, content) that need it in
        the same directory, unless that directory is the base's anyway."""
        found = resolve(self.base, path)
        if found is None or found.kind is not Kind.FILE:
            raise PlanError("is not a file of the base", object=path, hint="install the launcher again")
        spot = self._spot(path)
        self._clear(spot.path)
        self._mount_point(spot, path, Kind.FILE, why)
        self.nested.append(Bind("base", found.path, spot.path, why, flags))
        mount = self._mount(parent(spot.path))
        if mount is not None and mount.side == "base":
            self.warnings.append(
                f"{found.path} is in a directory of the base: when it is replaced there, nobody can leave an"
                " environment until the next `chosctl up`; install chos below /usr or /usr/local"
            )
        for name in links:
            beside = join([*split(parent(spot.path)), name])
            if mount is None:
                self.own.append(MakeSymlink(beside, split(spot.path)[-1], why))
            elif mount.side == "tree":
                self.add_entry(beside, why, to=split(spot.path)[-1])
        for name, text in scripts if mount is not None and mount.side == "tree" else ():
            self.add_entry(join([*split(parent(spot.path)), name]), why, text=text)

    def _clear(self, spot: str) -> None:
        """Remove what was planned to be mounted at `spot` itself."""
        hidden = next((bind.target for bind in self.nested if bind.target != spot and is_below(bind.target, spot)), "")
        if hidden:
            raise PlanError(
                f"would hide {hidden}, which is placed there as well", object=spot, hint="remove one of the two"
            )
        self.nested[:] = [bind for bind in self.nested if bind.target != spot]
        for lower in [lower for lower in self.overlays if is_below(lower, spot)]:
            del self.overlays[lower]
        if len(split(spot)) == 1:
            self.top.pop(split(spot)[0], None)
            self.shown[:] = [bind for bind in self.shown if bind.target != spot]
            self.own[:] = [op for op in self.own if not is_below(op.target, spot)]

    def _mount_point(self, spot: Resolution, target: str, kind: Kind, why: Reason) -> None:
        """Make sure that there is a file or directory at `spot`."""
        there = self.kind(spot.path)
        mount = self._mount(spot.path)
        if there is kind and mount is not _LOCAL:
            return
        if mount is None and there is None:
            self.directory(spot.path, why, file=kind is Kind.FILE)
        elif mount is not None and mount.side == "tree":
            self.add_entry(target, why, file=kind is Kind.FILE)
        else:
            placed = f" ({mount.why.origin})" if mount and mount.why.origin else ""
            owner = f"{spot.existing} is the base's{placed}" if mount else "something else is placed there"
            hint = f"create {target} on the base" if mount and mount is not _LOCAL else "choose another target"
            raise PlanError(f"cannot be a mount point inside: {owner}", object=target, hint=hint)

    def add_entry(self, target: str, why: Reason, *, to: str = "", file: bool = False, text: str = "") -> None:
        """Show a generated entry at `target` in a directory of the tree.

        :raises PlanError: the directory is not the tree's.
        """
        spot = self._spot(target)
        mount = self._mount(spot.path)
        if is_below(to, "/local") and self._is_already(spot.path, to[len("/local") :], Flags()):
            self.notes.append(Reason(f"{target}: the tree's link leads to {to} already"))
            return
        if mount is None or mount.side != "tree" or len(split(spot.path)) == 1:
            raise PlanError(
                "no entry can be added there: it is not in a directory of the OS tree",
                object=target,
                hint="change the bind map",
            )
        lower = parent(spot.path)
        while self.tree.kind(lower) is not Kind.DIRECTORY:
            lower = parent(lower)
        if is_below(lower, "/etc"):
            lower = "/etc"
        rest = join(split(spot.path)[len(split(lower)) :])[1:]
        entries = self.overlays.setdefault(lower, [])
        hides = Entry(rest, why, to, file, text).kind is not Kind.DIRECTORY
        entries[:] = [
            entry for entry in entries if entry.path != rest and not (hides and is_below("/" + entry.path, "/" + rest))
        ]
        entries.append(Entry(rest, why, to, file, text))

    def _spot(self, target: str) -> Resolution:
        """The place where `target` will be; a link as its last component is not followed."""
        spot = resolve(self, target, follow_last=False)
        if spot is None:
            raise PlanError("leads through a loop of symbolic links in the OS tree", object=target)
        if spot.missing and spot.existing != "/" and self.kind(spot.existing) is not Kind.DIRECTORY:
            raise PlanError(f"cannot be made: {spot.existing} is not a directory in the OS tree", object=target)
        if spot.path in ("/", "/local", "/chos"):
            raise PlanError(f"leads to {spot.path}, which is CHOS's own", object=target)
        return spot

    def _is_already(self, path: str, source: str, flags: Flags) -> bool:
        """Whether `path`, which contains no links, already shows the base's `source` with these flags."""
        mount = self._mount(path)
        return mount is not None and mount.side == "base" and mount.flags == flags and _behind(mount, path) == source

    def operations(self) -> list[Operation]:
        """All operations in the order of mounting: what contains a mount point comes before what is mounted on it."""
        flags = Flags(self.policy.nosuid, self.policy.nodev, True)
        overlays = [
            Overlay(lower, lower, tuple(entries), Reason("the tree's directory, with generated entries over it"), flags)
            for lower, entries in sorted(self.overlays.items(), key=lambda item: len(split(item[0])))
        ]
        nested: list[Bind | Hide] = [*self.nested, *self.hidden]
        nested.sort(key=lambda operation: len(split(operation.target)))
        # A directory with an overlay needs no bind below it.
        shown = [bind for bind in self.shown if bind.target not in self.overlays]
        return [*self.own, *shown, *overlays, *nested]
