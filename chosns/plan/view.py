"""How the planner looks at a root: kinds, links and listings, and path resolution on top of them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from chosns.lazydata import dataclass
from chosns.system.paths import join, split

MAX_LINKS = 40  # the kernel's own limit, path_resolution(7)


class Kind(str, Enum):
    """What a directory entry is."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"
    OTHER = "other"


class View(Protocol):
    """A root directory, seen read-only. Paths are absolute and are resolved inside that root."""

    def kind(self, path: str) -> Kind | None:
        """What `path` is, without following a link as its last component; None if nothing is there."""

    def readlink(self, path: str) -> str:
        """The text of the link at `path`."""

    def entries(self, path: str) -> dict[str, Kind]:
        """Name → kind of everything in the directory `path`, without looking into mount points."""


@dataclass(frozen=True)
class Resolution:
    """Where a path leads.

    path:    without links, `.` and `..`, as far as it exists; the missing rest is resolved by name only
    kind:    what is there, None if something is missing
    missing: the components that do not exist, empty if `kind` is not None
    visited: top-level names that the walk went through, the last one included
    jumps:   top-level names among them that were looked up in the root itself, by an absolute link or by `..`
             above the root; `/` where the path ends there
    """

    path: str
    kind: Kind | None
    missing: tuple[str, ...] = ()
    visited: frozenset[str] = frozenset()
    jumps: frozenset[str] = frozenset()

    @property
    def existing(self) -> str:
        """The deepest ancestor (or self) that exists."""
        kept = split(self.path)
        return join(kept[: len(kept) - len(self.missing)])


def resolve(view: View, path: str, *, follow_last: bool = True) -> Resolution | None:
    """Walk `path` in `view` as the kernel would below a chroot; None for a loop of links."""
    todo = split(path)[::-1]
    done: list[str] = []
    visited: set[str] = set()
    jumps: set[str] = set()
    jumped = False
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            jumped = jumped or not done
            del done[-1:]
            continue
        here = join([*done, part])
        if not done:
            visited.add(part)
            if jumped:
                jumps.add(part)
        kind = view.kind(here)
        if kind is Kind.LINK and (todo or follow_last):
            links += 1
            if links > MAX_LINKS:
                return None
            target = view.readlink(here)
            if target.startswith("/"):
                done.clear()
                jumped = True
            todo.extend(split(target)[::-1])
            continue
        done.append(part)
        if kind is None or (todo and kind is not Kind.DIRECTORY):
            rest = _lexical(todo[::-1])
            missing = (part, *rest) if kind is None else tuple(rest)
            return Resolution(join([*done, *rest]), None, missing, frozenset(visited), frozenset(jumps))
        if not todo:
            return Resolution(join(done), kind, (), frozenset(visited), frozenset(jumps))
    if jumped and not done:
        jumps.add("/")
    return Resolution(join(done), Kind.DIRECTORY, (), frozenset(visited), frozenset(jumps))


def _lexical(parts: list[str]) -> list[str]:
    """`parts` with `..` taken out by name, for what does not exist and so cannot be walked."""
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        else:
            kept.append(part)
    return kept
