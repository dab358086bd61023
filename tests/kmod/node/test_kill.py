"""`up --backend=kmod` and `down` die at every point: rules 18 and 20 of docs/security.md, where the module is.

Whoever is inside stays where they are, nobody enters where they may not or lands on the base under another name, no
mount of /chos is seen with set-uid programs on it, and the next command mends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_tools import Marker, refuse, spawn
from builder import chosctl, missing_calls
from node import Node, mount_points

SECRET = '[environment.two]\ngroups = ["bob"]\n'
VALID = Path("/proc/chos/valid")


@pytest.fixture
def both(node: Node) -> Iterator[Node]:
    """Two environments configured, the second for bob's group alone; nothing prepared."""
    node.tree("one")
    tree = node.tree("two")
    subprocess.run(["chgrp", "bob", tree], check=True)
    tree.chmod(0o750)
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\n", two=SECRET)
    yield node


def killed(status: int, text: str) -> bool:
    """Whether the command was killed, as it was to be; false where it came to its end first."""
    assert status in (0, -signal.SIGKILL), text
    return status != 0


def safe() -> None:
    """What holds at every moment."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target, options = line.split()[4:6]
        if target.startswith("/chos/"):
            assert "nosuid" in options.split(","), line
            assert "nodev" in options.split(",") or target.startswith("/chos/dev"), line
    if os.path.exists(VALID):
        assert set(VALID.read_text().split()) <= {"/os/one", "/os/two"}
    refuse("two", user="alice")
    refuse("nothing", user="alice")


def enters_or_is_refused(name: str) -> bool:
    """Whether alice gets there; never elsewhere."""
    marker = Marker()
    command = ["/usr/bin/chos", "/bin/sh", "-c", f"grep -q ID=one /etc/os-release && echo ran >{marker.path}"]
    entered = spawn(command, env={"CHOS": name}, timeout=60)
    if entered.returncode == 0:
        assert marker.ran
        return True
    marker.refused(entered)
    return False


def enters(node: Node) -> None:
    """Both environments can be entered by those who may, through the module."""
    for name in ("one", "alias"):
        result = node.chos(name, "-v", "cat", "/etc/os-release", check=True)
        assert "ID=one" in result.stdout and "backend kmod" in result.stderr, result
    assert "ID=two" in node.chos("two", "cat", "/etc/os-release", check=True, user="bob").stdout
    safe()


def nothing_left() -> None:
    """The node is as before the first `up`."""
    assert not os.path.lexists("/chos")
    assert not os.path.exists("/sys/module/chos")
    assert not [point for point in mount_points() if point.startswith(("/chos", "/run/chos", "/proc/chos"))]


def up(*arguments: str) -> None:
    """One that is not disturbed."""
    status, text = chosctl("up", *arguments)
    assert status == 0, text


def test_killed_at_every_point_of_the_first_up(points: Iterator[int], both: Node) -> None:
    """Rule 20: from nothing. What is half made lets nobody in who may not, and both `up` and `down` clear it."""
    for turn, number in enumerate(points):
        went_on = killed(*chosctl("up", "--backend=kmod", kill=str(number)))
        safe()
        enters_or_is_refused("one")
        if not went_on:
            break
        if turn % 2:
            up("--backend=kmod")
            enters(both)
        status, text = chosctl("down")
        assert status == 0, text
        nothing_left()
    enters(both)


@pytest.mark.one_in(8)
def test_killed_at_every_point_while_somebody_is_inside(points: Iterator[int], both: Node) -> None:
    """Rules 18 and 20: who is inside stays there, and finds from there what there is."""
    up("--backend=kmod")
    resident = both.resident("one")
    tell = "grep ^ID= /etc/os-release"
    for number in points:
        went_on = killed(*chosctl("up", "--renew", kill=str(number)))
        safe()
        assert both.ask(resident, tell) == "ID=one"
        assert both.ask(resident, f"CHOS=one /local/usr/bin/chos {tell}") == "ID=one", "the old generation, or the new"
        assert enters_or_is_refused("alias")
        if not went_on:
            break
    enters(both)
    both.leave(resident)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("resident", [False, True])
def test_killed_at_every_point_of_down(points: Iterator[int], both: Node, resident: bool) -> None:
    """Rule 20: each name still works or is gone; the next `down` finishes, but for what somebody inside needs."""
    for number in points:
        up("--backend=kmod")
        inside = both.resident("one") if resident else None
        went_on = killed(*chosctl("down", kill=str(number)))
        safe()
        enters_or_is_refused("one")
        if inside:
            assert both.ask(inside, "grep ^ID= /etc/os-release") == "ID=one"
            both.leave(inside)
        status, text = chosctl("down")
        assert status == 0, text
        nothing_left()
        if not went_on:
            break


@pytest.mark.skipif(bool(missing_calls()), reason="this kernel is too old for the backend ns")
def test_killed_at_every_point_of_the_move_to_ns(points: Iterator[int], both: Node) -> None:
    """Rule 20: from kmod to ns, which makes namespaces and takes the module away."""
    for number in points:
        up("--backend=kmod")
        went_on = killed(*chosctl("up", "--backend=ns", kill=str(number)))
        safe()
        enters_or_is_refused("one")
        up("--backend=ns")
        assert not os.path.exists("/sys/module/chos")
        assert "ID=one" in both.chos("one", "cat", "/etc/os-release", check=True).stdout
        assert "backend ns" in both.chos("alias", "-v", "true", check=True).stderr
        safe()
        if not went_on:
            break
