"""Finds and asks the programs of products, with root's PATH and a fixed environment. `system.programs` runs them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence

from chosns.config.trusted import display_path, trusted_directory
from chosns.errors import ChosError
from chosns.integrate.model import InstallError, Machine
from chosns.system import programs
from chosns.system.programs import CannotRun, Ended, TooSlow, command_line, last_line

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT = 60.0


class NoAnswer(InstallError):
    """A program takes longer than anybody would wait."""


def find(program: str) -> str | None:
    """The path of a program, where root's are."""
    return shutil.which(program, path=PATH)


def find_also(machine: Machine, program: str, directories: Sequence[str], *, preferred: bool = False) -> str | None:
    """The same; if it is not there, in the product's own directories.

    :param preferred: look in these first, because another product's program has the same name.
    :raises InstallError: root would run a program there that another account may change.
    """
    usual = find(program)
    if usual and not preferred:
        return usual
    shown = [display_path(machine.root, directory) for directory in directories]
    found = shutil.which(program, path=os.pathsep.join(shown)) if shown else None
    if found is None:
        return usual
    if os.geteuid() == 0:
        try:
            _require_ours(machine, found[len(machine.root.rstrip("/")) :])
        except ChosError as error:
            hint = f"put a {program} of root's into PATH: install one, or ln -s {found} /usr/local/bin/ if you trust it"
            raise InstallError(f"is not run as root: {error}", object=found, hint=hint) from error
    return found


def _require_ours(machine: Machine, path: str) -> None:
    """Refuse a program that others may change or exchange: the file, what leads to it, and the link that it may be."""
    with trusted_directory(machine.root, os.path.dirname(path), machine.uids):
        real = os.path.realpath(display_path(machine.root, path))
    inside = real[len(os.path.realpath(machine.root).rstrip("/")) :]
    with trusted_directory(machine.root, os.path.dirname(inside), machine.uids):
        status = os.stat(real)
    if status.st_uid not in machine.uids:
        raise InstallError(f"belongs to user {status.st_uid}", object=real)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InstallError("is writable by others than its owner", object=real)


def attempt(arguments: Sequence[str], env: Mapping[str, str] | None = None, limit: float = LIMIT) -> Ended:
    """Exit status, output and errors of a program; the first of `arguments` is its path.

    :raises InstallError: it cannot be started, or gives no answer.
    """
    environment = {"PATH": PATH, "LC_ALL": "C", "HOME": "/", **(env or {})}
    try:
        return programs.run(arguments, environment, limit)
    except TooSlow as error:
        raise NoAnswer(error.message, object=error.object) from error
    except CannotRun as error:
        raise InstallError(error.message, object=error.object) from error


def ask(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a program prints. :raises InstallError: it fails."""
    ended = attempt(arguments, env)
    if ended.status != 0:
        raise InstallError(last_line(ended), object=command_line(arguments))
    return ended.output
