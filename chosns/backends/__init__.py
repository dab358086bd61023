"""Backends: how a process tree comes to see an environment. One module each, one small protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Protocol

from chosns.lazydata import dataclass
from chosns.model import Environment, Site
from chosns.plan import Plan
from chosns.registry_writer import RegistryWriter


@dataclass(frozen=True)
class Seen:
    """What a backend would make an environment of now.

    backend:     its name
    environment: with the policy that follows from the configuration and from what the tree is
    fingerprint: another one where, and only where, another generation would come of it
    made_of:     the parts of the fingerprint, for messages that say which of them changed
    record:      what the manifest says of what is shown and allowed, to be compared with a later configuration
    warnings:    what an administrator should know of
    operations:  of the plan, as JSON; empty where nobody asked for them, see `Look.operations`
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
    """An environment that is being looked at; what is built is what was seen."""

    def see(self) -> Seen:
        """What was seen; waits for it. :raises ChosError: why this environment cannot be prepared."""

    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """The operations of the plan, as JSON; none where nothing is mounted for one environment."""

    def build(
        self, registry: RegistryWriter, generation: str, manifest: Mapping[str, Any], progress: Callable[[str], None]
    ) -> None:
        """Make a generation, checked, closed to all but root and not yet published.

        The caller holds the registry's lock.

        :param generation: its name, `NAME.N`.
        :param manifest: what is to be recorded; the backend adds what it knows when it is made.
        :param progress: told, in a sentence, about what takes longer than expected.
        :raises ChangedError: the base changed meanwhile: it has to be looked at once more.
        :raises ChosError: why it cannot be made. Nothing is left behind.
        """


class Backend(Protocol):
    """What `chosctl` asks of every backend."""

    name: str

    def explain(self, env: Environment, site: Site) -> Plan:
        """The plan, without doing or changing anything and without privilege."""

    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> AbstractContextManager[Look]:
        """Begin to look at an environment's tree, and at the base, in a process of its own that goes with the context.

        Changes nothing. Several may be looked at side by side.

        :param group_ids: who is to enter; empty for everyone.
        :raises ChosError: why this environment cannot be prepared.
        """


def with_groups(fingerprint: str, group_ids: Sequence[int]) -> str:
    """A fingerprint that says who may enter, too."""
    return "-".join([fingerprint, *map(str, sorted(group_ids))])
