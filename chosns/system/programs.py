"""Runs other programs: argument lists, a fixed environment, a time limit, an answer in text.

The one place that does. It looks nowhere for a program, and judges no exit status: the callers know where theirs are
and what a failure means. What it says of a failure has the command, so that it can be pasted into a shell.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from chosns.errors import ChosError
from chosns.system.syscalls import adopt_orphans, die_with_parent, require_prctl

if TYPE_CHECKING:
    import subprocess

    import psutil

_GRACE = 2.0  # for a killed process to be gone, unless it is stuck in the kernel


class CannotRun(ChosError):
    """A program could not be started."""


class TooSlow(ChosError):
    """A program takes longer than anybody would wait."""


class Ended(NamedTuple):
    """How a program ended, and what it printed."""

    status: int
    output: str
    errors: str


def run(arguments: Sequence[str], environment: Mapping[str, str], limit: float) -> Ended:
    """Run a program and wait for it. It is killed with all that it started, when it is too slow or chosctl is killed.

    :param arguments: the first is its path.
    :raises CannotRun: it is missing, or cannot be executed.
    :raises TooSlow: it has not ended within `limit` seconds.
    """
    import subprocess  # here, as psutil: both take longer to load than what most commands do

    require_prctl()
    try:
        import psutil
    except ImportError as error:
        raise CannotRun(
            "Python's module psutil is missing", object=sys.executable, hint="install python3-psutil"
        ) from error

    before = set(psutil.Process().children())
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
            raise CannotRun(f"cannot be run: {error.strerror}", object=command_line(arguments)) from error
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException as error:
            _end(process, before)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TooSlow(f"no answer within {limit:.0f} s", object=command_line(arguments)) from error
            raise
    finally:
        adopt_orphans(False)
    return Ended(process.returncode, output, errors)


def command_line(arguments: Sequence[str]) -> str:
    """A command as it can be pasted into a shell."""
    return " ".join(map(shlex.quote, arguments))


def last_line(ended: Ended) -> str:
    """What a program that failed said last, its errors before its output; else its exit status."""
    said = (ended.errors or ended.output).strip().splitlines()
    return said[-1].strip() if said else f"ended with status {ended.status}"


def _end(process: subprocess.Popen[str], before: set[psutil.Process]) -> None:
    """Kill a program with whatever it has started, what has a session of its own by now (pam_exec(8)) included."""
    import subprocess

    import psutil

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
