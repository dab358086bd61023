"""`--wait`: the decision of `chosctl down` about what can go, taken again whenever processes have ended.

Nothing is held while it waits, not even the registry's lock: other `chosctl` commands go on. Ended at any moment it
leaves the node as `down` or `up` had left it, less what has been retired since.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from chosns.errors import NotPrepared
from chosns.lazydata import dataclass
from chosns.node.act import clear_ended
from chosns.node.report import Report
from chosns.observe.endings import watch
from chosns.observe.processes import Resident, residents
from chosns.registry import open_registry

_AGAIN = 0.1  # seconds, where processes are counted but cannot be described: they are just ending


@dataclass(frozen=True)
class Waiting:
    """Whom to tell. `polling`: why the end of a process is not noticed at once. `inside`: who is still there."""

    polling: Callable[[str], None] = lambda _: None
    inside: Callable[[Sequence[Resident]], None] = lambda _: None


def wait(report: Report, *, everything: bool, limit: float | None, told: Waiting) -> bool:
    """Wait until the generations that a report has as kept are removed; it is brought up to date.

    :param everything: remove the registry, too, when nothing is left in it.
    :param limit: seconds; None: for ever.
    :returns: whether they are. Else the time is over, and `report.kept` says what is left.
    """
    waited = {name for name in report.kept if not report.asked or name.rpartition(".")[0] in report.asked}
    deadline = time.monotonic() + limit if limit is not None else float("inf")
    others = {name: count for name, count in report.kept.items() if name not in waited}
    if not waited:
        return True
    with watch() as endings:  # before anybody is looked at: nobody's end is missed
        if endings.why:
            told.polling(endings.why)
        while True:
            done = clear_ended(everything=everything)
            report.retired += done.retired
            report.notes += done.notes
            report.decision += done.decision
            left = {name: count for name, count in done.kept.items() if name in waited}
            others = {name: count for name, count in done.kept.items() if name in others}
            report.kept = {**left, **others}
            seconds = deadline - time.monotonic()
            if not left or seconds <= 0:
                return not left
            there = _inside(set(left))
            told.inside(there)
            if there:
                endings.wait({one.pid for one in there}, seconds)
            else:
                time.sleep(min(_AGAIN, seconds))


def _inside(generations: set[str]) -> list[Resident]:
    with contextlib.suppress(NotPrepared), open_registry() as registry:
        return residents([one for one in registry.generations() if str(one) in generations])
    return []
