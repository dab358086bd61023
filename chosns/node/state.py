"""What a node is now: everything that a decision depends on. Reads, and changes nothing.

`act` reads it under the registry's lock; `chosctl up --dry-run` reads it without the lock.
"""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Iterable, Mapping
from dataclasses import field

from chosns import backends
from chosns.backends import Service
from chosns.lazydata import dataclass
from chosns.model import Site
from chosns.mounts.base import is_shared, private_mounts
from chosns.observe.homes import count_residents
from chosns.registry import Generation, Registry, names
from chosns.registry.access import is_granted, may_enter
from chosns.registry.reader import Written

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILES = ("base", "login", "jobs")  # of the registry, beside environments


@dataclass(frozen=True)
class NodeState:
    """A node at one moment.

    prepared:    whether there is a registry
    shared:      whether the base's root is a shared mount
    private:     mount points of the base that are not shared, although its root is
    backends:    what is prepared for, the default first
    files:       name → text, of FILES
    links:       registry name → link text
    generations: `NAME.N` → what is known of it, unfinished ones included
    entrants:    `NAME.N` → numbers of the groups that may enter; None: everyone
    irregular:   `NAME.N` of published ones whose directory has another mode, group or ACL than `up` gives it
    written:     `NAME.N` of published ones → what C reads of it; None if users other than root can write there
    serials:     registry name → number of the latest generation that was begun
    failures:    registry name → why it could not be prepared
    services:    backend → what it has on the node once for all environments, of backends that need that
    residents:   `NAME.N` → processes that live in it
    groups:      name → number, of those that the configuration names; None: not known on this node
    """

    prepared: bool = False
    shared: bool = True
    private: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, Generation] = field(default_factory=dict)
    entrants: Mapping[str, frozenset[int] | None] = field(default_factory=dict)
    irregular: frozenset[str] = frozenset()
    written: Mapping[str, Written | None] = field(default_factory=dict)
    serials: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    residents: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int | None] = field(default_factory=dict)

    def published(self, primary: str) -> Generation | None:
        """The generation that an environment's registry name leads to."""
        return self.generations.get(names.generation_of(self.links.get(primary, "")))

    def service(self, backend: str) -> Service:
        """What a backend has on the node."""
        return self.services.get(backend, Service())


def read_node(site: Site, registry: Registry | None) -> NodeState:
    """The node as it is. Root, on the base.

    :param registry: open for reading, None where there is none yet.
    """
    known = {name: _group(name) for env in site.environments for name in env.groups}
    private = tuple(private_mounts())
    if registry is None:
        return NodeState(shared=is_shared(), private=private, services=_services(None), groups=known)
    generations = {str(generation): generation for generation in registry.generations()}
    links = registry.links()
    live = sorted(set(names.published(links).values()) & set(generations))
    entrants, irregular = _entrants(registry, live)
    return NodeState(
        prepared=True,
        shared=is_shared(),
        private=private,
        backends=registry.backends(),
        files=registry.texts(FILES),
        links=links,
        generations=generations,
        entrants=entrants,
        irregular=irregular,
        written={name: registry.written(name) for name in live},
        serials=registry.serials(),
        failures=registry.failures(),
        services=_services(registry),
        residents=count_residents(list(generations.values())),
        groups=known,
    )


def _services(registry: Registry | None) -> dict[str, Service]:
    found = map(backends.presence, backends.names())
    return {each.traits.name: each.service(registry) for each in found if each.traits.service}


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _entrants(
    registry: Registry, generations: Iterable[str]
) -> tuple[dict[str, frozenset[int] | None], frozenset[str]]:
    """`entrants` and `irregular` of NodeState."""
    found: dict[str, frozenset[int] | None] = {}
    irregular = set()
    for generation in generations:
        with contextlib.suppress(OSError):  # something else than a directory; no process can enter it
            fd = os.open(f"gen/{generation}", _DIRECTORY, dir_fd=registry.fd)
            try:
                found[generation] = may_enter(fd)
                if not is_granted(fd):
                    irregular.add(generation)
            finally:
                os.close(fd)
    return found, frozenset(irregular)
