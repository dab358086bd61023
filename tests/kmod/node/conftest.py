"""Tests of what `chosctl` does with the module: in a virtual machine with CHOS installed (`make kmod`).

The node and its users are those of the system tests.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "system"))
from node import Node
from node_fixtures import empty_node, pytest_sessionstart, users

__all__ = ["pytest_sessionstart", "users"]
MANY = 400  # more points than there are
QUICK = 24


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "one_in(N): the command has few points to be killed at; --quick takes one in N")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"of many points to be killed at, one in {QUICK}, by chance")
    parser.addoption("--first", type=int, help="the first point to be killed at, as a failure told it")


@pytest.fixture
def points(request: pytest.FixtureRequest) -> Iterator[Iterator[int]]:
    """The points of a command's work at which to kill it. The test stops at the first that is not reached.

    Its mark `one_in(N)` says that the command may have less than QUICK; --quick then takes one in N of them.
    """
    mark = request.node.get_closest_marker("one_in")
    step = (mark.args[0] if mark else QUICK) if request.config.getoption("--quick") else 1
    first = request.config.getoption("--first") or random.randint(1, step)
    reached = [0]

    def numbers() -> Iterator[int]:
        for number in range(first, MANY, step):
            print(f"at point {number} (again: --first {number})")
            yield number
            reached[0] += 1

    yield numbers()
    assert reached[0] * step < MANY - 2 * step, "the command never came to its end"
    assert reached[0], "the command was never killed"


@pytest.fixture
def node() -> Iterator[Node]:
    """An empty node; nothing of the module is left on it afterwards."""
    with empty_node() as node:
        yield node
        node.end()
        node.chosctl("down")
        assert not os.path.lexists("/chos")
        assert not os.path.exists("/sys/module/chos")
