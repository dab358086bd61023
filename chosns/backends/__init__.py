"""Backends: how a process tree comes to see an environment. One module each, one small protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chosns.model import Environment, Site
from chosns.plan import Plan
from chosns.registry_writer import RegistryWriter


@dataclass(frozen=True)
class Prepared:
    """What preparing an environment led to.

    generation: as `NAME.N`; the one that was there already where nothing had changed
    fresh:      whether it was made now
    seconds:    how long it took, in seconds
    warnings:   what an administrator should know of
    """

    generation: str
    fresh: bool
    seconds: float
    warnings: tuple[str, ...] = ()


class Backend(Protocol):
    """What `chosctl` asks of every backend."""

    name: str

    def explain(self, env: Environment, site: Site) -> Plan:
        """The plan, without doing or changing anything and without privilege."""

    def prepare(
        self,
        env: Environment,
        site: Site,
        registry: RegistryWriter,
        *,
        group_ids: Sequence[int],
        renew: bool,
        progress: Callable[[str], None],
    ) -> Prepared:
        """Make a generation, checked but not yet published, unless the published one is what would be made.

        The caller holds the registry's lock.

        :param group_ids: who may enter; empty for everyone.
        :param renew: make one in any case.
        :param progress: told, in a sentence, about what takes longer than expected.
        :raises ChosError: why this environment cannot be prepared. Nothing is left behind then.
        """
