"""The benchmark of CHOS; started by `bench/run`, as root on a throwaway node."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import batch
import entering
import inside
import logins
import preparing
import privileged
from progress import Cost, OutOfTime, Progress
from report import Report
from stand import Stand

PARTS = {
    "entering": (entering.measure, Cost(45, 5)),
    "privileged": (privileged.measure, Cost(3, 1)),
    "inside": (inside.measure, Cost(40, 4)),
    "logins": (logins.measure, Cost(145, 12)),
    "batch": (batch.measure, Cost(65, 15)),
    "preparing": (preparing.measure, Cost(35, 12)),
}
_INTERRUPTED = 130  # as a shell says it


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--json-fd", type=int)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--time-limit", type=float, default=0)
    options = parser.parse_args()
    chosen = {name: part for name, part in PARTS.items() if not options.only or name in options.only}
    costs = {name: cost for name, (_, cost) in chosen.items()}
    progress, report = Progress(costs, quick=options.quick, limit=options.time_limit), Report()
    status = 0
    try:
        stand = Stand(options.tools, progress)
        for name, (measure, _) in chosen.items():
            progress.begin(name)
            measure(stand, report)
            report.done.append(name)
    except KeyboardInterrupt:
        report.ended = "interrupted"
        status = _INTERRUPTED
    except OutOfTime as error:
        report.ended = str(error)
    progress.end()
    report.left_out = [name for name in chosen if name not in report.done]
    report.show()
    if options.json_fd is not None:
        with os.fdopen(options.json_fd, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    sys.exit(status or (1 if options.strict and not report.met else 0))


if __name__ == "__main__":
    main()
