"""The guard of a privileged job starter: the root prologues of pbs_mom that refuse a job which would become root.

docs/integrations/torque.md has the danger, and what the guard does. Called by `torque` and `mom_problems`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat

import psutil

from chosns.config.trusted import display_path, read_trusted
from chosns.errors import ChosError
from chosns.integrate import mom
from chosns.integrate.command import find_also
from chosns.integrate.ensure import require
from chosns.integrate.lines import append
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine
from chosns.system.installed import starter

_GUARDED = "# CHOS: with a privileged job starter, a job could become root. chosctl install torque --undo"
NO_CHROOT = "torque/no-chroot"
PROLOGUES = ("prologue", "prologue.parallel")  # of the job's first node, and of its others


def start_note() -> str:
    """How a pbs_mom with a privileged starter has to be started."""
    return (
        f"start pbs_mom by way of `{starter(NO_CHROOT)} pbs_mom -p`: the prologue sees jobs as they start, "
        "but qalter can give PBS_O_ROOTDIR to a job that runs, and pbsdsh then uses it"
    )


def problems_of_guard(machine: Machine, home: str) -> str:
    """Why a privileged starter is not safe below this PBS_HOME; empty: it is, or this process may not look."""
    shown = [display_path(machine.root, f"{home}/mom_priv/{name}") for name in PROLOGUES]
    if any(os.path.exists(path) and not os.access(path, os.R_OK) for path in shown):
        return ""
    try:
        plans = [guard(machine, home, name) for name in PROLOGUES]
        for name in PROLOGUES:
            if not any(plan.changes for plan in plans):
                require_safe(machine, f"{home}/mom_priv/{name}")
    except ChosError as error:
        return str(error)
    missing = [change.name for plan in plans for change in plan.changes]
    return f"{missing[0]} does not exist" if missing else ""


def prologue(home: str, qstat: str) -> list[str]:
    return ["#!/bin/sh", _GUARDED, _call(home, qstat)]


def _call(home: str, qstat: str) -> str:
    words = (starter("torque/guard"), home, qstat)
    return " ".join(map(shlex.quote, words)) + ' "$@" || exit 1'


def guard(machine: Machine, home: str, name: str) -> ChangeList:
    """The prologue: ours where there is none; where the site has one, it has to begin with our line."""
    require(machine, starter("torque/guard"))
    path = f"{home}/mom_priv/{name}"
    text = read_trusted(machine.root, path, machine.uids)  # a link is fine: pbs_mom follows it
    if text is None:
        lines = tuple(prologue(home, qstat_of(machine)))
        # The first line stays, if somebody adds others to it.
        return ChangeList((FileEdit(path, None, append("", lines), lines[1:], mode=0o500),))
    if "\r" in text:
        raise InstallError(
            "has carriage returns, with which no script runs", object=path, hint=f"sed -i 's/\\r$//' {path}"
        )
    shebang, *rest = text.split("\n")  # the shell's lines; Python would see more
    commands = [line.strip() for line in rest if line.strip() and not line.strip().startswith("#")]
    if commands and mom.is_shell(shebang) and _is_call(home, commands[0]):
        require_safe(machine, path)
        return ChangeList(present=(path,))
    call = _call(home, qstat_of(machine))
    if not mom.is_shell(shebang):
        hint = f"move it to another name, and let a shell script {path} begin with these two lines:\n#!/bin/sh\n{call}"
        raise InstallError("is no shell script, so it cannot call CHOS's guard", object=path, hint=hint)
    hint = f"put this line right below its first one, before anything else that it does:\n{call}"
    raise InstallError("is the site's own, and does not begin with CHOS's guard", object=path, hint=hint)


def _is_call(home: str, command: str) -> bool:
    """Our line, whichever qstat it names: with one that is none the guard refuses all jobs."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return len(words) > 2 and os.path.isabs(words[2]) and command == _call(home, words[2])


def require_safe(machine: Machine, path: str) -> None:
    """What pbs_mom asks of a prologue, or it does not run it (run_pelog)."""
    shown = display_path(machine.root, path)
    status = os.stat(shown)
    if status.st_uid not in machine.uids or not stat.S_ISREG(status.st_mode):
        raise InstallError("is not a regular file of root's", object=shown, hint=f"chown root {shown}")
    if status.st_mode & 0o500 != 0o500 or status.st_mode & 0o022:
        raise InstallError("cannot be run by pbs_mom with this mode", object=shown, hint=f"chmod 0500 {shown}")


def qstat_of(machine: Machine) -> str:
    """TORQUE's own: in PATH, beside a running pbs_mom, or where it is installed from source."""
    directories = [*_beside(machine), "/opt/torque/bin", "/usr/local/torque/bin"]
    found = find_also(machine, "qstat", directories, preferred=True)  # Grid Engine has one, too
    if found is None:
        hint = "install TORQUE's client commands on this node, or use the plain starter (without --option privileged)"
        raise InstallError("is not here, and the guard of a privileged starter needs it", object="qstat", hint=hint)
    return found[len(machine.root.rstrip("/")) :] if found.startswith(machine.root.rstrip("/") + "/") else found


def _beside(machine: Machine) -> list[str]:
    """PREFIX/bin of each pbs_mom that runs from PREFIX/sbin."""
    found = []
    for process in mom.running(machine):
        with contextlib.suppress(psutil.Error):
            found.append(os.path.join(os.path.dirname(os.path.dirname(process.exe())), "bin"))
    return [path for path in found if os.path.isabs(path)]
