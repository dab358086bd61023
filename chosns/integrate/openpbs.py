"""`chosctl install openpbs`: a hook that the server hands to every node, by qmgr."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.command import attempt, find_also
from chosns.integrate.ensure import require
from chosns.integrate.model import ChangeList, InstallError, Machine, Product, Request, Setting, Snippet
from chosns.integrate.record import digest
from chosns.system.installed import starter
from chosns.system.paths import is_below

_HOOK = "chos_launch"
_SETTING = f"hook {_HOOK}"
_EVENT = "execjob_launch"
_KIND = "application/x-python default"
_NONE = "none"
_CONF = "/etc/pbs.conf"
_PASSED = ("PBS_CONF_FILE", "PBS_EXEC", "PBS_HOME", "PBS_SERVER")
# What the server says of a hook that is not there: "list", other commands, older releases.
_ABSENT = re.compile(r"hook not found|does not exist|unknown hook", re.IGNORECASE)
# It exports a file that "import" makes. Refusals (Unauthorized Request) and a server that does not answer say neither.
_NO_SCRIPT = re.compile(r"no such file|hook error returned", re.IGNORECASE)


class OpenPbs(Product):
    """Jobs of OpenPBS and PBS Professional."""

    name = "openpbs"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [Snippet("on the server's host, as root", "\n".join(f"qmgr -c '{line}'" for line in _commands()))]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, _program())
        now, wanted = self.get(machine, _SETTING), _wanted(machine)
        notes = _notes(machine)
        if now == wanted:
            return ChangeList(present=(_SETTING,), notes=notes)
        if now and not self.unfinished(_SETTING, now):
            hint = f"chosctl install openpbs --undo; or: qmgr -c 'delete hook {_HOOK}'"
            raise InstallError(f"is there and is not this release's: {now}", object=_SETTING, hint=hint)
        return ChangeList((Setting(_SETTING, now, wanted),), notes=notes)

    def get(self, machine: Machine, name: str) -> str:
        """What the server says of the hook, and what its script is known by; empty where there is none."""
        status, said, errors = _ask_qmgr(machine, f"list hook {_HOOK}")
        if status != 0:
            if _ABSENT.search(said + errors):
                return ""
            hint = "run this on the server's host, as root"
            raise InstallError((errors.strip().splitlines() or [f"status {status}"])[-1], object="qmgr", hint=hint)
        settings = dict(line.strip().split(" = ", 1) for line in said.splitlines() if " = " in line)
        status, script, errors = _ask_qmgr(machine, f"export hook {_HOOK} {_KIND}")
        if status != 0 and not _NO_SCRIPT.search(errors):
            raise InstallError((errors.strip().splitlines() or [f"status {status}"])[-1], object="qmgr")
        script = script if status == 0 else ""
        return _value(settings.get("event", "").strip('"'), settings.get("enabled", "").lower(), script)

    def put(self, machine: Machine, name: str, value: str) -> None:
        now = self.get(machine, name)
        if not value or self.unfinished(name, value):
            lines = [f"delete hook {_HOOK}"] if now else []
        else:
            first = f"set hook {_HOOK} event={_EVENT},enabled=true" if now else _commands()[0]
            lines = [first, *_commands()[1:]]
        for line in lines:
            _run_qmgr(machine, line)

    def unfinished(self, name: str, value: str) -> bool:
        """A hook without a script, which runs nothing: its creation was interrupted before the import."""
        return value.endswith(f"script {_NONE}")


def _run_qmgr(machine: Machine, line: str) -> None:
    status, said, errors = _ask_qmgr(machine, line)
    if status == 0:
        return
    lines = (errors or said).strip().splitlines() or [f"ended with status {status}"]
    waits = "pending delete" in errors
    hint = "the server removes the hook once every node has said that it did: try again then" if waits else ""
    told = next((one for one in lines if one.startswith("qmgr obj=")), lines[-1])
    raise InstallError(told, object=f"qmgr -c '{line}'", hint=hint)


def _ask_qmgr(machine: Machine, line: str) -> tuple[int, str, str]:
    """Exit status, output and errors. What tells PBS's commands where they belong is passed on."""
    env = {name: machine.env[name] for name in _PASSED if name in machine.env}
    return attempt([_qmgr(machine), "-c", line], env)


def _notes(machine: Machine) -> tuple[str, ...]:
    """Jobs read their script below PBS_HOME, inside."""
    home = _configured(machine).get("PBS_HOME", "/var/spool/pbs")
    if is_below(home, "/var/spool"):
        return ()
    return (f"PBS_HOME is {home}: jobs need it inside as well; name it in a bind map, if none has it (bindmap(5))",)


def _configured(machine: Machine) -> dict[str, str]:
    """What /etc/pbs.conf, or the file that $PBS_CONF_FILE names, says; the environment counts first, as for PBS."""
    path = machine.env.get("PBS_CONF_FILE", _CONF)
    found: dict[str, str] = {}
    if os.path.exists(display_path(machine.root, path)):
        for line in files.read_foreign(machine, path).splitlines():
            key, equals, value = line.partition("=")
            if equals and not key.lstrip().startswith("#"):
                found[key.strip()] = value.strip().strip("\"'")
    return {**found, **{name: machine.env[name] for name in ("PBS_EXEC", "PBS_HOME") if machine.env.get(name)}}


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
    known = digest(script.strip())[:16] if script.strip() else _NONE
    return f"event {event}, enabled {enabled}, script {known}"


def _qmgr(machine: Machine) -> str:
    place = _configured(machine).get("PBS_EXEC", "/opt/pbs")
    program = find_also(machine, "qmgr", [os.path.join(place, "bin")])
    if not program:
        hint = f"looked in PATH and {place}/bin; run this on the server's host; --print shows the commands"
        raise InstallError("is not installed", object="qmgr", hint=hint)
    return program
