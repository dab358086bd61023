"""Backends: how a process tree comes to see an environment. One folder for each, and the protocol of all.

Outside of this package no code knows a backend's name: it asks the table for those that a site wants, or for all. A
folder has two halves. `presence` only looks, imports nothing large, and is what `status`, `ps` and decisions ask.
`backend` plans, builds and changes the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chosns.lazydata import dataclass
from chosns.model import Environment, Site

if TYPE_CHECKING:
    from chosns.plan import Plan
    from chosns.registry import Generation, Registry
    from chosns.registry.writer import RegistryWriter

__all__ = [
    "TABLE",
    "TIME_LIMIT",
    "Backend",
    "Homes",
    "Look",
    "Presence",
    "Row",
    "Seen",
    "Service",
    "ServiceReport",
    "Traits",
    "WithoutService",
    "builder",
    "create",
    "names",
    "presence",
    "traits",
    "with_groups",
]

TIME_LIMIT = 60.0  # seconds for one environment; needed if a tree's file system does not answer


@dataclass(frozen=True)
class Traits:
    """What is always so of a backend. Decisions are made of it.

    namespace:  each generation has a mount namespace of its own, which is pinned in the registry
    service:    what the backend needs once for the whole node, in words; empty: nothing
    bring_up:   what is done to have that, in words
    gatekeeper: who lets users into trees, in words, if the service does that
    """

    name: str
    namespace: bool = False
    service: str = ""
    bring_up: str = ""
    gatekeeper: str = ""


@dataclass(frozen=True)
class Service:
    """What a backend has on the node once for all environments.

    there:    whether it is there, and whole
    ours:     whether `chosctl up` has brought it up, so that it may be taken down
    trees:    registry name → tree that it is to let users into
    admitted: trees that it lets users into now; None if that cannot be told
    """

    there: bool = False
    ours: bool = False
    trees: Mapping[str, str] = field(default_factory=dict)
    admitted: tuple[str, ...] | None = None


class ServiceReport(NamedTuple):
    """What `status` says of a backend's service: a key of its JSON, and its value there; for people, what is wrong."""

    key: str
    value: Mapping[str, Any] | None
    problem: str = ""


class Homes(Protocol):
    """Tells in which generation of a backend's a process lives."""

    def of(self, pid: int | str, namespace: int) -> tuple[Generation, bool] | None:
        """The generation, and whether the process is in a namespace that was made inside; None: in none of them.

        :param namespace: inode number of the process's mount namespace, 0 if that is not known.
        """


class Presence(Protocol):
    """What there is of a backend on this node. Looks only; what needs root is left out for other users."""

    traits: Traits

    def homes(self, generations: Sequence[Generation]) -> Homes:
        """For the processes in these generations, of whatever backend."""

    def service(self, registry: Registry | None) -> Service:
        """What it has on the node. Root, on the base. :param registry: None if there is none yet."""

    def admitted(self) -> tuple[str, ...] | None:
        """See `Service`. Root, on the base."""

    def report(self) -> ServiceReport | None:
        """For `status`; None if it needs nothing on the node."""


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
    trees:       backend → the tree that its service is to let users into
    """

    backend: str
    environment: Environment
    fingerprint: str
    made_of: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    operations: tuple[Mapping[str, Any], ...] = ()
    trees: Mapping[str, str] = field(default_factory=dict)


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
    """What every backend must be able to do. `WithoutService` has half of it for one that needs nothing on the node."""

    traits: Traits

    def require(self) -> None:
        """Change nothing. :raises UnsupportedError: this node cannot have the backend."""

    def explain(self, env: Environment, site: Site) -> Plan:
        """The plan. Does and changes nothing, and needs no privilege. May hang where a tree does.

        :raises ChosError: why this environment cannot be prepared.
        """

    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> AbstractContextManager[Look]:
        """Start looking at an environment's tree and at the base, in a process of its own that ends with the context.

        Changes nothing. Several may be looked at side by side.

        :param group_ids: the groups that may enter; empty for everyone.
        :raises ChosError: why this environment cannot be prepared.
        """

    def join(self, env: Environment, site: Site, group_ids: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """Whether an environment that another backend prepares can be entered by this one as well.

        Returns the tree that the service is to let users into, empty for none, and warnings, or why not.
        """

    def bring_up(self, site: Site, registry: RegistryWriter) -> list[str]:
        """Have the service, or complete it; returns notes. :raises ChosError: it cannot be had."""

    def withdraw(self, environment: str, registry: RegistryWriter) -> None:
        """Have the service let nobody into this environment any more, at once."""

    def let(self, environment: str, tree: str, registry: RegistryWriter) -> None:
        """Note the tree that the service is to let users into for an environment; none if it is empty."""

    def settle(self, registry: RegistryWriter, wanted: bool) -> list[str]:
        """Have the service let users into what is published; take it down if it is not wanted any more.

        Returns why something stays. A service that was not brought up from here is left alone.
        """

    def clear(self) -> list[str]:
        """Remove what an `up` has left that was killed before there was a registry. Returns why something stays."""


class WithoutService:
    """The part of a `Presence` and a `Backend` that concerns a service, for one that has none."""

    def service(self, registry: Registry | None) -> Service:
        """See Presence."""
        return Service()

    def admitted(self) -> tuple[str, ...] | None:
        """See Presence."""
        return None

    def report(self) -> ServiceReport | None:
        """See Presence."""
        return None

    def join(self, env: Environment, site: Site, group_ids: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """See Backend."""
        return "", ()

    def bring_up(self, site: Site, registry: RegistryWriter) -> list[str]:
        """See Backend."""
        return []

    def withdraw(self, environment: str, registry: RegistryWriter) -> None:
        """See Backend."""

    def let(self, environment: str, tree: str, registry: RegistryWriter) -> None:
        """See Backend."""

    def settle(self, registry: RegistryWriter, wanted: bool) -> list[str]:
        """See Backend."""
        return []

    def clear(self) -> list[str]:
        """See Backend."""
        return []


class Row(NamedTuple):
    """Where a backend is: a module with a `Presence` called PRESENCE, and one with a class called BACKEND.

    An object of the class is made with the seconds that one environment may take.
    """

    presence: str
    backend: str


# The default first. A backend is a row here and its folder.
TABLE = {name: Row(f"chosns.backends.{name}.presence", f"chosns.backends.{name}.backend") for name in ("ns", "kmod")}


def names() -> tuple[str, ...]:
    """Of all backends, the default first."""
    return tuple(TABLE)


def presence(name: str) -> Presence:
    """What there is of a backend on this node."""
    found: Presence = import_module(TABLE[name].presence).PRESENCE
    return found


def traits(name: str) -> Traits:
    """What is always so of a backend."""
    return presence(name).traits


def create(name: str, limit: float = TIME_LIMIT) -> Backend:
    """A backend. :param limit: seconds that one environment may take."""
    made: Backend = import_module(TABLE[name].backend).BACKEND(limit)
    return made


def builder(wanted: Sequence[str]) -> str:
    """Which of several backends makes the generations that all of them enter: one that gives namespaces, if any."""
    return next((name for name in wanted if traits(name).namespace), wanted[0])


def with_groups(fingerprint: str, group_ids: Sequence[int]) -> str:
    """A fingerprint that also depends on the groups that may enter."""
    return "-".join([fingerprint, *map(str, sorted(group_ids))])
