"""`chosctl install lsf`: JOB_STARTER in every queue of lsb.queues, or in those that were named."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from chosns.config.trusted import display_path
from chosns.install import starter
from chosns.integrate import files
from chosns.integrate.ensure import Section, ensure, first, require
from chosns.integrate.model import InstallError, Machine, Plan, Product, Request, Snippet

_CONF = ("/etc/lsf.conf", "/usr/share/lsf/conf/lsf.conf", "/opt/lsf/conf/lsf.conf", "/opt/ibm/lsf/conf/lsf.conf")
_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install lsf --undo"
_BEGIN, _END = re.compile(r"(?i)\s*begin\s+queue\b.*"), re.compile(r"(?i)\s*end\s+queue\b.*")
_NAME = re.compile(r"\s*QUEUE_NAME\s*=\s*(\S+).*")


class Lsf(Product):
    """Jobs of LSF's queues."""

    name = "lsf"
    accepts = frozenset({"queues"})
    after = "now run: badmin ckconfig && badmin reconfig"

    def machine(self, machine: Machine, request: Request) -> Machine:
        """LSF's administrator owns its files, and is who owns lsb.queues."""
        return machine.trusting(os.stat(display_path(machine.root, _queues_file(machine, request))).st_uid)

    def snippets(self, request: Request) -> Sequence[Snippet]:
        where = f"queues {', '.join(request.queues)}" if request.queues else "each Begin Queue … End Queue"
        return [Snippet(f"lsb.queues, in {where}; then: badmin reconfig", _line())]

    def plan(self, machine: Machine, request: Request) -> Plan:
        require(machine, _program())
        path = _queues_file(machine, request)
        known = [section.name for section in queues((files.read(machine, path) or "").splitlines())]
        for queue in request.queues or known[:0]:
            if queue not in known:
                raise InstallError("no such queue", object=f"{path}: {queue}", hint=f"there are: {', '.join(known)}")
        if not known:
            raise InstallError("has no queue", object=path, hint="say which file it is: --config LSB.QUEUES")

        def wanted(lines: Sequence[str]) -> Iterator[Section]:
            return (section for section in queues(lines) if section.name in (request.queues or known))

        return ensure(machine, path, [_COMMENT, _line()], r"\s*JOB_STARTER\s*=\s*(.*)", wanted)


def queues(lines: Sequence[str]) -> Iterator[Section]:
    """The queues of lsb.queues."""
    begun, name = 0, ""
    for number, line in enumerate(lines):
        if _BEGIN.fullmatch(line):
            begun, name = number + 1, ""
        elif begun and (found := _NAME.fullmatch(line)):
            name = found[1]
        elif begun and _END.fullmatch(line):
            yield Section(name, begun, number)
            begun = 0


def _program() -> str:
    return starter("lsf/job_starter")


def _line() -> str:
    return f'JOB_STARTER = {_program()} "%USRCMD"'


def _queues_file(machine: Machine, request: Request) -> str:
    if request.config and not os.path.isdir(display_path(machine.root, request.config)):
        return first(machine, "LSF", [request.config], "LSB.QUEUES")
    directory = request.config or machine.env.get("LSF_ENVDIR", "")
    conf = first(machine, "LSF", [f"{directory}/lsf.conf"] if directory else _CONF, "LSB.QUEUES")
    found = re.findall(r"(?m)^\s*LSB_CONFDIR\s*=\s*\"?([^\s\"]+)", files.read_foreign(machine, conf))
    if not found:
        raise InstallError("has no LSB_CONFDIR", object=conf, hint="say where the queues are: --config LSB.QUEUES")
    there = sorted(glob.glob(display_path(machine.root, f"{found[-1]}/*/configdir/lsb.queues")))
    if len(there) != 1:
        hint = "say which file it is: --config LSB.QUEUES"
        raise InstallError(f"leads to {len(there)} files lsb.queues", object=f"{conf}: {found[-1]}", hint=hint)
    return there[0][len(machine.root.rstrip("/")) :]
