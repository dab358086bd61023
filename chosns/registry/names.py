"""Which name leads where: the content that `/run/chos/env` should have. Pure; docs/registry.md describes the result."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from chosns.errors import UnknownEnvironment
from chosns.model import Environment, Site, escape_name

BASE = "../base"  # text of a link that leads to the base
_GENERATION = "../gen/"


def owners(site: Site) -> dict[str, Environment]:
    """Registry name → the environment that it belongs to: its own name, its aliases, the path of its tree.

    If two environments claim the same name, an environment's own name has precedence over aliases, aliases over paths
    of trees, and an earlier environment of the configuration over later ones.
    """
    found = {escape_name(env.name): env for env in site.environments}
    for env in site.environments:
        for alias in env.aliases:
            found.setdefault(escape_name(alias), env)
    for env in site.environments:
        with contextlib.suppress(ValueError):  # the path is too long for a name; the environment has another name
            found.setdefault(escape_name(env.tree), env)
    return found


def links(site: Site, published: Mapping[str, str]) -> dict[str, str]:
    """Registry name → link text, for every name that is to be published.

    The owner of a name does not depend on what is prepared. Otherwise a name could lead to another environment while
    its own cannot be entered.

    :param published: registry name of an environment → its generation, as `NAME.N`, of those that can be entered.
    """
    found = {escape_name("/"): BASE, **{escape_name(name): BASE for name in site.leave}}
    for name, env in owners(site).items():
        primary = escape_name(env.name)
        if primary in published:
            found.setdefault(name, to_generation(published[primary]) if name == primary else primary)
    found.setdefault("root", BASE)
    return found


def to_generation(generation: str) -> str:
    """The text of a link that leads to a generation, `NAME.N`."""
    return _GENERATION + generation


def generation_of(text: str) -> str:
    """The generation, as `NAME.N`, to which a link of this text leads; empty if it leads elsewhere."""
    return text[len(_GENERATION) :] if text.startswith(_GENERATION) else ""


def published(current: Mapping[str, str]) -> dict[str, str]:
    """Registry name of an environment → the generation that it leads to.

    :param current: registry name → link text, as it is now.
    """
    return {name: generation_of(text) for name, text in current.items() if generation_of(text)}


def find(site: Site, name: str) -> Environment:
    """The environment of that name or alias. :raises UnknownEnvironment: listing the known ones."""
    env = site.find(name)
    if env is None:
        known = ", ".join(sorted(env.name for env in site.environments)) or "none"
        raise UnknownEnvironment("is not in /etc/chos", object=name, hint=f"known environments: {known}")
    return env


def primary(name: str, current: Mapping[str, str]) -> str | None:
    """The environment, by its registry name, to which a published name or alias leads; None if there is none.

    :param current: registry name → link text, as it is now.
    """
    try:
        return leads_to(escape_name(name), current)
    except ValueError:
        return None


def leads_to(name: str, current: Mapping[str, str]) -> str | None:
    """`primary`, of a registry name."""
    for _ in range(2):
        text = current.get(name, "")
        if generation_of(text):
            return name
        if not text or text.startswith("../"):
            return None
        name = text
    return None


def names_of(primary: str, current: Mapping[str, str]) -> list[str]:
    """Every name that is published and leads to this environment, its own first."""
    return [primary, *(name for name, text in current.items() if text == primary)]


def stray(wanted: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Aliases of a name that now leads to the base. If they stayed, they would lead to the base too."""
    base = {name for name, text in wanted.items() if text == BASE}
    return [name for name, text in current.items() if text in base and name not in base]


def base_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of the wanted names that lead to the base."""
    return {name: text for name, text in wanted.items() if text == BASE}
