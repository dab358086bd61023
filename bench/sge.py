"""What the starter costs in Grid Engine: by itself, and added to `qrsh true` in a real cell, that of the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from report import COLUMNS, Report, Samples, Table, row
from stand import TRUE, Stand

REPO = Path(__file__).resolve().parents[1]
INSTALLED = Path("/usr/lib/chos/starters/sge/starter_method")
SPOOL = Path("/tmp/sge-bench")
WITHOUT, AGAIN, BASE, INSIDE = "without a starter", "the same again", "starter, no $CHOS", "starter, CHOS=base"


def measure(stand: Stand, report: Report) -> None:
    """See the module."""
    stand.up()
    starter = _starter(stand)
    _by_itself(stand, report, starter)
    sys.path.insert(0, str(REPO / "tests/integration"))
    try:
        import gridengine
    except ImportError as error:
        report.tables.append(Table("Grid Engine", ("",), [], (f"not measured: {error}",)))
        return
    if not gridengine.COMMON.is_dir():
        report.tables.append(Table("Grid Engine", ("",), [], ("not measured: it is not installed (tools/deps batch)",)))
        return
    with gridengine.running() as cell:
        cell.change("-sq all.q", "-Aq", {"qname": "plain.q"})
        cell.queue(starter_method=str(starter))
        _jobs(stand, report, cell)
        cell.command("qconf", "-dq", "plain.q", check=False)


def _starter(stand: Stand) -> Path:
    """The installed one, or that of this source tree."""
    link = Path("/usr/bin/chos-job-starter")
    if not link.exists():
        link.symlink_to("chos")
    if INSTALLED.exists():
        return INSTALLED
    path = stand.tools / "starter_method"
    path.write_text((REPO / "starters/sge/starter_method.in").read_text().replace("@bindir@", "/usr/bin"))
    path.chmod(0o755)
    return path


def _by_itself(stand: Stand, report: Report, starter: Path) -> None:
    """As the shepherd calls it for a script in a queue with unix_behavior."""
    script = SPOOL / "job_scripts/1"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    told = [
        f"SGE_JOB_SPOOL_DIR={SPOOL}/active_jobs/1.1",
        "JOB_ID=1",
        "SGE_STARTER_SHELL_PATH=/bin/sh",
        "SGE_STARTER_SHELL_START_MODE=unix_behavior",
        "SGE_STARTER_USE_LOGIN_SHELL=true",
    ]
    commands = {
        WITHOUT: ["/usr/bin/env", *told, str(script)],
        AGAIN: ["/usr/bin/env", *told, str(script)],
        BASE: ["/usr/bin/env", "-u", "CHOS", *told, str(starter), str(script)],
        INSIDE: ["/usr/bin/env", *told, str(starter), str(script)],
    }
    samples = stand.time(commands, stand.count(700, 80))
    base = samples[WITHOUT]
    rows = [row(label, x, base) for label, x in samples.items()]
    report.tables.append(Table("Grid Engine's starter by itself: a script that does nothing", COLUMNS, rows))
    report.data["sge_starter"] = {label: x.summary() for label, x in samples.items()}


def _jobs(stand: Stand, report: Report, cell: Any) -> None:
    """Whole jobs, in turn: scheduling, and the start."""
    times: dict[str, list[float]] = {label: [] for label in (WITHOUT, AGAIN, BASE, INSIDE)}
    environment: dict[str, str] = cell.environment
    for _ in range(stand.count(60, 3)):
        for label, took in times.items():
            queue = "plain.q" if label in (WITHOUT, AGAIN) else "all.q"
            words = ["qrsh", "-q", queue, *(["-v", "CHOS=base"] if label == INSIDE else []), TRUE]
            variables = {"PATH": "/usr/bin:/bin", "HOME": "/home/bench", "USER": "bench", **environment}
            start = time.perf_counter()
            subprocess.run(
                words, env=variables, user="bench", group="bench", cwd="/", check=True, stdin=subprocess.DEVNULL
            )
            took.append((time.perf_counter() - start) * 1000)
    samples = {label: Samples(tuple(took)) for label, took in times.items()}
    base = samples[WITHOUT]
    rows = [
        (label, f"{x.median:.1f}", "{:.1f} – {:.1f}".format(*x.quartiles), f"{x.median - base.median:+.1f}")
        for label, x in samples.items()
    ]
    report.tables.append(Table("Grid Engine: qrsh true", ("", "ms", "quartiles", "added"), rows))
    report.data["qrsh"] = {label: x.summary() for label, x in samples.items()}
