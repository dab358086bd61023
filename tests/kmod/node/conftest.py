"""Tests of what `chosctl` does with the module: in a virtual machine with CHOS installed (`make kmod`).

The node and its users are those of the system tests.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "system"))
from node import Node
from node_fixtures import empty_node, pytest_sessionstart, users

__all__ = ["pytest_sessionstart", "users"]


@pytest.fixture
def node() -> Iterator[Node]:
    """An empty node; nothing of the module is left on it afterwards."""
    with empty_node() as node:
        yield node
        node.end()
        node.chosctl("down")
        assert not os.path.lexists("/chos")
        assert not os.path.exists("/sys/module/chos")
