"""`chosctl install pam`: our module as the last session line of services in /etc/pam.d, of some as last auth line, too.

Never edits what services share (common-session, system-auth): tools rewrite these files, and systemd-user and display
managers read them too. Nothing is written before libpam has opened a session of root's with the new stacks.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from chosns.config.trusted import display_path, read_trusted
from chosns.errors import ChosError
from chosns.integrate import files, pam_judge, words
from chosns.integrate.lines import append
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine, Product, Request, Snippet
from chosns.integrate.pam_judge import MODULE, needs_auth_line
from chosns.integrate.pam_stack import Reader, includes, session_lines
from chosns.integrate.pam_trial import copy_of, try_module, try_stack
from chosns.integrate.sshd_jails import Jail, jails
from chosns.system import procfs
from chosns.system.installed import library

SERVICES = ("sshd", "su", "su-l", "runuser", "runuser-l", "sudo", "sudo-i", "login", "cron", "crond", "atd")
_CONTROL = "[success=ok new_authtok_reqd=ok ignore=ignore module_unknown=ignore default=bad]"
_AUTH_CONTROL = "[default=ignore]"
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
        shown = [Snippet(f"last session line of /etc/pam.d/{where}{note}", _line(MODULE, request))]
        needing = [name for name in request.services or SERVICES if needs_auth_line(name, request.options)]
        if needing:
            shown.insert(0, Snippet(f"last auth line of /etc/pam.d/{', '.join(needing)}", _auth_line(MODULE)))
        return shown

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        directory = request.config or "/etc/pam.d"
        known = files.listing(machine, directory)
        if not known:
            hint = "say where the stacks are: --config DIRECTORY"
            raise InstallError("no PAM stacks here", object=display_path(machine.root, directory), hint=hint)
        for service in request.services:
            _require_own(service, directory, known)
        stacks = _Stacks(machine, directory)
        wanted = request.services or [service for service in SERVICES if service in known]
        # What others include comes first, so that those get no line of their own.
        order = sorted(dict.fromkeys(wanted), key=lambda service: len(includes(service, stacks.read) & set(wanted)))
        locked = sshd_jails(machine) if "sshd" in order else []
        module = _module(machine)
        changes: list[FileEdit] = []
        present: list[str] = []
        notes: list[str] = []
        for service in order:
            _require_trusted_includes(stacks, service)
            place = _place(stacks, service, request)
            own_jails = locked if service == "sshd" else []
            lines = _missing_lines(stacks, service, module, request, own_jails)
            if lines:
                changes.append(stacks.append(service, lines))
            elif any(place.rpartition(":")[0] == change.path for change in changes):
                notes.append(f"{stacks.path(service)}: served by {place}")
            else:
                own = place.startswith(f"{stacks.path(service)}:")
                present.append(place if own else f"{stacks.path(service)} (by {place})")
            notes += _remarks(stacks, service)
            for jail in pam_judge.exposed(own_jails, service, stacks.read):
                raise _not_left_out(jail)
            notes += [f"{jail.place}: its users stay on the base, in their ChrootDirectory" for jail in own_jails]
        return ChangeList(tuple(changes), tuple(present), tuple(notes))

    def rehearse(self, machine: Machine, plan: ChangeList) -> Sequence[str]:
        edits = [change for change in plan.changes if isinstance(change, FileEdit)]
        if not edits:
            return ()
        module, *options = edits[0].lines[-1].replace(_CONTROL, "").replace(_AUTH_CONTROL, "").split()[1:]
        try_module(machine, module, " ".join(options))
        directory = os.path.dirname(edits[0].path)
        stacks = {os.path.basename(edit.path): edit.after or "" for edit in edits}
        with copy_of(machine, directory, {}) as old, copy_of(machine, directory, stacks) as new:
            return [note for service in stacks if (note := try_stack(service, old, new))]


class _Stacks:
    """A directory of stacks, as they will be."""

    def __init__(self, machine: Machine, directory: str) -> None:
        self.machine = machine
        self.directory = directory
        self._texts: dict[str, str | None] = {}

    def path(self, service: str) -> str:
        return os.path.join(self.directory, service)

    def read(self, service: str) -> str | None:
        if service not in self._texts:
            self._texts[service] = read_stack(self.machine, self.directory, service)
        return self._texts[service]

    def with_lines(self, service: str, lines: Sequence[str]) -> Reader:
        """The same with these lines at the end of one."""
        text = append(self.read(service), lines)
        return lambda name: text if name == service else self.read(name)

    def append(self, service: str, lines: Sequence[str]) -> FileEdit:
        """Put these lines at the end of one."""
        before = files.read(self.machine, self.path(service))
        self._texts[service] = after = append(before, lines)
        if pam_judge.session_line(service, self.read) is None:
            hint = "its last line ends in a backslash: mend that"
            raise InstallError("the new line would not be read", object=self.path(service), hint=hint)
        return FileEdit(self.path(service), before, after, tuple(lines))


def _place(stacks: _Stacks, service: str, request: Request) -> str:
    """Where a stack has our session line, if anywhere. :raises InstallError: with other options than are asked for."""
    there = pam_judge.session_line(service, stacks.read)
    if not there:
        return ""
    place = f"{stacks.path(there.file)}:{there.number}"
    words.require_same(request.options, there.options, place, Pam.name)
    return place


def _missing_lines(
    stacks: _Stacks, service: str, module: str, request: Request, locked: Sequence[Jail]
) -> Sequence[str]:
    """What a stack lacks of ours: all, or the auth line that an older installation did not write."""
    there = pam_judge.session_line(service, stacks.read)
    needs = needs_auth_line(service, there.options if there else request.options)
    auth = [_auth_line(module)] if needs and not pam_judge.has_auth_line(service, stacks.read) else []
    if there:
        return auth
    line = _line(module, request)
    skips = _skip_lines(pam_judge.exposed(locked, service, stacks.with_lines(service, [line])))
    return [_COMMENT, *auth, *skips, line]


def _remarks(stacks: _Stacks, service: str) -> Sequence[str]:
    """What the administrator should know of a stack that has our lines."""
    own = [at for at in session_lines(service, stacks.read) if at.ends_early and at.file == service]
    early = [at for at in own if at.name not in (MODULE, *pam_judge.SKIPPERS)]
    skipped = [f"{stacks.path(service)}:{at.number}: {at.control} may skip the module" for at in early[:1]]
    return skipped + [f"{stacks.directory}/{finding}" for finding in pam_judge.judge(service, stacks.read)]


def _line(module: str, request: Request) -> str:
    words.check(request.options, words.PAM, "pam_chos(8)")
    return " ".join([f"-session {_CONTROL} {module}", *request.options])


def _auth_line(module: str) -> str:
    return f"-auth {_AUTH_CONTROL} {module}"


def read_stack(machine: Machine, directory: str, service: str) -> str | None:
    """Read a stack without changing it. A link of authselect's is accepted like a file; unsafe files are not reported
    here."""
    return _text(machine, os.path.join(directory, service))


def sshd_jails(machine: Machine) -> list[Jail]:
    """Every ChrootDirectory of sshd's configuration on this node."""

    def names(directory: str) -> list[str]:
        try:
            return os.listdir(display_path(machine.root, directory))
        except OSError:
            return []

    return jails(lambda path: _text(machine, path), names)


def _text(machine: Machine, path: str) -> str | None:
    try:
        fd = os.open(display_path(machine.root, path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_LONGEST)


def _require_trusted_includes(stacks: _Stacks, service: str) -> None:
    """Refuse includes that others can write, or that may hang: sessions of root's are tried with them."""
    for name in sorted(includes(service, stacks.read, kind="")):
        read_trusted(stacks.machine.root, stacks.path(name), stacks.machine.uids)


def _skip_lines(locked: Sequence[Jail]) -> list[str]:
    """Lines that leave out who is in a jail. :raises InstallError: that cannot be said with names."""
    for jail in locked:
        if not jail.condition:
            raise _not_left_out(jail)
    return pam_judge.skip_lines(locked)


def _not_left_out(jail: Jail) -> InstallError:
    message = "this ChrootDirectory would be looked up in the OS tree that its user chose, which may lead out of it"
    condition = jail.condition or "user ingroup GROUP"
    line = f"session [success=1 default=ignore] pam_succeed_if.so quiet {condition}"
    hint = f"put `{line}` right before sshd's line of {MODULE}, or name other services: --service su"
    return InstallError(message, object=jail.place, hint=hint)


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
    """The name by which libpam loads the module: a file name in its own directory, otherwise a path."""
    own = os.path.dirname(os.path.dirname(library()))
    places = [(MODULE, pattern) for pattern in _DIRECTORIES]
    places += [("", os.path.join(own, pattern)) for pattern in ("lib*/security", "lib/*/security")]
    machine_type = _architecture(procfs.of("self", "exe"))
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
