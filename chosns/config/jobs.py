"""The tables `jobs` and `records` of /etc/chos.d/*.toml: what jobs get, where entries are recorded (chos.toml(5)).

Pure: the tables in, `Jobs` out; what is wrong is left out and reported. Called by `sections`.
"""

from __future__ import annotations

import re

from chosns.config.text import quoted, strict_path_fault
from chosns.config.tomldoc import Fields
from chosns.model import Jobs

_SIZE = re.compile(r"([1-9][0-9]{0,9})([KMGT])(?:i?B)?", re.IGNORECASE)
_POWER = "_KMGT"
MAX_BYTES = 2**63 - 1
MAX_PROCESSES = 2**22  # the kernel's own limit on process ids, proc(5), pid_max


def parse_jobs(jobs: Fields, records: Fields) -> Jobs:
    """Both tables."""
    found = Jobs(
        user_file=_user_file(jobs),
        memory=_memory(jobs),
        processes=jobs.number("processes", MAX_PROCESSES),
        syslog=records.flag("syslog", True),
        file=_file(records),
    )
    jobs.close()
    records.close()
    return found


def _user_file(jobs: Fields) -> str:
    path = jobs.text("user_file")
    if path and (path.startswith("/") or "" in path.split("/") or ".." in path.split("/")):
        jobs.report(f"user_file {quoted(path)} is not below the home directory", 'usual is ".chos"', "user_file")
        return ""
    return path


def _memory(jobs: Fields) -> int:
    text = jobs.text("memory")
    size = _SIZE.fullmatch(text)
    found: int = int(size[1]) * 1024 ** _POWER.index(size[2].upper()) if size else 0
    if text and not 0 < found <= MAX_BYTES:
        jobs.report(f"memory {quoted(text)} is not a size", 'write a number and K, M, G or T: "4G"', "memory")
        return 0
    return found


def _file(records: Fields) -> str:
    path = records.text("file")
    if path and (fault := strict_path_fault(path)):
        records.report(f"file {quoted(path)} {fault}", 'write the path in full: "/var/log/chos/entries"', "file")
        return ""
    return path
