"""Environments that are configured well, but could not be prepared on this node as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chosns.backends import builder, create
from chosns.backends.wanted import wanted
from chosns.config import broken
from chosns.errors import ChosError
from chosns.model import Environment, Problem, Severity, Site
from chosns.mounts.worker import Worker
from chosns.plan import Plan

_TIME_LIMIT = 10.0  # seconds; a tree on a server that does not answer must not hang the checker


def unplannable(site: Site) -> Iterator[Problem]:
    """Plan every environment that has no other problem, and report why where that fails; and what plans warn of."""
    bad = broken(site)
    warnings: dict[str, Problem] = {}
    for env in site.environments:
        if env.name not in bad:
            try:
                for text in try_plan(env, site, lambda plan: plan.warnings):
                    warning = Problem(env.origin, text, severity=Severity.WARNING, environment=env.name)
                    warnings.setdefault(text, warning)
            except ChosError as error:
                yield Problem(env.origin, str(error), error.hint, environment=env.name)
    yield from warnings.values()


def try_plan(env: Environment, site: Site, show: Callable[[Plan], Any] = lambda _: None) -> Any:
    """Plan in a process that may hang; what `show` makes of the plan there, which has to be fit for JSON.

    :raises ChosError: why there is no plan, or that the tree does not answer.
    """

    backend = create(builder(wanted(site)))

    def plan(worker: Worker) -> None:
        worker.send("planned", shown=show(backend.explain(env, site)))

    with Worker(plan, env.name, _TIME_LIMIT) as worker:
        return worker.expect("planned")["shown"]
