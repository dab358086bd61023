"""`chosctl install torque`: $job_starter in the configuration of pbs_mom."""

from __future__ import annotations

from collections.abc import Sequence

from chosns.install import starter
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.model import InstallError, Machine, Plan, Product, Request, Snippet

_HOMES = ("/var/spool/torque", "/var/lib/torque", "/opt/torque", "/var/torque")
_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install torque --undo"
_PRIVILEGED = "$job_starter_run_privileged true"


class Torque(Product):
    """Jobs of TORQUE."""

    name = "torque"
    accepts = frozenset({"options"})
    after = "now restart pbs_mom, with -p so that running jobs stay; do the same on every node"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [
            Snippet("$PBS_HOME/mom_priv/config, on every node; then restart pbs_mom -p", "\n".join(_lines(request)))
        ]

    def plan(self, machine: Machine, request: Request) -> Plan:
        require(machine, starter("torque/job_starter"))
        asked = request.config or machine.env.get("PBS_HOME", "")
        home = first(machine, "TORQUE", [f"{home}/mom_priv" for home in ([asked] if asked else _HOMES)], "PBS_HOME")
        return ensure(machine, f"{home}/config", [_COMMENT, *_lines(request)], r"\s*\$job_starter\s+(.*)")


def _lines(request: Request) -> list[str]:
    if set(request.options) - {"privileged"}:
        raise InstallError("has one option: privileged", object="torque")
    return [*([_PRIVILEGED] if request.options else []), f"$job_starter {starter('torque/job_starter')}"]
