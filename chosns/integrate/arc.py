"""`chosctl install arc`: A-REX knows our runtime environment, ENV/CHOS, and every job has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chosns.integrate import files
from chosns.integrate.command import ask, find
from chosns.integrate.ensure import Block, ensure, first, require
from chosns.integrate.model import ChangeList, InstallError, Machine, Product, Request, Setting, Snippet
from chosns.system.installed import starter

_CONF = "/etc/arc.conf"
_NAME = "ENV/CHOS"
_COMMENT = "# CHOS: where ENV/CHOS is. chosctl install arc --undo"
_DEFAULT, _YES = f"arcctl rte default {_NAME}", "yes"


class Arc(Product):
    """Jobs of an ARC computing element."""

    name = "arc"

    def machine(self, machine: Machine, request: Request) -> Machine:
        path = first(machine, "ARC", [request.config or machine.env.get("ARC_CONFIG") or _CONF], "ARC.CONF")
        return Machine(machine.root, machine.uids, {**machine.env, "ARC_CONFIG": path})

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [
            Snippet("/etc/arc.conf, section [arex]", _line()),
            Snippet("afterwards, so that every job has it", _DEFAULT),
        ]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, starter(f"arc/{_NAME}"))
        path = machine.env["ARC_CONFIG"]
        lines = (files.read(machine, path) or "").splitlines()
        if not list(_arex(lines)):
            raise InstallError("has no section [arex]", object=path, hint="A-REX is not configured on this node")
        ours = _line().replace(" ", "")
        there = [f"{path}:{number}" for number, line in enumerate(lines, 1) if line.replace(" ", "") == ours]
        # There may be several of them: others' are no hindrance.
        plan = (
            ChangeList(present=(there[-1],))
            if there
            else ensure(machine, path, [_COMMENT, _line()], f"({re.escape(_line())})", _arex)
        )
        if self.get(machine, _DEFAULT) == _YES:
            return ChangeList(plan.changes, (*plan.present, _DEFAULT))
        return ChangeList((*plan.changes, Setting(_DEFAULT, "", _YES)), plan.present)

    def get(self, machine: Machine, name: str) -> str:
        listed = ask([*_arcctl(machine), "rte", "list", "--default"])
        return _YES if _NAME in (line.split(" ")[0].strip() for line in listed.splitlines()) else ""

    def put(self, machine: Machine, name: str, value: str) -> None:
        ask([*_arcctl(machine), "rte", "default" if value else "undefault", _NAME])


def _line() -> str:
    return f"runtimedir = {starter('arc')}"


def _arex(lines: Sequence[str]) -> Iterator[Block]:
    """The section [arex]: just after its heading, so that what follows the last setting stays where it is."""
    for number, line in enumerate(lines):
        if line.strip() == "[arex]":
            yield Block("[arex]", number + 1, number + 1)


def _arcctl(machine: Machine) -> list[str]:
    program = find("arcctl")
    if not program:
        raise InstallError("is not installed", object="arcctl", hint="--print shows what to do")
    return [program, "-c", machine.env.get("ARC_CONFIG", _CONF)]
