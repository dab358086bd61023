"""Where the pieces of this installation are on the base."""

from __future__ import annotations

import os
import stat
import sys

from chosns import __version__
from chosns.model import Launcher

_USUAL = "/usr/lib/chos"
_CAPABILITIES = "security.capability"  # the file attribute that holds them, capabilities(7)


def launcher_problem() -> str:
    """Why users cannot enter anything with the installed launcher; empty if they can."""
    launcher = find_launcher()
    if launcher is None:
        return "chos is not installed here, so nobody can enter: run `make install`, or install the package again"
    status = os.stat(launcher.path)
    if not status.st_mode & stat.S_IXOTH:
        return f"{launcher.path} cannot be executed by users: chmod 0755 {launcher.path}"
    if os.statvfs(launcher.path).f_flag & os.ST_NOSUID:
        return f"{launcher.path} is on a nosuid mount, where it has no privilege: install it elsewhere"
    try:
        os.getxattr(launcher.path, _CAPABILITIES)
    except OSError:
        if not status.st_mode & stat.S_ISUID:
            setcap = "setcap cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep"
            return f"{launcher.path} has lost its capabilities: {setcap} {launcher.path}"
    return ""


def library() -> str:
    """PREFIX/lib/chos of this installation; the usual place if this is a checkout."""
    above = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return above if os.path.basename(above) == "chos" and os.path.basename(os.path.dirname(above)) == "lib" else _USUAL


def program(name: str) -> str:
    """Where a program of this installation is."""
    return os.path.join(os.path.dirname(os.path.dirname(library())), "bin", name)


def data(name: str) -> str:
    """Where a file that ships with this installation is."""
    return os.path.join(os.path.dirname(os.path.dirname(library())), "share", "chos", name)


def starter(name: str) -> str:
    """Where a starter for a batch or grid system is, SYSTEM/FILE."""
    return os.path.join(library(), "starters", name)


def module_source() -> str:
    """Where the source of the kernel module of this installation is."""
    return os.path.join(os.path.dirname(os.path.dirname(library())), "src", f"chos-{__version__}")


def find_launcher() -> Launcher | None:
    """The installed `chos`: in the directory of this `chosctl`, or in a standard place. Only a file of root's
    counts."""
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
