"""`chosctl install slurm`: the plugin in plugstack.conf, tried by srun with a private copy before it is there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from chosns.config.trusted import display_path
from chosns.integrate import files, words
from chosns.integrate.command import attempt, find
from chosns.integrate.ensure import ensure, first, require
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine, Product, Request, Snippet
from chosns.integrate.scratch import scratch
from chosns.system.installed import library

_CONF = (
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/usr/local/etc/slurm.conf",
    "/opt/slurm/etc/slurm.conf",
)
_CACHE = "/run/slurm/conf/slurm.conf"  # of a node that asks its controller for the configuration
_COMMENT = "# CHOS: tasks run in their user's environment. chosctl install slurm --undo"
_KEY = r"\s*(?:required|optional)\s+(\S*spank_chos\.so.*)"
_OPTION = "--chos="
_STACK = re.compile(r"(?im)^\s*PlugStackConfig\s*=\s*(\S+)")
_INCLUDE = re.compile(r"(?m)^\s*include\s+(\S+)", re.IGNORECASE)


class Slurm(Product):
    """Tasks of srun, sbatch and salloc."""

    name = "slurm"
    accepts = frozenset({"options"})
    after = "jobs that are submitted from now on have it; do the same on every node, also where users log in"
    after_undo = "jobs that are submitted from now on do without; do the same on every node, also where users log in"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [Snippet("plugstack.conf, beside slurm.conf, on every node, also where users log in", _line(request))]

    def machine(self, machine: Machine, request: Request) -> Machine:
        return replace(machine, env={**machine.env, "SLURM_CONF": _configuration(machine, request)})

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, f"{library()}/spank_chos.so", "chos-slurm")
        path = _plugstack(machine, machine.env["SLURM_CONF"])
        text = files.read(machine, path) or ""
        line = _line(request)
        for file in [*_included(machine, path, text), path]:
            for number, other in enumerate((files.read(machine, file) or "").splitlines(), 1):
                found = re.fullmatch(_KEY, other)
                if found and found[1].split()[0] == line.split()[1]:
                    words.require_same(request.options, found[1].split()[1:], f"{file}:{number}", self.name)
                    return ChangeList(present=(f"{file}:{number}",))
                if found:
                    hint = "two of them would both move the task: take that line out, or leave it as it is"
                    raise InstallError(f"is set already: {other.strip()}", object=f"{file}:{number}", hint=hint)
        drop_in = re.search(r"(?m)^\s*include\s+(/\S+)/\*\.conf\s*$", text)
        if drop_in and os.path.isdir(display_path(machine.root, drop_in[1])):
            path = f"{drop_in[1]}/chos.conf"
        return ensure(machine, path, [_COMMENT, line], _KEY)

    def rehearse(self, machine: Machine, plan: ChangeList) -> Sequence[str]:
        srun = find("srun")
        edits = [change for change in plan.changes if isinstance(change, FileEdit)]
        if not edits:
            return ()
        if not srun:
            return ("srun is not here, so the plugin was not tried",)
        with scratch(machine) as directory:
            stack, conf = f"{directory}/plugstack.conf", f"{directory}/slurm.conf"
            with open(stack, "w", encoding="utf-8") as file:
                file.write(edits[0].lines[-1] + "\n")
            with open(conf, "w", encoding="utf-8") as file:
                # Enough of a configuration for options to be shown; nothing is contacted for that.
                file.write(f"ClusterName=trial\nSlurmctldHost=localhost\nPlugStackConfig={stack}\n")
            status, output, errors = attempt([srun, "--help"], {"SLURM_CONF": conf})
        if _OPTION not in output:
            said = (errors.strip().splitlines() or [f"srun --help shows no {_OPTION}, status {status}"])[-1]
            hint = "was it built for another release of Slurm? nothing was changed"
            raise InstallError(f"does not work: {said}", object=edits[0].lines[-1].split()[1], hint=hint)
        return ()

    def verify(self, machine: Machine, plan: ChangeList) -> None:
        """srun finds it by way of the site's own slurm.conf."""
        if srun := find("srun"):
            conf = machine.env["SLURM_CONF"]
            _, output, errors = attempt([srun, "--help"], {"SLURM_CONF": display_path(machine.root, conf)})
            if _OPTION not in output:
                said = (errors.strip().splitlines() or ["does it name another plugstack.conf?"])[-1]
                raise InstallError(f"srun --help shows no {_OPTION}: {said}", object=conf, hint="nothing was changed")


def _line(request: Request) -> str:
    words.check(request.options, words.SLURM, "spank_chos(8)")
    return " ".join([f"required {library()}/spank_chos.so", *request.options])


def _configuration(machine: Machine, request: Request) -> str:
    asked = request.config or machine.env.get("SLURM_CONF", "")
    if os.path.isdir(display_path(machine.root, asked)):
        asked = os.path.join(asked, "slurm.conf") if asked else ""
    path = first(machine, "Slurm", [asked] if asked else [*_CONF, _CACHE], "SLURM.CONF")
    if path == _CACHE:
        hint = "change plugstack.conf on the controller: --print shows the line"
        raise InstallError("is a copy of the controller's configuration", object=path, hint=hint)
    return path


def _plugstack(machine: Machine, conf: str) -> str:
    """The file that slurm.conf names, or the one beside it."""
    found = _STACK.findall(files.read_foreign(machine, conf))
    return os.path.join(os.path.dirname(conf), found[-1] if found else "plugstack.conf")


def _included(machine: Machine, path: str, text: str) -> list[str]:
    """Further files of a plugstack.conf."""
    found = []
    for pattern in _INCLUDE.findall(text):
        found += sorted(glob.glob(display_path(machine.root, os.path.join(os.path.dirname(path), pattern))))
    return [included[len(machine.root.rstrip("/")) :] for included in found]
