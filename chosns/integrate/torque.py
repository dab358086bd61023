"""`chosctl install torque`: $job_starter in the configuration of pbs_mom; by way of PAM where that is asked for.

A privileged starter is dangerous (docs/integrations/torque.md says how): it is never installed without the prologue
that refuses the jobs which would use it to become root, and never taken away under a pbs_mom that may still execute it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from chosns.config.trusted import display_path, read_trusted
from chosns.integrate import files, mom, mom_guard
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.lines import append
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine, Product, Request, Snippet
from chosns.integrate.mom_problems import job_starter_problems
from chosns.integrate.record import FileRecord, Records
from chosns.system.installed import data, program, starter

_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install torque --undo"
_STACK = "/etc/pam.d/jobstarter"
_PRIVILEGED = "$job_starter_run_privileged true"
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
        text = "\n".join(mom_guard.prologue("/var/spool/torque", "/usr/bin/qstat"))
        where = "$PBS_HOME/mom_priv/{}: root's, mode 0500; put the paths of PBS_HOME and qstat in; before the config"
        guards = [Snippet(where.format(name), text) for name in mom_guard.PROLOGUES]
        guards.append(
            Snippet("how pbs_mom is started (in its unit or boot script)", f"{starter(mom_guard.NO_CHROOT)} pbs_mom -p")
        )
        return [*guards, Snippet(_STACK, f"a copy of {data('pam.d/jobstarter')}"), config]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        lines = _lines(request)
        _require_program(machine, lines[-1].split()[1])
        home = _home(machine, request)
        _require_same_kind(machine, f"{home}/mom_priv/config", bool(request.options))
        plan = ensure(machine, f"{home}/mom_priv/config", [_COMMENT, *lines], mom.STARTER)
        if plan.changes:
            plan = ChangeList(plan.changes, plan.present, (_MOVES[bool(request.options)],))
        if not request.options:
            return plan
        # What the last line needs comes first: a job must find it.
        for before in (_stack(machine), *(mom_guard.guard(machine, home, name) for name in mom_guard.PROLOGUES)):
            plan = ChangeList((*before.changes, *plan.changes), (*before.present, *plan.present), plan.notes)
        require(machine, starter(mom_guard.NO_CHROOT))
        return plan if not plan.changes else replace(plan, notes=(*plan.notes, mom_guard.start_note()))

    def look(self, machine: Machine) -> ChangeList:
        return self.plan(machine, _as_it_is(machine, Request()))

    def remains(self, machine: Machine, request: Request) -> Sequence[str]:
        return self.plan(machine, _as_it_is(machine, request)).present

    def rehearse(self, machine: Machine, plan: ChangeList) -> Sequence[str]:
        # What is being changed now is wrong only until pbs_mom is started again.
        return () if plan.changes else [str(problem) for problem in job_starter_problems(machine)]

    def verify(self, machine: Machine, plan: ChangeList) -> None:
        for change in plan.changes:
            if os.path.basename(change.name) in mom_guard.PROLOGUES:
                mom_guard.require_safe(machine, change.name)

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


def _stack(machine: Machine) -> ChangeList:
    if files.read(machine, _STACK) is not None:
        return ChangeList(present=(_STACK,))
    require(machine, data("pam.d/jobstarter"))
    shipped = tuple((read_trusted(machine.root, data("pam.d/jobstarter"), machine.uids) or "").splitlines())
    return ChangeList((FileEdit(_STACK, None, append("", shipped), shipped),))


def _recorded_privileged(machine: Machine) -> bool:
    records = Records(machine, "torque").read()
    return any(isinstance(record, FileRecord) and _PRIVILEGED in record.lines for record in records)
