"""The operations of which a plan consists: what, where, with which flags, and why.

Each is a frozen object that can describe itself for people and turn itself into JSON. `mounts.execute` carries it out.
"""

from __future__ import annotations

import hashlib
from dataclasses import field, fields
from typing import Any, Literal, Union

from chosns.lazydata import dataclass
from chosns.model import Origin
from chosns.plan.view import Kind

Side = Literal["tree", "base"]


@dataclass(frozen=True)
class Flags:
    """Restrictions of a mount; True means that the kernel's flag is set."""

    nosuid: bool = True
    nodev: bool = True
    read_only: bool = False

    def __str__(self) -> str:
        names = {"nosuid": self.nosuid, "nodev": self.nodev, "ro": self.read_only}
        return ",".join(name for name, on in names.items() if on) or "-"


@dataclass(frozen=True)
class Reason:
    """Why an operation is there: a phrase and the line of configuration behind it (none: the design itself)."""

    text: str
    origin: Origin | None = None

    def __str__(self) -> str:
        return f"{self.text} ({self.origin})" if self.origin else self.text


@dataclass(frozen=True)
class MakeRoot:
    """A small tmpfs that becomes the environment's `/`."""

    why: Reason = field(repr=False)
    target: str = "/"
    flags: Flags = Flags()

    def describe(self) -> str:
        return f"tmpfs    {self.target}"


@dataclass(frozen=True)
class MakeDirectory:
    """An empty directory (or file, a mount point for one) on the environment's own tmpfs."""

    target: str
    why: Reason = field(repr=False)
    file: bool = False

    def describe(self) -> str:
        return f"{'file' if self.file else 'mkdir':8} {self.target}"


@dataclass(frozen=True)
class MakeSymlink:
    """A symbolic link on the environment's own tmpfs."""

    target: str
    to: str
    why: Reason = field(repr=False)

    def describe(self) -> str:
        return f"symlink  {self.target} -> {self.to}"


@dataclass(frozen=True)
class Entry:
    """One generated entry of an overlay: a link (`to`), a script (`text`), or an empty mount point (`file`, else
    a directory)."""

    path: str
    why: Reason = field(repr=False)
    to: str = ""
    file: bool = False
    text: str = ""

    @property
    def kind(self) -> Kind:
        return Kind.LINK if self.to else Kind.FILE if self.file or self.text else Kind.DIRECTORY


@dataclass(frozen=True)
class Overlay:
    """A directory of the tree shown read-only with generated entries over it; the tree is not touched."""

    target: str
    lower: str
    entries: tuple[Entry, ...]
    why: Reason = field(repr=False)
    flags: Flags = Flags(read_only=True)

    def describe(self) -> str:
        names = ", ".join(entry.path for entry in self.entries[:4])
        more = f" and {len(self.entries) - 4} more" if len(self.entries) > 4 else ""
        return f"overlay  {self.target} = tree:{self.lower} + {names}{more}"


@dataclass(frozen=True)
class Bind:
    """A mount of the tree or the base, shown at `target` with everything mounted below it."""

    side: Side
    source: str
    target: str
    why: Reason = field(repr=False)
    flags: Flags = Flags()

    def describe(self) -> str:
        return f"bind     {self.target} = {self.side}:{self.source}"


@dataclass(frozen=True)
class Hide:
    """An empty directory over one of the tree's."""

    target: str
    why: Reason = field(repr=False)
    flags: Flags = Flags(read_only=True)

    def describe(self) -> str:
        return f"hide     {self.target}"


@dataclass(frozen=True)
class Pivot:
    """Make the tmpfs the root of the namespace; the base's root, with all its mounts, goes to `put_old`."""

    put_old: str
    why: Reason = field(repr=False)
    flags: Flags = Flags()

    @property
    def target(self) -> str:
        return self.put_old

    def describe(self) -> str:
        return f"pivot    / with the base's root at {self.put_old}"


Operation = Union[MakeRoot, MakeDirectory, MakeSymlink, Overlay, Bind, Hide, Pivot]


@dataclass(frozen=True)
class Plan:
    """Everything that makes one environment, in the order in which it is done.

    :param notes: what the planner left out, and why; for `explain` only.
    :param warnings: what the administrator should know, each a sentence.
    :param trust: `site` or `foreign`, and why; no part of the mounts.
    """

    environment: str
    tree: str
    operations: tuple[Operation, ...]
    notes: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    trust: str = ""

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return {
            "environment": self.environment,
            "tree": self.tree,
            "trust": self.trust,
            "operations": [_json(operation) for operation in self.operations],
            "notes": [str(note) for note in self.notes],
            "warnings": list(self.warnings),
        }

    def fingerprint(self, *extra: str) -> str:
        """A hash that changes if, and only if, the mounts change. Reasons do not count; they are not part of the
        repr."""
        text = repr((self.tree, self.operations, extra))
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _json(value: Any) -> dict[str, Any]:
    """One operation or entry as a dictionary."""
    result: dict[str, Any] = {}
    if not isinstance(value, Entry):
        result["operation"] = type(value).__name__
    for item in fields(value):
        content = getattr(value, item.name)
        if isinstance(content, Reason):
            result["why"] = content.text
            result["origin"] = str(content.origin) if content.origin else ""
        elif isinstance(content, Flags):
            result["flags"] = [flag for flag in str(content).split(",") if flag != "-"]
        elif isinstance(content, tuple):
            result[item.name] = [_json(entry) for entry in content]
        else:
            result[item.name] = content
    return result
