"""`chosctl install htcondor`: USER_JOB_WRAPPER in a file of its own below config.d."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.command import attempt, find
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.model import ChangeList, InstallError, Machine, Product, Request, Snippet
from chosns.system.installed import starter

_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install htcondor --undo"
_KEY = r"(?i)\s*USER_JOB_WRAPPER\s*=\s*(.*)"
_FILE = "90-chos"
_LEFT_OUT = re.compile(r"\..*|#.*|.*~|.*\.(?:rpmsave|rpmnew|dpkg-\w+)")


class HtCondor(Product):
    """Jobs of HTCondor's execution points."""

    name = "htcondor"
    after = "now run: condor_reconfig; do the same on every node"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [Snippet(f"/etc/condor/config.d/{_FILE}, on every node; then: condor_reconfig", _line())]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, starter("htcondor/job_wrapper"))
        directory = request.config or _directory(machine)
        path = f"{directory}/{_FILE}"
        for name in files.listing(machine, directory):
            if (
                name == _FILE
                or _LEFT_OUT.fullmatch(name)
                or os.path.isdir(display_path(machine.root, f"{directory}/{name}"))
            ):
                continue
            for number, line in enumerate((files.read(machine, f"{directory}/{name}") or "").splitlines(), 1):
                if re.fullmatch(_KEY, line):
                    hint = "only one wrapper is run: have one call the other, or take that line out"
                    raise InstallError(
                        f"is set already: {line.strip()}", object=f"{directory}/{name}:{number}", hint=hint
                    )
        return ensure(machine, path, [_COMMENT, _line()], _KEY)


def _line() -> str:
    return f"USER_JOB_WRAPPER = {starter('htcondor/job_wrapper')}"


def _directory(machine: Machine) -> str:
    """Where HTCondor looks for configuration: as it says itself, or the usual place."""
    if program := find("condor_config_val"):
        status, output, _ = attempt([program, "LOCAL_CONFIG_DIR"])
        if status == 0 and output.startswith("/"):
            return output.split(",")[0].strip()
    return first(machine, "HTCondor", ["/etc/condor/config.d"], "CONFIG.D")
