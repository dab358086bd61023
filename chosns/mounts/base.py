"""The base: checks that this process is in it, and makes its mounts shared."""

from __future__ import annotations

import contextlib
import os

from chosns.errors import PrivilegeError, RegistryError, UnsupportedError
from chosns.registry import PATH, open_registry
from chosns.system import procfs, syscalls
from chosns.system.mountinfo import read_mounts
from chosns.system.paths import is_below


def require_base(command: str) -> None:
    """Refuse to continue if what is prepared would be wrong, or visible to nobody.

    :raises PrivilegeError: not root.
    :raises RegistryError: inside an environment, or in another namespace than the node's own.
    """
    if os.geteuid() != 0:
        raise PrivilegeError("needs root", object=command, hint=f"sudo {command}")
    own = os.stat(procfs.of("self", "ns/mnt")).st_ino
    with contextlib.suppress(RegistryError):
        with open_registry() as registry:
            elsewhere = registry.base_namespace() != own
        if elsewhere and os.path.exists(f"/local{PATH}/base"):
            raise PrivilegeError(
                "cannot run inside an environment",
                object=command,
                hint=f"go back to the base first: env CHOS=root chos {command}",
            )
        if elsewhere:
            raise _private(command)
    with contextlib.suppress(PermissionError):  # an init that may not be looked at cannot be compared with
        if os.stat(procfs.of(1, "ns/mnt")).st_ino != own:
            raise _private(command)


def _private(command: str) -> PrivilegeError:
    return PrivilegeError(
        "cannot run here: this shell has a mount namespace of its own, so nobody else would see the result",
        object=command,
        hint=f"nsenter --target 1 --mount {command} (in a systemd unit: no PrivateTmp= and the like)",
    )


def require_kernel() -> None:
    """Refuse to go on where the kernel lacks the mount API. :raises UnsupportedError: naming what it lacks."""
    missing = syscalls.missing_calls()
    if missing:
        raise UnsupportedError(
            f"this kernel lacks {', '.join(missing)}",
            object=f"Linux {os.uname().release}",
            hint="needs Linux 5.12, or another backend (docs/backends.md); in a container, a filter may hide the calls",
        )


def private_mounts() -> list[str]:
    """Mounts of the base that are not shared, although its root is. What is mounted below them later does not appear
    inside.

    Left out: mounts of a single file (pins of network namespaces), because nothing can be mounted below them, and our
    own mounts, the registry and /chos.
    """
    mounts = {mount.target: mount for mount in read_mounts()}
    return sorted(
        target
        for target, mount in mounts.items()
        if not any(tag.startswith("shared:") for tag in mount.propagation)
        and mount.fstype != "nsfs"
        and not any(is_below(target, ours) for ours in (PATH, "/chos"))
    )


def is_shared() -> bool:
    """Whether the base's root is a shared mount."""
    root = [mount for mount in read_mounts() if mount.target == "/"][-1]
    return any(tag.startswith("shared:") for tag in root.propagation)


def ensure_shared() -> bool:
    """Make the base's mounts shared where its root is not, so that later mounts appear inside environments.

    All of them are made shared: if the root is private, mounts that are private on purpose cannot be distinguished.

    :returns: True if it had to be done.
    """
    if is_shared():
        return False
    syscalls.mount("", "/", syscalls.MS_REC | syscalls.MS_SHARED)
    return True
