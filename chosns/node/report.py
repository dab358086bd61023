"""What `up` and `down` report."""

from __future__ import annotations

from dataclasses import field

from chosns.errors import ChosError
from chosns.lazydata import dataclass
from chosns.node.actions import Action, Retire


@dataclass(frozen=True)
class Outcome:
    """The result for one environment: `made`, `unchanged` or `failed`. If it failed, `error` says why.

    `why`: the reasons for which a new generation was made.
    """

    environment: str
    state: str
    generation: str = ""
    seconds: float = 0.0
    error: ChosError | None = None
    warnings: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


@dataclass
class Report:
    """What `up` or `down` did, or would do.

    decision: each action in its order, with the environment that it is for; empty: for the whole node
    retired:  generations that are gone
    kept:     generations that wait for their processes to end → number of these processes
    asked:    registry names of the environments that were named; empty: all
    degraded: a wanted backend is not available, or mounts inside allow more than their plan
    """

    outcomes: list[Outcome] = field(default_factory=list)
    decision: list[tuple[str, Action]] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    asked: tuple[str, ...] = ()
    degraded: bool = False

    def add(self, environment: str, action: Action) -> None:
        """One more action of the decision."""
        self.decision.append((environment, action))
        if isinstance(action, Retire) and action.complete:
            self.retired.append(action.generation)

    @property
    def failed(self) -> bool:
        return self.degraded or any(outcome.state == "failed" for outcome in self.outcomes)
