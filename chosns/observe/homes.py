"""Which generation a process is in, and how many are in each. Most commands need this, so it imports nothing large."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from chosns.backends.kmod.root import ROOT as MODULE_ROOT
from chosns.registry import Generation
from chosns.system.paths import is_below
from chosns.system.procfs import first_lines

# Bytes that are read at most of files whose size users control.
_MOST_MOUNTS = 1 << 16
_MOST_MAPS = 1 << 20


def mount_namespace(pid: int | str) -> int:
    """Inode number of a process's mount namespace; 0 if it is gone, or if the caller may not know it."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


class Homes:
    """Finds out in which of `generations` a process is."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._by_namespace = {generation.namespace: generation for generation in generations if generation.namespace}
        # Each generation's root is a tmpfs of its own. A namespace that was made inside has the same root.
        self._by_device = {_device(generation): generation for generation in generations if _device(generation)}
        self._base = mount_namespace("self")
        self._nested: dict[tuple[int, str], Generation | None] = {}
        by_tree = sorted((generation for generation in generations if generation.manifest), key=_preference)
        self._by_tree = {str(generation.manifest.get("tree")): generation for generation in by_tree}

    def of(self, pid: int | str) -> tuple[Generation | None, bool]:
        """The generation, and whether the process is in a namespace that was made in it."""
        space = mount_namespace(pid)
        if space in self._by_namespace:
            return self._by_namespace[space], False
        if space == self._base and self._by_tree:
            return self._by_program(pid), False
        if space in (0, self._base):
            return None, False
        try:
            key = space, os.readlink(f"/proc/{pid}/root")
            if key not in self._nested:
                self._nested[key] = self._look(pid)
            return self._nested[key], self._nested[key] is not None
        except OSError:  # gone, or the caller may not know it
            return None, False

    def _by_program(self, pid: int | str) -> Generation | None:
        """For the kernel module, which tells only a process itself where it is. So look where its program is: in a
        tree; or where the loader and libraries of a program of the base are. Of two generations of one tree choose the
        newest that was prepared for the module alone, otherwise the newest."""
        try:
            if os.readlink(f"/proc/{pid}/root") != MODULE_ROOT:
                return None
            seen = b""
            for line in first_lines(f"/proc/{pid}/maps", _MOST_MAPS):
                program = line.partition(b"/")[2]
                if program and program != seen:
                    seen = program
                    path = f"/{os.fsdecode(program)}"
                    for tree, generation in self._by_tree.items():
                        if is_below(path, tree) or is_below(path, f"{MODULE_ROOT}{tree}"):
                            return generation
        except OSError:
            pass
        return None

    def _look(self, pid: int | str) -> Generation | None:
        """By mountinfo, and not by stat(2) of the process's root, which may be on a user's file system that does not
        answer. In a copy of a generation's mounts the root comes first, so a user who makes 65,000 mounts gains
        nothing."""
        for line in first_lines(f"/proc/{pid}/mountinfo", _MOST_MOUNTS):
            device = line.split(b" ", 3)[2].decode()
            if device in self._by_device:
                return self._by_device[device]
        return None


def _preference(generation: Generation) -> tuple[bool, int]:
    return generation.backend == "kmod", generation.number


def _device(generation: Generation) -> str:
    """st_dev of a generation's root, as in mountinfo; empty if that was not recorded."""
    root = generation.manifest.get("root")
    device = root[0] if isinstance(root, list) and root and generation.backend == "ns" else None
    return f"{os.major(device)}:{os.minor(device)}" if isinstance(device, int) else ""


def count_residents(generations: Sequence[Generation]) -> Counter[str]:
    """Generation, as NAME.N → number of processes in it, or in a namespace made in it, that the caller may look at."""
    homes = Homes(generations)
    found: Counter[str] = Counter()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            generation = homes.of(entry)[0]
            if generation is not None:
                found[str(generation)] += 1
    return found
