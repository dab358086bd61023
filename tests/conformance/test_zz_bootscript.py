"""The SysV script's verbs. Last, for it takes everything down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from node import Node
from rows import row

SECTION = "Boot script"


@pytest.fixture
def simple(changed: Node) -> Iterator[Node]:
    """A configuration without mistakes: the exit status says only what the script did."""
    Path("/etc/chos").write_text("%SHELLS\none:/os/one\n")
    Path("/var/lock/subsys").mkdir(parents=True, exist_ok=True)
    yield changed
    Path("/var/lock/subsys/chos").unlink(missing_ok=True)


def verb(node: Node, word: str) -> int:
    return node.run(["/etc/init.d/chos", word], user="root").returncode


@row("`start`, `stop`, `status`, `restart`", section=SECTION)
def test_start_and_stop(simple: Node) -> None:
    assert verb(simple, "stop") == 0 and verb(simple, "status") == 3
    assert simple.chos("one", "true").returncode == 125
    assert verb(simple, "start") == 0 and verb(simple, "status") == 0
    assert simple.chos("one", "true").returncode == 0
    assert verb(simple, "restart") == 0 and simple.chos("one", "true").returncode == 0


@row("`reload` and `condrestart` follow a change and move no running job", section=SECTION)
def test_reload(node: Node, simple: Node) -> None:
    assert verb(simple, "reload") == 0
    job = simple.resident("one")
    Path("/etc/chos").write_text("%SHELLS\none:/os/two\n")
    assert verb(simple, "condrestart") == 0
    assert "ID=two" in simple.chos("one", "cat", "/etc/os-release", check=True).stdout
    assert simple.ask(job, "grep ^ID= /etc/os-release") == "ID=one"
    simple.leave(job)
    assert verb(simple, "nonsense") == 2


@row("`stop` leaves nothing behind once the last job has ended", section=SECTION)
def test_nothing_left(simple: Node) -> None:
    assert verb(simple, "start") == 0
    job = simple.resident("one")
    assert verb(simple, "stop") == 0
    assert simple.ask(job, "grep ^ID= /etc/os-release") == "ID=one"
    simple.leave(job)
    assert verb(simple, "stop") == 0
    places = ("/chos", "/run/chos", "/proc/chos")
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    left = [point for point in mounts if any(point == place or point.startswith(f"{place}/") for place in places)]
    assert left == [] and not Path("/sys/module/chos").exists()
