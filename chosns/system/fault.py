"""Points at which a test can kill the builder, to prove that nothing half-made is ever visible.

CHOS_FAULT_KILL=N in the environment kills the process with SIGKILL at the N-th point that it reaches; worker:N does
that in each of its workers instead. The variable can do nothing else, and a user who can set root's environment could
kill the process anyway.
"""

from __future__ import annotations

import os
import signal

_in_worker = False
_kill_at = 0
_main = 0
_reached = 0


def arm(setting: str) -> None:
    """Die as `setting` says, counted from here on, in the calling process or its workers."""
    global _in_worker, _kill_at, _main, _reached
    _in_worker = setting.startswith("worker:")
    number = setting[len("worker:") :] if _in_worker else setting
    _kill_at = int(number) if number.isdecimal() else 0
    _main = os.getpid()
    _reached = 0


def point() -> None:
    """One more operation is about to be done."""
    global _reached
    if not _kill_at or (os.getpid() != _main) != _in_worker:
        return
    _reached += 1
    if _reached == _kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("CHOS_FAULT_KILL", ""))
