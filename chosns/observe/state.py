"""The state of every environment: configuration, registry and processes brought together."""

from __future__ import annotations

import os
from dataclasses import asdict, field, replace
from typing import Any

from chosns import backends
from chosns.backends import ServiceReport
from chosns.errors import ChosError, NotPrepared
from chosns.lazydata import dataclass
from chosns.model import Environment, Severity, Site, escape_name
from chosns.mounts.base import private_mounts
from chosns.observe.exposed import Exposed, exposed
from chosns.observe.homes import count_residents
from chosns.observe.missed import missed
from chosns.registry import Generation, Registry, open_registry
from chosns.system.installed import launcher_problem


@dataclass(frozen=True)
class GenerationState:
    """`processes`: how many live in it (as far as the caller may see). `created`: seconds since the epoch."""

    generation: str
    processes: int
    created: float
    current: bool


@dataclass(frozen=True)
class EnvironmentState:
    """One environment. `reason` says why the last attempt to prepare it failed; empty if it did not fail.

    state: `up`; `down`; `failed`; `outdated`, still in the state before a failed attempt; `closed`, the caller may not
    enter; `unlisted`, processes are in it, but /etc/chos no longer names it.
    """

    name: str
    state: str
    tree: str = ""
    os: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    generations: tuple[GenerationState, ...] = ()
    reason: str = ""

    @property
    def current(self) -> GenerationState | None:
        return next((generation for generation in self.generations if generation.current), None)

    @property
    def processes(self) -> int:
        return sum(generation.processes for generation in self.generations)


@dataclass(frozen=True)
class NodeStatus:
    """All of a node. `prepared`: whether there is a registry at all. `problems`: errors in the configuration.

    `backend`: the default of `backends`. `services`: what backends have on the node, under the keys of `status --json`.
    `launcher`: why nobody can enter with the installed launcher, where that is so.
    `private_mounts`: of the base; what is mounted below them does not appear inside.
    `without_nosuid`: where set-uid programs of the base work inside; None where that is not known.
    `missed`: how many processes of batch jobs asked for an environment and are on the base; None where not known.
    """

    prepared: bool
    backends: tuple[str, ...]
    environments: tuple[EnvironmentState, ...] = field(default=())
    problems: int = 0
    private_mounts: tuple[str, ...] = ()
    launcher: str = ""
    services: tuple[tuple[str, ServiceReport], ...] = ()
    without_nosuid: tuple[Exposed, ...] | None = None
    missed: int | None = None

    @property
    def healthy(self) -> bool:
        well = all(env.state in ("up", "closed", "unlisted") for env in self.environments)
        served = not any(report.problem for report in self.reports)
        return self.prepared and well and served and not self.problems and not self.launcher

    @property
    def reports(self) -> tuple[ServiceReport, ...]:
        """On the services of those backends that environments are prepared for."""
        return tuple(report for name, report in self.services if name in self.backends)

    @property
    def backend(self) -> str:
        return self.backends[0] if self.backends else ""

    def to_json(self) -> dict[str, Any]:
        """For `status --json`: everything that monitoring needs to alert on."""
        return {
            "prepared": self.prepared,
            "healthy": self.healthy,
            "backend": self.backend,
            "backends": self.backends,
            **{report.key: report.value for _, report in self.services},
            "private_mounts": self.private_mounts,
            "without_nosuid": None if self.without_nosuid is None else list(map(asdict, self.without_nosuid)),
            "missed": self.missed,
            "problems": self.problems,
            "launcher": self.launcher,
            "environments": [
                {**asdict(env), "processes": env.processes, "generation": env.current.generation if env.current else ""}
                for env in self.environments
            ],
        }


def node_state(site: Site, *, inside: bool = False) -> NodeStatus:
    """Look at this node. Needs no privilege; users other than root see their own processes only.

    :param inside: look for `without_nosuid` and `missed` too.
    :raises RegistryError: what is prepared cannot be used.
    """
    errors = sum(problem.severity is Severity.ERROR for problem in site.problems)
    try:
        with open_registry() as registry:
            return replace(_prepared_state(site, registry, inside), problems=errors, launcher=launcher_problem())
    except NotPrepared:
        return NodeStatus(
            False, (), tuple(_state(env, None, "", []) for env in site.environments), errors, services=_services()
        )


def _prepared_state(site: Site, registry: Registry, inside: bool) -> NodeStatus:
    found = registry.generations()
    used = count_residents(found)
    grouped: dict[str, list[tuple[Generation, int]]] = {}
    for generation in found:
        if generation.manifest:
            grouped.setdefault(generation.name, []).append((generation, used[str(generation)]))
    failures = registry.failures()
    states = []
    for env in site.environments:
        name = escape_name(env.name)
        states.append(_state(env, registry, failures.get(name, ""), grouped.pop(name, [])))
    for name, leftovers in sorted(grouped.items()):
        generations = tuple(_generation(generation, count, None) for generation, count in leftovers)
        states.append(EnvironmentState(name, "unlisted", generations=generations))
    exposure = exposed(found) if inside else None
    return NodeStatus(
        True,
        registry.backends(),
        tuple(states),
        private_mounts=tuple(private_mounts()),
        services=_services(),
        without_nosuid=None if exposure is None or exposure.unknown else exposure.found,
        missed=_count_missed(registry) if inside else None,
    )


def _services() -> tuple[tuple[str, ServiceReport], ...]:
    found = ((name, backends.presence(name).report()) for name in backends.names())
    return tuple((name, report) for name, report in found if report)


def _count_missed(registry: Registry) -> int | None:
    try:
        return len(missed(registry))
    except ChosError:  # called inside an environment, or a process makes it slow
        return None


def _state(
    env: Environment, registry: Registry | None, failure: str, found: list[tuple[Generation, int]]
) -> EnvironmentState:
    published = registry.published(env.name) if registry else None
    state = "up" if published else "failed" if failure else "down"
    if registry and published and not may_enter(registry, published):
        state = "closed"  # in any case: the caller must not see more of what they may not enter
    elif published and failure:
        state = "outdated"
    manifest = found[-1][0].manifest if found else {}
    return EnvironmentState(
        env.name,
        state,
        env.tree,
        str(manifest.get("os", "")),
        env.description,
        env.aliases,
        env.groups,
        tuple(_generation(generation, count, published) for generation, count in found),
        failure,
    )


def _generation(generation: Generation, processes: int, published: str | None) -> GenerationState:
    created = float(generation.manifest.get("created", 0.0))
    return GenerationState(str(generation), processes, created, str(generation) == published)


def may_enter(registry: Registry, generation: str) -> bool:
    """Whether the kernel lets the caller into a generation's directory."""
    return os.access(f"gen/{generation}", os.X_OK, dir_fd=registry.fd)
