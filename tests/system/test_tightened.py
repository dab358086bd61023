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


def binds(*tables: str) -> str:
    """The section that has these [[bind]] tables."""
    return "[environment.one]\n" + "".join(f"[[environment.one.bind]]\n{table}\n" for table in tables)


def bind_map(*lines: str) -> str:
    """A map `own` that takes the tree's /usr, /etc and what is the tree's in them, and of the base what these say."""
    top = '[tree]\ntop = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/opt", "/var"]\n'
    base = '[base]\nshare = ["/proc", "/sys", "/run", "/tmp", "/home"]\n'
    return top + base + "\n".join(lines or ['devices = ["/dev"]']) + "\n"


SRV = 'source = "/srv/kept"\ntarget = "/opt/kept"\n'
DEV = 'source = "/dev"\ntarget = "/opt/dev"\n'


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (binds(SRV), binds(SRV + "read_only = true"), "/opt/kept is read-only now"),
        (binds(DEV + "devices = true"), binds(DEV), "/opt/dev is without devices now"),
        (binds(SRV), binds(), "/opt/kept is not the base's now"),
        (binds(SRV), binds(SRV.replace("/srv/kept", "/srv/other")), "/opt/kept is not the base's /srv/kept now"),
        (binds(), binds('source = "/home"\nread_only = true'), "/home is read-only now"),
        (binds(SRV + "read_only = true"), binds(SRV), ""),
        (binds(), binds(SRV + "read_only = true"), ""),
        (binds(SRV), binds(SRV, DEV), ""),
    ],
)
def test_a_bind_changes_while_the_tree_is_away(node: Node, before: str, after: str, reason: str) -> None:
    """What is shown with more rights than it has now, or is shown no more, is not entered; what is new has to wait."""
    for path in ("/srv/kept", "/srv/other"):
        Path(path).mkdir(exist_ok=True)
    prepared(node, before)
    configured(node, after)
    fails(node, "does not exist", *([NOBODY, reason] if reason else []))
    enters(node, *([] if reason else ["alice", "bob"]))
    mended(node, "alice", "bob")


DEVICES = 'devices = ["/dev"]'


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ([DEVICES, 'only = ["/srv/kept"]'], [DEVICES], "/srv/kept is not the base's now"),
        ([DEVICES], [DEVICES, 'only = ["/var/lib/kept"]'], "/var/lib/kept is not the OS tree's now"),
        (['devices = ["/dev", "/run"]'], [DEVICES], "/run is without devices now"),
        ([DEVICES, '[etc]\nlinks = ["passwd"]'], [DEVICES], "/etc/passwd is not the base's now"),
        ([DEVICES, "rest = true"], [DEVICES], "every other directory of the base is not the base's now"),
        ([DEVICES], [DEVICES, "rest = true"], ""),
        ([DEVICES, 'only = ["/var/lib/kept"]'], [DEVICES, 'require = ["/var/lib/kept"]'], ""),
    ],
)
def test_the_bind_map_changes_while_the_tree_is_away(
    node: Node, before: list[str], after: list[str], reason: str
) -> None:
    own = Path("/etc/chos.d/bindmaps/own.toml")
    own.parent.mkdir(parents=True, exist_ok=True)
    for path in ("/srv/kept", "/var/lib/kept"):
        Path(path).mkdir(exist_ok=True)
    own.write_text(bind_map(*before))
    prepared(node, '[environment.one]\nbindmap = "own"\n')
    own.write_text(bind_map(*after))
    fails(node, "does not exist", *([NOBODY, reason] if reason else []))
    enters(node, *([] if reason else ["alice", "bob"]))
    mended(node, "alice", "bob")


def test_bind_mounts_of_the_original_change_while_the_tree_is_away(node: Node) -> None:
    """The same by /etc/sysconfig/chos."""
    Path("/etc/sysconfig").mkdir(exist_ok=True)
    Path("/opt/kept").mkdir(exist_ok=True)
    Path("/etc/sysconfig/chos").write_text('BINDMOUNT="/opt/kept"\n')
    prepared(node, groups([]))
    Path("/etc/sysconfig/chos").write_text('BINDMOUNT=""\n')
    fails(node, NOBODY, "/opt/kept is not the base's now")
    enters(node)
    mended(node, "alice", "bob")


def test_what_an_earlier_version_made(node: Node) -> None:
    """It does not say what it shows: it stays only where it is unchanged, and then says so from now on."""
    Path("/srv/kept").mkdir(exist_ok=True)
    prepared(node, binds(SRV))
    manifest = REGISTRY / "gen/one.1/manifest.json"
    said = json.loads(manifest.read_text())
    old = {key: value for key, value in said.items() if key != "allows"}
    os.rename("/os/away", "/os/one")
    manifest.write_text(json.dumps(old))
    assert "unchanged" in node.up("one").stdout
    assert json.loads(manifest.read_text()) == said, "what is right is written down later, too"
    manifest.write_text(json.dumps(old))
    os.rename("/os/one", "/os/away")
    fails(node, NOBODY, "an earlier version of chosctl made it")
    enters(node)
    mended(node, "alice", "bob")


def test_what_is_written_otherwise_is_noted(node: Node) -> None:
    """A line that changes no mount changes what is compared later."""
    Path("/srv/kept").mkdir(exist_ok=True)
    at_mnt = SRV.replace("/opt/kept", "/mnt")  # where the base's own would be seen if the source were missing
    prepared(node, binds(at_mnt + "optional = true"))
    os.rename("/os/away", "/os/one")
    configured(node, binds(at_mnt))
    assert "unchanged" in node.up("one").stdout
    os.rename("/os/one", "/os/away")
    fails(node, "does not exist")
    enters(node, "alice", "bob")
