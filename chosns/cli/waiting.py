"""What `--wait` of up, reload and down prints while it waits. Imported where that was asked for, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chosns.cli.output import clear_progress, say, show_progress
from chosns.node.report import Report
from chosns.node.waiting import Waiting, wait
from chosns.observe.processes import Resident

_SHOWN = 3  # processes in a line
_COMMAND = 40  # characters of a command in it
TIMEOUT, INTERRUPTED = 4, 130  # exit statuses


def wait_for(report: Report, limit: float | None, *, everything: bool, as_json: bool) -> int:
    """Wait for what is taken away, see `chosns.node.waiting.wait`; the exit status."""
    told: list[str] = []

    def inside(there: Sequence[Resident]) -> None:
        text = f"waiting for {_inside(there)}"
        if as_json or not there or told[-1:] == [text]:
            return
        if sys.stderr.isatty():
            show_progress(text)
        elif not told:
            say(f"chosctl: {text}", err=True)
        told.append(text)

    def polling(why: str) -> None:
        if not as_json:
            say(f"note: looking again every second, because the end of a process is not told here: {why}", err=True)

    try:
        ended = wait(report, everything=everything, limit=limit, told=Waiting(polling, inside))
    except KeyboardInterrupt:
        clear_progress()
        say(
            "chosctl: interrupted while waiting; what was asked for is done, only what is still used is there", err=True
        )
        return INTERRUPTED
    clear_progress()
    if not ended:
        say(f"chosctl: still used after {limit:g} s", err=True)
    return 0 if ended else TIMEOUT


def _inside(there: Sequence[Resident]) -> str:
    """Who is in which generation, the first of them by name."""
    where = ", ".join(sorted({one.generation for one in there}))
    first = ", ".join(f"{one.user} {one.pid} {one.command[:_COMMAND]}" for one in there[:_SHOWN])
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return f"{where}: {first}{more}"
