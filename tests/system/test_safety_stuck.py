"""A builder that is stuck in the kernel, and cannot even be killed, stops nobody else."""

from __future__ import annotations

from pathlib import Path

from node import Node
from silent import silent_file_system


def test_a_stuck_builder_keeps_no_lock(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\nsilent:/os/silent\n")
    with silent_file_system(Path("/os/silent"), reads=True):
        first = node.up("--timeout", "1", check=False)
        assert first.returncode == 1 and "no answer" in first.stderr
        second = node.run(["timeout", "20", "chosctl", "up", "--renew", "one"], user="root")
        assert second.returncode == 0, second
        assert node.chos("one", "true").returncode == 0
        down = node.run(["timeout", "20", "chosctl", "down"], user="root")
        assert down.returncode == 0, down
