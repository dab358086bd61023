#!/usr/bin/python3
"""Reads what a guest's kernel said, for tools/guest: complaints.py KNOWN LOG KMEMLEAK LOCKDEP.

Prints every complaint and fails when there is one, unless a regular expression of KNOWN is found in it. The last
two files are there only in guests whose kernel has these checkers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# The first line of a report
TRIGGER = re.compile(
    r"WARNING|BUG|KASAN|Oops|general protection|unable to handle|Kernel panic|INFO: |suspicious RCU"
    r"|possible (circular|recursive)|corruption|ODEBUG|Busy inodes|still in use"
    r"|refcount_t|Bad page|self-detected stall|MP-BIOS"
)
TRACE = "Call Trace"  # it belongs to a report, or is one of a kind that was not thought of
STAMP = re.compile(r"^\[[ 0-9.]+\] ?")
LEAKED = re.compile(r"\[chos\]|\] 0x[0-9a-f]+$", re.MULTILINE)
REPORT = 40  # lines after the last of these that may belong to a report


def reports(lines: list[str]) -> list[str]:
    """The log's reports, each from its first line to the next report or to where it must be over."""
    found: list[list[str]] = []
    left = 0
    for line in lines:
        if TRIGGER.search(line) or (TRACE in line and not left):
            found.append([])
            left = REPORT
        elif TRACE in line:
            left = REPORT
        if left:
            found[-1].append(line)
            left -= 1
    return ["\n".join(report) for report in found]


def main(known_file: str, log_file: str, kmemleak_file: str, lockdep_file: str) -> int:
    """0 when nobody complained."""
    known = [
        re.compile(line)
        for line in Path(known_file).read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    log = Path(log_file).read_text(encoding="utf-8", errors="replace")
    complaints = [
        report
        for report in reports([STAMP.sub("", line) for line in log.splitlines()])
        if not any(pattern.search(report) for pattern in known)
    ]
    leaks = Path(kmemleak_file)
    if leaks.exists():
        # What another part of the kernel allocated is not ours; an unloaded module's functions have no names.
        objects = re.split(r"^(?=unreferenced object)", leaks.read_text(errors="replace"), flags=re.MULTILINE)
        complaints += [entry for entry in objects if LEAKED.search(entry)]
    locks = Path(lockdep_file)
    if locks.exists() and not re.search(r"debug_locks: +1", locks.read_text()):
        complaints.append("lockdep has turned itself off, so that it saw nothing more after some report")
    for complaint in complaints:
        print(f"--- the kernel complained:\n{complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
