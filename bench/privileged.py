"""The privileged part of entering: how long, how many system calls; and the launcher's size."""

from __future__ import annotations

import os
import re
from pathlib import Path

from report import Criterion, Report, Samples, Table, spread
from stand import TRUE, Stand, run

LAUNCHER = "/usr/bin/chos"
_STEPS = (
    "all of it",
    "reduce to three capabilities",
    "registry: its directory, the default backend",
    "enter: name → setns → root checked",
    "drop, read back, try setuid(0)",
    "(of enter: name → generation → policy)",
)

# (what strace shows, the rule of security that asks for it or "", what it is for). The first match counts.
_CALLS = (
    (
        r"^(arch_prctl|set_tid_address|brk|mmap|mprotect|set_robust_list|rseq|prlimit64|getrandom|readlink\(\"/proc/self/exe)",
        "",
        "C library",
    ),
    (r"^poll\(|^fcntl\(", "1", "descriptors 0-2 are valid"),
    (r"^prctl\(PR_SET_DUMPABLE", "6", "not dumpable"),
    (r"^(getuid|geteuid)\(", "7", "who asks; is it root's own setuid?"),
    (r"^(capset|capget)\(.*CAP_SYS_ADMIN", "7", "three capabilities and no more, whoever started it"),
    (r"^getcwd\(", "", "the working directory"),
    (r"^(openat2|open|openat)\(.*O_DIRECTORY", "3", "registry and generation, safely"),
    (r"^fstat\(|^newfstatat\(\d", "3", "root's own, nobody else writes"),
    (r"^(fstatfs|ioctl)\(", "3", "a mount namespace, on nsfs"),
    (r"^stat\(\"/\"", "4", "the root is the environment's"),
    (r"^prctl\(PR_CAP_AMBIENT|^capset\(|^capget\(|^setuid\(", "4, 7", "nothing is left"),
    (r"^close\(", "6", "few free descriptors are enough"),
    (r"^fchdir\(", "3", "the directory that was checked"),
    (r"^readlinkat\(.*/\.\./\.\./env/", "29", "the name still leads here, and the way is still open"),
    (r"(\"|/)(base|backend|policy|login)\",|^read\(", "", "read backend, policy"),
    (r"^readlinkat\(", "", "name → generation"),
    (r"/ns\"", "", "open the pin"),
    (r"^setns\(", "", "enter"),
    (r"^chdir\(", "", "the working directory"),
)


def measure(stand: Stand, report: Report) -> None:
    """See the module."""
    stand.up()
    _time(stand, report)
    _size(report)
    _system_calls(stand, report)


def _time(stand: Stand, report: Report) -> None:
    output = run(str(stand.tools / "privileged"), str(stand.uid), "base", str(stand.count(3000, 100)))
    columns = zip(*([int(word) / 1000 for word in line.split()] for line in output.splitlines()))
    times = dict(zip(_STEPS, (Samples(tuple(column)) for column in columns)))
    rows = [
        (label, f"{samples.median:.1f}", spread(samples), str(len(samples.values))) for label, samples in times.items()
    ]
    report.tables.append(
        Table(
            "The privileged part of entering",
            ("", "µs", "quartiles", "samples"),
            rows,
            ("libchos in a child made for each sample, which does it once, page faults included.",),
        )
    )
    report.criteria.append(Criterion("privileged part of entering", times[_STEPS[0]].median, 20, " µs"))
    report.data["privileged"] = {label: samples.summary() for label, samples in times.items()}


def _size(report: Report) -> None:
    size = os.stat(LAUNCHER).st_size
    with open(LAUNCHER, "rb") as file:
        static = b"/ld-" not in file.read()
    report.criteria.append(Criterion("the launcher's size", size / 1000, 60, " kB"))
    report.criteria.append(Criterion("the launcher needs a dynamic linker", 0 if static else 1, 0))
    report.data["launcher"] = {"bytes": size, "static": static}


def _system_calls(stand: Stand, report: Report) -> None:
    trace = Path("/tmp/bench-strace")
    try:
        run("strace", "-u", "bench", "-o", str(trace), LAUNCHER, TRUE)
    except (OSError, SystemExit) as error:
        report.tables.append(Table("System calls of an entry", ("",), [], (f"not measured: {error}",)))
        return
    lines = trace.read_text().splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if line.startswith("execve("))
    rows = []
    for line in lines[:end]:
        rule, purpose = next(
            ((rule, purpose) for pattern, rule, purpose in _CALLS if re.search(pattern, line)), ("", "?")
        )
        rows.append((line[:72], rule, purpose))
    others = sum(1 for row in rows if not row[1])
    report.tables.append(
        Table(f"System calls before exec: {len(rows)}, of which {others} are not checks", ("", "rule", "for"), rows)
    )
    report.criteria.append(Criterion("system calls before exec that are not checks", others, 10))
    report.data["system_calls"] = {"all": len(rows), "beyond_checks": others, "trace": lines[:end]}
