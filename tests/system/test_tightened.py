"""A restriction that is tightened holds from then on, also when no new generation can be made: rules 22 and 23."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from attack_tools import patched, refuse
from node import REGISTRY, Node

POLICY = "[environment.one.policy]\n{}\n"
NOBODY = "nobody can enter until this is mended"


def groups(names: object) -> str:
    """The section that lets these groups in, everyone where there is none."""
    return f"[environment.one]\ngroups = {names}\n" if names else "[environment.one]\n"


def configured(node: Node, section: str) -> None:
    """What /etc/chos.d says of `one`."""
    Path("/etc/chos.d/one.toml").write_text(section)


def prepared(node: Node, section: str) -> None:
    """`one` and `two`, with an alias, prepared; then the tree of `one` is away."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\n", one=section)
    node.up()
    os.rename("/os/one", "/os/away")


def fails(node: Node, *words: str) -> None:
    """`up`, for `one` alone."""
    result = node.up(check=False)
    assert result.returncode == 1, result
    for word in words:
        assert word in result.stderr
    assert node.chos("two", "true").returncode == 0


def enters(node: Node, *users: str) -> None:
    """These of alice and bob get in, by either name; the other is refused."""
    for user in ("alice", "bob"):
        for name in ("one", "alias"):
            if user in users:
                assert node.chos(name, "/bin/true", user=user).returncode == 0, (name, user)
            else:
                refuse(name, user=user)


def mended(node: Node, *users: str) -> None:
    """The tree is back: a new generation for those who may enter now."""
    os.rename("/os/away", "/os/one")
    node.up()
    assert json.loads(node.chosctl("status", "--json").stdout)["healthy"]
    enters(node, *users)


@pytest.mark.parametrize(
    ("before", "after", "meanwhile", "later"),
    [
        ([], ["bob"], ["bob"], ["bob"]),
        (["alice", "bob"], ["bob"], ["bob"], ["bob"]),
        (["alice", "bin"], ["bob", "alice", "root"], ["alice"], ["alice", "bob"]),
        (["bob"], [], ["bob"], ["alice", "bob"]),
        (["bob"], ["alice"], [], ["alice"]),
        ([], [], ["alice", "bob"], ["alice", "bob"]),
    ],
)
def test_groups_change_while_the_tree_is_away(
    node: Node, before: list[str], after: list[str], meanwhile: list[str], later: list[str]
) -> None:
    """Who may not enter any more does not; who may now waits for what was made for them."""
    prepared(node, groups(before))
    configured(node, groups(after))
    fails(node, "does not exist", *([] if meanwhile else [NOBODY]))
    enters(node, *meanwhile)
    fails(node)
    enters(node, *meanwhile)
    mended(node, *later)


@pytest.mark.parametrize("section", [groups(["bbo"]), groups(["bob", "bbo"]), groups(3), "x = [\n"])
def test_a_restriction_that_cannot_be_understood(node: Node, section: str) -> None:
    """Nobody enters then; who is inside stays."""
    prepared(node, groups([]))
    os.rename("/os/away", "/os/one")
    resident = node.resident("one")
    configured(node, section)
    result = node.up("one", check=False)
    assert result.returncode == 1 and NOBODY in result.stderr, result
    enters(node)
    assert NOBODY in node.chos("one", "true").stderr
    assert node.ask(resident, "echo alive") == "alive"
    assert not REGISTRY.joinpath("env/one").exists() and REGISTRY.joinpath("gen/one.1/ns").exists()
    states = {
        env["name"]: env for env in json.loads(node.chosctl("status", "--json", check=False).stdout)["environments"]
    }
    assert states["one"]["state"] == "failed" and NOBODY in states["one"]["reason"]
    configured(node, groups(["bob"]))
    node.up()
    enters(node, "bob")


def test_a_name_service_that_does_not_answer(node: Node) -> None:
    """A group that was known when it was let in is not lost with it."""
    prepared(node, groups(["bob"]))
    os.rename("/os/away", "/os/one")
    away = "import grp\ndef none(name): raise KeyError(name)\ngrp.getgrnam = none"
    assert patched(away, "up").returncode == 1
    enters(node, "bob")
    configured(node, groups(["bob", "bin"]))
    assert patched(away, "up").returncode == 1
    enters(node)


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        ("", "no_new_privs = true", False),
        ("nosuid = false", "", False),
        ("nodev = false", "nodev = true", False),
        ("", "read_only = true", False),
        ("no_new_privs = true", "no_new_privs = true\nread_only = true", False),
        ("no_new_privs = true", "", True),
        ("", 'personality = "linux32"', True),
    ],
)
def test_the_policy_changes_while_the_tree_is_away(node: Node, before: str, after: str, stays: bool) -> None:
    """What allows more than the policy is not entered any more."""
    prepared(node, POLICY.format(before))
    configured(node, POLICY.format(after))
    fails(node, "does not exist", *([] if stays else [NOBODY]))
    enters(node, *(["alice", "bob"] if stays else []))
    mended(node, "alice", "bob")
