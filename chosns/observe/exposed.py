"""Finds file systems of the base without nosuid that can be reached inside: set-uid programs work there (rule 34).

Only in environments whose tree is trusted like the base; in others no_new_privs makes set-uid programs harmless.
Changes nothing. Called by `observe.state` and `doctor`. Only root can see this; for other users it is unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from chosns.errors import ChosError
from chosns.lazydata import dataclass
from chosns.model import Origin, Problem, Severity
from chosns.mounts.repair import Findings, look, some
from chosns.registry import Generation
from chosns.system.mountinfo import Mount, read_mounts
from chosns.system.paths import is_below

_REMEDY = 'mount it with nosuid,nodev; or set `trust = "foreign"` or `no_new_privs = true` in the policy'


@dataclass(frozen=True)
class Exposed:
    """A file system of the base at `place`, by the base's name, and the generations in which it is without nosuid.

    automount: an automounter waits there, and may mount file systems without nosuid.
    """

    place: str
    fstype: str
    generations: tuple[str, ...]
    automount: bool = False

    def problem(self) -> Problem:
        """For `chosctl check`."""
        where = some(self.generations, 3)
        if self.automount:
            return Problem(
                Origin(self.place),
                f"what is mounted here automatically may come without nosuid into {where}: its set-uid programs then"
                " run with the libraries of the OS tree",
                f"{_REMEDY}; chosctl(8), CAVEATS",
                Severity.NOTE,
            )
        return Problem(
            Origin(self.place),
            f"is without nosuid in {where} ({self.fstype}): its set-uid programs run with the libraries of the OS tree",
            f"`chosctl up` restricts it inside; for good: {_REMEDY}",
            Severity.WARNING,
        )


@dataclass(frozen=True)
class Exposure:
    """Everything that can be reached now, by place, and the generations that could not be looked at."""

    found: tuple[Exposed, ...]
    unknown: tuple[Problem, ...]


def exposed(generations: Sequence[Generation]) -> Exposure | None:
    """Look; None if the caller is not root and so may not look."""
    if os.geteuid() != 0:
        return None
    trusting = [generation for generation in generations if _is_trusting(generation)]
    try:
        seen = look(trusting)
    except ChosError as error:
        return Exposure((), (Problem(Origin(error.object), error.message, error.hint, Severity.WARNING),))
    found = (*_late(seen), *_automounts(seen, read_mounts() if seen else []))
    return Exposure(found, tuple(_unknown(one) for one in seen if one.problem))


def _unknown(seen: Findings) -> Problem:
    return Problem(
        Origin(str(seen.generation)),
        f"cannot be looked at ({seen.problem}): what was mounted since may give rights in it",
        f"`chosctl up --renew {seen.generation.name}` makes a new generation; end what still runs in this one",
        Severity.WARNING,
    )


def _is_trusting(generation: Generation) -> bool:
    policy = generation.manifest.get("policy")
    return generation.has_namespace and not (isinstance(policy, dict) and policy.get("no_new_privs"))


def _late(seen: Iterable[Findings]) -> Iterator[Exposed]:
    found: dict[tuple[str, str], list[str]] = {}
    for one in seen:
        for place, fstype in one.late.items():
            found.setdefault((place, fstype), []).append(str(one.generation))
    for (place, fstype), generations in sorted(found.items()):
        yield Exposed(place, fstype, tuple(generations))


def _automounts(seen: Iterable[Findings], base: Sequence[Mount]) -> Iterator[Exposed]:
    """The automounters below which a file system without nosuid is mounted on the base, or nothing, so that it is
    unknown."""
    found: dict[str, list[str]] = {}
    for one in seen:
        for place in one.automounts:
            found.setdefault(place, []).append(str(one.generation))
    for place, generations in sorted(found.items()):
        mounted = [mount for mount in base if is_below(mount.target, place) and mount.fstype != "autofs"]
        if not mounted or any("nosuid" not in mount.flags for mount in mounted):
            yield Exposed(place, "autofs", tuple(generations), automount=True)
