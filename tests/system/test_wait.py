"""`--wait`: what is taken away is removed when its last process ends.

On a node that is always noticed by looking again: process events are the machine's own network namespace's, and are
tested there, in tests/unit/test_endings.py.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import REGISTRY, Node, wait_for
from waiting import Waiting


@pytest.fixture
def two(node: Node) -> Node:
    """Environments one and two."""
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\ntwo:/os/two")
    node.up()
    return node


@pytest.fixture
def inside(two: Node) -> Iterator[subprocess.Popen[str]]:
    """alice's process in one."""
    yield two.resident("one")


def _generations() -> list[str]:
    return sorted(path.name for path in (REGISTRY / "gen").iterdir()) if (REGISTRY / "gen").exists() else []


def test_down_ends_when_the_last_process_has(two: Node, inside: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting = Waiting("down", "one", "--wait", place=tmp_path)
    waiting.until("waiting for one.1: alice")
    assert _generations() == ["one.1", "two.1"]
    assert two.chos("one", "true").returncode != 0
    inside.kill()
    status, output, said = waiting.end()
    assert (status, output) == (0, "one.1 is removed\n")
    assert "note: looking again every second" in said
    assert _generations() == ["two.1"]


def test_down_of_everything_removes_the_registry(two: Node, inside: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting = Waiting("down", "--wait", "--json", place=tmp_path)
    wait_for(lambda: _generations() == ["one.1"], "two is down")
    assert waiting.process.poll() is None
    inside.kill()
    status, output, said = waiting.end()
    assert status == 0 and said == ""
    found = json.loads(output)
    assert (sorted(found["retired"]), found["in_use"], found["waited"]) == (["one.1", "two.1"], {}, "ended")
    assert not REGISTRY.is_mount()


def test_what_is_published_meanwhile_stays(two: Node, inside: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting = Waiting("down", "--wait", place=tmp_path)
    waiting.until("waiting for")
    two.up()
    inside.kill()
    assert waiting.end()[0] == 0
    assert two.chos("one", "true").returncode == 0
    assert "one.1" not in _generations()


def test_up_waits_for_the_generation_before(two: Node, inside: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting = Waiting("up", "--renew", "--wait", place=tmp_path)
    waiting.until("waiting for one.1: alice")
    assert two.chos("one", "true").returncode == 0
    inside.kill()
    assert waiting.end()[0] == 0
    assert _generations() == ["one.2", "two.2"]


def test_nobody_is_waited_for_who_is_elsewhere(two: Node, inside: subprocess.Popen[str]) -> None:
    """A generation of another environment is not what was asked for."""
    two.up("--renew", "one")
    done = two.chosctl("down", "two", "--wait", check=True)
    assert "two.1 is removed" in done.stdout and "one.1 is still used by 1 process" in done.stdout


def test_the_time_is_over(two: Node, inside: subprocess.Popen[str]) -> None:
    done = two.chosctl("down", "one", "--wait", "--timeout", "0.1", check=False)
    assert done.returncode == 4
    assert "chosctl: still used after 0.1 s" in done.stderr
    assert done.stdout.startswith("one.1 is still used by 1 process")
    # Again, though it is down by now; and as JSON.
    done = two.chosctl("down", "one", "--wait", "--timeout", "0.1", "--json", check=False)
    assert done.returncode == 4
    assert json.loads(done.stdout) == {"retired": [], "in_use": {"one.1": 1}, "waited": "timeout"}
    inside.kill()
    inside.wait()
    assert "one.1 is removed" in two.chosctl("down", "one", "--wait").stdout


def test_an_interruption_leaves_what_was_done(two: Node, inside: subprocess.Popen[str], tmp_path: Path) -> None:
    waiting = Waiting("down", "one", "--wait", place=tmp_path)
    waiting.until("waiting for")
    waiting.process.send_signal(signal.SIGINT)
    status, output, said = waiting.end()
    assert status == 130
    assert "interrupted while waiting" in said
    assert "one.1 is still used by 1 process; once nobody uses it" in output
    assert inside.poll() is None
    inside.kill()
    inside.wait()
    two.up("two")
    assert _generations() == ["two.1"]


def test_a_terminal_shows_who_is_inside(two: Node, inside: subprocess.Popen[str]) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(["chosctl", "down", "one", "--wait"], stdout=slave, stderr=slave, stdin=slave)
    os.close(slave)
    seen = b""
    while b"waiting for one.1: alice" not in seen:
        seen += os.read(master, 4096)
    inside.kill()
    try:
        while True:
            seen += os.read(master, 4096)
    except OSError:  # the terminal's other end is closed
        pass
    assert process.wait() == 0
    assert seen.endswith(b"\r\x1b[Kone.1 is removed\r\n"), seen


@pytest.mark.parametrize(
    "words", [["up", "--wait", "--dry-run"], ["down", "--wait", "--dry-run"], ["down", "--timeout", "1"]]
)
def test_what_makes_no_sense_is_refused(two: Node, words: list[str]) -> None:
    assert two.chosctl(*words, check=False).returncode == 2
    assert _generations() == ["one.1", "two.1"]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e300", "soon"])
@pytest.mark.parametrize("command", [["up"], ["reload"], ["down", "--wait"]])
def test_no_number_of_seconds(two: Node, command: list[str], seconds: str) -> None:
    done = two.chosctl(*command, "--timeout", seconds, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "'--timeout'" in done.stderr
    assert _generations() == ["one.1", "two.1"]


def test_nothing_to_wait_for(two: Node) -> None:
    assert two.chosctl("up", "--wait", check=False).returncode == 0
    assert two.chosctl("down", "one", "--wait").stdout == "one.1 is removed\n"
