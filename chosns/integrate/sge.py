"""`chosctl install sge`: the starter_method of queues, and CHOS among the variables that every job takes along."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.command import ask, find_also
from chosns.integrate.ensure import first, require
from chosns.integrate.lines import append
from chosns.integrate.model import (
    Change,
    ChangeList,
    FileEdit,
    InstallError,
    Machine,
    Product,
    Request,
    Setting,
    Snippet,
)
from chosns.system.installed import starter

_ROOTS = ("/var/lib/gridengine", "/opt/sge", "/opt/gridengine", "/usr/share/gridengine", "/opt/uge", "/usr/local/sge")
_COMMENT = "# CHOS: jobs take their environment along. chosctl install sge --undo"
_TAKES_ALONG = re.compile(r"(?m)^[^#\n]*(?:(?<!\S)-V(?!\S)|(?<!\S)-v\s+(?:\S*,)?CHOS(?:[,\s]|$))")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "armv7l": "armhf"}
_STARTER = "starter_method of queue "


class GridEngine(Product):
    """Batch, array and parallel jobs of SGE, its forks and UGE."""

    name = "sge"
    accepts = frozenset({"queues"})
    parted = True

    def part(self, name: str) -> str:
        return name[len(_STARTER) :] if name.startswith(_STARTER) else ""

    def machine(self, machine: Machine, request: Request) -> Machine:
        """Where the cell is; Grid Engine's administrator owns its files, and is who owns `bootstrap`."""
        cell = machine.env.get("SGE_CELL") or "default"
        asked = request.config or machine.env.get("SGE_ROOT", "")
        places = [f"{root}/{cell}/common/bootstrap" for root in ([asked] if asked else _ROOTS)]
        found = first(machine, "Grid Engine", places, "SGE_ROOT")
        owner = os.stat(display_path(machine.root, found)).st_uid
        root = found[: -len(f"/{cell}/common/bootstrap")]
        return replace(machine.trusting(owner), env={**machine.env, "SGE_ROOT": root, "SGE_CELL": cell})

    def snippets(self, request: Request) -> Sequence[Snippet]:
        queues = request.queues or ("QUEUE",)
        commands = "\n".join(f"qconf -mattr queue starter_method {_program()} {queue}" for queue in queues)
        return [
            Snippet("on an administrative host, for each queue", commands),
            Snippet("$SGE_ROOT/$SGE_CELL/common/sge_request", "-v CHOS"),
        ]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, _program())
        changes: list[Change] = []
        present = []
        known = self._qconf(machine, "-sql").split()
        for queue in request.queues or known:
            if queue not in known:
                raise InstallError("no such queue", object=queue, hint=f"there are: {', '.join(known)}")
            value = self.get(machine, _STARTER + queue)
            if value == _program():
                present.append(f"queue {queue}")
            elif value != "NONE":
                hint = (
                    f"name the queues that shall have ours: --queue; or have {_program()} call yours, or yours call it"
                )
                raise InstallError(f"has a starter_method already: {value}", object=f"queue {queue}", hint=hint)
            else:
                changes.append(Setting(_STARTER + queue, value, _program()))
        path = f"{machine.env['SGE_ROOT']}/{machine.env['SGE_CELL']}/common/sge_request"
        text = files.read(machine, path)
        if _TAKES_ALONG.search(text or ""):
            present.append(path)
        else:
            lines = (_COMMENT, "-v CHOS")
            changes.append(FileEdit(path, text, append(text, lines), lines))
        return ChangeList(tuple(changes), tuple(present))

    def get(self, machine: Machine, name: str) -> str:
        text = self._qconf(machine, "-sq", name[len(_STARTER) :])
        found = re.search(r"(?m)^starter_method\s+(.*?)\s*$", text)
        if not found:
            raise InstallError("is not shown by qconf -sq", object=name)
        return found[1]

    def put(self, machine: Machine, name: str, value: str) -> None:
        self._qconf(machine, "-mattr", "queue", "starter_method", value, name[len(_STARTER) :])

    def _qconf(self, machine: Machine, *words: str) -> str:
        root = machine.env["SGE_ROOT"]
        qconf = find_also(machine, "qconf", _binaries(machine, root))
        if not qconf:
            hint = (
                f"looked in PATH and {root}/bin for {os.uname().machine}; run this on an administrative host;\n"
                "--print shows the commands"
            )
            raise InstallError("is not installed", object="qconf", hint=hint)
        return ask([qconf, *words], {"SGE_ROOT": root, "SGE_CELL": machine.env["SGE_CELL"], "SGE_SINGLE_LINE": "1"})


def _binaries(machine: Machine, root: str) -> list[str]:
    """Where the programs for this machine are: lx-amd64, lx26-amd64 and the like, as util/arch calls them."""
    own = os.uname().machine
    ours = re.compile(rf"u?lx\d*-(?:{own}|{_ARCHITECTURES.get(own, own)})")
    try:
        names = os.listdir(display_path(machine.root, f"{root}/bin"))
    except OSError:
        return []
    return [f"{root}/bin/{name}" for name in sorted(names) if ours.fullmatch(name)]


def _program() -> str:
    return starter("sge/starter_method")
