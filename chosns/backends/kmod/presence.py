"""The kernel module on this node: its state, what it lets users into, and which processes live in its trees."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

from chosns.backends import Service, ServiceReport, Traits
from chosns.backends.kmod import control, root
from chosns.registry.reader import Generation, Registry
from chosns.system import procfs
from chosns.system.paths import is_below
from chosns.system.procfs import first_lines, mount_namespace

_MOST_MAPS = 1 << 20  # bytes that are read of a process's mappings


class TreeHomes:
    """See `backends.Homes`.

    The kernel module tells nobody but a process itself where it is. But its program lies in its tree, or the loader and
    libraries of one of the base's do. Of two generations of one tree it is the newer that was prepared for the module
    alone, else the newer.
    """

    def __init__(self, generations: Sequence[Generation]) -> None:
        by_tree = sorted((generation for generation in generations if generation.manifest), key=_preference)
        self._by_tree = {str(generation.manifest.get("tree")): generation for generation in by_tree}
        self._base = mount_namespace("self")

    def of(self, pid: int | str, namespace: int) -> tuple[Generation, bool] | None:
        """See Homes."""
        if namespace != self._base or not self._by_tree:
            return None
        found = self._by_program(pid)
        return (found, False) if found else None

    def _by_program(self, pid: int | str) -> Generation | None:
        try:
            if procfs.root(pid) != root.ROOT:
                return None
            seen = b""
            for line in first_lines(procfs.of(pid, "maps"), _MOST_MAPS):
                program = line.partition(b"/")[2]
                if program and program != seen:
                    seen = program
                    path = f"/{os.fsdecode(program)}"
                    for tree, generation in self._by_tree.items():
                        if is_below(path, tree) or is_below(path, f"{root.ROOT}{tree}"):
                            return generation
        except OSError:
            pass
        return None


def _preference(generation: Generation) -> tuple[bool, int]:
    return not generation.has_namespace, generation.number


class ModulePresence:
    """See `backends.Presence`."""

    traits = Traits(
        "kmod",
        service="the kernel module and /chos",
        bring_up="load the kernel module and make /chos",
        gatekeeper="the kernel module",
    )

    def homes(self, generations: Sequence[Generation]) -> TreeHomes:
        """See Presence."""
        return TreeHomes(generations)

    def service(self, registry: Registry | None) -> Service:
        """See Presence."""
        if registry is None:
            return Service(there=root.is_made())
        there = control.is_mounted() and root.is_made()
        return Service(there, registry.module_is_ours(), registry.module_trees(), self.admitted())

    def admitted(self) -> tuple[str, ...] | None:
        """See Presence."""
        return control.allowed() if control.is_mounted() else None

    def report(self) -> ServiceReport:
        """See Presence."""
        found = control.state(root.is_made())
        whole = found is not None and found.version and found.root
        problem = "" if whole else "the kernel module is not there, or /chos is not: `chosctl up` mends that"
        return ServiceReport("module", asdict(found) if found else None, problem)


PRESENCE = ModulePresence()
