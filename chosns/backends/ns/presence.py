"""The backend ns on this node: which processes live in its generations. It needs nothing once for the whole node."""

from __future__ import annotations

import os
from collections.abc import Sequence

from chosns.backends import Traits, WithoutService
from chosns.registry.reader import Generation
from chosns.system import procfs
from chosns.system.procfs import first_lines, mount_namespace

_MOST_MOUNTS = 1 << 16  # bytes that are read of a mount table, which a user can make as long as they like


class NamespaceHomes:
    """See `backends.Homes`."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        own = [generation for generation in generations if generation.has_namespace]
        self._by_namespace = {generation.namespace: generation for generation in own if generation.namespace}
        # Each generation's root is a tmpfs of its own, which a namespace made inside has too.
        self._by_device = {_device(generation): generation for generation in own if _device(generation)}
        self._base = mount_namespace("self")
        self._nested: dict[tuple[int, str], Generation | None] = {}

    def of(self, pid: int | str, namespace: int) -> tuple[Generation, bool] | None:
        """See Homes."""
        if namespace in self._by_namespace:
            return self._by_namespace[namespace], False
        if namespace in (0, self._base):
            return None
        try:
            key = namespace, procfs.root(pid)
            if key not in self._nested:
                self._nested[key] = self._look(pid)
        except OSError:  # gone, or not the caller's to know
            return None
        found = self._nested[key]
        return (found, True) if found else None

    def _look(self, pid: int | str) -> Generation | None:
        """Not stat(2) of the process's root: it may be on a file system of a user's, which does not answer. In a copy
        of a generation's mounts its root comes first: a user who makes 65,000 more gains nothing."""
        for line in first_lines(procfs.of(pid, "mountinfo"), _MOST_MOUNTS):
            device = line.split(b" ", 3)[2].decode()
            if device in self._by_device:
                return self._by_device[device]
        return None


def _device(generation: Generation) -> str:
    """st_dev of a generation's root, as in mountinfo; empty where that was not recorded."""
    root = generation.manifest.get("root")
    device = root[0] if isinstance(root, list) and root else None
    return f"{os.major(device)}:{os.minor(device)}" if isinstance(device, int) else ""


class NamespacePresence(WithoutService):
    """See `backends.Presence`."""

    traits = Traits("ns", namespace=True)

    def homes(self, generations: Sequence[Generation]) -> NamespaceHomes:
        """See Presence."""
        return NamespaceHomes(generations)


PRESENCE = NamespacePresence()
