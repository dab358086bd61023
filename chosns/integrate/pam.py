"""`chosctl install pam`: the module as the last session line of services in /etc/pam.d.

Never edits what services share (common-session, system-auth): tools rewrite these files, and systemd-user and display
managers read them too. Nothing is written before libpam has opened a session of root's with the new stacks.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from chosns.config.trusted import display_path
from chosns.errors import ChosError
from chosns.install import library
from chosns.integrate import files, words
from chosns.integrate.lines import append
from chosns.integrate.model import FileEdit, InstallError, Machine, Plan, Product, Request, Snippet
from chosns.integrate.pam_stack import Line, includes, session_lines
from chosns.integrate.pam_trial import copy_of, try_module, try_stack

MODULE = "pam_chos.so"
SERVICES = ("sshd", "su", "su-l", "runuser", "runuser-l", "sudo", "sudo-i", "login", "cron", "crond", "atd")
_CONTROL = "[success=ok new_authtok_reqd=ok ignore=ignore module_unknown=ignore default=bad]"
_COMMENT = "# CHOS: sessions begin in their user's environment. chosctl install pam --undo"
_SHARED = (
    "common-",
    "system-",
    "password-auth",
    "postlogin",
    "fingerprint-auth",
    "smartcard-auth",
    "systemd-user",
    "other",
)
_LONGEST = 1 << 20
_DIRECTORIES = ("/lib/*/security", "/usr/lib/*/security", "/lib64/security", "/usr/lib64/security", "/lib/security")


class Pam(Product):
    """Logins."""

    name = "pam"
    accepts = frozenset({"services", "options"})
    parted = True

    def part(self, name: str) -> str:
        return os.path.basename(name)

    def snippets(self, request: Request) -> Sequence[Snippet]:
        where = ", ".join(request.services or SERVICES)
        note = "" if request.services else ": those that there are, and none that includes another of them"
        return [Snippet(f"last session line of /etc/pam.d/{where}{note}", _line(MODULE, request))]

    def plan(self, machine: Machine, request: Request) -> Plan:
        directory = request.config or "/etc/pam.d"
        known = files.listing(machine, directory)
        if not known:
            hint = "say where the stacks are: --config DIRECTORY"
            raise InstallError("no PAM stacks here", object=display_path(machine.root, directory), hint=hint)
        for service in request.services:
            _require_own(service, directory, known)
        texts: dict[str, str | None] = {}

        def read(service: str) -> str | None:
            """A stack as it will be."""
            if service not in texts:
                texts[service] = _text(machine, directory, service)
            return texts[service]

        wanted = request.services or [service for service in SERVICES if service in known]
        # What others include comes first, so that those get no line of their own.
        order = sorted(dict.fromkeys(wanted), key=lambda service: len(includes(service, read) & set(wanted)))
        line = _line(_module(machine), request)
        changes: list[FileEdit] = []
        present, notes = [], []
        for service in order:
            path = os.path.join(directory, service)
            if there := _find(service, read):
                place = f"{os.path.join(directory, there.file)}:{there.number}"
                words.require_same(request.options, there.options, place, self.name)
                if any(change.name == os.path.join(directory, there.file) for change in changes):
                    notes.append(f"{path}: served by {place}")
                else:
                    present.append(place if there.file == service else f"{path} (by {place})")
                continue
            before = files.read(machine, path)
            after = append(before, [_COMMENT, line])
            texts[service] = after
            if not _find(service, read):
                hint = "its last line ends in a backslash: mend that"
                raise InstallError("the new line would not be read", object=path, hint=hint)
            early = [at for at in session_lines(service, read) if at.ends_early and at.file == service]
            notes += [
                f"{path}:{at.number}: {at.control} may skip the module" for at in early[:1] if at.module != MODULE
            ]
            changes.append(FileEdit(path, before, after, (_COMMENT, line)))
        return Plan(tuple(changes), tuple(present), tuple(notes))

    def rehearse(self, machine: Machine, plan: Plan) -> Sequence[str]:
        edits = [change for change in plan.changes if isinstance(change, FileEdit)]
        if not edits:
            return ()
        module, *options = edits[0].lines[-1].replace(_CONTROL, "").split()[1:]
        try_module(machine, module, " ".join(options))
        directory = os.path.dirname(edits[0].path)
        stacks = {os.path.basename(edit.path): edit.after or "" for edit in edits}
        with copy_of(machine, directory, {}) as old, copy_of(machine, directory, stacks) as new:
            return [note for service in stacks if (note := try_stack(service, old, new))]


def _line(module: str, request: Request) -> str:
    words.check(request.options, words.PAM, "pam_chos(8)")
    return " ".join([f"-session {_CONTROL} {module}", *request.options])


def _text(machine: Machine, directory: str, service: str) -> str | None:
    """A stack that is only read: a link of authselect's is as good as a file, an unsafe one not ours to judge."""
    path = display_path(machine.root, os.path.join(directory, service))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_LONGEST)


def _find(service: str, read: object) -> Line | None:
    """The module's line in a stack."""
    assert callable(read)
    return next((line for line in session_lines(service, read) if os.path.basename(line.module) == MODULE), None)


def _require_own(service: str, directory: str, known: Sequence[str]) -> None:
    path = os.path.join(directory, service)
    if service.startswith(_SHARED) or "/" in service:
        hint = f"name the services themselves: --service sshd; the usual ones are {', '.join(SERVICES)}"
        raise InstallError("is shared by services, and is not changed", object=path, hint=hint)
    if service == "slurm":
        hint = "chosctl install slurm"
        raise InstallError("the module steps aside in Slurm, which has a plugin of its own", object=path, hint=hint)
    if service not in known:
        raise InstallError("no such service", object=path, hint=f"there are: {', '.join(known)}")


def _module(machine: Machine) -> str:
    """What libpam has to be told to load: a name in its own directory, else a path."""
    own = os.path.dirname(os.path.dirname(library()))
    places = [(MODULE, pattern) for pattern in _DIRECTORIES]
    places += [("", os.path.join(own, pattern)) for pattern in ("lib*/security", "lib/*/security")]
    machine_type = _architecture("/proc/self/exe")
    for name, pattern in places:
        for directory in sorted(glob.glob(display_path(machine.root, pattern))):
            path = os.path.join(directory, MODULE)
            # Only where libpam's own modules are does it look for a name.
            if name and not glob.glob(os.path.join(directory, "pam_unix.so")):
                continue
            if os.path.isfile(path) and _architecture(path) == machine_type:
                return name or path
    looked = ", ".join(pattern for _, pattern in places)
    hint = f"looked in {looked}; install the package chos again, or `make install` where libpam's headers are"
    raise InstallError("is not installed for this architecture", object=MODULE, hint=hint)


def _architecture(path: str) -> bytes:
    """Class, byte order and machine of an ELF file."""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError as error:
        raise ChosError(f"cannot be read: {error.strerror}", object=path) from error
    return head[:6] + head[18:20]
