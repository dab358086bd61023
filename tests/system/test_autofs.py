"""A real automounter on the base: its file systems appear inside when somebody there walks into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from automounter import automount
from node import Node, mount_points

__all__ = ["automount"]


def test_triggered_inside(node: Node, automount: Callable[[], None]) -> None:
    node.tree("early")
    node.tree("late")
    node.configure("early:/os/early\nlate:/os/late\n")
    node.up("early")
    before = node.resident("early")
    automount()
    node.up("late")
    after = node.resident("late", user="bob")
    assert "/auto/red" not in mount_points() and "/auto/green" not in mount_points()
    assert node.ask(before, "cat /auto/red/colour") == "red", "in an environment that is older than the automounter"
    assert "/auto/red" in mount_points(), "mounted on the base"
    assert node.ask(after, "cat /auto/red/colour") == "red"
    assert node.ask(after, "cat /auto/green/colour") == "green", "in an environment that is younger"
    assert node.ask(before, "cat /auto/green/colour") == "green"
    assert Path("/auto/blue/colour").read_text() == "blue\n"
    assert node.ask(before, "cat /auto/blue/colour") == "blue", "triggered on the base, seen inside"


def test_a_key_that_is_not_there_is_an_error_not_a_hang(node: Node, automount: Callable[[], None]) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    automount()
    node.up()
    result = node.chos("one", "ls", "/auto/nothing")
    assert result.returncode != 0 and "No such file" in result.stderr


def test_working_directory_in_an_automounted_home(node: Node, automount: Callable[[], None]) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    automount()
    assert node.chos("one", "pwd", cwd="/auto/green", check=True).stdout == "/auto/green\n"
    assert node.chos("one", "cat", "colour", cwd="/auto/green", check=True).stdout == "green\n"
