"""What was measured, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Samples:
    """Times of one thing, in microseconds, in the order in which they were taken."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        if len(self.values) < 2:
            return self.values[0], self.values[0]
        cuts = statistics.quantiles(self.values, n=4)
        return cuts[0], cuts[2]

    def percentile(self, point: int) -> float:
        """The value that so many in a hundred do not exceed."""
        return sorted(self.values)[(len(self.values) - 1) * point // 100]

    def ratio(self, other: Samples) -> float:
        """Of the medians."""
        return self.median / other.median

    def paired(self, other: Samples) -> float:
        """The median of the ratios within each round: what drifts between rounds drops out."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.values, other.values))

    def added(self, other: Samples) -> float:
        """The median of the differences within each round."""
        return statistics.median(mine - theirs for mine, theirs in zip(self.values, other.values))

    def __add__(self, other: Samples) -> Samples:
        return Samples(self.values + other.values)

    def summary(self) -> dict[str, float]:
        low, high = self.quartiles
        count = len(self.values)
        return {"median": self.median, "q1": low, "q3": high, "p99": self.percentile(99), "samples": count}


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Criterion:
    """Something that was promised, and whether it holds."""

    text: str
    measured: float
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.limit


@dataclass
class Report:
    """Filled by the parts of the benchmark, in order.

    :param done: the parts that were measured whole.
    :param left_out: those that were not, or in part; and `ended`, why.
    """

    tables: list[Table] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    ended: str = ""

    @property
    def met(self) -> bool:
        return all(criterion.met for criterion in self.criteria)

    def to_json(self) -> str:
        criteria = [{**asdict(criterion), "met": criterion.met} for criterion in self.criteria]
        return (
            json.dumps(
                {
                    "machine": machine(),
                    "ended": self.ended,
                    "left_out": self.left_out,
                    "criteria": criteria,
                    "data": self.data,
                },
                indent=2,
            )
            + "\n"
        )

    def show(self) -> None:
        """Print everything: with rich on a terminal, plain otherwise."""
        for table in self.tables:
            _print(table)
        rows = [
            (
                "met" if criterion.met else "MISSED",
                criterion.text,
                f"{criterion.measured:.4g}{criterion.unit}",
                f"{criterion.limit:g}{criterion.unit}",
            )
            for criterion in self.criteria
        ]
        if rows:
            _print(Table("What was promised", ("", "", "measured", "at most"), rows))
        if self.ended:
            print(f"\nNot complete: {self.ended}. Not measured, or in part only: {', '.join(self.left_out)}.")
        print("On", ", ".join(f"{key} {value}" for key, value in machine().items()))


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg()[:2])
    return {
        "Linux": os.uname().release,
        "machine": os.uname().machine,
        "CPUs": str(len(os.sched_getaffinity(0))),
        "load": load,
    }


def spread(samples: Samples, digits: int = 1) -> str:
    """The quartiles."""
    low, high = samples.quartiles
    return f"{low:.{digits}f} – {high:.{digits}f}"


def row(label: str, samples: Samples, base: Samples) -> tuple[str, ...]:
    """Median, quartiles and both ratios, for a table with COLUMNS."""
    paired = f"{samples.paired(base):.3f}" if len(samples.values) == len(base.values) else ""
    return (
        label,
        f"{samples.median:.1f}",
        spread(samples),
        f"{samples.ratio(base):.3f}",
        paired,
        str(len(samples.values)),
    )


COLUMNS = ("", "µs", "quartiles", "ratio", "paired", "samples")


def _print(table: Table) -> None:
    if sys.stdout.isatty():
        try:
            return _print_rich(table)
        except ImportError:
            pass
    lines: list[Sequence[str]] = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    print(f"\n{table.title}")
    for line in lines:
        cells = [
            cell.ljust(width) if i == 0 or not _is_number(cell) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ]
        print("  " + "  ".join(cells).rstrip())
    for note in table.notes:
        print(f"  {note}")
    return None


def _print_rich(table: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    rich = RichTable(
        title=f"\n{table.title}",
        box=SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption="\n".join(table.notes) or None,
        caption_justify="left",
    )
    for i, column in enumerate(table.columns):
        rich.add_column(
            column, justify="left" if i == 0 or not any(_is_number(line[i]) for line in table.rows) else "right"
        )
    for line in table.rows:
        rich.add_row(*line)
    Console().print(rich)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "-+" or text in COLUMNS
