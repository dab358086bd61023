"""Runs other programs: argument lists, a fixed environment, a time limit, an answer in text."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from chosns.config.trusted import display_path, trusted_directory
from chosns.errors import ChosError
from chosns.integrate.model import InstallError, Machine
from chosns.system.syscalls import adopt_orphans, die_with_parent, require_prctl

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT = 60.0
_GRACE = 2.0  # for a killed process to be gone, unless it is stuck in the kernel


class NoAnswer(InstallError):
    """A program takes longer than anybody would wait."""


def find(program: str) -> str | None:
    """The path of a program, where root's are."""
    return shutil.which(program, path=PATH)


def find_also(machine: Machine, program: str, directories: Sequence[str], *, preferred: bool = False) -> str | None:
    """The same; if it is not there, in the product's own directories.

    :param preferred: look in these first, because another product's program has the same name.
    :raises InstallError: root would run a program there that somebody else may change.
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


def attempt(
    arguments: Sequence[str], env: Mapping[str, str] | None = None, limit: float = LIMIT
) -> tuple[int, str, str]:
    """Exit status, output and errors of a program; the first of `arguments` is its path.

    :raises InstallError: it cannot be started, or gives no answer.
    """
    environment = {"PATH": PATH, "LC_ALL": "C", "HOME": "/", **(env or {})}
    before = set(psutil.Process().children())
    require_prctl()
    adopt_orphans(True)
    try:
        try:
            process = subprocess.Popen(
                arguments,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                umask=0o022,  # what a product makes is for its users to read: arcctl's directories are
                start_new_session=True,
                preexec_fn=_ends_with(os.getpid()),
            )
        except OSError as error:
            raise InstallError(f"cannot be run: {error.strerror}", object=arguments[0]) from error
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException as error:
            _end(process, before)
            if isinstance(error, subprocess.TimeoutExpired):
                raise NoAnswer(f"no answer within {limit:.0f} s", object=" ".join(arguments)) from error
            raise
    finally:
        adopt_orphans(False)
    return process.returncode, output, errors


def _end(process: subprocess.Popen[str], before: set[psutil.Process]) -> None:
    """Kill a program with whatever it has started, what has a session of its own by now (pam_exec(8)) included."""
    with contextlib.suppress(OSError):  # gone, or of another user's by now
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE)
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        orphans = [one for one in psutil.Process().children() if one not in before and one.pid != process.pid]
        if not orphans:
            break
        for orphan in orphans:
            with contextlib.suppress(psutil.Error):
                orphan.kill()
            with contextlib.suppress(OSError):
                os.waitpid(orphan.pid, os.WNOHANG)
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_GRACE)


def _ends_with(parent: int) -> Callable[[], None]:
    """For the child: it is killed when chosctl is, so that nothing goes on that nobody waits for."""

    def prepare() -> None:
        die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def ask(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a program prints. :raises InstallError: it fails."""
    status, output, errors = attempt(arguments, env)
    if status != 0:
        said = (errors or output).strip().splitlines()
        raise InstallError(said[-1] if said else f"ended with status {status}", object=" ".join(arguments))
    return output
