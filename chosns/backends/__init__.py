"""Backends: how a process tree comes to see an environment. One module for each backend, and the protocol of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Protocol

from chosns.lazydata import dataclass
from chosns.model import Environment, Site
from chosns.plan import Plan
from chosns.registry.writer import RegistryWriter


@dataclass(frozen=True)
class Seen:
    """What a backend would make an environment from now.

    backend:     its name
    environment: with the policy that follows from the configuration and from what the tree is
    fingerprint: differs if, and only if, a different generation would result
    made_of:     the parts of the fingerprint, for messages that say which of them changed
    record:      what is shown and allowed, for the manifest; it is compared with a later configuration
    warnings:    what the administrator should know
    operations:  of the plan, as JSON; empty if they were not asked for, see `Look.operations`
    module_tree: the tree that the kernel module is to let users into; empty: none
    """

    backend: str
    environment: Environment
    fingerprint: str
    made_of: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    operations: tuple[Mapping[str, Any], ...] = ()
    module_tree: str = ""


class Look(Protocol):
    """An environment that is being looked at. `build` builds exactly what `see` has returned."""

    def see(self) -> Seen:
        """Wait for the result of the look. :raises ChosError: why this environment cannot be prepared."""

    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """The operations of the plan, as JSON; none if the backend mounts nothing for a single environment."""

    def build(
        self, registry: RegistryWriter, generation: str, manifest: Mapping[str, Any], progress: Callable[[str], None]
    ) -> None:
        """Make a generation and check it. It is not published yet, and only root can enter it.

        The caller holds the registry's lock.

        :param generation: its name, `NAME.N`.
        :param manifest: what is to be recorded; the backend adds what is known only after making it.
        :param progress: called with a sentence if something takes longer than expected.
        :raises ChangedError: the base changed meanwhile, so it has to be looked at again.
        :raises ChosError: why it cannot be made. Nothing is left behind.
        """


class Backend(Protocol):
    """What every backend must be able to do."""

    name: str

    def explain(self, env: Environment, site: Site) -> Plan:
        """The plan. Does and changes nothing, and needs no privilege."""

    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> AbstractContextManager[Look]:
        """Start looking at an environment's tree and at the base, in a process of its own that ends with the context.

        Changes nothing. Several may be looked at side by side.

        :param group_ids: the groups that may enter; empty for everyone.
        :raises ChosError: why this environment cannot be prepared.
        """


def with_groups(fingerprint: str, group_ids: Sequence[int]) -> str:
    """A fingerprint that also depends on the groups that may enter."""
    return "-".join([fingerprint, *map(str, sorted(group_ids))])
