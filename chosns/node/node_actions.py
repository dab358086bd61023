"""Actions that concern the whole node: its mounts, the registry itself, what backends need. See `actions`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from chosns.backends import traits
from chosns.lazydata import dataclass
from chosns.node.state import NodeState
from chosns.registry import names

Why = tuple[str, ...]  # reasons, each a phrase


@dataclass(frozen=True)
class ShareMounts:
    """Make the base's mounts shared. Cannot be undone, because it is not recorded which of them were private."""

    why: Why

    def describe(self) -> str:
        return "make all mounts of the base shared, so that later ones appear inside"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, shared=True, private=())


@dataclass(frozen=True)
class MakeRegistry:
    """Make /run/chos. `chosctl down` removes it."""

    why: Why

    def describe(self) -> str:
        return "make the registry"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, prepared=True)


@dataclass(frozen=True)
class WriteFile:
    """Replace a file of the registry that belongs to no environment."""

    name: str
    why: Why
    text: str = field(repr=False)

    def describe(self) -> str:
        return f"write the registry's file {self.name}"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, files={**node.files, self.name: self.text})


@dataclass(frozen=True)
class LeadToBase:
    """Publish names that lead to the base, and take away aliases of these names, which would lead there too."""

    names: tuple[str, ...]
    stray: tuple[str, ...]
    why: Why

    def describe(self) -> str:
        return f"lead to the base: {', '.join(self.names) or '-'}" + _also(" no longer published: ", self.stray)

    def after(self, node: NodeState) -> NodeState:
        kept = {name: text for name, text in node.links.items() if name not in self.stray}
        return replace(node, links={**kept, **dict.fromkeys(self.names, names.BASE)})


@dataclass(frozen=True)
class Restrict:
    """Restrict, inside a generation, mounts that came later and allow more than its plan; replace an old launcher.

    `mounts`: how many mounts lack flags. Takes effect at once, also for processes inside; cannot be undone.
    """

    generation: str
    mounts: int
    launcher: bool
    why: Why

    def describe(self) -> str:
        parts = [f"restrict {self.mounts} mounts in {self.generation}"] if self.mounts else []
        return "; ".join([*parts, *([f"exchange the launcher in {self.generation}"] if self.launcher else [])])

    def after(self, node: NodeState) -> NodeState:
        return node


@dataclass(frozen=True)
class SetBackends:
    """Write into the registry for which backends environments are prepared, the default first."""

    backends: tuple[str, ...]
    why: Why

    def describe(self) -> str:
        return f"prepare for {', '.join(self.backends)}"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, backends=self.backends)


@dataclass(frozen=True)
class BringUp:
    """Have what a backend needs once for the whole node. Undone by TakeDown."""

    backend: str
    why: Why

    def describe(self) -> str:
        return traits(self.backend).bring_up

    def after(self, node: NodeState) -> NodeState:
        service = node.service(self.backend)
        return with_service(node, self.backend, there=True, ours=True, admitted=service.admitted or ())


@dataclass(frozen=True)
class Admit:
    """Set the list of the trees that a backend's service lets users into."""

    backend: str
    trees: tuple[str, ...]
    why: Why

    def describe(self) -> str:
        return f"have {traits(self.backend).gatekeeper} allow {', '.join(self.trees) or 'no tree'}"

    def after(self, node: NodeState) -> NodeState:
        return with_service(node, self.backend, admitted=self.trees)


@dataclass(frozen=True)
class TakeDown:
    """Remove what a backend has once for the whole node. While processes need it, only make it refuse new ones."""

    backend: str
    why: Why

    def describe(self) -> str:
        return f"take down {traits(self.backend).service}"

    def after(self, node: NodeState) -> NodeState:
        return with_service(node, self.backend, there=False, ours=False, admitted=None)


@dataclass(frozen=True)
class RecordFailures:
    """Store, for messages, why these names cannot be entered; remove what is stored for others."""

    failures: Mapping[str, str] = field(repr=False)
    why: Why

    def describe(self) -> str:
        return f"note why there is no {', '.join(self.failures)}" if self.failures else "forget failures of earlier"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, failures=dict(self.failures))


@dataclass(frozen=True)
class RemoveRegistry:
    """Remove /run/chos. The next `up` makes it again."""

    why: Why

    def describe(self) -> str:
        return "remove the registry"

    def after(self, node: NodeState) -> NodeState:
        return NodeState(shared=node.shared, private=node.private, groups=node.groups)


def with_service(node: NodeState, backend: str, **changes: Any) -> NodeState:
    """The node with a backend's service changed."""
    return replace(node, services={**node.services, backend: replace(node.service(backend), **changes)})


def _also(text: str, items: tuple[str, ...]) -> str:
    return f";{text}{', '.join(items)}" if items else ""
