"""The thin slice: configure, up, enter, see, leave."""

from __future__ import annotations

from node import Node


def test_two_users_two_systems(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\ndefault:/os/one\n")
    node.up()
    assert 'PRETTY_NAME="one"' in node.chos("one", "cat", "/etc/os-release", check=True).stdout
    assert 'PRETTY_NAME="two"' in node.chos("two", "cat", "/etc/os-release", user="bob", check=True).stdout
    assert 'PRETTY_NAME="one"' in node.chos("default", "cat", "/etc/os-release", check=True).stdout


def test_back_to_the_base(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    inside = node.chos("one", "sh", "-c", "env CHOS=root chos cat /etc/os-release", check=True)
    with open("/etc/os-release", encoding="utf-8") as file:
        assert inside.stdout == file.read()
