"""`chosctl install openpbs`: a hook that the server hands to every node, by qmgr."""

from __future__ import annotations

import os
from collections.abc import Sequence

from chosns.config.trusted import display_path
from chosns.install import starter
from chosns.integrate.command import ask, attempt, find_also
from chosns.integrate.ensure import require
from chosns.integrate.model import InstallError, Machine, Plan, Product, Request, Setting, Snippet
from chosns.integrate.record import digest

_HOOK = "chos_launch"
_SETTING = f"hook {_HOOK}"
_EVENT = "execjob_launch"
_KIND = "application/x-python default"


class OpenPbs(Product):
    """Jobs of OpenPBS and PBS Professional."""

    name = "openpbs"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [Snippet("on the server's host, as root", "\n".join(f"qmgr -c '{line}'" for line in _commands()))]

    def plan(self, machine: Machine, request: Request) -> Plan:
        require(machine, _program())
        now, wanted = self.get(machine, _SETTING), _wanted(machine)
        if now == wanted:
            return Plan(present=(_SETTING,))
        if now:
            hint = f"chosctl install openpbs --undo; or: qmgr -c 'delete hook {_HOOK}'"
            raise InstallError(f"is there and is not this release's: {now}", object=_SETTING, hint=hint)
        return Plan((Setting(_SETTING, "", wanted),))

    def get(self, machine: Machine, name: str) -> str:
        """What the server says of the hook, and what its script is known by; empty where there is none."""
        qmgr = _qmgr(machine)
        status, said, errors = attempt([qmgr, "-c", f"list hook {_HOOK}"])
        if status != 0:
            if "unknown hook" in (said + errors).lower() or "hook does not exist" in (said + errors).lower():
                return ""
            hint = "run this on the server's host, as root"
            raise InstallError((errors.strip().splitlines() or [f"status {status}"])[-1], object="qmgr", hint=hint)
        settings = dict(line.strip().split(" = ", 1) for line in said.splitlines() if " = " in line)
        script = ask([qmgr, "-c", f"export hook {_HOOK} {_KIND}"])
        return _value(settings.get("event", "").strip('"'), settings.get("enabled", "").lower(), script)

    def put(self, machine: Machine, name: str, value: str) -> None:
        for line in _commands() if value else [f"delete hook {_HOOK}"]:
            ask([_qmgr(machine), "-c", line])


def _commands() -> list[str]:
    return [
        f"create hook {_HOOK} event={_EVENT}",
        f"import hook {_HOOK} {_KIND} {_program()}",
    ]


def _program() -> str:
    return starter("pbs/chos_launch.py")


def _wanted(machine: Machine) -> str:
    with open(display_path(machine.root, _program()), encoding="utf-8") as file:
        return _value(_EVENT, "true", file.read())


def _value(event: str, enabled: str, script: str) -> str:
    return f"event {event}, enabled {enabled}, script {digest(script.strip())[:16]}"


def _qmgr(machine: Machine) -> str:
    program = find_also(machine, "qmgr", [os.path.join(machine.env.get("PBS_EXEC", "/opt/pbs"), "bin")])
    if not program:
        hint = "looked in PATH and $PBS_EXEC/bin; run this on the server's host; --print shows the commands"
        raise InstallError("is not installed", object="qmgr", hint=hint)
    return program
