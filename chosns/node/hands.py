"""Carries actions out: `Hands` changes the node, `NoHands` changes nothing. `drive` works with either of them.

Everything that a decision changes on a node is changed here, or by the backends that are called from here. Making the
registry, and removing it, is in `act`. Runs as root, on the base, with the registry's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from chosns import backends
from chosns.backends import Backend, Look, create
from chosns.errors import ChosError
from chosns.model import Site, escape_name
from chosns.mounts.repair import Repaired, look, not_looked_at, repair
from chosns.node import actions
from chosns.node.actions import Action
from chosns.node.state import NodeState
from chosns.observe.homes import count_residents
from chosns.registry import Generation
from chosns.registry.reader import Written
from chosns.registry.writer import RegistryWriter


class Made(NamedTuple):
    """A generation that was made, and what C reads of it."""

    generation: Generation
    written: Written | None


class Doer(Protocol):
    """What `drive` needs, to change a node or only to say what would be changed."""

    def do(self, action: Action) -> list[str]:
        """Carry out an action; returns notes for the administrator. :raises ChosError, OSError: it failed."""

    def make(self, action: actions.Make, look: Look, progress: Callable[[str], None]) -> Made | None:
        """Carry out a Make; returns what was made, None if nothing was made. :raises ChosError: see `Look.build`."""

    def restrict(self, generations: list[Generation]) -> tuple[list[Action], Repaired]:
        """Look at the mounts of generations, and restrict them; returns the actions and their results."""

    def bring_up(self, backend: Backend, site: Site) -> list[str]:
        """Have what a backend needs on the node, or complete it; returns notes. :raises ChosError: it cannot be had."""

    def seen_again(self, node: NodeState) -> NodeState:
        """The node, with what may have changed without our doing, read again."""


class Hands:
    """Changes the node. See `Doer`."""

    def __init__(self, registry: RegistryWriter) -> None:
        self._registry = registry

    def do(self, action: Action) -> list[str]:
        """See Doer."""
        done = _DO[type(action)](self._registry, action)
        return list(done) if done else []

    def make(self, action: actions.Make, look: Look, progress: Callable[[str], None]) -> Made | None:
        """See Doer."""
        look.build(self._registry, action.generation, action.manifest, progress)
        made = self._registry.generation(action.generation)
        assert made is not None, action
        return Made(made, self._registry.written(action.generation))

    def restrict(self, generations: list[Generation]) -> tuple[list[Action], Repaired]:
        """See Doer."""
        return [], repair(generations)

    def bring_up(self, backend: Backend, site: Site) -> list[str]:
        """See Doer."""
        return backend.bring_up(site, self._registry)

    def seen_again(self, node: NodeState) -> NodeState:
        """See Doer."""
        return replace(
            node,
            residents=count_residents(list(node.generations.values())),
            serials=self._registry.serials(),
            services={
                name: replace(service, admitted=backends.presence(name).admitted())
                for name, service in node.services.items()
            },
        )


class NoHands:
    """Changes nothing. See `Doer`."""

    def do(self, action: Action) -> list[str]:
        """See Doer."""
        return []

    def make(self, action: actions.Make, look: Look, progress: Callable[[str], None]) -> Made | None:
        """See Doer."""
        return None

    def restrict(self, generations: list[Generation]) -> tuple[list[Action], Repaired]:
        """See Doer."""
        why = "it was mounted, or installed, since"
        try:
            seen = look(generations)
        except ChosError as error:
            return [], Repaired([f"{error}: what was mounted since may give rights inside"], False)
        unknown = [not_looked_at(found) for found in seen if found.problem]
        return [
            actions.Restrict(str(found.generation), found.lacking, found.launcher, (why,))
            for found in seen
            if found.lacking or found.launcher
        ], Repaired(unknown, not unknown)

    def bring_up(self, backend: Backend, site: Site) -> list[str]:
        """See Doer."""
        backend.require()
        return []

    def seen_again(self, node: NodeState) -> NodeState:
        """See Doer."""
        return node


def _lead_to_base(registry: RegistryWriter, action: actions.LeadToBase) -> None:
    registry.unpublish(action.stray)
    registry.make_names(dict.fromkeys(action.names, "../base"))


def _narrow(registry: RegistryWriter, action: actions.Narrow) -> None:
    registry.narrow(action.generation, action.group_ids)


def _publish(registry: RegistryWriter, action: actions.Publish) -> None:
    registry.make_names(action.links)
    if action.environment:
        registry.clear_failure(escape_name(action.environment))


def _nothing(_registry: RegistryWriter, _action: Action) -> None:
    """For actions that are done elsewhere: before there was a registry, or by a function of their own."""


_DO: dict[type[Any], Callable[[RegistryWriter, Any], list[str] | None]] = {
    actions.ShareMounts: _nothing,
    actions.MakeRegistry: _nothing,
    actions.RemoveRegistry: _nothing,
    actions.Restrict: _nothing,
    actions.BringUp: _nothing,
    actions.WriteFile: lambda registry, action: registry.write(action.name, action.text),
    actions.LeadToBase: _lead_to_base,
    actions.SetBackends: lambda registry, action: registry.set_backends(action.backends),
    actions.Narrow: _narrow,
    actions.Withdraw: lambda registry, action: create(action.backend).withdraw(action.environment, registry),
    actions.Let: lambda registry, action: create(action.backend).let(action.environment, action.tree, registry),
    actions.Grant: lambda registry, action: registry.grant(action.generation, action.group_ids),
    actions.Publish: _publish,
    actions.Note: lambda registry, action: registry.note(action.generation, action.record),
    actions.Unpublish: lambda registry, action: registry.unpublish(action.names),
    actions.RecordFailures: lambda registry, action: registry.set_failures(action.failures),
    actions.Retire: lambda registry, action: registry.retire(action.generation),
    actions.Admit: lambda registry, action: create(action.backend).settle(registry, True),
    actions.TakeDown: lambda registry, action: create(action.backend).settle(registry, False),
}
