"""What living inside costs: /usr/bin and /etc are shown through a read-only overlay, everything else as it is."""

from __future__ import annotations

from report import COLUMNS, Report, Samples, Table, spread
from stand import TRUE, Stand

_DEEP = "/usr/share/zoneinfo/posix/America/Argentina/Buenos_Aires"


def measure(stand: Stand, report: Report) -> None:
    """Every pair is one thing on the base and inside, interleaved; namespaces are changed outside the timing."""
    stand.up()
    pin = "@" + stand.pin()
    fast, slow = stand.count(600, 40), stand.count(60, 8)
    python = ["/usr/bin/python3", "-I", "-c", "import json, subprocess, asyncio, email.message, sqlite3"]
    things: dict[str, tuple[list[str], int]] = {
        f"exec {TRUE}": ([TRUE], fast),
        "exec and find: sh -c true": (["/bin/sh", "-c", TRUE], fast),
        "python3 with imports": (python, slow),
        "open+close /usr/bin/true": (["%open", TRUE], fast),
        "open+close /etc/ld.so.cache": (["%open", "/etc/ld.so.cache"], fast),
        "open+close /etc/passwd (a link to the base's)": (["%open", "/etc/passwd"], fast),
        "open+close /usr/lib/os-release": (["%open", "/usr/lib/os-release"], fast),
        "stat, seven directories deep": (["%stat", _DEEP], fast),
    }
    rows: list[tuple[str, ...]] = []
    data: dict[str, dict[str, dict[str, float]]] = {}
    for label, (command, rounds) in things.items():
        times: dict[str, Samples] = stand.time({"base": command, "inside": [pin, *command]}, rounds, root=True)
        rows.append(_row(label, times["base"], times["inside"], 2 if command[0].startswith("%") else 1))
        data[label] = {where: samples.summary() for where, samples in times.items()}
    report.tables.append(
        Table("Inside an environment, against the base", ("", "base µs", "inside µs", *COLUMNS[2:]), rows)
    )
    report.data["inside"] = data


def _row(label: str, base: Samples, inside: Samples, digits: int) -> tuple[str, ...]:
    return (
        label,
        f"{base.median:.{digits}f}",
        f"{inside.median:.{digits}f}",
        spread(inside, digits),
        f"{inside.ratio(base):.3f}",
        f"{inside.paired(base):.3f}",
        str(len(base.values)),
    )
