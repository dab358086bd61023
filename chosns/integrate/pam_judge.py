"""What is wrong with a stack that has our lines: what acts after them, what keeps them from being reached.

Pure. Called by `pam`, before it changes a stack, and by `doctor.pam`, long after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chosns.integrate.pam_stack import Reader, StackLine, lines_of, session_lines
from chosns.integrate.sshd_jails import Jail
from chosns.lazydata import dataclass

MODULE = "pam_chos.so"
# Where a session's process enters at pam_setcred(3), so needs an auth line (the table in pam/options.c).
AT_SETCRED = ("sshd", "cron")
_DONE, _JUMP = re.compile(r"\bsufficient\b|=\s*done\b"), re.compile(r"=\s*([1-9]\d*)")
_SKIP = re.compile(r"success=(\d+)")
SKIPPERS = ("pam_succeed_if.so", "pam_listfile.so")


@dataclass(frozen=True)
class Finding:
    """One remark about a line, or about a file as a whole (`number` 0), and what to do."""

    file: str
    number: int
    message: str
    hint: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.number}" if self.number else self.file
        return f"{place}: {self.message} — {self.hint}"


def needs_auth_line(service: str, options: Sequence[str]) -> bool:
    """Whether a service with these options of our session line needs an auth line besides."""
    said = [option.partition("=")[2] for option in options if option.startswith("enter=")]
    return said[-1] == "setcred" if said else service in AT_SETCRED


def session_line(service: str, read: Reader) -> StackLine | None:
    """Our session line in a stack."""
    return next((line for line in session_lines(service, read) if line.name == MODULE), None)


def has_auth_line(service: str, read: Reader) -> bool:
    """Whether the service's own file has our auth line, where the module looks for it."""
    return any(line.name == MODULE and line.file == service for line in lines_of("auth", service, read))


def judge(service: str, read: Reader) -> Iterator[Finding]:
    """What is wrong with a stack; nothing if it has no session line of ours."""
    ours = session_line(service, read)
    if ours is None:
        return
    lines = list(session_lines(service, read))
    for line in lines[lines.index(ours) + 1 :]:
        if line.name != MODULE:
            hint = f"put the line of {MODULE} last"
            yield Finding(line.file, line.number, f"{line.name} comes after {MODULE} in {service}", hint)
    if not needs_auth_line(service, ours.options):
        return
    if not has_auth_line(service, read):
        message = f"has the session line of {MODULE} alone: its sessions stay on the base"
        yield Finding(service, 0, message, f"chosctl install pam --service {service}")
        return
    yield from _judge_auth(service, read)


def _judge_auth(service: str, read: Reader) -> Iterator[Finding]:
    lines = list(lines_of("auth", service, read))
    at = max(number for number, line in enumerate(lines) if line.name == MODULE)
    for number, line in enumerate(lines[:at]):
        if line.name != MODULE and not line.nested and _may_end(line, at - number):
            message = f"{line.control} may end the auth lines before {MODULE}: then the session stays on the base"
            yield Finding(line.file, line.number, message, f"let it go on, or put the auth line of {MODULE} before it")
    for line in lines[at + 1 :]:
        message = (
            f"{line.name} sets credentials after {MODULE}: as root, and inside, where it reads the OS tree's files"
        )
        yield Finding(line.file, line.number, message, f"put the auth line of {MODULE} last")


def _may_end(line: StackLine, distance: int) -> bool:
    """Whether a line that succeeds may keep the one that is so many lines after it from being called."""
    jumps = [int(number) for number in _JUMP.findall(line.control)]
    return bool(_DONE.search(line.control)) or any(jump >= distance for jump in jumps)


def exposed(jails: Sequence[Jail], service: str, read: Reader) -> list[Jail]:
    """The jails whose users our session line does not leave out."""
    lines = list(session_lines(service, read))
    ours = next((number for number, line in enumerate(lines) if line.name == MODULE), None)
    if ours is None:
        return []
    skips = [line for number, line in enumerate(lines[:ours]) if _skips(line, ours - number)]
    if any(line.name == "pam_listfile.so" for line in skips):
        return []  # the administrator knows which users that file names
    return [jail for jail in jails if not any(jail.kept_out(list(line.options)) for line in skips)]


def _skips(line: StackLine, distance: int) -> bool:
    found = _SKIP.search(line.control)
    return line.name in SKIPPERS and found is not None and int(found[1]) >= distance


def skip_lines(jails: Sequence[Jail]) -> list[str]:
    """Session lines that exclude the users of a jail, directly before ours. Each jail has a `condition`."""
    conditions = list(dict.fromkeys(jail.condition for jail in jails))
    return [
        f"session [success={len(conditions) - number} default=ignore] pam_succeed_if.so quiet {condition}"
        for number, condition in enumerate(conditions)
    ]
