"""Which backends a site's environments are prepared for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from chosns.backends import names
from chosns.config.text import nearest, quoted
from chosns.errors import NotPrepared, RegistryError
from chosns.model import Problem, Site
from chosns.registry.reader import open_registry


def checked(site: Site) -> Site:
    """The site, with what is wrong in `[node] backends` among its problems: config does not know the names."""
    known, said = names(), site.backends
    wrong = next((name for name in said if name not in known or said.count(name) > 1), None)
    if wrong is None or site.backends_origin is None:
        return site
    hint = nearest(wrong, known) or f"known: {', '.join(known)}"
    problem = Problem(site.backends_origin, f"backends: {quoted(wrong)} is none, or is there twice", hint)
    return replace(site, backends=(), problems=(*site.problems, problem))


def wanted(site: Site, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The backends that were asked for; else those of the configuration; else those of the node; else the default."""
    return tuple(asked) or site.backends or _present() or names()[:1]


def _present() -> tuple[str, ...]:
    """Those that the node is prepared for; empty if it is not, or if somebody has changed the registry by hand."""
    with contextlib.suppress(NotPrepared, RegistryError), open_registry() as registry:
        found = registry.backends()
        return found if set(found) <= set(names()) else ()
    return ()
