"""`chosctl install torque`: $job_starter in the configuration of pbs_mom; by way of PAM where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from chosns.config.trusted import read_trusted
from chosns.install import data, program
from chosns.integrate import files
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.lines import append
from chosns.integrate.model import FileEdit, InstallError, Machine, Plan, Product, Request, Snippet

_HOMES = ("/var/spool/torque", "/var/lib/torque", "/opt/torque", "/var/torque")
_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install torque --undo"
_STACK = "/etc/pam.d/jobstarter"


class Torque(Product):
    """Jobs of TORQUE."""

    name = "torque"
    accepts = frozenset({"options"})
    after = "now restart pbs_mom, with -p so that running jobs stay; do the same on every node"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        config = Snippet(
            "$PBS_HOME/mom_priv/config, on every node; then restart pbs_mom -p", "\n".join(_lines(request))
        )
        stack = Snippet(_STACK, f"a copy of {data('pam.d/jobstarter')}")
        return [stack, config] if request.options else [config]

    def plan(self, machine: Machine, request: Request) -> Plan:
        lines = _lines(request)
        require(machine, lines[-1].split()[1])
        asked = request.config or machine.env.get("PBS_HOME", "")
        home = first(machine, "TORQUE", [f"{home}/mom_priv" for home in ([asked] if asked else _HOMES)], "PBS_HOME")
        plan = ensure(machine, f"{home}/config", [_COMMENT, *lines], r"\s*\$job_starter\s+(.*)")
        if not request.options:
            return plan
        # The stack comes first: a job must find it.
        if files.read(machine, _STACK) is not None:
            return Plan(plan.changes, (_STACK, *plan.present))
        require(machine, data("pam.d/jobstarter"))
        shipped = tuple((read_trusted(machine.root, data("pam.d/jobstarter"), machine.uids) or "").splitlines())
        return Plan((FileEdit(_STACK, None, append("", shipped), shipped), *plan.changes), plan.present)


def _lines(request: Request) -> list[str]:
    if set(request.options) - {"privileged"}:
        raise InstallError("has one option: privileged", object="torque")
    if not request.options:
        return [f"$job_starter {program('chos-job-starter')}"]
    return ["$job_starter_run_privileged true", f"$job_starter {program('pam_job_starter')}"]
