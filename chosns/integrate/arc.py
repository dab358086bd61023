"""`chosctl install arc`: A-REX knows our runtime environment, ENV/CHOS, and every job has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chosns.install import starter
from chosns.integrate import files
from chosns.integrate.command import ask, find
from chosns.integrate.ensure import Section, ensure, first, require
from chosns.integrate.model import Change, InstallError, Machine, Plan, Product, Request, Setting, Snippet

_CONF = "/etc/arc.conf"
_NAME = "ENV/CHOS"
_COMMENT = "# CHOS: where ENV/CHOS is. chosctl install arc --undo"
_VERBS = {"enabled": ("enable", "disable"), "default": ("default", "undefault")}


class Arc(Product):
    """Jobs of an ARC computing element."""

    name = "arc"
    after = "now restart A-REX: systemctl restart arc-arex"

    def machine(self, machine: Machine, request: Request) -> Machine:
        path = first(machine, "ARC", [request.config or machine.env.get("ARC_CONFIG") or _CONF], "ARC.CONF")
        return Machine(machine.root, machine.uids, {**machine.env, "ARC_CONFIG": path})

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [
            Snippet("/etc/arc.conf, section [arex]", _line()),
            Snippet(
                "afterwards; the second one gives it to every job",
                f"arcctl rte enable {_NAME}\narcctl rte default {_NAME}",
            ),
        ]

    def plan(self, machine: Machine, request: Request) -> Plan:
        require(machine, starter(f"arc/{_NAME}"))
        path = machine.env["ARC_CONFIG"]
        lines = (files.read(machine, path) or "").splitlines()
        if not list(_arex(lines)):
            raise InstallError("has no section [arex]", object=path, hint="A-REX is not configured on this node")
        there = [line for line in lines if line.replace(" ", "") == _line().replace(" ", "")]
        # There may be several of them: others' are no hindrance.
        plan = (
            Plan(present=(path,))
            if there
            else ensure(machine, path, [_COMMENT, _line()], f"({re.escape(_line())})", _arex)
        )
        changes: list[Change] = list(plan.changes)
        present = list(plan.present)
        for kind in _VERBS:
            if self.get(machine, kind) == "yes":
                present.append(f"{_NAME}: {kind}")
            else:
                changes.append(Setting(f"{_NAME}: {kind}", "no", "yes"))
        return Plan(tuple(changes), tuple(present))

    def get(self, machine: Machine, name: str) -> str:
        kind = name.rpartition(" ")[2]
        listed = ask([*_arcctl(machine), "rte", "list", f"--{kind}"])
        return "yes" if _NAME in (line.split(" ")[0].strip() for line in listed.splitlines()) else "no"

    def put(self, machine: Machine, name: str, value: str) -> None:
        verb = _VERBS[name.rpartition(" ")[2]][value != "yes"]
        ask([*_arcctl(machine), "rte", verb, _NAME])


def _line() -> str:
    return f"runtimedir = {starter('arc')}"


def _arex(lines: Sequence[str]) -> Iterator[Section]:
    """The section [arex]: just after its heading, so that what follows the last setting stays where it is."""
    for number, line in enumerate(lines):
        if line.strip() == "[arex]":
            yield Section("[arex]", number + 1, number + 1)


def _arcctl(machine: Machine) -> list[str]:
    program = find("arcctl")
    if not program:
        raise InstallError("is not installed", object="arcctl", hint="--print shows what to do")
    return [program, "-c", machine.env.get("ARC_CONFIG", _CONF)]
