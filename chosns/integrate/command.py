"""Runs other programs: argument lists, a fixed environment, a time limit, an answer in text."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from chosns.integrate.model import InstallError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT = 60.0
_GRACE = 2.0  # for a killed process to be gone, unless it is stuck in the kernel


def find(program: str, *directories: str) -> str | None:
    """The path of a program, in these directories first."""
    return shutil.which(program, path=os.pathsep.join([*filter(None, directories), PATH]))


def attempt(
    arguments: Sequence[str], env: Mapping[str, str] | None = None, limit: float = LIMIT
) -> tuple[int, str, str]:
    """Exit status, output and errors of a program; the first of `arguments` is its path.

    :raises InstallError: it cannot be started, or gives no answer.
    """
    environment = {"PATH": PATH, "LC_ALL": "C", "HOME": "/", **(env or {})}
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
        )
    except OSError as error:
        raise InstallError(f"cannot be run: {error.strerror}", object=arguments[0]) from error
    try:
        output, errors = process.communicate(timeout=limit)
    except BaseException as error:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_GRACE)
        if isinstance(error, subprocess.TimeoutExpired):
            raise InstallError(f"no answer within {limit:.0f} s", object=" ".join(arguments)) from error
        raise
    return process.returncode, output, errors


def ask(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a program prints. :raises InstallError: it fails."""
    status, output, errors = attempt(arguments, env)
    if status != 0:
        said = (errors or output).strip().splitlines()
        raise InstallError(said[-1] if said else f"ended with status {status}", object=" ".join(arguments))
    return output
