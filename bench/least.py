"""What `chos` adds to a static launcher that does nothing, against the least that can enter at all (least.c).

All three start one static `true`, which is the same file everywhere, and keep the working directory.
"""

from __future__ import annotations

from collections.abc import Mapping

from report import Criterion, Report, Samples, Table
from stand import Stand

IDLE, LEAST, CHOS = "a launcher that does nothing", "the least that can enter", "chos"
POINTS = (25, 50, 99)
LIMIT = 2.0
DIRECTORY = "/tmp"  # to be kept; `/` would cost less than nearly every other

_NOTES = (
    "p25, p50, p99: of the whole, in µs. adds: p25, beyond the launcher that does nothing.",
    "The least opens the pin, calls setns and capset, keeps the working directory, and checks nothing.",
)


def commands(stand: Stand) -> dict[str, list[str]]:
    """To be timed against each other."""
    command = str(stand.tools / "true")
    return {
        IDLE: [str(stand.tools / "nothing"), command],
        LEAST: [str(stand.tools / "least"), stand.pin(), command],
        CHOS: ["/usr/bin/chos", command],
    }


def show(report: Report, mounts: int, times: Mapping[str, Samples]) -> None:
    """A table, and whether the limit holds."""
    idle = times[IDLE].percentile(25)
    least = times[LEAST].percentile(25) - idle
    rows = []
    for label, samples in times.items():
        added = samples.percentile(25) - idle
        ratio = "" if label == IDLE else f"{added / max(least, 0.1):.2f}"
        values = (f"{samples.percentile(point):.1f}" for point in POINTS)
        rows.append((label, *values, "" if label == IDLE else f"{added:.1f}", ratio))
    columns = ("", *(f"p{point}" for point in POINTS), "adds", "× the least")
    report.tables.append(Table(f"What entering adds, {mounts} further mounts on the base", columns, rows, _NOTES))
    ratio = (times[CHOS].percentile(25) - idle) / max(least, 0.1)  # few samples on a busy machine can say anything
    report.criteria.append(Criterion(f"what chos adds / the least, {mounts} further mounts, p25", ratio, LIMIT, " ×"))
