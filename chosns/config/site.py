"""Everything that a node's configuration says, read at once: `read_site`.

The only module of the package that opens files (through `trusted`); the pure readers in the same folder interpret them.
It must never stop at the first mistake, and a mistake must never open what was closed: if a restriction may have been
lost, the environment is broken. Called by `cli`; `node.act` and `doctor` ask it what is `broken`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import field, replace

import chosns
from chosns.config import bindmap
from chosns.config.allowlist import AllowList, parse_allow_list
from chosns.config.grouping import group, leaving, name_problems
from chosns.config.login import BUILTIN, parse_login
from chosns.config.nearmiss import ELSEWHERE, near_misses
from chosns.config.node import NodeSettings
from chosns.config.sections import Section, Unread, parse_sections
from chosns.config.sysconfig import parse_sysconfig
from chosns.config.text import alike, nearest, quoted
from chosns.config.trusted import display_path, list_trusted, read_trusted
from chosns.errors import ConfigError
from chosns.lazydata import dataclass
from chosns.model import (
    NAME_PATTERN,
    BindMap,
    Environment,
    Jobs,
    LoginShell,
    Origin,
    Problem,
    Severity,
    Site,
    Sysconfig,
)

ALLOW_LIST = "/etc/chos"
LOGIN = "/etc/chos.conf"
SECTIONS = "/etc/chos.d"
BINDMAPS = "/etc/chos.d/bindmaps"
SYSCONFIG = "/etc/sysconfig/chos"

MISSING_HINT = "write one, see chos.conf(5); two lines are enough:\n%SHELLS\nel9:/os/el9"


@dataclass
class _Reading:
    """A reading in progress: where from, and what was found so far."""

    root: str
    trusted_uids: Sequence[int]
    problems: list[Problem] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def text(self, path: str) -> str | None:
        return read_trusted(self.root, path, self.trusted_uids)

    def shown(self, path: str) -> str:
        return display_path(self.root, path)

    def names(self, path: str, known: Sequence[str] | None = None) -> list[str]:
        """The files `*.toml` of a directory. If it cannot be read, it may contain restrictions of every environment.

        :param known: other names that cause no warning; hidden files never do. None: any name.
        """
        try:
            names = list_trusted(self.root, path, self.trusted_uids)
        except ConfigError as error:
            self.problems.append(as_problem(error))
            self.unread.append(Unread(self.shown(path)))
            return []
        names = [name for name in names if not name.startswith(".")]
        for name in names if known is not None else ():
            if not name.endswith(".toml") and name not in (known or ()):
                origin = Origin(self.shown(os.path.join(path, name)))
                hint = "rename it to NAME.toml, or put it elsewhere"
                self.problems.append(Problem(origin, "is not read: not a file *.toml", hint, Severity.WARNING))
        return [name for name in names if name.endswith(".toml")]


def read_site(
    root: str = "/", *, bindmap_dirs: Sequence[str] | None = None, trusted_uids: Sequence[int] = (0,)
) -> Site:
    """Read the configuration below `root`, with everything that is wrong in it as `Site.problems`.

    Where /etc/chos.conf is unsafe or unreadable the site is read, and `require_usable` refuses to prepare it.

    :param bindmap_dirs: where maps are that no file of /etc/chos.d/bindmaps replaces; None: the shipped ones.
    :param trusted_uids: who may own the files and the directories above them, up to `root`.
    :raises ConfigError: /etc/chos is missing, unsafe or unreadable.
    """
    reading = _Reading(root, trusted_uids)
    text = reading.text(ALLOW_LIST)
    if text is None:
        raise ConfigError("does not exist", object=reading.shown(ALLOW_LIST), hint=MISSING_HINT)
    allowed = parse_allow_list(text, reading.shown(ALLOW_LIST))
    reading.problems.extend(allowed.problems)
    reading.problems.extend(_unread_files(reading))
    login, blocked = _login(reading)
    sysconfig = _sysconfig(reading)
    sections, settings = _sections(reading, allowed)
    environments = group(allowed.entries, sections)
    reading.problems.extend(name_problems(environments))
    reading.problems.extend(_stray_problems(sections, environments, allowed))
    maps = _bind_maps(reading, environments, sections, _library(reading, bindmap_dirs))
    reading.problems.extend(_unread_problems(reading.unread, environments, sections))
    return Site(
        environments=environments,
        leave=leaving(allowed.entries),
        login=login,
        jobs=settings.jobs if settings else Jobs(),
        backends=settings.backends if settings else (),
        backends_origin=settings.backends_origin if settings else None,
        sysconfig=sysconfig,
        bindmaps=maps,
        problems=tuple(reading.problems),
        blocked=blocked,
    )


def broken(site: Site) -> dict[str, list[Problem]]:
    """The errors by the name of the environment that they make unusable.

    Under the empty name: errors of the site as a whole. Those have to be shown, make no environment unusable, and
    make `up` exit with 1. A name that /etc/chos lists in an unusable line may occur without an environment.
    """
    found: dict[str, list[Problem]] = {}
    for problem in site.problems:
        if problem.severity is Severity.ERROR:
            found.setdefault(problem.environment, []).append(problem)
    return found


def require_usable(site: Site) -> None:
    """Called before anything is prepared.

    :raises ConfigError: it is unknown which variables login shells should keep.
    """
    if site.blocked:
        raise ConfigError(site.blocked.message, object=str(site.blocked.origin), hint=site.blocked.hint)


def shipped_bindmap_dirs() -> tuple[str, ...]:
    """Where the bind maps are that come with CHOS: in the package (a wheel), beside it (the source tree), or in
    PREFIX/share. The first that has a default.toml; none where there is none."""
    package = os.path.realpath(os.path.dirname(chosns.__file__))
    above = os.path.dirname(package)
    candidates = [os.path.join(package, "bindmaps"), os.path.join(above, "bindmaps")]
    for _ in range(5):
        candidates.append(os.path.join(above, "share", "chos", "bindmaps"))
        above = os.path.dirname(above)
    return tuple(path for path in candidates if os.path.isfile(os.path.join(path, "default.toml")))[:1]


def as_problem(error: ConfigError, environment: str = "") -> Problem:
    """A file that was refused, as a finding among others."""
    return Problem(Origin(error.object), error.message, error.hint, environment=environment)


def _unread_files(reading: _Reading) -> list[Problem]:
    """What looks like configuration, in places that are not read."""
    try:
        missed = [(f"/etc/{name}", hint) for name, hint in near_misses(os.listdir(reading.shown("/etc")))]
    except OSError:
        missed = []
    missed += [(path, hint) for path, hint in ELSEWHERE.items() if os.path.lexists(reading.shown(path))]
    message = "is not read: CHOS has no file of this name"
    return [Problem(Origin(reading.shown(path)), message, hint, Severity.WARNING) for path, hint in missed]


def _login(reading: _Reading) -> tuple[LoginShell, Problem | None]:
    """What it says, or why it is not known."""
    try:
        text = reading.text(LOGIN)
    except ConfigError as error:
        reading.problems.append(as_problem(error))
        return BUILTIN, reading.problems[-1]
    if text is None:
        return BUILTIN, None
    login, problems = parse_login(text, reading.shown(LOGIN))
    reading.problems.extend(problems)
    return login, None


def _sysconfig(reading: _Reading) -> Sysconfig | None:
    try:
        text = reading.text(SYSCONFIG)
    except ConfigError as error:
        reading.problems.append(as_problem(error))
        return None
    if text is None:
        return None
    sysconfig, problems = parse_sysconfig(text, reading.shown(SYSCONFIG))
    reading.problems.extend(problems)
    return sysconfig


def _sections(reading: _Reading, allowed: AllowList) -> tuple[dict[str, Section], NodeSettings | None]:
    """The sections of all files by name, and what is said of the node; of two of a kind the first, and an error."""
    found: dict[str, Section] = {}
    settings: NodeSettings | None = None
    for file in reading.names(SECTIONS, known=[os.path.basename(BINDMAPS)]):
        path = f"{SECTIONS}/{file}"
        try:
            text = reading.text(path)
        except ConfigError as error:
            reading.problems.append(as_problem(error))
            reading.unread.append(Unread(reading.shown(path)))
            continue
        said = parse_sections(text or "", reading.shown(path))
        reading.problems.extend(said.problems)
        reading.unread.extend([said.unread] if said.unread else [])
        if said.node and settings:
            message = f"[node], [jobs], [records] and [pam] belong together; some are in {settings.origin}"
            reading.problems.append(Problem(said.node.origin, message, "say all of it in one file"))
        settings = settings or said.node
        for section in said.sections:
            first = found.setdefault(section.name, section)
            if first is not section:
                message = f"two environments with one name, {quoted(section.name)}: the other is in {first.origin}"
                reading.problems.append(Problem(section.origin, message, "join them", environment=section.name))
    reading.problems.extend(_homeless(found, allowed))
    return found, settings


def _homeless(sections: dict[str, Section], allowed: AllowList) -> list[Problem]:
    """Sections whose environment is not in /etc/chos."""
    paths = {entry.alias: entry.path for entry in allowed.entries}
    problems = []
    for name, section in sections.items():
        if name in allowed.refused or name == "root" or paths.get(name, "/") != "/":
            continue
        if name in paths:
            message = f"{quoted(name)} leads to the base and has no settings"
            problems.append(Problem(section.origin, message, "remove the section"))
        else:
            hint = nearest(name, paths) or f"add a line {name}:/path/of/the/tree there"
            problems.append(Problem(section.origin, f"{quoted(name)} is not in {ALLOW_LIST}", hint))
    return problems


def _library(reading: _Reading, bindmap_dirs: Sequence[str] | None) -> dict[str, list[bindmap.MapFile]]:
    """All bind maps, the site's own first. Shipped ones may also belong to the owner of this program."""
    library: dict[str, list[bindmap.MapFile]] = {}
    places = [(reading, BINDMAPS)]
    owners = (*reading.trusted_uids, os.stat(__file__).st_uid)
    for directory in shipped_bindmap_dirs() if bindmap_dirs is None else bindmap_dirs:
        places.append((replace(reading, root=directory, trusted_uids=owners), "/"))
    for place, directory in places:
        for file in place.names(directory, known=() if place is reading else None):
            name, path = file[: -len(".toml")], os.path.join(directory, file)
            if not NAME_PATTERN.fullmatch(name):
                message = f"{quoted(name)} is not a legal name of a bind map"
                reading.problems.append(Problem(Origin(place.shown(path)), message, "rename the file"))
                continue
            library.setdefault(name, []).append(_map_file(place, path, name))
    return library


def _map_file(place: _Reading, path: str, name: str) -> bindmap.MapFile:
    try:
        text = place.text(path)
    except ConfigError as error:
        place.problems.append(as_problem(error))
        return bindmap.MapFile(name, Origin(place.shown(path)), usable=False)
    found, problems = bindmap.parse_bind_map(text or "", place.shown(path), name)
    place.problems.extend(problems)
    return found


def _bind_maps(
    reading: _Reading,
    environments: Sequence[Environment],
    sections: dict[str, Section],
    library: dict[str, list[bindmap.MapFile]],
) -> dict[str, BindMap]:
    """The maps that environments name; an error for every environment whose map cannot be used."""
    found: dict[str, BindMap] = {}
    for name in dict.fromkeys(env.bindmap for env in environments):
        resolved, problems = bindmap.resolve_bind_map(name, library) if name in library else (None, ())
        reading.problems.extend(problems)
        if resolved:
            found[name] = resolved
            continue
        for env in environments:
            if env.bindmap == name:
                origin = sections[env.name].bindmap_origin if env.name in sections else env.origin
                reading.problems.append(_map_problem(env, origin, library))
    return found


def _map_problem(env: Environment, origin: Origin, library: dict[str, list[bindmap.MapFile]]) -> Problem:
    name = env.bindmap
    if name in library:
        message, hint = f"bind map {quoted(name)} has errors", f"look at {library[name][0].origin} and what it extends"
    else:
        message = f"there is no bind map {quoted(name)}"
        hint = nearest(name, library) or f"known: {', '.join(sorted(library)) or 'none'}"
    return Problem(origin, message, hint, environment=env.name)


def _unread_problems(
    unread: Sequence[Unread], environments: Sequence[Environment], sections: dict[str, Section]
) -> list[Problem]:
    """An environment that may be restricted by a file that was not understood must not be open to everyone.

    These are the environments whose name occurs in it. If no name occurs in it, a name may be misspelt there; then it
    may be about any environment without a section.
    """
    problems = []
    for lost in unread:
        names = {env.name: (env.name, *env.aliases) for env in environments}
        told = any(lost.must_concern(found) for found in names.values())
        for env in environments:
            if lost.may_concern(names[env.name]) or (not told and env.name not in sections):
                message = f"may restrict {quoted(env.name)} and {lost.fault}"
                problems.append(Problem(Origin(lost.file), message, "mend the file", environment=env.name))
    return problems


def _stray_problems(
    sections: dict[str, Section], environments: Sequence[Environment], allowed: AllowList
) -> list[Problem]:
    """Close environments that a section may mean whose name is misspelt, or has a dot but no quotation marks."""
    listed = {"root", *allowed.refused, *(entry.alias for entry in allowed.entries)}
    names = {name: env for env in environments for name in (env.name, *env.aliases)}
    problems = []
    for section in sections.values():
        meant = [names[name] for name in section.strays if name in names]
        if section.name not in listed:
            meant += [names[name] for name in alike(section.name, names)]
        for env in dict.fromkeys(meant):
            if env.name not in sections:
                message = f"[environment.{section.name}] may be meant for {quoted(env.name)}"
                hint = f'if so, write [environment."{env.name}"]'
                problems.append(Problem(section.origin, message, hint, environment=env.name))
    return problems
