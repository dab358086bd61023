"""How far the benchmark is, about how long the rest takes, and when it has to end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import NamedTuple, TextIO


class Cost(NamedTuple):
    """About how many seconds a part takes, on two cores: with all of its samples, and with few."""

    full: float
    quick: float


class OutOfTime(Exception):
    """The time limit has passed."""


class Progress:
    """Told by the parts what they are at; says it to whoever waits, and how many samples there is time for.

    :param costs: part → cost of the parts that are to be measured.
    :param limit: seconds for all of them; 0 for no limit.
    """

    def __init__(self, costs: Mapping[str, Cost], *, quick: bool, limit: float, out: TextIO = sys.stderr) -> None:
        self._costs, self._out = dict(costs), out
        self._limit = limit
        self._started = time.monotonic()
        self._begun, self._begun_at = "", 0.0
        self._share: float = 0 if quick else self._affordable()
        self._terminal = out.isatty()

    def _affordable(self) -> float:
        """Which share of the samples beyond the few there is time for: 1 for all of them."""
        full, quick = (sum(column) for column in zip(*self._costs.values()))
        return 1.0 if not self._limit else min(max((self._limit - quick) / max(full - quick, 1), 0), 1)

    def count(self, full: int, few: int) -> int:
        """How many samples to take where `full` would be taken with all the time there is, and `few` with little."""
        return few + round((full - few) * self._share)

    def begin(self, part: str) -> None:
        """The next part begins. :raises OutOfTime: there is no time for it."""
        self._begun, self._begun_at = part, time.monotonic() - self._started
        self._check()
        self._say(f"{part} …", line=True)

    def step(self) -> None:
        """Something within a part begins. :raises OutOfTime: there is no time for it."""
        self._check()
        if self._terminal:
            self._say(f"{self._begun} …")

    def end(self) -> None:
        """Nothing is measured any more: the line on the terminal is to be used for something else."""
        if self._terminal:
            self._out.write("\r\033[K")
            self._out.flush()

    def _check(self) -> None:
        if self._limit and time.monotonic() - self._started > self._limit:
            raise OutOfTime(f"the time limit of {self._limit:g} s has passed, in the part {self._begun}")

    def _say(self, text: str, *, line: bool = False) -> None:
        gone = time.monotonic() - self._started
        words = f"bench: {text} {_clock(gone)} gone, about {_clock(max(self._expected() - gone, 0))} remain"
        self._out.write(f"\r\033[K{words}" if self._terminal else f"{words}\n" if line else "")
        self._out.flush()

    def _expected(self) -> float:
        """Seconds for all of it: from what the parts cost, and from how long those took that are done."""
        cost = [each.quick + (each.full - each.quick) * self._share for each in self._costs.values()]
        at = list(self._costs).index(self._begun)
        done = sum(cost[:at])
        # What was measured so far tells how fast this machine is, once it is more than the beginning.
        pace = min(max(self._begun_at / done, 0.3), 5) if done > 5 else 1.0
        gone = time.monotonic() - self._started
        return max(self._begun_at + cost[at] * pace, gone) + sum(cost[at + 1 :]) * pace


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
