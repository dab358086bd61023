"""`chosctl install torque`: $job_starter in the configuration of pbs_mom; by way of PAM where that is asked for.

A privileged starter is dangerous (docs/integrations/torque.md says how): it is never installed without the prologue
that refuses the jobs which would use it to become root, and never taken away under a pbs_mom that may still execute it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Sequence
from dataclasses import replace

import psutil

from chosns.config.trusted import display_path, read_trusted
from chosns.errors import ChosError
from chosns.install import data, program, starter
from chosns.integrate import files, mom
from chosns.integrate.command import find_also
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.lines import append
from chosns.integrate.model import FileEdit, InstallError, Machine, Plan, Product, Request, Snippet
from chosns.integrate.record import FileRecord, Records

_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install torque --undo"
_GUARDED = "# CHOS: with a privileged job starter, a job could become root. chosctl install torque --undo"
_STACK = "/etc/pam.d/jobstarter"
_PRIVILEGED = "$job_starter_run_privileged true"
NO_CHROOT = "torque/no-chroot"
_PROLOGUES = ("prologue", "prologue.parallel")  # of the job's first node, and of its others
_MOVES = {
    False: "jobs without $CHOS run on the base, unless [jobs] of chos.toml(5) says otherwise",
    True: "jobs without $CHOS go where pam_chos takes their user: ~/.chos, then `default`",
}
_STOP = "stop pbs_mom first: momctl -s (SIGTERM would kill its jobs); start it with -p afterwards, and they stay"


class Torque(Product):
    """Jobs of TORQUE."""

    name = "torque"
    accepts = frozenset({"options"})
    after = "now restart pbs_mom, with -p so that running jobs stay; do the same on every node"
    after_undo = (
        "now restart pbs_mom, with -p so that running jobs stay; until then it has the job starter that it has read"
    )

    def snippets(self, request: Request) -> Sequence[Snippet]:
        config = Snippet(
            "$PBS_HOME/mom_priv/config, on every node; then restart pbs_mom -p", "\n".join(_lines(request))
        )
        if not request.options:
            return [config]
        text = "\n".join(_prologue("/var/spool/torque", "/usr/bin/qstat"))
        where = "$PBS_HOME/mom_priv/{}: root's, mode 0500; put the paths of PBS_HOME and qstat in; before the config"
        guards = [Snippet(where.format(name), text) for name in _PROLOGUES]
        guards.append(
            Snippet("how pbs_mom is started (in its unit or boot script)", f"{starter(NO_CHROOT)} pbs_mom -p")
        )
        return [*guards, Snippet(_STACK, f"a copy of {data('pam.d/jobstarter')}"), config]

    def plan(self, machine: Machine, request: Request) -> Plan:
        lines = _lines(request)
        _require_program(machine, lines[-1].split()[1])
        home = _home(machine, request)
        _require_same_kind(machine, f"{home}/mom_priv/config", bool(request.options))
        plan = ensure(machine, f"{home}/mom_priv/config", [_COMMENT, *lines], mom.STARTER)
        if plan.changes:
            plan = Plan(plan.changes, plan.present, (_MOVES[bool(request.options)],))
        if not request.options:
            return plan
        # What the last line needs comes first: a job must find it.
        for before in (_stack(machine), *(_guard(machine, home, name) for name in _PROLOGUES)):
            plan = Plan((*before.changes, *plan.changes), (*before.present, *plan.present), plan.notes)
        require(machine, starter(NO_CHROOT))
        return plan if not plan.changes else replace(plan, notes=(*plan.notes, start_note()))

    def look(self, machine: Machine) -> Plan:
        return self.plan(machine, _as_it_is(machine, Request()))

    def remains(self, machine: Machine, request: Request) -> Sequence[str]:
        return self.plan(machine, _as_it_is(machine, request)).present

    def rehearse(self, machine: Machine, plan: Plan) -> Sequence[str]:
        from chosns.doctor.torque import job_starter_problems  # it asks this module, too

        # What is being changed now is wrong only until pbs_mom is started again.
        return () if plan.changes else [str(problem) for problem in job_starter_problems(machine)]

    def verify(self, machine: Machine, plan: Plan) -> None:
        for change in plan.changes:
            if os.path.basename(change.name) in _PROLOGUES:
                _require_safe(machine, change.name)

    def before_undo(self, machine: Machine) -> None:
        """The starter, its guard and its line: none may go before the pbs_mom that has read them."""
        running = mom.running(machine)
        if running and (_recorded_privileged(machine) or any(c.privileged and _is_ours(c) for c in mom.read(machine))):
            raise InstallError(
                "still has the privileged job starter; without it pbs_mom executes the shells of jobs as root, and "
                "without the prologue users become root",
                object=f"pbs_mom, process {running[0].pid}",
                hint=_STOP,
            )


def start_note() -> str:
    """How a pbs_mom with a privileged starter has to be started."""
    return (
        f"start pbs_mom by way of `{starter(NO_CHROOT)} pbs_mom -p`: the prologue sees jobs as they start, "
        "but qalter can give PBS_O_ROOTDIR to a job that runs, and pbsdsh then uses it"
    )


def problems_of_guard(machine: Machine, home: str) -> str:
    """Why a privileged starter is not safe below this PBS_HOME; empty: it is, or this process may not look."""
    shown = [display_path(machine.root, f"{home}/mom_priv/{name}") for name in _PROLOGUES]
    if any(os.path.exists(path) and not os.access(path, os.R_OK) for path in shown):
        return ""
    try:
        plans = [_guard(machine, home, name) for name in _PROLOGUES]
        for name in _PROLOGUES:
            if not any(plan.changes for plan in plans):
                _require_safe(machine, f"{home}/mom_priv/{name}")
    except ChosError as error:
        return str(error)
    missing = [change.name for plan in plans for change in plan.changes]
    return f"{missing[0]} does not exist" if missing else ""


def _is_ours(config: mom.Config) -> bool:
    return config.starter in (program("chos-job-starter"), program("pam_job_starter"))


def _lines(request: Request) -> list[str]:
    if set(request.options) - {"privileged"}:
        raise InstallError("has one option: privileged", object="torque")
    if not request.options:
        return [f"$job_starter {program('chos-job-starter')}"]
    return [_PRIVILEGED, f"$job_starter {program('pam_job_starter')}"]


def _as_it_is(machine: Machine, request: Request) -> Request:
    """The request that asks for the kind of job starter that is configured."""
    config = mom.parse(files.read(machine, f"{_home(machine, request)}/mom_priv/config") or "")
    privileged = config.privileged and config.starter == program("pam_job_starter")
    return replace(request, options=("privileged",) if privileged else ())


def _home(machine: Machine, request: Request) -> str:
    asked = request.config or machine.env.get("PBS_HOME", "")
    found = first(machine, "TORQUE", [f"{home}/mom_priv" for home in ([asked] if asked else mom.HOMES)], "PBS_HOME")
    return os.path.dirname(found)


def _require_program(machine: Machine, path: str) -> None:
    """pbs_mom ignores a starter that is not there; one that it cannot execute is worse (mom.py)."""
    require(machine, path)
    shown = display_path(machine.root, path)
    if machine.root == "/" and not os.stat(shown).st_mode & stat.S_IXOTH:
        raise InstallError("cannot be executed by users", object=shown, hint=f"chmod 0755 {shown}")


def _require_same_kind(machine: Machine, path: str, privileged: bool) -> None:
    """Refuse what would mix the plain and the privileged kind. :raises InstallError: and says how to change it."""
    config = mom.parse(files.read(machine, path) or "")
    option = " --option privileged" if privileged else ""
    if _is_ours(config) and config.privileged != (config.starter == program("pam_job_starter")):
        message = f"$job_starter {config.starter} with $job_starter_run_privileged {str(config.privileged).lower()}"
        hint = f"mend these lines by hand, or take them out and run `chosctl install torque{option}`"
        raise InstallError(f"does not fit together: {message}", object=path, hint=hint)
    if _is_ours(config) and config.privileged != privileged:
        kind = "privileged" if config.privileged else "plain"
        stop = f"{_STOP}; then " if config.privileged else ""
        hint = (
            f"{stop}`chosctl install torque --undo`, `chosctl install torque{option}`, and start pbs_mom -p again. "
            f"It moves jobs: {_MOVES[privileged]}"
        )
        raise InstallError(f"CHOS's {kind} job starter is set already", object=f"{path}:{config.line}", hint=hint)
    if config.privileged and not config.starter and not privileged:
        message = "says $job_starter_run_privileged true, so that the plain starter would run jobs as root"
        raise InstallError(message, object=path, hint="take that line out first")


def _stack(machine: Machine) -> Plan:
    if files.read(machine, _STACK) is not None:
        return Plan(present=(_STACK,))
    require(machine, data("pam.d/jobstarter"))
    shipped = tuple((read_trusted(machine.root, data("pam.d/jobstarter"), machine.uids) or "").splitlines())
    return Plan((FileEdit(_STACK, None, append("", shipped), shipped),))


def _prologue(home: str, qstat: str) -> list[str]:
    return ["#!/bin/sh", _GUARDED, _call(home, qstat)]


def _call(home: str, qstat: str) -> str:
    words = (starter("torque/guard"), home, qstat)
    return " ".join(map(shlex.quote, words)) + ' "$@" || exit 1'


def _guard(machine: Machine, home: str, name: str) -> Plan:
    """The prologue: ours where there is none; where the site has one, it has to begin with our line."""
    require(machine, starter("torque/guard"))
    path = f"{home}/mom_priv/{name}"
    text = read_trusted(machine.root, path, machine.uids)  # a link is fine: pbs_mom follows it
    if text is None:
        lines = tuple(_prologue(home, _qstat(machine)))
        # The first line stays, if somebody adds others to it.
        return Plan((FileEdit(path, None, append("", lines), lines[1:], mode=0o500),))
    if "\r" in text:
        raise InstallError(
            "has carriage returns, with which no script runs", object=path, hint=f"sed -i 's/\\r$//' {path}"
        )
    shebang, *rest = text.split("\n")  # the shell's lines; Python would see more
    commands = [line.strip() for line in rest if line.strip() and not line.strip().startswith("#")]
    if commands and mom.is_shell(shebang) and _is_call(home, commands[0]):
        _require_safe(machine, path)
        return Plan(present=(path,))
    call = _call(home, _qstat(machine))
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


def _require_safe(machine: Machine, path: str) -> None:
    """What pbs_mom asks of a prologue, or it does not run it (run_pelog)."""
    shown = display_path(machine.root, path)
    status = os.stat(shown)
    if status.st_uid not in machine.uids or not stat.S_ISREG(status.st_mode):
        raise InstallError("is not a regular file of root's", object=shown, hint=f"chown root {shown}")
    if status.st_mode & 0o500 != 0o500 or status.st_mode & 0o022:
        raise InstallError("cannot be run by pbs_mom with this mode", object=shown, hint=f"chmod 0500 {shown}")


def _qstat(machine: Machine) -> str:
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


def _recorded_privileged(machine: Machine) -> bool:
    records = Records(machine, "torque").read()
    return any(isinstance(record, FileRecord) and _PRIVILEGED in record.lines for record in records)
