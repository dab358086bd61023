"""Tries stacks before they are installed: libpam opens a session of root's with a private copy of pam.d.

Called by `pam`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping

from chosns.integrate.command import NoAnswer, attempt
from chosns.integrate.model import InstallError, Machine
from chosns.integrate.scratch import scratch

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pam_session.py")
_GAP = r"(?:[ \t]|\\\n)+"
_INCLUDE = re.compile(
    rf"(?im)^([ \t]*(?:@include|-?(?:auth|account|password|session){_GAP}(?:include|substack)){_GAP})([^/\s]\S*)"
)
LIMIT = 60.0  # seconds that a session may take to open
_MODULE = "chos-module"  # a service that has nothing but the module


@contextlib.contextmanager
def copy_of(machine: Machine, directory: str, stacks: Mapping[str, str]) -> Iterator[str]:
    """A copy of pam.d with these stacks instead of its own; removed afterwards."""
    with scratch(machine) as copy:
        for entry in os.scandir(directory):
            text = stacks.get(entry.name)
            with contextlib.suppress(OSError):  # what cannot be read is no stack
                if text is None and entry.is_file():
                    with open(entry.path, encoding="utf-8", errors="surrogateescape") as file:
                        text = file.read()
            if text is not None:
                with open(os.path.join(copy, entry.name), "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(within(text, copy))
        yield copy


def within(text: str, directory: str) -> str:
    """A stack that includes from this directory: by itself libpam 1.5 takes what is included from /etc/pam.d."""
    return _INCLUDE.sub(lambda found: f"{found[1]}{directory}/{found[2]}", text)


def try_module(machine: Machine, module: str, options: str) -> None:
    """Have libpam load the module and call it for root. :raises InstallError: root would be refused."""
    with scratch(machine) as directory:
        with open(os.path.join(directory, _MODULE), "w", encoding="utf-8") as file:
            file.write(f"session required {module} {options}\n")
        problem = _session(_MODULE, directory)
    if problem:
        hint = "the log (authpriv) says why; nothing was changed"
        raise InstallError(f"does not work, it would keep root out: {problem}", object=module, hint=hint)


def try_stack(service: str, old: str, new: str) -> str:
    """Compare a service's stack in two directories; a remark where it could not be tried.

    :raises InstallError: root gets a session with the old one, and none with the new one.
    """
    problem = _session(service, new)
    if not problem:
        return ""
    if _session(service, old) != problem:
        hint = "nothing was changed"
        raise InstallError(f"with the new stack root gets no session: {problem}", object=service, hint=hint)
    return f"{service}: root's session fails here with and without the line, so it was not tried: {problem}"


def _session(service: str, directory: str) -> str:
    """Why root gets no session; empty where all is well."""
    try:
        status, said, errors = attempt([sys.executable, "-I", _PROGRAM, service, directory], limit=LIMIT)
    except NoAnswer as error:
        return error.message
    if status == 0:
        return ""
    if status == 1 and said:
        return said
    if status < 0:
        return f"killed by signal {-status}"
    return said or (errors.strip().splitlines() or [f"status {status}"])[-1]
