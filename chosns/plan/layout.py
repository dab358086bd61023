"""An environment while it is being planned: what stands at its top level, and a `View` of the whole.

`planner` decides what goes where; this module knows what a path inside will then mean, so that both
sides' links and missing directories can be handled before anything is mounted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

from chosns.errors import PlanError
from chosns.model import Policy
from chosns.plan.operations import Bind, Entry, Flags, MakeDirectory, MakeSymlink, Operation, Overlay, Reason, Side
from chosns.plan.view import Kind, Resolution, View, is_below, join, parent, resolve, split


@dataclass(frozen=True)
class Shown:
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


Place = Union[Shown, Own, Link]


@dataclass
class Layout:
    """Collects operations and answers `View`'s questions about what they will show."""

    environment: str
    tree: View
    base: View
    policy: Policy
    top: dict[str, Place] = field(default_factory=dict)
    own: list[Operation] = field(default_factory=list)
    shown: list[Bind] = field(default_factory=list)
    nested: list[Bind] = field(default_factory=list)
    overlays: dict[str, list[Entry]] = field(default_factory=dict)
    notes: list[Reason] = field(default_factory=list)

    # The View of what users will see. `/local` is left out: nothing is ever placed there by name.

    def kind(self, path: str) -> Kind | None:
        parts = split(path)
        if not parts:
            return Kind.DIRECTORY
        place = self.top.get(parts[0])
        if place is None:
            return None
        if isinstance(place, Link):
            return Kind.LINK if len(parts) == 1 else None
        if isinstance(place, Own):
            made = {op.target: op for op in self.own if isinstance(op, MakeDirectory)}.get(path)
            return None if made is None else Kind.FILE if made.file else Kind.DIRECTORY
        if len(parts) == 1:
            return Kind.DIRECTORY
        view, there = self._behind(place, parts)
        return view.kind(there)

    def readlink(self, path: str) -> str:
        parts = split(path)
        place = self.top[parts[0]]
        if isinstance(place, Link):
            return place.to
        assert isinstance(place, Shown), path
        view, there = self._behind(place, parts)
        return view.readlink(there)

    def entries(self, path: str) -> dict[str, Kind]:
        parts = split(path)
        place = self.top[parts[0]]
        assert isinstance(place, Shown), path
        view, there = self._behind(place, parts)
        return view.entries(there)

    def _behind(self, place: Shown, parts: list[str]) -> tuple[View, str]:
        view = self.tree if place.side == "tree" else self.base
        return view, join([*split(place.source), *parts[1:]])

    # Placing things.

    @property
    def tree_flags(self) -> Flags:
        return Flags(self.policy.nosuid, self.policy.nodev, self.policy.read_only)

    def show(self, name: str, side: Side, source: str, flags: Flags, why: Reason) -> None:
        """Show the directory `source` of one side as `/name`."""
        self.top[name] = Shown(side, source)
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

        :raises PlanError: when `target` lies in a directory of the base that lacks it.
        """
        found = resolve(self.base, source)
        if found is None or found.kind not in (Kind.DIRECTORY, Kind.FILE):
            raise PlanError("is not a file or directory of the base", object=source,
                            hint="create it, or make the line optional")
        spot = self._spot(target)
        there = self.kind(spot.path) if not spot.missing else None
        if there is Kind.LINK and self._same_on_base(target, found.path):
            self.notes.append(Reason(f"{target}: the tree's link leads to the base's {found.path} already"))
            return
        place = self._owner(spot.path)
        if isinstance(place, Shown) and place.side == "base":
            if join([*split(place.source), *split(spot.path)[1:]]) == found.path:
                self.notes.append(Reason(f"{target}: the base's already"))
                return
            if there is not found.kind:
                raise PlanError(f"cannot be a mount point inside: {spot.existing} is the base's", object=target,
                                hint=f"create {target} on the base")
        elif place is None or isinstance(place, Own):
            if there is None:
                self.directory(spot.path, why, file=found.kind is Kind.FILE)
        elif there is not found.kind:
            self.add_entry(target, why, file=found.kind is Kind.FILE)
        self.nested.append(Bind("base", found.path, spot.path, why, flags))

    def add_entry(self, target: str, why: Reason, *, to: str = "", file: bool = False) -> str:
        """Show a generated entry at `target` in a directory of the tree; the place that it really is at.

        :raises PlanError: when the directory is not the tree's.
        """
        spot = self._spot(target)
        place = self._owner(spot.path)
        if not isinstance(place, Shown) or place.side != "tree":
            raise PlanError("no entry can be added there: it is not in a directory of the OS tree", object=target,
                            hint="change the bind map")
        lower = parent(spot.path) if not spot.missing else spot.existing
        if is_below(lower, "/etc"):
            lower = "/etc"
        rest = join(split(spot.path)[len(split(lower)):])[1:]
        entries = self.overlays.setdefault(lower, [])
        entries[:] = [entry for entry in entries if entry.path != rest]
        entries.append(Entry(rest, why, to, file))
        return spot.path

    def _spot(self, target: str) -> Resolution:
        """Where `target` will be, its last component not followed."""
        spot = resolve(self, target, follow_last=False)
        if spot is None:
            raise PlanError("leads through a loop of symbolic links in the OS tree", object=target)
        if spot.missing and spot.existing != "/" and self.kind(spot.existing) is not Kind.DIRECTORY:
            raise PlanError(f"cannot be made: {spot.existing} is not a directory in the OS tree", object=target)
        return spot

    def _owner(self, path: str) -> Optional[Place]:
        return self.top.get(split(path)[0])

    def _same_on_base(self, target: str, source: str) -> bool:
        """Whether `target`, links followed, is the base's `source` without our doing."""
        there = resolve(self, target)
        if there is None or there.kind is None or there.path == "/":
            return False
        place = self._owner(there.path)
        return (isinstance(place, Shown) and place.side == "base"
                and join([*split(place.source), *split(there.path)[1:]]) == source)

    def operations(self) -> list[Operation]:
        """Everything so far in the order of mounting: what holds a mount point comes before what is mounted on it."""
        flags = Flags(self.policy.nosuid, self.policy.nodev, True)
        overlays = [
            Overlay(lower, lower, tuple(entries), Reason("shown without touching the tree"), flags)
            for lower, entries in sorted(self.overlays.items(), key=lambda item: len(split(item[0])))
        ]
        nested = sorted(self.nested, key=lambda bind: len(split(bind.target)))
        # A directory with an overlay needs no bind below it.
        shown = [bind for bind in self.shown if bind.target not in self.overlays]
        return [*self.own, *shown, *overlays, *nested]
