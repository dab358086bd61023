"""What /etc/chos.d/*.toml says of the node: the tables `node`, `jobs`, `records` and `pam` (chos.toml(5)).

Pure: tables in, `NodeSettings` out; what is wrong is left out and reported. Called by `sections`.
"""

from __future__ import annotations

import re

from chosns.config.text import quoted, strict_path_fault
from chosns.config.tomldoc import Fields
from chosns.lazydata import dataclass
from chosns.model import Jobs, Origin

_SIZE = re.compile(r"([1-9][0-9]{0,9})([KMGT])(?:i?B)?", re.IGNORECASE)
_POWER = "_KMGT"
MAX_BYTES = 2**63 - 1
MAX_PROCESSES = 2**22  # the kernel's own limit on process ids, proc(5), pid_max


TABLES = ("node", "jobs", "records", "pam")
MAX_SERVICES = 32  # as many as the registry's file `jobs` may name
_SERVICE = re.compile(r"[a-z0-9._@+-]{1,64}")


@dataclass(frozen=True)
class NodeSettings:
    """`backends`: which to prepare, the default first; empty where nothing is said. They are said at
    `backends_origin`; whether there are such is not known here."""

    jobs: Jobs
    backends: tuple[str, ...]
    backends_origin: Origin
    origin: Origin


def parse_node(top: Fields) -> NodeSettings | None:
    """The tables of one file; None where it has none of them."""
    tables = {name: top.sub(name) for name in TABLES}
    node, jobs, records, pam = tables.values()
    first = next((table for name, table in tables.items() if top.has(name)), None)
    found = Jobs(
        user_file=_user_file(jobs),
        memory=_memory(jobs),
        processes=jobs.number("processes", MAX_PROCESSES),
        syslog=records.flag("syslog", True),
        file=_file(records),
        stay=_stay(pam),
    )
    backends = tuple(name for name, _ in node.strings("backends"))
    for table in tables.values():
        table.close()
    return NodeSettings(found, backends, node.origin("backends"), first.origin()) if first else None


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


def _stay(pam: Fields) -> tuple[str, ...]:
    listed = pam.strings("stay")
    for number, (service, _) in enumerate(listed):
        if not _SERVICE.fullmatch(service):
            hint = "write the name of its file in /etc/pam.d, in lower case: PAM makes it so"
            pam.report(f"stay: {quoted(service)} is not the name of a PAM service", hint, "stay", number)
            return ()
    services = tuple(dict.fromkeys(service for service, _ in listed))
    if len(services) > MAX_SERVICES:
        pam.report(f"stay: {len(services)} services; at most {MAX_SERVICES} can be named", "", "stay")
        return ()
    return services
