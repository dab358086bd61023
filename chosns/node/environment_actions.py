"""Actions that concern one environment: its generations and its names. See `actions`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from chosns.backends import traits
from chosns.lazydata import dataclass
from chosns.model import Environment, escape_name
from chosns.node.node_actions import Why, with_service
from chosns.node.state import NodeState
from chosns.registry import Generation
from chosns.registry.access import narrowed
from chosns.registry.reader import Written, policy_of


@dataclass(frozen=True)
class Narrow:
    """Close a generation to users whom the configuration does not name any more. A new generation opens it again."""

    generation: str
    group_ids: tuple[int, ...]
    why: Why

    def describe(self) -> str:
        return f"close {self.generation} to all but {_groups(self.group_ids)}"

    def after(self, node: NodeState) -> NodeState:
        left = narrowed(node.entrants.get(self.generation), self.group_ids)
        return replace(
            node, entrants={**node.entrants, self.generation: left}, irregular=node.irregular - {self.generation}
        )


@dataclass(frozen=True)
class Withdraw:
    """Make a backend's service refuse an environment until its tree was looked at again."""

    environment: str
    backend: str
    why: Why

    def describe(self) -> str:
        return f"withdraw {self.environment} from {traits(self.backend).gatekeeper}"

    def after(self, node: NodeState) -> NodeState:
        service = node.service(self.backend)
        trees = _without(service.trees, [escape_name(self.environment)])
        left = tuple(tree for name, tree in trees.items() if name in node.links)
        return with_service(node, self.backend, trees=trees, admitted=None if service.admitted is None else left)


@dataclass(frozen=True)
class Make:
    """Make a generation that only root can enter. `generation` is its name; it gets another one if the base changes
    meanwhile and it has to be made again. Undone by retiring it."""

    environment: Environment = field(repr=False)
    generation: str
    backend: str
    manifest: Mapping[str, Any] = field(repr=False)
    why: Why

    def describe(self) -> str:
        return f"make {self.generation}"

    def after(self, node: NodeState) -> NodeState:
        """Has placeholders for what is known only when it is made: the namespace, the root directory, and the plan."""
        name, _, number = self.generation.rpartition(".")
        known_later = {"namespace": int(traits(self.backend).namespace), "root": [1, 1], "plan": {"operations": [{}]}}
        made = Generation(name, int(number), 1, {**self.manifest, **known_later}, traits(self.backend).namespace)
        return replace(
            node,
            generations={**node.generations, self.generation: made},
            entrants={**node.entrants, self.generation: frozenset()},
            written={
                **node.written,
                self.generation: Written(policy_of(made, self.environment), self.environment.tree + "\n"),
            },
            serials={**node.serials, name: int(number)},
        )


@dataclass(frozen=True)
class Note:
    """Update the manifest of an unchanged generation to what the configuration shows and allows now."""

    generation: str
    why: Why
    record: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def describe(self) -> str:
        return f"note in {self.generation} what it shows and allows"

    def after(self, node: NodeState) -> NodeState:
        old = node.generations[self.generation]
        noted = replace(old, manifest={**old.manifest, **self.record})
        return replace(node, generations={**node.generations, self.generation: noted})


@dataclass(frozen=True)
class Let:
    """Make a backend's service let users into a tree by this environment's name; into no tree if `tree` is empty."""

    environment: str
    backend: str
    tree: str
    why: Why

    def describe(self) -> str:
        whom = f"users into {self.tree}" if self.tree else f"nobody into {self.environment}"
        return f"have {traits(self.backend).gatekeeper} let {whom}"

    def after(self, node: NodeState) -> NodeState:
        name = escape_name(self.environment)
        others = _without(node.service(self.backend).trees, [name])
        return with_service(node, self.backend, trees={**others, name: self.tree} if self.tree else others)


@dataclass(frozen=True)
class Grant:
    """Allow only these groups to enter a generation; everyone if there are none."""

    generation: str
    group_ids: tuple[int, ...]
    why: Why

    def describe(self) -> str:
        return f"open {self.generation} to {_groups(self.group_ids)}"

    def after(self, node: NodeState) -> NodeState:
        wanted = frozenset(self.group_ids) if self.group_ids else None
        return replace(
            node, entrants={**node.entrants, self.generation: wanted}, irregular=node.irregular - {self.generation}
        )


@dataclass(frozen=True)
class Publish:
    """Make names lead to a generation, the environment's own first, and remove a stored reason of failure.

    `environment` is empty if the names belong to several.
    """

    environment: str
    links: Mapping[str, str]
    why: Why

    def describe(self) -> str:
        return f"publish {', '.join(f'{name} → {text}' for name, text in self.links.items())}"

    def after(self, node: NodeState) -> NodeState:
        failures = _without(node.failures, [escape_name(self.environment)] if self.environment else [])
        return replace(node, links={**node.links, **self.links}, failures=failures)


@dataclass(frozen=True)
class Unpublish:
    """Take names away, so that no process can enter any more. The next successful `up` publishes them again."""

    names: tuple[str, ...]
    why: Why

    def describe(self) -> str:
        return f"let nobody enter {', '.join(self.names)}"

    def after(self, node: NodeState) -> NodeState:
        return replace(node, links=_without(node.links, self.names))


@dataclass(frozen=True)
class Retire:
    """Unpin a generation and remove its files. Its namespace disappears when its last process ends."""

    generation: str
    complete: bool
    why: Why

    def describe(self) -> str:
        return f"retire {self.generation}"

    def after(self, node: NodeState) -> NodeState:
        gone = [self.generation]
        return replace(
            node,
            generations=_without(node.generations, gone),
            entrants=_without(node.entrants, gone),
            written=_without(node.written, gone),
            residents=_without(node.residents, gone),
        )


def _groups(group_ids: tuple[int, ...]) -> str:
    return "groups " + ", ".join(map(str, group_ids)) if group_ids else "everyone"


def _without(mapping: Mapping[str, Any], gone: Any) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in gone}
