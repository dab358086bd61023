"""From lines and sections to environments: which names share one, and which of them is the primary.

Pure. Names of one tree share an environment, so that a node prepares the tree once; a name with a section of
its own in /etc/chos.d is an environment of its own. Must never lead a name to another tree than its line says.
Called by `site`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chosns.config.allowlist import AllowedLine
from chosns.config.sections import Section
from chosns.model import ESCAPED_MAX, Environment, Problem, escape_name

GENERATION_SUFFIX = len(".999999999")


def leaving(entries: Sequence[AllowedLine]) -> tuple[str, ...]:
    """The aliases that lead back to the base: every `alias:/`, and `root` unless it was given a tree."""
    names = [entry.alias for entry in entries if entry.path == "/"]
    if all(entry.alias != "root" for entry in entries):
        names.insert(0, "root")
    return tuple(names)


def group(entries: Sequence[AllowedLine], sections: Mapping[str, Section]) -> tuple[Environment, ...]:
    """The environments, in the order of their primary names in the file.

    A name without a section belongs to the first name of the same tree that has one. If none has one, it belongs to the
    primary name: the first that is neither `default` nor a path, otherwise the first.
    """
    by_tree: dict[str, list[AllowedLine]] = {}
    for entry in entries:
        if entry.path != "/":
            by_tree.setdefault(entry.path, []).append(entry)
    found = []
    for members in by_tree.values():
        owners = [entry for entry in members if entry.alias in sections] or [_primary(members)]
        others = tuple(entry.alias for entry in members if entry not in owners)
        for owner in owners:
            aliases = others if owner is owners[0] else ()
            found.append(_environment(owner, aliases, sections.get(owner.alias)))
    return tuple(sorted(found, key=lambda env: env.origin.line))


def name_problems(environments: Sequence[Environment]) -> list[Problem]:
    """Primary names that are too long for the names of their generations."""
    return [
        Problem(env.origin, "the path is too long for an environment's name", "add a short alias", environment=env.name)
        for env in environments
        if len(escape_name(env.name)) + GENERATION_SUFFIX > ESCAPED_MAX
    ]


def _primary(members: Sequence[AllowedLine]) -> AllowedLine:
    plain = (entry for entry in members if entry.alias != "default" and not entry.alias.startswith("/"))
    return next(plain, members[0])


def _environment(entry: AllowedLine, aliases: tuple[str, ...], section: Section | None) -> Environment:
    if section is None:
        return Environment(name=entry.alias, tree=entry.path, origin=entry.origin, aliases=aliases)
    return Environment(
        name=entry.alias,
        tree=entry.path,
        origin=entry.origin,
        aliases=aliases,
        bindmap=section.bindmap,
        groups=section.groups,
        policy=section.policy,
        binds=section.binds,
        variables=section.variables,
        description=section.description,
        settings=section.origin,
    )
