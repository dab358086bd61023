"""chosctl that dies at a point of its work, many times over: a fork of one process that has read all of it.

Python's start, with all that chosctl imports, is most of what a command takes in a virtual machine.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

_where = re.findall(r"sys\.path\.insert\(0, *['\"](.*?)['\"]\)", Path("/usr/bin/chosctl").read_text())[0]
sys.path.insert(0, _where)
import chosns.cli.lifecycle  # noqa: E402, F401
from chosns import fault  # noqa: E402
from chosns.cli import main  # noqa: E402


def chosctl(*arguments: str, kill: str = "") -> tuple[int, str]:
    """Run it; `kill` is CHOS_FAULT_KILL. How it ended, as subprocess tells it, and what it wrote."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(writer, arguments, kill)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as stream:
        text = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


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
        sys.stdout.flush()
        os._exit(status)
