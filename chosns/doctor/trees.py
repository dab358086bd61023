"""Environments that are configured well, but could not be prepared on this node as it is."""

from __future__ import annotations

from collections.abc import Iterator

from chosns.backends.ns import NamespaceBackend
from chosns.backends.worker import Worker
from chosns.config import broken
from chosns.errors import ChosError
from chosns.model import Environment, Problem, Site

_TIME_LIMIT = 10.0  # seconds; a tree on a server that does not answer must not hang the checker


def unplannable(site: Site) -> Iterator[Problem]:
    """Plan every environment that has no other problem, and report why where that fails."""
    bad = broken(site)
    for env in site.environments:
        if env.name not in bad:
            try:
                try_plan(env, site)
            except ChosError as error:
                yield Problem(env.origin, str(error), error.hint, environment=env.name)


def try_plan(env: Environment, site: Site) -> None:
    """Plan in a process that may hang. :raises ChosError: why there is no plan, or that the tree does not answer."""

    def plan(worker: Worker) -> None:
        NamespaceBackend().explain(env, site)
        worker.send("planned")

    with Worker(plan, env.name, _TIME_LIMIT) as worker:
        worker.expect("planned")
