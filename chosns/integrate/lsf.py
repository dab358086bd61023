"""`chosctl install lsf`: JOB_STARTER in every queue of lsb.queues, or in those that were named."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.ensure import first, require
from chosns.integrate.lines import insert
from chosns.integrate.lsb_queues import Queue, includes, queues
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine, Product, Request, Snippet
from chosns.lazydata import dataclass
from chosns.system.installed import starter

_CONF = (
    "/etc/lsf.conf",
    "/usr/share/lsf/conf/lsf.conf",
    "/opt/lsf/conf/lsf.conf",
    "/opt/ibm/lsf/conf/lsf.conf",
    "/opt/openlava*/etc/lsf.conf",
    "/opt/volclava*/etc/lsf.conf",
    "/usr/local/lsf/conf/lsf.conf",
)
# Below LSB_CONFDIR: LSF's layout, that of openlava, and what sites made of both.
_LAYOUTS = ("lsb.queues", "configdir/lsb.queues", "*/configdir/lsb.queues", "*/lsb.queues")
_COMMENT = "# CHOS: jobs run in their user's environment. chosctl install lsf --undo"
_WHAT = "LSB.QUEUES"


class Lsf(Product):
    """Jobs of LSF's queues."""

    name = "lsf"
    accepts = frozenset({"queues"})
    after = "now run: badmin ckconfig && badmin reconfig"

    def machine(self, machine: Machine, request: Request) -> Machine:
        """LSF's administrator owns its files, and is who owns lsb.queues."""
        return _trusting(machine, _queues_file(machine, request))

    def machine_of(self, machine: Machine, changed: Sequence[str]) -> Machine:
        """The same for the files that were changed, wherever lsf.conf is now, or if it is gone."""
        for name in changed:
            with contextlib.suppress(OSError):
                machine = _trusting(machine, name)
        return machine

    def snippets(self, request: Request) -> Sequence[Snippet]:
        where = f"queues {', '.join(request.queues)}" if request.queues else "each Begin Queue … End Queue"
        return [Snippet(f"lsb.queues, in {where}; then: badmin reconfig", _line())]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        require(machine, _program())
        path = _queues_file(machine, request)
        before = files.read(machine, path) or ""
        found = queues(before.splitlines(), path)
        known = [queue.name for queue in found]
        for name in request.queues:
            if name not in known:
                raise InstallError("no such queue", object=f"{path}: {name}", hint=f"there are: {', '.join(known)}")
        if not known:
            raise InstallError("has no queue", object=path, hint=f"say which file it is: --config {_WHAT}")
        edit, present = _edit(path, before, [queue for queue in found if queue.name in (request.queues or known)])
        return ChangeList((edit,) if edit.lines else (), present, tuple(_notes(machine, path, before)))

    def remains(self, machine: Machine, request: Request) -> Sequence[str]:
        """The line of the first release counts too: it is to be exchanged, but it is ours."""
        path = _queues_file(machine, request)
        found = queues((files.read(machine, path) or "").splitlines(), path)
        return [f"{path}:{queue.starter.first + 1} ({queue.name})" for queue in found if queue.starter and _ours(queue)]


def _edit(path: str, before: str, wanted: Sequence[Queue]) -> tuple[FileEdit, tuple[str, ...]]:
    """What it takes to have our line in these queues, and where it is already."""
    text = before
    added: list[str] = []
    gone: list[str] = []
    present: list[str] = []
    for queue in reversed(wanted):  # from the end, so that the numbers of the lines before stay right
        old = queue.starter
        if old is None:
            text = insert(text, queue.end, [_COMMENT, _line()])
            added += [_COMMENT, _line()]
        elif old.value == _value():
            present.insert(0, f"{path}:{old.first + 1} ({queue.name})")
        elif _ours(queue):
            own = text.splitlines(keepends=True)
            gone += [line.rstrip("\n") for line in own[old.first : old.end]]
            text = insert("".join(own[: old.first] + own[old.end :]), old.first, [_line()])
            added.append(_line())
        else:
            hint = "CHOS can be the only one, or call it, or be called by it: see docs/integrations"
            raise InstallError(f"is set already: {old.text}", object=f"{path}:{old.first + 1}", hint=hint)
    return FileEdit(path, before, text, tuple(added), tuple(gone)), tuple(present)


def _notes(machine: Machine, path: str, text: str) -> Iterator[str]:
    """Where else LSF may have starters from."""
    if other := ", ".join(includes(text.splitlines())):
        yield f"{path} includes {other}: queues there are not changed, see chosctl install lsf --print"
    profiles = f"{os.path.dirname(path)}/lsb.applications"
    with contextlib.suppress(InstallError):  # there is none, or it cannot be read
        for line in files.read_foreign(machine, profiles).splitlines():
            found = re.fullmatch(r"(?i)\s*job_starter\s*=\s*(.*?)\s*", line)
            if found and found[1] != _value():
                yield f"{profiles} has a JOB_STARTER, which LSF takes instead of the queue's: {found[1]}"


def _ours(queue: Queue) -> bool:
    """Ours: the line of now, and those of earlier releases and of pages that were copied by hand."""
    return queue.starter is not None and queue.starter.value in {_value(), *_earlier()}


def _program() -> str:
    return starter("lsf/job_starter")


def _value() -> str:
    # No %USRCMD: LSF puts the command line behind the text then, also when bmod -Z exchanges it. See the starter.
    return f'[ "$1" = chos-inside ] && shift || exec {_program()} --job-file "$0" || exit 125;'


def _earlier() -> list[str]:
    return [f'{_program()} "%USRCMD"', f"{_program()} %USRCMD", f"{_program()} '%USRCMD'", _program()]


def _line() -> str:
    return f"JOB_STARTER = {_value()}"


def _trusting(machine: Machine, path: str) -> Machine:
    return machine.trusting(os.stat(display_path(machine.root, path)).st_uid)


def _there(machine: Machine, patterns: Sequence[str]) -> list[str]:
    """The files that match, without the root in front, each once."""
    root = machine.root.rstrip("/")
    shown = [path for pattern in patterns for path in sorted(glob.glob(glob.escape(root) + pattern))]
    return list(dict.fromkeys(path[len(root) :] for path in shown if os.path.exists(path)))


@dataclass(frozen=True)
class _Place:
    """Where lsb.queues is said to be: a directory, and who says so."""

    directory: str
    said_by: str


def _queues_file(machine: Machine, request: Request) -> str:
    if request.config and not os.path.isdir(display_path(machine.root, request.config)):
        return first(machine, "LSF", [request.config], _WHAT)
    place = _place(machine, request.config)
    there = _there(machine, [f"{glob.escape(place.directory)}/{layout}" for layout in _LAYOUTS])
    if len(there) == 1:
        return there[0]
    hint = f"say which file it is: --config {_WHAT}"
    if there:
        hint = f"say which file it is, --config and one of: {' '.join(there)}"
    raise InstallError(f"leads to {len(there)} files lsb.queues", object=place.said_by, hint=hint)


def _place(machine: Machine, config: str) -> _Place:
    """LSB_CONFDIR of lsf.conf, or a directory without lsf.conf, which was named because lsb.queues is in it."""
    directory = config or machine.env.get("LSF_ENVDIR", "")
    looked = [f"{glob.escape(directory)}/lsf.conf"] if directory else list(_CONF)
    found = _there(machine, looked)
    if config and not found:
        return _Place(config, config)
    usual = [path for path in found if path in _CONF]
    if len(found) > 1 and not usual:
        hint = "say which one is in use: LSF_ENVDIR=DIRECTORY, or --config DIRECTORY"
        raise InstallError("there are several", object=", ".join(found), hint=hint)
    conf = first(machine, "LSF", usual[:1] or found or looked, _WHAT)
    text = files.read_foreign(machine, conf)
    for name in ("LSB_CONFDIR", "LSF_CONFDIR"):
        if values := re.findall(rf"(?m)^\s*{name}\s*=\s*[\"']?([^\s\"'#]+)", text):
            return _Place(values[-1].rstrip("/"), f"{conf}: {values[-1]}")
    raise InstallError("has no LSB_CONFDIR", object=conf, hint=f"say where the queues are: --config {_WHAT}")
