"""chosctl up and down: make the node what its configuration says, or only say what would be done.

A function that changes something runs on the base as root and takes the registry's lock. It may be killed at any
point. It then leaves the old state or the new one, from which the next `up` decides again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from chosns.backends import TIME_LIMIT, builder, create
from chosns.backends import names as backend_names
from chosns.backends.wanted import wanted
from chosns.errors import NotPrepared, chos_errors
from chosns.model import Site, escape_name
from chosns.mounts.base import ensure_shared, require_base
from chosns.node import decision
from chosns.node.actions import Action
from chosns.node.decision import Wish
from chosns.node.drive import Drive, Told
from chosns.node.hands import Doer, Hands, NoHands
from chosns.node.report import Report
from chosns.node.state import NodeState, read_node
from chosns.registry import PATH as REGISTRY
from chosns.registry import Registry, names, open_registry
from chosns.registry.formats import base_text, jobs_text, login_text
from chosns.registry.mount import create_registry, remove_registry
from chosns.registry.records import with_record_file
from chosns.registry.writer import open_for_writing
from chosns.system.installed import launcher_problem

_SHOWN = 3  # mount points in a note
_WAS_PRIVATE = (
    "the base's root was private: all its mounts are shared now, those too that were private on purpose, so that later"
    " mounts appear inside"
)


def up(
    site: Site,
    chosen: Sequence[str] = (),
    *,
    backends: Sequence[str] = (),
    renew: bool = False,
    dry_run: bool = False,
    limit: float = TIME_LIMIT,
    workers: int = 0,
    command: str = "chosctl up",
    told: Told | None = None,
    waiting: Callable[[str], None] = lambda _: None,
) -> Report:
    """Prepare the named environments (all if none is named), and make the registry say what `site` says.

    An environment that has not changed keeps its generation. If one fails, the others are still prepared. The failed
    one keeps its old generation, unless that admits or allows more than the configuration does now.

    :param backends: what to prepare for, the default first; empty: what the configuration says, otherwise what the
        node has now, otherwise the default.
    :param renew: make a new generation even of what has not changed.
    :param dry_run: change nothing, and take no lock; the report's `decision` says what would be done.
    :param limit: seconds that one environment may take.
    :param workers: how many trees are looked at side by side; 0: as many as there are processors.
    :param waiting: called if another `chosctl` has to be waited for.
    :raises UnknownEnvironment: a name is not in the configuration. Nothing was done then.
    :raises ChosError: nothing can be prepared at all.
    """
    require_base(command)
    wish = Wish(wanted(site, backends), renew)
    create(builder(wish.backends)).require()  # before a registry is made that could not be used
    environments = [names.find(site, name) for name in chosen] or list(site.environments)
    with chos_errors(REGISTRY), contextlib.ExitStack() as stack:
        notes = []
        doer: Doer
        if dry_run:
            reader = _open_if_there(stack)
            doer, node = NoHands(), read_node(site, reader)
        else:
            if ensure_shared():
                notes.append(_WAS_PRIVATE)
            writer = stack.enter_context(create_registry())
            stack.enter_context(writer.lock(waiting))
            doer, node = Hands(writer), read_node(site, writer)
        jobs, problem = with_record_file(site.jobs, make=not dry_run)
        notes += [note for note in (_private(node), launcher_problem(), problem) if note]
        texts = {"base": base_text(), "login": login_text(site.login), "jobs": jobs_text(jobs)}
        drive = Drive(site, node, wish, doer, limit, told or Told(), notes, workers or len(os.sched_getaffinity(0)))
        report = drive.run(environments, texts)
        report.asked = tuple(escape_name(env.name) for env in environments) if chosen else ()
        return report


def down(
    chosen: Sequence[str] = (),
    *,
    dry_run: bool = False,
    command: str = "chosctl down",
    waiting: Callable[[str], None] = lambda _: None,
) -> Report:
    """Take environments away: no process can enter any more; processes that are inside stay.

    :param chosen: names or aliases; empty for everything, the registry itself included.
    :param dry_run: change nothing; the report's `decision` says what would be done.
    :raises NotPrepared: nothing is prepared, and environments were named.
    :raises UnknownEnvironment: a name is not prepared. Nothing was done then.
    """
    require_base(command)
    report = Report()
    with chos_errors(REGISTRY), contextlib.ExitStack() as stack:
        try:
            registry = stack.enter_context(open_for_writing())
        except NotPrepared:
            if chosen:
                raise
            report.notes += ["nothing is prepared on this node", *([] if dry_run else _clear())]
            return report
        if not dry_run:
            stack.enter_context(registry.lock(waiting))
        node = read_node(Site(), registry)
        report.asked = tuple(decision.primaries(node, chosen))
        node = _take(report, node, NoHands() if dry_run else Hands(registry), decision.to_go(node, chosen))
        stack.close()
        if not dry_run and not node.prepared:
            remove_registry()
    return report


def clear_ended(*, everything: bool) -> Report:
    """Remove the generations that no name leads to and nobody lives in any more.

    :param everything: and the registry, when nothing is left in it.
    """
    report = Report()
    with chos_errors(REGISTRY), contextlib.ExitStack() as stack:
        try:
            registry = stack.enter_context(open_for_writing())
        except NotPrepared:  # somebody else has removed all of it
            return report
        stack.enter_context(registry.lock(lambda _: None))
        node = read_node(Site(), registry)
        node = _take(report, node, Hands(registry), decision.ended(node, everything=everything))
        stack.close()
        if not node.prepared:
            remove_registry()
    return report


def _take(report: Report, node: NodeState, doer: Doer, decided: Sequence[Action]) -> NodeState:
    """Carry out what concerns the whole node; the node afterwards."""
    for action in decided:
        report.notes += doer.do(action)
        report.add("", action)
        node = action.after(node)
    report.kept = decision.kept(node)
    return node


def _open_if_there(stack: contextlib.ExitStack) -> Registry | None:
    with contextlib.suppress(NotPrepared):
        return stack.enter_context(open_registry())
    return None


def _private(node: NodeState) -> str:
    """A note about private mounts of the base; empty if there are none."""
    if not node.private:
        return ""
    more = f" and {len(node.private) - _SHOWN} more" if len(node.private) > _SHOWN else ""
    return (
        f"{', '.join(node.private[:_SHOWN])}{more}: private on the base, so what is mounted below later does not appear"
        f" inside; mend it with `mount --make-shared` and `chosctl up --renew`"
    )


def _clear() -> list[str]:
    """Remove what an `up` left that was killed early; returns notes."""
    notes = [note for name in backend_names() for note in create(name).clear()]
    if os.path.ismount(REGISTRY):
        remove_registry()
    return notes
