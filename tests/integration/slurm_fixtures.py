"""The fixtures of the tests of Slurm: a cluster and two environments for each module, as they were for each test."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Node
from node_fixtures import empty_node
from slurm_cluster import Slurm, missing

GROUP = "physics"
SHELLS = "one:/os/one\ntwo:/os/two\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """The daemons. bob is in a group from before they first hear of him: slurmctld remembers groups for a while."""
    if why := missing():
        pytest.skip(why)
    subprocess.run(["groupadd", "-f", GROUP], check=True)
    subprocess.run(["usermod", "-a", "-G", GROUP, "bob"], check=True)
    cluster = Slurm(Path("/srv/slurm-test"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        subprocess.run(["gpasswd", "-d", "bob", GROUP], check=True, capture_output=True)


@pytest.fixture(scope="module")
def prepared(cluster: Slurm) -> Iterator[Node]:
    """Environments `one` and `two`, without a default. They stay, and so do jobs that are in them."""
    with empty_node() as node:
        node.tree("one")
        node.tree("two")
        node.configure(SHELLS)
        node.up()
        yield node


@pytest.fixture
def two(prepared: Node) -> Iterator[Node]:
    """The same; what a test configures otherwise is taken back."""
    yield prepared
    changed = Path("/etc/chos").read_text() != f"%SHELLS\n{SHELLS.strip()}\n" or Path("/etc/chos.d").exists()
    if changed:
        for path in Path("/etc/chos.d").glob("*.toml"):
            path.unlink()
        prepared.configure(SHELLS)
        prepared.up()


@pytest.fixture
def slurm(cluster: Slurm, two: Node) -> Iterator[Slurm]:
    """The cluster. After each test its queue is empty, its node is not drained, and slurmd is where it was."""
    before = _slurmd(cluster)
    yield cluster
    cluster.set_plugin("required")
    cluster.emptied()
    cluster.wait(lambda: cluster.state() in ("idle", "mix", "alloc"), "the node: it must not be drained")
    cluster.wait(lambda: not _slurmd(cluster) - before, "slurmd to be as it was: namespace, root, descriptors")


def _slurmd(cluster: Slurm) -> Counter[str]:
    """Where the daemon is, and to which files and namespaces its descriptors lead."""
    process = Path(f"/proc/{cluster.daemons['slurmd'].pid}")
    links = [process / "ns/mnt", process / "root", process / "cwd", *(process / "fd").iterdir()]
    found = [os.readlink(link) for link in links if os.path.lexists(link)]
    return Counter(target for target in found if not target.startswith(("socket:", "pipe:", "anon_inode:")))
