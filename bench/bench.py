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
from report import Report
from stand import Stand

PARTS = {
    "entering": entering.measure,
    "privileged": privileged.measure,
    "inside": inside.measure,
    "logins": logins.measure,
    "batch": batch.measure,
    "preparing": preparing.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--json-fd", type=int)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    options = parser.parse_args()
    stand, report = Stand(options.tools, options.quick), Report()
    for name, measure in PARTS.items():
        if options.only and name not in options.only:
            continue
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        measure(stand, report)
    report.show()
    if options.json_fd is not None:
        with os.fdopen(options.json_fd, "w", encoding="utf-8") as file:
            file.write(report.to_json())
    sys.exit(1 if options.strict and not report.met else 0)


if __name__ == "__main__":
    main()
