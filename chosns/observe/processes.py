"""Which process lives in which generation."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import psutil

from chosns.registry import Generation


def namespaces_in_use() -> Counter[int]:
    """Mount namespace (inode number) → number of processes in it that the caller may look at."""
    found: Counter[int] = Counter()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            namespace = mount_namespace(entry)
            if namespace:
                found[namespace] += 1
    return found


def mount_namespace(pid: int | str) -> int:
    """Inode number of a process's mount namespace; 0 where it is gone, or not the caller's to know."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


@dataclass(frozen=True)
class Resident:
    """A process in an environment. `started`: seconds since the epoch. `nested`: in a container inside it."""

    pid: int
    user: str
    environment: str
    generation: str
    started: float
    command: str
    nested: bool = False


def residents(generations: list[Generation]) -> list[Resident]:
    """Every process that lives in one of `generations`, or in a namespace made by one that does.

    Root sees all of them; others see their own.
    """
    known = {generation.namespace: generation for generation in generations if generation.namespace}
    spaces = {pid: mount_namespace(pid) for pid in psutil.pids()}
    base = mount_namespace("self")
    found = []
    for process in psutil.process_iter():
        space = spaces.get(process.pid, 0)
        generation = known.get(space)
        nested = False
        if generation is None and space not in (0, base):
            generation = _of_ancestor(process, spaces, known)
            nested = generation is not None
        if generation is not None:
            with_details = _describe(process, generation, nested)
            if with_details:
                found.append(with_details)
    return found


def _of_ancestor(process: psutil.Process, spaces: dict[int, int], known: dict[int, Generation]) -> Generation | None:
    """For a process in a namespace that is not ours: the generation of the nearest ancestor that is in one."""
    try:
        for ancestor in process.parents():
            if spaces.get(ancestor.pid) in known:
                return known[spaces[ancestor.pid]]
    except psutil.Error:
        pass
    return None


def _describe(process: psutil.Process, generation: Generation, nested: bool) -> Resident | None:
    try:
        with process.oneshot():
            command = " ".join(process.cmdline()) or f"[{process.name()}]"
            environment = str(generation.manifest.get("environment", generation.name))
            return Resident(
                process.pid, process.username(), environment, str(generation), process.create_time(), command, nested
            )
    except psutil.Error:  # ended meanwhile
        return None
