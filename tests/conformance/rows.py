"""The rows of the table backend × behaviour: each test of the suite says which one it proves.

A backend that behaves otherwise is named with the reason, for users to read. Its test then has to fail: a reason
that is no longer true fails the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

BACKENDS = ("ns", "kmod")
_Test = TypeVar("_Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Row:
    """`text`: what users can rely on, under the heading `section`. `but`: backend → why it is otherwise there."""

    test: str
    section: str
    text: str
    but: Mapping[str, str]


ROWS: list[Row] = []


def row(text: str, *, section: str, but: Mapping[str, str] | None = None) -> Callable[[_Test], _Test]:
    """Make a test the proof of a row; rows of one section follow each other, in the order of the tests."""
    reasons = dict(but or {})
    assert set(reasons) <= set(BACKENDS), f"{text}: {reasons}"
    assert all(text != known.text for known in ROWS), f"two rows say: {text}"

    def mark(test: _Test) -> _Test:
        ROWS.append(Row(f"{test.__module__}.{test.__name__}", section, text, reasons))
        return test

    return mark


def row_of(test: str) -> Row:
    """The row of a test function, MODULE.FUNCTION. :raises AssertionError: it has none."""
    found = [row for row in ROWS if row.test == test]
    assert len(found) == 1, f"{test} has {len(found)} rows; write @row(…) above it, once"
    return found[0]
