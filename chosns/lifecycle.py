"""Bringing environments up and down on this node: backends prepare, this publishes and retires.

Every function that changes something runs on the base as root, takes the registry's lock, and may be killed at any
point: what it leaves is either what was there or what was to be, and the next `up` clears the rest.
"""

from __future__ import annotations

import contextlib
import grp
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chosns.backends.kmod import ModuleBackend
from chosns.backends.ns import TIME_LIMIT, NamespaceBackend
from chosns.base import ensure_shared, private_mounts, require_base, require_kernel
from chosns.config import broken
from chosns.config.node import BACKENDS
from chosns.errors import (
    ChosError,
    ConfigError,
    NotPrepared,
    RegistryError,
    UnknownEnvironment,
    UnsafeError,
    as_chos_error,
    chos_errors,
)
from chosns.formats import base_text, jobs_text, login_text
from chosns.install import launcher_problem
from chosns.model import Environment, Site, escape_name
from chosns.module import node as module
from chosns.module.root import is_made as made_by_us
from chosns.observe.homes import count_residents
from chosns.records import with_record_file
from chosns.registry import PATH as REGISTRY
from chosns.registry import Registry, open_registry
from chosns.registry_mount import create_registry, remove_registry
from chosns.registry_writer import RegistryWriter, open_for_writing
from chosns.repair import repair
from chosns.restrict import restrict

_SHOWN = 3  # reasons of one kind in a message


@dataclass(frozen=True)
class Outcome:
    """What became of one environment: `made`, `unchanged` or `failed`; then `error` says why."""

    environment: str
    state: str
    generation: str = ""
    seconds: float = 0.0
    error: ChosError | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Report:
    """What `up` or `down` did. `kept`: generations that wait for their processes to end → how many there are.
    `degraded`: a backend that was wanted is not there, or mounts inside allow more than their plan."""

    outcomes: list[Outcome] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    degraded: bool = False

    @property
    def failed(self) -> bool:
        return self.degraded or any(outcome.state == "failed" for outcome in self.outcomes)


def up(
    site: Site,
    names: Sequence[str] = (),
    *,
    backends: Sequence[str] = (),
    renew: bool = False,
    limit: float = TIME_LIMIT,
    command: str = "chosctl up",
    progress: Callable[[str], None] = lambda _: None,
    done: Callable[[Outcome], None] = lambda _: None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Report:
    """Prepare the named environments (all where none is named), and make the registry say what `site` says.

    An environment that has not changed keeps its generation. One that fails fails alone, and keeps its old one, unless
    that lets in, or allows, more than the configuration does now.

    :param backends: what to prepare for, the default first; empty: what the configuration says, else as it is, else ns.
    :param renew: make a new generation even of what has not changed.
    :param limit: seconds that one environment may take.
    :param progress: told about what takes long.
    :param done: told of each outcome as it comes.
    :param waiting: told when another `chosctl` has to be waited for.
    :raises UnknownEnvironment: a name is not in the configuration. Nothing was done then.
    :raises ChosError: nothing can be prepared at all.
    """
    require_base(command)
    backends = tuple(backends) or site.backends or _present_backends() or ("ns",)
    if "ns" in backends:
        require_kernel()
    chosen = [find(site, name) for name in names] or list(site.environments)
    report = Report()
    with chos_errors("/run/chos"):
        if ensure_shared():
            report.notes.append(
                "the base's root was private: all its mounts are shared now, those too that were private on purpose,"
                " so that later mounts appear inside"
            )
        private = private_mounts()
        if private:
            more = f" and {len(private) - 3} more" if len(private) > 3 else ""
            report.notes.append(
                f"{', '.join(private[:3])}{more}: private on the base, so what is mounted below later does not appear"
                f" inside; mend it with `mount --make-shared` and `chosctl up --renew`"
            )
        launcher = launcher_problem()
        if launcher:
            report.notes.append(launcher)
        with create_registry() as registry, registry.lock(waiting):
            registry.write("base", base_text())
            registry.write("login", login_text(site.login))
            jobs, problem = with_record_file(site.jobs)
            registry.write("jobs", jobs_text(jobs))
            report.notes += [problem] if problem else []
            _show_base(_links(site, registry), registry)
            repaired = repair(registry.generations())
            report.notes += repaired.notes
            report.degraded = not repaired.whole
            if "kmod" in backends:
                backends = _bring_up_module(site, registry, backends, report)
            registry.set_backends(backends)
            for env in chosen:
                progress(env.name)
                outcome = _prepare(env, site, registry, _Wish(backends, renew, limit), progress)
                report.outcomes.append(outcome)
                report.notes += [warning for warning in outcome.warnings if warning not in report.notes]
                done(outcome)
            registry.set_names(_links(site, registry))
            failed = registry.failures()
            registry.keep_failures({name for name, env in _owners(site).items() if escape_name(env.name) in failed})
            _retire(registry, report)
            report.notes += module.settle(registry, backends)
    return report


def down(
    names: Sequence[str] = (), *, command: str = "chosctl down", waiting: Callable[[str], None] = lambda _: None
) -> Report:
    """Take environments away: nobody new enters, whoever is in stays until the end.

    :param names: names or aliases; empty for everything, the registry itself included.
    :raises NotPrepared: nothing is prepared, and `names` were given.
    :raises UnknownEnvironment: a name is not prepared. Nothing was done then.
    """
    require_base(command)
    report = Report()
    try:
        opened = open_for_writing()
    except NotPrepared:
        if names:
            raise
        report.notes.append("nothing is prepared on this node")
        # What an `up` has left that was killed early.
        if made_by_us():
            report.notes += module.take_down()
        if os.path.ismount(REGISTRY):
            with chos_errors(REGISTRY):
                remove_registry()
        return report
    with chos_errors("/run/chos"), opened as registry, registry.lock(waiting):
        links = registry.links()
        # The way back to the base stays as long as anybody is inside.
        gone = [name for name, text in links.items() if text != "../base"]
        if names:
            gone = []
            for name in names:
                primary = registry.primary(name)
                if primary is None:
                    raise UnknownEnvironment("is not prepared", object=name, hint="`chosctl status` lists what is")
                gone += [alias for alias, text in links.items() if primary in (alias, text)]
        registry.unpublish(gone)
        _retire(registry, report)
        report.notes += module.settle(registry, registry.backends() if names else ())
        empty = not names and not registry.generations()
    if empty:
        with chos_errors("/run/chos"):
            remove_registry()
    return report


def find(site: Site, name: str) -> Environment:
    """The environment of that name or alias. :raises UnknownEnvironment: listing the known ones."""
    env = site.find(name)
    if env is None:
        known = ", ".join(sorted(env.name for env in site.environments)) or "none"
        raise UnknownEnvironment("is not in /etc/chos", object=name, hint=f"known environments: {known}")
    return env


@dataclass(frozen=True)
class _Wish:
    """How environments are to be prepared: see `up`."""

    backends: Sequence[str]
    renew: bool
    limit: float


def _present_backends() -> tuple[str, ...]:
    """As the node is prepared already; empty where it is not, or where a hand has been on the registry."""
    with contextlib.suppress(RegistryError), open_registry() as registry:
        found = registry.backends()
        return found if set(found) <= set(BACKENDS) else ()
    return ()


def _bring_up_module(site: Site, registry: RegistryWriter, backends: Sequence[str], report: Report) -> Sequence[str]:
    """The backends that there are then: without a module for this kernel, ns goes on alone."""
    try:
        report.notes += module.bring_up(site, registry)
        return backends
    except ChosError as error:
        if "ns" not in backends:
            raise
        report.notes.append(f"only ns is prepared: {error}" + (f" — {error.hint}" if error.hint else ""))
        report.degraded = True
        return ["ns"]


def _prepare(
    env: Environment, site: Site, registry: RegistryWriter, wish: _Wish, progress: Callable[[str], None]
) -> Outcome:
    """One environment, from configuration to a published generation."""
    excess: list[str] | None = None  # why what is published must not stay; None: it must not in any case
    try:
        problems = broken(site).get(env.name)
        if problems:
            raise ConfigError(problems[0].message, object=str(problems[0].origin), hint=problems[0].hint)
        group_ids, unknown = _group_ids(env)
        excess = restrict(env, site, registry, None if unknown else group_ids)
        module.withdraw(env, registry)
        if unknown:
            raise unknown
        backend = NamespaceBackend(wish.limit) if "ns" in wish.backends else ModuleBackend(wish.limit)
        prepared = backend.prepare(env, site, registry, group_ids=group_ids, renew=wish.renew, progress=progress)
        warnings = list(prepared.warnings)
        allowed = "kmod" in wish.backends
        if allowed and "ns" in wish.backends:
            allowed, more = ModuleBackend(wish.limit).may_serve(env, site, group_ids)
            warnings += more
        registry.set_module_tree(env.name, env.tree if allowed else "")
        if prepared.fresh:
            registry.publish(prepared.generation, env, group_ids)
        else:
            registry.grant(prepared.generation, group_ids)
        # Before the next environment is begun, which may take long.
        primary = escape_name(env.name)
        registry.make_names({name: to for name, to in _links(site, registry).items() if to == primary})
        registry.clear_failure(env.name)
        state = "made" if prepared.fresh else "unchanged"
        return Outcome(env.name, state, prepared.generation, prepared.seconds, warnings=tuple(warnings))
    except OSError as error:
        failure: ChosError = as_chos_error(error, env.name)
    except ChosError as error:
        failure = error
    if isinstance(failure, UnsafeError):
        excess = None  # what others can change is not shown any longer, be it as old as it may
    if excess != [] and registry.published(env.name):
        registry.unpublish(_names_of(escape_name(env.name), registry))
        failure.message += "; nobody can enter until this is mended" + _because(excess or [])
    for name, owner in _owners(site).items():
        if owner is env:
            registry.record_failure(name, str(failure))
    return Outcome(env.name, "failed", error=failure)


def _because(excess: list[str]) -> str:
    """The end of a message: what was published allows more than the configuration."""
    more = f" and {len(excess) - _SHOWN} more" if len(excess) > _SHOWN else ""
    return (
        f", because what is prepared allows more than the configuration: {', '.join(excess[:_SHOWN])}{more}"
        if excess
        else ""
    )


def _group_ids(env: Environment) -> tuple[list[int], ConfigError | None]:
    """Who may enter, and an error where a group is not known here."""
    found = []
    for name in env.groups:
        try:
            found.append(grp.getgrnam(name).gr_gid)
        except KeyError:
            message = f"group {name} of environment {env.name} is unknown on this node"
            hint = "correct `groups`, or create the group"
            return [], ConfigError(message, object=env.name, hint=hint)
    return found, None


def _names_of(primary: str, registry: Registry) -> list[str]:
    """Every name that is published and leads to this environment, its own first."""
    return [primary, *(name for name, text in registry.links().items() if text == primary)]


def _owners(site: Site) -> dict[str, Environment]:
    """Whose each name is: an environment's own, its aliases', its tree's path; the first that says so."""
    owners = {escape_name(env.name): env for env in site.environments}
    for env in site.environments:
        for alias in env.aliases:
            owners.setdefault(escape_name(alias), env)
    for env in site.environments:
        with contextlib.suppress(ValueError):  # too long a path to be a name; the environment has another
            owners.setdefault(escape_name(env.tree), env)
    return owners


def _links(site: Site, registry: Registry) -> dict[str, str]:
    """Every name to be published: of environments that are prepared, their aliases and tree paths, and of the base.

    Whose a name is does not depend on what is prepared: a name never leads to another environment meanwhile.
    """
    links = {escape_name("/"): "../base", **{escape_name(name): "../base" for name in site.leave}}
    generations = {env.name: registry.published(env.name) for env in site.environments}
    for name, env in _owners(site).items():
        primary = escape_name(env.name)
        if generations[env.name]:
            links.setdefault(name, f"../gen/{generations[env.name]}" if name == primary else primary)
    links.setdefault("root", "../base")
    return links


def _show_base(links: dict[str, str], registry: RegistryWriter) -> None:
    """Make the names of the base among `links`: before anybody can be inside, the way back is there."""
    base = {name: text for name, text in links.items() if text == "../base"}
    # An alias of a name that becomes the base's would lead there with it.
    registry.unpublish([name for name, text in registry.links().items() if text in base and name not in base])
    registry.make_names(base)


def _retire(registry: RegistryWriter, report: Report) -> None:
    """Unpin what no name leads to and no process lives in; and clear what a killed writer left."""
    live = {text[len("../gen/") :] for text in registry.links().values() if text.startswith("../gen/")}
    generations = registry.generations()
    used = count_residents(generations)
    for generation in generations:
        if str(generation) in live:
            continue
        residents = used[str(generation)]
        if generation.complete and residents:
            report.kept[str(generation)] = residents
        else:
            registry.retire(str(generation))
            if generation.complete:
                report.retired.append(str(generation))
