"""TORQUE's pbs_mom: what its configuration says of job starters, and which one runs. Changes nothing.

What it does with that, tried with TORQUE's master: a starter that is missing when pbs_mom starts is ignored, with one
line in its log. One that cannot be executed later is passed over: pbs_mom then executes the user's shell itself, as
root where the starter is privileged. Called by `torque`, `mom_guard` and `mom_problems`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

import psutil

from chosns.errors import ChosError
from chosns.integrate import files
from chosns.integrate.model import Machine
from chosns.lazydata import dataclass
from chosns.system import procfs

HOMES = ("/var/spool/torque", "/var/lib/torque", "/opt/torque", "/var/torque")
STARTER = r"\s*\$job_starter\s+(.*)"
_PRIVILEGED = re.compile(r"\s*\$job_starter_run_privileged(?:\s+(.*))?")
_OFF = re.compile(r"off|0.*|f.*|n.*|", re.IGNORECASE)  # all else may count as yes, in one release or another
_SHELL = re.compile(r"#!\s*(/usr/bin/env\s+|/(usr/)?(local/)?bin/)(sh|bash|dash|ksh)\b.*")
_NO_CHROOT = b"CHOS_NO_CHROOT=1"  # starters/torque/no_chroot.c


@dataclass(frozen=True)
class Config:
    """What one mom_priv/config says: the last line of each kind counts."""

    path: str
    starter: str
    privileged: bool
    line: int


def parse(text: str, path: str = "") -> Config:
    """The settings about job starters in the text of a configuration."""
    found, privileged, number = "", False, 0
    for at, line in enumerate(text.split("\n"), 1):
        if match := re.fullmatch(STARTER, line):
            found, number = match[1].strip(), at
        elif match := _PRIVILEGED.fullmatch(line):
            privileged = not _OFF.fullmatch((match[1] or "").strip())
    return Config(path, found, privileged, number)


def read(machine: Machine) -> list[Config]:
    """The configurations of this node that can be read."""
    own = machine.env.get("PBS_HOME", "")
    configs = []
    for home in dict.fromkeys([*([own] if own else []), *HOMES]):
        path = f"{home}/mom_priv/config"
        try:
            text = files.read(machine, path)
        except ChosError:
            continue
        if text is not None:
            configs.append(parse(text, path))
    return configs


def running(machine: Machine) -> Sequence[psutil.Process]:
    """Root's processes of that name on this node, without those that they started for single jobs."""
    if machine.root != "/":
        return []
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "pbs_mom" and process.uids().real == 0:
                found.append(process)
        except psutil.Error:  # ended meanwhile
            continue
    pids = {process.pid for process in found}
    return [process for process in found if _parent(process) not in pids]


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def started(process: psutil.Process) -> float:
    """When it was started, or up to one tick later; psutil's own answer is up to a second too early.

    :raises OSError: it has ended.
    """
    with open(procfs.of(process.pid, "stat"), encoding="utf-8", errors="replace") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])  # starttime, proc_pid_stat(5)
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + (ticks + 1) / os.sysconf("SC_CLK_TCK")


def can_chroot(process: psutil.Process) -> bool:
    """Whether it was not started by way of no-chroot, which leaves a filter of system calls and a variable.

    A filter alone may be a unit's or a container's. False where this process may not look.
    """
    try:
        with open(procfs.of(process.pid, "environ"), "rb") as file:
            marked = _NO_CHROOT in file.read().split(b"\0")
        with open(procfs.of(process.pid, "status"), encoding="ascii", errors="replace") as file:
            return not marked or "Seccomp:\t2\n" not in file.readlines()
    except OSError:  # ended meanwhile, or another user's
        return False


def is_shell(shebang: str) -> bool:
    """Whether a script with this first line is read by a shell of POSIX."""
    return _SHELL.fullmatch(shebang) is not None


def home_of(config: Config) -> str:
    """PBS_HOME of a configuration."""
    return os.path.dirname(os.path.dirname(config.path))
