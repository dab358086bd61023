"""Where the pieces of this installation are on the base."""

from __future__ import annotations

import os
import stat
import sys

from chosns.plan.planner import Launcher


def find_launcher() -> Launcher | None:
    """The installed `chos`: beside this `chosctl`, or in a standard place; root's own file only."""
    beside = os.path.dirname(os.path.realpath(sys.argv[0]))
    for directory in dict.fromkeys([beside, "/usr/bin", "/usr/local/bin", "/bin"]):
        path = os.path.join(directory, "chos")
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        safe = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISREG(status.st_mode) and safe:
            return Launcher(path)
    return None
