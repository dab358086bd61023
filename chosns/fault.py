"""Places where a test can stop the builder dead, to prove that nothing half-made is ever seen.

CHOS_FAULT_KILL=N in the environment kills the process with SIGKILL at the N-th point that it reaches. Whoever can
set root's environment could as well kill the process; nothing else can be done with it.
"""

from __future__ import annotations

import os
import signal

_kill_at = int(os.environ.get("CHOS_FAULT_KILL", "0"))
_reached = 0


def point() -> None:
    """One more operation is about to be done."""
    global _reached
    if not _kill_at:
        return
    _reached += 1
    if _reached == _kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
