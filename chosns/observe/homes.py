"""Which generation a process is in, and how many are in each. Most commands need this, so it imports nothing large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chosns import backends
from chosns.registry import Generation
from chosns.system import procfs
from chosns.system.procfs import mount_namespace


class AllHomes:
    """Tells in which of `generations` a process lives, by asking every backend."""

    def __init__(self, generations: Sequence[Generation]) -> None:
        self._homes = [backends.presence(name).homes(generations) for name in backends.names()]

    def of(self, pid: int | str) -> tuple[Generation | None, bool]:
        """The generation, and whether the process is in a namespace that was made in it."""
        namespace = mount_namespace(pid)
        for homes in self._homes:
            if found := homes.of(pid, namespace):
                return found
        return None, False


def count_residents(generations: Sequence[Generation]) -> Counter[str]:
    """Generation, as NAME.N → number of processes in it, or in a namespace made in it, that the caller may look at."""
    homes = AllHomes(generations)
    found: Counter[str] = Counter()
    for pid in procfs.processes():
        generation = homes.of(pid)[0]
        if generation is not None:
            found[str(generation)] += 1
    return found
