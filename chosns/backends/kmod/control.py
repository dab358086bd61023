"""Loading the module, mounting its file system, and the list of the trees that it allows."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from chosns.errors import UnsupportedError
from chosns.lazydata import dataclass
from chosns.system import fault, programs, syscalls
from chosns.system.mountinfo import read_mounts
from chosns.system.programs import CannotRun, Ended, TooSlow, command_line, last_line

NAME = "chos"
PLACE = "/proc/chos"
_LIMIT = 60  # seconds that modprobe may take
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True)
class ModuleState:
    """What `status` shows.

    version: as the module says it, empty where its files are not mounted
    valid:   the trees that it allows; None where the caller may not see them
    root:    whether /chos is made
    """

    version: str = ""
    valid: tuple[str, ...] | None = None
    root: bool = False


def is_mounted() -> bool:
    """Whether the module is loaded and its files are where they belong."""
    # The directory is made by the module: without it, the thousand lines of mountinfo need not be read.
    return os.path.isdir(PLACE) and any(mount.target == PLACE and mount.fstype == "chosfs" for mount in read_mounts())


def load() -> None:
    """Load the module and mount its files, where that has not been done. Root, on the base.

    :raises UnsupportedError: there is no module for this kernel, or it cannot be loaded.
    """
    _modprobe()
    fault.point()
    if not is_mounted():
        syscalls.mount("chosfs", PLACE, syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC, "chosfs")


def require_loadable() -> None:
    """Change nothing. :raises UnsupportedError: `load` would say that there is no module for this kernel."""
    _modprobe("--dry-run")


def _modprobe(*options: str) -> None:
    if os.path.isdir(f"/sys/module/{NAME}"):
        return
    command = ["modprobe", *options, NAME]
    done = _run(command)
    if done.status != 0:
        raise UnsupportedError(
            f"the kernel module cannot be loaded: `{command_line(command)}`: {last_line(done)}",
            object=f"chos.ko, Linux {os.uname().release}",
            hint="`chosctl install kmod` builds it (DKMS); see docs/kmod.md",
        )


def unload() -> str:
    """Unmount and unload. Returns why the module stays, empty if it is gone. If it stays, its files stay too."""
    mounted = is_mounted()
    if mounted:
        try:
            syscalls.umount(PLACE)
        except OSError as error:
            return f"{PLACE} is in use: {error.strerror}"
    fault.point()
    if not os.path.isdir(f"/sys/module/{NAME}"):
        return ""
    done = _run(["rmmod", NAME])
    if done.status == 0:
        return ""
    if mounted:
        load()
    return f"the module stays loaded: {last_line(done)}"


def allow(trees: Sequence[str]) -> None:
    """Have the module allow these trees and no others; one that stays is allowed all the time.

    :raises OSError: the module refuses one.
    """
    wanted = dict.fromkeys(trees)
    if wanted:
        with contextlib.suppress(OSError):
            for tree in allowed():
                if tree not in wanted:
                    _write("valid", f"-{tree}")
                    fault.point()
    # An older version of the module may be loaded, or another process may change the list: rather refuse everybody for
    # a moment than allow a tree too many.
    if set(allowed()) - set(wanted):
        _write("valid", "-")
        fault.point()
    before = allowed()
    for tree in wanted:
        if tree not in before:
            _write("valid", tree)
            fault.point()


def binds() -> bool:
    """Whether no program gains a right inside. With an older version of the module, set-uid programs do."""
    parameters = f"/sys/module/{NAME}/parameters"
    return not os.path.isdir(parameters) or os.path.exists(f"{parameters}/clears")


def processes() -> int:
    """How many tasks have an environment of the module's, threads included."""
    try:
        with open(f"/sys/module/{NAME}/parameters/processes", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def allowed() -> tuple[str, ...]:
    """The trees on the module's list. :raises OSError: not root, or no module."""
    with open(f"{PLACE}/valid", "rb") as file:  # only a newline ends a path
        return tuple(os.fsdecode(line) for line in file.read().split(b"\n") if line)


def state(root: bool) -> ModuleState | None:
    """For `status`; None where there is no module. :param root: whether /chos is made."""
    if not os.path.isdir(f"/sys/module/{NAME}"):
        return None
    try:
        with open(f"{PLACE}/version", encoding="utf-8") as file:
            version = file.read().strip()
    except OSError:
        return ModuleState("", None, root)
    valid = None
    with contextlib.suppress(OSError):
        valid = allowed()
    return ModuleState(version, valid, root)


def _write(name: str, text: str) -> None:
    fd = os.open(f"{PLACE}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, os.fsencode(text) + b"\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror or os.strerror(error.errno or errno.EIO), text) from None
    finally:
        os.close(fd)


def _run(command: list[str]) -> Ended:
    path = next(
        (path for place in _ENVIRONMENT["PATH"].split(":") if os.access(path := f"{place}/{command[0]}", os.X_OK)), None
    )
    if path is None:
        raise UnsupportedError(f"{command[0]} is not installed", object="chos.ko", hint="install kmod")
    try:
        return programs.run([path, *command[1:]], _ENVIRONMENT, _LIMIT)
    except CannotRun as error:
        raise UnsupportedError(error.message, object=error.object) from None
    except TooSlow as error:
        hint = "look at dmesg: the kernel may have had an accident"
        raise UnsupportedError(error.message, object=error.object, hint=hint) from None
