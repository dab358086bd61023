"""Every process that is in an environment, with what is known about it."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from chosns.lazydata import dataclass
from chosns.observe.homes import AllHomes
from chosns.registry import Generation
from chosns.system.procfs import command_line, mount_namespace


@dataclass(frozen=True)
class Resident:
    """A process in an environment. `started`: seconds since the epoch. `nested`: in a container inside it. `command`:
    its command line, of a very long one the beginning."""

    pid: int
    user: str
    environment: str
    generation: str
    started: float
    command: str
    nested: bool = False


def residents(generations: Sequence[Generation]) -> list[Resident]:
    """Every process that lives in one of `generations`, or in a namespace made by one that does.

    Root sees all of them; others see their own.
    """
    homes = AllHomes(generations)
    known = {pid: homes.of(pid) for pid in psutil.pids()}
    found = []
    for process in psutil.process_iter():
        generation, nested = known.get(process.pid, (None, False))
        if generation is None and mount_namespace(process.pid) not in (0, mount_namespace("self")):
            generation, nested = _of_ancestor(process, known), True
        if generation is not None:
            with_details = _describe(process, generation, nested)
            if with_details:
                found.append(with_details)
    return found


def _of_ancestor(process: psutil.Process, known: dict[int, tuple[Generation | None, bool]]) -> Generation | None:
    """For a process in a container with another root: the generation of the nearest ancestor that is in one."""
    try:
        for ancestor in process.parents():
            generation = known.get(ancestor.pid, (None, False))[0]
            if generation is not None:
                return generation
    except psutil.Error:
        pass
    return None


def _describe(process: psutil.Process, generation: Generation, nested: bool) -> Resident | None:
    try:
        with process.oneshot():
            command = command_line(process.pid) or f"[{process.name()}]"
            environment = str(generation.manifest.get("environment", generation.name))
            return Resident(
                process.pid, process.username(), environment, str(generation), process.create_time(), command, nested
            )
    except psutil.Error:  # ended meanwhile
        return None
