"""`chosctl down --wait` is told by the kernel when a process ends: here is a machine's own network namespace."""

from __future__ import annotations

from pathlib import Path

import pytest
from node import REGISTRY, Node
from waiting import Waiting


@pytest.mark.parametrize("backend", ["ns", "kmod"])
def test_the_end_is_told(backend: str, node: Node, tmp_path: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one")
    node.up(f"--backend={backend}")
    inside = node.resident("one")
    waiting = Waiting("down", "one", "--wait", place=tmp_path)
    waiting.until("waiting for one.1: alice")
    assert (REGISTRY / "gen/one.1").exists()
    node.leave(inside)
    status, output, said = waiting.end()
    assert (status, output) == (0, "one.1 is removed\n")
    if "the kernel has no connector" in said:
        pytest.skip("this kernel has no process events (CONFIG_PROC_EVENTS); Debian's have")
    assert "looking again" not in said
