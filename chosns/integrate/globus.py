"""`chosctl install globus`: GRAM5's job managers use an adapter of ours, which calls the one that they used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.ensure import first, require
from chosns.integrate.lines import append
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine, Product, Request, Snippet
from chosns.system.installed import starter

_PLACES = ("/usr/share/perl5", "/usr/share/perl5/vendor_perl", "/usr/local/share/perl5")
_RULES = "/usr/share/globus/globus_gram_job_manager"  # what a job may ask of a batch system
_SERVICES = "/etc/grid-services"
_TYPE = re.compile(r"((?!\s*#).*\bglobus-job-manager\b.*\s-type\s+)(\w+)(.*)")


class Globus(Product):
    """Jobs that come through a gatekeeper."""

    name = "globus"
    accepts = frozenset({"services"})
    parted = True
    after = "users' job managers that run already go on as they were until they have ended"
    after_undo = "users' job managers that run already go on with it until they have ended"

    def part(self, name: str) -> str:
        return os.path.basename(name)

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return [
            Snippet("Globus/GRAM/JobManager/chos_LRM.pm, beside LRM.pm (fork, sge, …)", "\n".join(_adapter("LRM"))),
            Snippet(f"{_RULES}/chos_LRM.rvf", "a copy of LRM.rvf, where there is one"),
            Snippet("the line of each job manager below /etc/grid-services", "… -type chos_LRM"),
        ]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, starter("globus/chos.pm"))
        services = request.config or _SERVICES
        first(machine, "Globus GRAM5", [services], "GRID-SERVICES")
        candidates = [f"{place}/Globus/GRAM/JobManager" for place in _PLACES]
        adapters = first(machine, "Globus GRAM5", candidates, "GRID-SERVICES")
        changes: dict[str, FileEdit] = {}
        present = []
        for path in _files(machine, services, request.services):
            text = files.read(machine, path) or ""
            for number, line in enumerate(text.splitlines(), 1):
                found = _TYPE.fullmatch(line)
                if not found:
                    continue
                if found[2].startswith("chos_"):
                    present.append(f"{path}:{number}")
                    continue
                if not os.path.exists(display_path(machine.root, f"{adapters}/{found[2]}.pm")):
                    raise InstallError(f"has no adapter in {adapters}", object=f"{path}: -type {found[2]}")
                changes.update({new.path: new for new in _new_files(machine, adapters, found[2])})
                ours = f"{found[1]}chos_{found[2]}{found[3]}"
                after = "".join(f"{ours}\n" if own.rstrip("\n") == line else own for own in text.splitlines(True))
                changes[path] = FileEdit(path, text, after, (ours,), (line,))
        if not changes and not present:
            hint = "add one first, such as globus-gram-job-manager-fork-setup-poll; or say where they are: --config"
            raise InstallError("has no job manager", object=services, hint=hint)
        # New files come first: a job manager must find its adapter.
        order = sorted(changes.values(), key=lambda change: change.before is not None)
        return ChangeList(tuple(order), tuple(present))


def _adapter(lrm: str) -> tuple[str, ...]:
    return f"require '{starter('globus/chos.pm')}';", f"Globus::GRAM::CHOS::adapt('{lrm}');"


def _new_files(machine: Machine, adapters: str, lrm: str) -> Iterator[FileEdit]:
    """What comes beside Globus's own files: our adapter, and a copy of the rules for jobs."""
    rules = files.read(machine, f"{_RULES}/{lrm}.rvf") or ""
    wanted = {f"{adapters}/chos_{lrm}.pm": _adapter(lrm), f"{_RULES}/chos_{lrm}.rvf": tuple(rules.splitlines())}
    for path, lines in wanted.items():
        if lines and files.read(machine, path) is None:
            yield FileEdit(path, None, append("", lines), lines)


def _files(machine: Machine, services: str, wanted: Sequence[str]) -> list[str]:
    """Files that define services: the ones in `available`, and those that are no links to them."""
    found = []
    for directory in (f"{services}/available", services):
        for name in files.listing(machine, directory):
            path = f"{directory}/{name}"
            shown = display_path(machine.root, path)
            if os.path.isfile(shown) and not os.path.islink(shown) and (not wanted or name in wanted):
                found.append(path)
    if missing := set(wanted) - {os.path.basename(path) for path in found}:
        raise InstallError("no such service", object=f"{services}: {min(missing)}")
    return found
