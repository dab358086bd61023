"""chosctl that dies at a point of its work, many times over: a fork of one process that has read all of it.

Python's start, with all that chosctl imports, is most of what a command takes in a virtual machine.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
import traceback
from pathlib import Path

_where = re.findall(r"sys\.path\.insert\(0, *['\"](.*?)['\"]\)", Path("/usr/bin/chosctl").read_text())[0]
sys.path.insert(0, _where)
import chosns.cli.lifecycle  # noqa: E402, F401
from chosns.cli import main  # noqa: E402
from chosns.system import fault  # noqa: E402
from chosns.system.syscalls import missing_calls  # noqa: E402

__all__ = ["chosctl", "missing_calls"]
LIMIT = 120  # seconds after which a command counts as hung


def chosctl(*arguments: str, kill: str = "") -> tuple[int, str]:
    """Run it; `kill` is CHOS_FAULT_KILL. How it ended, as subprocess tells it, and what it wrote."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(writer, arguments, kill)
    os.close(writer)
    text = _read(reader, pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def _read(reader: int, pid: int) -> str:
    """What is written until nobody can write any more."""
    said = b""
    deadline = time.monotonic() + LIMIT
    try:
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = os.read(reader, 65536)
            if not data:
                return said.decode(errors="replace")
            said += data
        os.kill(pid, signal.SIGKILL)
        raise AssertionError(f"it hangs after saying: {said!r}")
    finally:
        os.close(reader)


def _become(output: int, arguments: tuple[str, ...], kill: str) -> None:
    status = 1
    try:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir("/")
        os.environ.clear()
        os.environ["PATH"] = "/usr/bin:/bin:/usr/sbin:/sbin"
        sys.stdout, sys.stderr = (os.fdopen(os.dup(fd), "w", buffering=1) for fd in (1, 2))
        sys.argv = ["chosctl", *arguments]
        fault.arm(kill)
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
