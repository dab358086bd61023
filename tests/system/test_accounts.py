"""Who one is and where things are: accounts, hosts, resolver, time zone are the base's, at once and after a rename."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from node import Node, install

Change = Callable[[str], Path]


def replace(path: Path, text: str) -> None:
    """As careful programs change a file: write a new one, rename it over the old."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)


@pytest.fixture
def inside(node: Node) -> Node:
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    return node


def test_useradd_and_groupadd_are_seen_at_once(inside: Node) -> None:
    resident = inside.resident("new")
    assert "no such user" in inside.ask(resident, "id carol")
    inode = os.stat("/etc/passwd").st_ino
    subprocess.run(["groupadd", "physics"], check=True)
    subprocess.run(["useradd", "-M", "-G", "physics", "-c", "Carol C.", "carol"], check=True)
    try:
        assert os.stat("/etc/passwd").st_ino != inode, "the file was replaced, not rewritten"
        gid = grp.getgrnam("physics").gr_gid
        assert f"{gid}(physics)" in inside.ask(resident, "id carol")
        assert "Carol C." in inside.ask(resident, "getent passwd carol")
        assert inside.ask(resident, "getent group physics").endswith(":carol")
        assert "carol" in inside.ask(resident, "grep carol /etc/passwd")
    finally:
        subprocess.run(["userdel", "carol"], check=True, capture_output=True)
        subprocess.run(["groupdel", "physics"], check=False, capture_output=True)
    assert "no such user" in inside.ask(resident, "id carol")


def test_shadow_stays_closed(inside: Node) -> None:
    assert "Permission denied" in inside.chos("new", "cat", "/etc/shadow").stderr
    assert inside.chos("new", "cat", "/etc/shadow", user="root", check=True).stdout == Path("/etc/shadow").read_text()


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "nsswitch.conf", "motd", "chos"])
def test_files_of_the_node_follow_a_replacement(inside: Node, etc: Change, name: str) -> None:
    path = etc(name)
    if not path.exists():
        replace(path, "# first\n")
        inside.up("--renew")
    resident = inside.resident("new")
    text = path.read_text() + "# changed by the test\n"
    replace(path, text)
    assert inside.ask(resident, f"cat /etc/{name}") == text.rstrip("\n")


def test_a_new_host_resolves_inside(inside: Node, etc: Change) -> None:
    resident = inside.resident("new")
    hosts = etc("hosts")
    replace(hosts, hosts.read_text() + "192.0.2.77 fileserver.example\n")
    assert "192.0.2.77" in inside.ask(resident, "getent hosts fileserver.example")


@pytest.mark.parametrize("link", ["/usr/share/zoneinfo/Test/{}", "../usr/share/zoneinfo/Test/{}"])
def test_localtime_means_what_it_means_on_the_base(node: Node, etc: Change, link: str) -> None:
    zones = Path("/usr/share/zoneinfo/Test")
    zones.mkdir(parents=True, exist_ok=True)
    (zones / "East").write_text("<east>-3\n")  # the content is all that matters here
    (zones / "West").write_text("<west>+3\n")
    localtime = etc("localtime")
    localtime.unlink(missing_ok=True)
    localtime.symlink_to(link.format("East"))
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    assert node.chos("new", "ls", "/usr/share/zoneinfo/Test").returncode != 0, "only the base has it"
    assert node.chos("new", "cat", "/etc/localtime", check=True).stdout == "<east>-3\n"
    localtime.unlink()
    localtime.symlink_to(link.format("West"))
    node.chosctl("reload")
    assert node.chos("new", "cat", "/etc/localtime", check=True).stdout == "<west>+3\n"


@pytest.mark.parametrize("link", ["/run/resolve/stub.conf", "../run/resolve/stub.conf"])
def test_resolv_conf_as_a_link_into_run(node: Node, etc: Change, link: str) -> None:
    Path("/run/resolve").mkdir(exist_ok=True)
    stub = Path("/run/resolve/stub.conf")
    stub.write_text("nameserver 192.0.2.1\n")
    path = etc("resolv.conf")
    path.unlink(missing_ok=True)
    path.symlink_to(link)
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    resident = node.resident("new")
    assert node.ask(resident, "cat /etc/resolv.conf") == "nameserver 192.0.2.1"
    replace(stub, "nameserver 192.0.2.2\n")
    assert node.ask(resident, "cat /etc/resolv.conf") == "nameserver 192.0.2.2", "a live link, not a copy"


def test_a_chain_of_links_leads_to_the_bases_file(node: Node, etc: Change) -> None:
    """As Debian's alternatives: /etc/motd → /etc/alternatives/… → /usr/share/…."""
    Path("/usr/share/motd.test").write_text("base's\n")
    first, second = etc("motd"), etc("motd.second")
    first.unlink(missing_ok=True)
    second.symlink_to("/usr/share/motd.test")
    first.symlink_to("motd.second")
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    assert node.chos("new", "cat", "/etc/motd", check=True).stdout == "base's\n"


def test_a_file_that_the_tree_lacks_appears(node: Node) -> None:
    tree = node.tree("one")
    (tree / "etc/hosts").unlink()
    node.configure("one:/os/one\n")
    node.up()
    assert node.chos("one", "cat", "/etc/hosts", check=True).stdout == Path("/etc/hosts").read_text()
    assert not (tree / "etc/hosts").exists()


def test_a_tree_adds_no_accounts(node: Node, etc: Change) -> None:
    """What services in nsswitch.conf read is the base's or nobody's. A real nss_systemd looks, in a tree with users."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/libnss_systemd.so.2"))), None)
    if library is None:
        pytest.skip("libnss-systemd is not installed on this machine")
    tree = node.tree("one")
    for program in ("/usr/bin/getent", str(library)):
        install(program, tree)
    record = '{{"userName": "{}", "uid": {}, "gid": 100, "disposition": "regular"}}'
    places = ("etc/userdb", "usr/lib/userdb", "usr/local/lib/userdb")
    for place in places:
        (tree / place).mkdir(parents=True)
        (tree / place / "mallory.user").write_text(record.format("mallory", 4321))
    for directory in ("extrausers", "sss"):
        (tree / "var/lib" / directory).mkdir(parents=True)
        (tree / "var/lib" / directory / "passwd").write_text("mallory:x:4321:100::/:/bin/sh\n")
    etc("nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\n")
    node.configure("one:/os/one\n")
    node.up()
    shown = (*(f"/{place}" for place in places), "/var/lib/extrausers", "/var/lib/sss")
    assert node.chos("one", "ls", "-A", *shown, check=True).stdout.split() == [f"{name}:" for name in sorted(shown)]
    assert node.chos("one", "getent", "passwd", "mallory").returncode == 2, "not found"
    assert node.chos("one", "getent", "passwd", "alice", check=True).stdout.startswith("alice:")
    base = Path("/usr/lib/userdb")
    base.mkdir()
    try:
        (base / "trent.user").write_text(record.format("trent", 4322))
        node.up()
        assert node.chos("one", "getent", "passwd", "trent", check=True).stdout.startswith("trent:x:4322:")
        assert node.chos("one", "getent", "passwd", "mallory").returncode == 2
    finally:
        shutil.rmtree(base)


def test_a_bases_further_accounts(node: Node) -> None:
    """libnss-extrausers on the base: its files are seen inside, also after they were replaced."""
    node.tree("one")
    place = Path("/var/lib/extrausers")
    place.mkdir()
    try:
        replace(place / "passwd", "first\n")
        node.configure("one:/os/one\n")
        node.up()
        resident = node.resident("one")
        replace(place / "passwd", "second\n")
        assert node.ask(resident, "cat /var/lib/extrausers/passwd") == "second"
        node.leave(resident)
    finally:
        node.chosctl("down")
        shutil.rmtree(place)
