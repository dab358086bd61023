"""bench/progress.py: how many samples there is time for, and what is said of the rest."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def progress() -> ModuleType:
    spec = importlib.util.spec_from_file_location("progress", REPO / "bench/progress.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    """In the place of `time`: it stands still until somebody moves it."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make(progress: Any, monkeypatch: pytest.MonkeyPatch, out: io.StringIO, **words: Any) -> tuple[Any, Clock]:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    costs = {"one": progress.Cost(100, 10), "two": progress.Cost(100, 10)}
    return progress.Progress(costs, **{"quick": False, "limit": 0, "out": out, **words}), clock


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ({}, 300),
        ({"quick": True}, 30),
        ({"limit": 200}, 300),
        ({"limit": 5000}, 300),
        ({"limit": 110}, 165),
        ({"limit": 20}, 30),
        ({"limit": 1}, 30),
        ({"quick": True, "limit": 5000}, 30),
    ],
)
def test_how_many_samples(
    progress: ModuleType, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], taken: int
) -> None:
    made, _ = make(progress, monkeypatch, io.StringIO(), **words)
    assert made.count(300, 30) == taken


def test_what_remains(progress: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what the parts cost at first, then from how fast this machine is."""
    out = io.StringIO()
    made, clock = make(progress, monkeypatch, out)
    made.begin("one")
    made.step()
    clock.now += 200
    made.begin("two")
    assert out.getvalue().splitlines() == [
        "bench: one … 0:00 gone, about 3:20 remain",
        "bench: two … 3:20 gone, about 3:20 remain",
    ]


def test_on_a_terminal_one_line_is_kept_up_to_date(progress: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    made, clock = make(progress, monkeypatch, out)
    made.begin("one")
    clock.now += 30
    made.step()
    made.end()
    assert "0:30 gone, about 2:50 remain" in out.getvalue() and "\n" not in out.getvalue()
    assert out.getvalue().endswith("\r\033[K")


@pytest.mark.parametrize("more", ["begin", "step"])
def test_the_limit(progress: ModuleType, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    made, clock = make(progress, monkeypatch, io.StringIO(), limit=60)
    made.begin("one")
    clock.now += 60
    made.step()
    clock.now += 1
    with pytest.raises(progress.OutOfTime, match="60 s has passed"):
        made.begin("two") if more == "begin" else made.step()
