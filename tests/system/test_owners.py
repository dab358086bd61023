"""Whose is what users find: the sources of binds, and what an OS tree's users, root too, run first. Rules 23 and 31.

Cases beside the issue's own are habits of sites, as their bug reports tell: trees unpacked by an ordinary account, then
only the top given to root; CVMFS, which gives all files to an account; a umask of 002; ACLs; FUSE without allow_other.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack_tools import refuse
from automounter import EXPORT, automount
from node import Node, wait_for

__all__ = ["automount"]

NOBODY = "nobody can enter until this is mended"


def shell(command: str) -> None:
    subprocess.run(["/bin/sh", "-ec", command], check=True)


def bound(source: str, target: str, *more: str) -> str:
    lines = [f'source = "{source}"', f'target = "{target}"', *more]
    return "[[environment.one.bind]]\n" + "\n".join(lines) + "\n"


def refused(node: Node, *words: str) -> None:
    """`up` and `check` say so; `one` is closed, and `two` is as it was."""
    result = node.up(check=False)
    assert result.returncode == 1, result
    checked = node.chosctl("check", check=False)
    assert checked.returncode == 1
    for word in words:
        assert word in result.stderr and word in checked.stdout, (word, result.stderr, checked.stdout)
    refuse("one")
    assert node.chos("two", "true").returncode == 0


@pytest.fixture
def two(node: Node) -> Iterator[Node]:
    """`one` and `two`, prepared; and a place whose content goes with the test."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    shell("rm -rf /srv/owners; mkdir -p /srv/owners/site; echo mine >/srv/owners/site/x.sh")
    yield node
    shell("rm -rf --one-file-system /srv/owners /home/alice/site")


# --- binds ---------------------------------------------------------------------------------------------------------

OF_OTHERS = {
    "a user's directory": ("chown alice /srv/owners/site", "/srv/owners/site", "belongs to alice (uid "),
    "in a user's directory": ("chown alice /srv/owners", "/srv/owners/site", "exchanged: /srv/owners belongs to alice"),
    "a home directory": ("install -d -o alice /home/alice/site", "/home/alice/site", "exchanged: /home/alice belongs"),
    "a group's directory": ("chgrp users /srv/owners/site; chmod 2775 /srv/owners/site", "/srv/owners/site", "others"),
    "everybody's directory": ("chmod 1777 /srv/owners/site", "/srv/owners/site", "is writable by others than root"),
    "by an ACL": ("setfacl -m u:alice:rwx /srv/owners/site", "/srv/owners/site", "is writable by others than root"),
    "by an ACL on the way": ("setfacl -m g:users:rwx /srv/owners", "/srv/owners/site", "/srv/owners is writable"),
    "a user's file": ("chown alice /srv/owners/site/x.sh", "/srv/owners/site/x.sh", "belongs to alice"),
    "a file in a user's directory": ("chown alice /srv/owners/site", "/srv/owners/site/x.sh", "exchanged: /srv/own"),
    "by root's link": (
        "install -d -o alice /home/alice/site; ln -s /home/alice/site /srv/owners/link",
        "/srv/owners/link",
        "exchanged: /home/alice belongs to alice",
    ),
    "by a user's link": (
        "install -d -m 1777 /srv/owners/tmp; ln -s ../site /srv/owners/tmp/link; chown -h alice /srv/owners/tmp/link",
        "/srv/owners/tmp/link",
        "/srv/owners/tmp/link belongs to alice",
    ),
    "a umask of 002": ("chown -R bin:bin /srv/owners; chmod -R g+w /srv/owners", "/srv/owners/site", "belongs"),
}  # fmt: skip


@pytest.mark.parametrize("what", OF_OTHERS)
def test_a_bind_of_what_others_can_change(two: Node, what: str) -> None:
    """Shown at another place it would run for everybody: refused, unless it is said to be anybody's."""
    prepare, source, reason = OF_OTHERS[what]
    target = "/etc/profile.d/x.sh" if source.endswith(".sh") else "/etc/profile.d"
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound(source, target))
    two.chosctl("up", check=False)
    shell(prepare)
    refused(two, reason, source, "untrusted = true", "/etc/chos.d/one.toml:1")
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound(source, target, "untrusted = true"))
    two.up()
    assert two.chos("one", "/bin/true").returncode == 0
    assert "anybody's" in two.chosctl("explain", "one").stdout


def test_what_was_bound_is_closed_once_others_can_change_it(two: Node) -> None:
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound("/srv/owners/site", "/etc/profile.d"))
    two.up()
    assert two.chos("one", "cat", "/etc/profile.d/x.sh").stdout == "mine\n"
    shell("chown alice /srv/owners/site")
    result = two.up(check=False)
    assert result.returncode == 1 and NOBODY in result.stderr, result
    refuse("one")


GOOD = {
    "root's directory": ("true", bound("/srv/owners/site", "/etc/profile.d")),
    "below a sticky directory": ("chmod 1777 /srv/owners", bound("/srv/owners/site", "/etc/profile.d")),
    "by root's link": ("ln -s site /srv/owners/link", bound("/srv/owners/link", "/etc/profile.d")),
    "a read-only ACL": ("setfacl -m u:alice:rx /srv/owners/site", bound("/srv/owners/site", "/etc/profile.d")),
    "at its own place": ("chown alice /srv/owners/site", bound("/srv/owners/site", "/srv/owners/site")),
    "homes at their own place": ("true", bound("/home", "/home")),
    "optional and missing": ("true", bound("/srv/none", "/etc/profile.d", "optional = true")),
}  # fmt: skip


@pytest.mark.parametrize("what", GOOD)
def test_a_bind_that_is_nobody_elses(two: Node, what: str) -> None:
    prepare, section = GOOD[what]
    shell(prepare)
    two.configure("one:/os/one\ntwo:/os/two\n", one=section)
    two.up()
    assert two.chosctl("check").stdout.endswith("no problem found\n")
    assert two.chos("one", "/bin/true").returncode == 0


@pytest.mark.parametrize("source", ["/auto/red", "/auto/red/sub", "/auto-direct", "/auto-direct/sub"])
def test_a_bind_of_what_the_automounter_brings(two: Node, automount: Callable[..., None], source: str) -> None:
    """Judged is what is mounted there, not the automounter's empty directory."""
    (EXPORT / "red/sub").mkdir(exist_ok=True)
    (EXPORT / "blue/sub").mkdir(exist_ok=True)
    shell(f"chown alice {EXPORT}/red; chown root {EXPORT}/red/sub {EXPORT}/blue")
    automount(direct=source.startswith("/auto-direct"))
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound(source, "/etc/profile.d"))
    # First by what looks at nothing else of the base: nobody has asked for the mount yet.
    assert "belongs to alice" in two.chosctl("explain", "one", check=False).stderr
    refused(two, "/etc/profile.d", "belongs to alice")
    shell(f"chown root {EXPORT}/red")
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound(source.replace("red", "blue"), "/etc/profile.d"))
    two.up()


def test_links_of_a_bind_map_are_the_bases_own(two: Node, etc: Callable[[str], Path]) -> None:
    """/etc/motd shows inside what it shows on the base, a user's file or not."""
    shell("chown alice /srv/owners/site/x.sh")
    motd = etc("motd")
    motd.unlink(missing_ok=True)
    motd.symlink_to("/srv/owners/site/x.sh")
    two.up()
    assert two.chos("one", "cat", "/etc/motd").stdout == "mine\n"


# --- trees ---------------------------------------------------------------------------------------------------------

IN_A_TREE = {
    "the top alone was given to root": ("chown -hR alice /os/one; chown root /os/one", "belongs to alice"),
    "unpacked in a user namespace": ("chown -hR 100000:100000 /os/one", "OS tree belongs to uid 100000, not to root"),
    "/etc": ("chown alice /os/one/etc", "/etc of the OS tree belongs to alice"),
    "/etc, by its group": ("chmod g+w /os/one/etc", "/etc of the OS tree is writable by others than root"),
    "/etc, by an ACL": ("setfacl -m u:alice:rwx /os/one/etc", "/etc of the OS tree is writable by others"),
    "/usr": ("chown alice /os/one/usr", "/usr of the OS tree belongs to alice"),
    "/etc/profile": ("echo >/os/one/etc/profile; chown alice /os/one/etc/profile", "/etc/profile of the OS tree"),
    "ld.so.preload": ("touch /os/one/etc/ld.so.preload; chmod 666 /os/one/etc/ld.so.preload", "preload of the"),
    "ld.so.cache": ("touch /os/one/etc/ld.so.cache; chown alice /os/one/etc/ld.so.cache", "/etc/ld.so.cache of the OS"),
    "the shell": ("chown alice /os/one/bin/busybox", "/bin/busybox of the OS tree belongs to alice"),
    "the shell, by a link": (
        "install -d -o alice /os/one/opt/x; cp -p /os/one/bin/busybox /os/one/opt/x; "
        "ln -sfn /opt/x/busybox /os/one/bin/sh",
        "/opt/x of the OS tree belongs to alice",
    ),
    "a link that leads out": ("ln -sfn ../../../../home/alice /os/one/etc/profile.d; mkdir -p /os/one/home/alice; "
                              "chown alice /os/one/home/alice", "/home/alice of the OS tree belongs to alice"),
    "/lib64": ("rm -rf /os/one/lib64; install -d -o alice /os/one/lib64", "/lib64 of the OS tree belongs to alice"),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_A_TREE)
def test_a_tree_of_which_others_can_change_what_root_runs(two: Node, what: str) -> None:
    prepare, reason = IN_A_TREE[what]
    shell(prepare)
    refused(two, reason, "/os/one", "one")
    assert NOBODY in two.chosctl("status", check=False).stdout
    shell("chown -hR root:root /os/one; chmod -R go-w /os/one; setfacl -bR /os/one")
    two.up()
    assert two.chos("one", "/bin/true").returncode == 0


def test_a_tree_whose_links_alone_are_somebodys(two: Node) -> None:
    """`chown -R` leaves links as they were; in root's directories nobody can replace them."""
    shell("find /os/one -type l -exec chown -h alice {} +; test -L /os/one/bin/sh")
    two.up()
    assert "no problem found" in two.chosctl("check").stdout


def test_the_hint_for_a_tree_mends_it(two: Node) -> None:
    shell("chown -hR alice /os/one/etc")
    said = two.up(check=False).stderr
    command = said.partition("look at what is in it, then `")[2].partition("`")[0]
    assert command == "chown -hR root:root /os/one"
    shell(command)
    two.up()


def test_a_tree_that_an_account_is_meant_to_own(two: Node) -> None:
    """CVMFS_CLAIM_OWNERSHIP=yes: all is the account's. Only as a foreign tree, and only this account's."""
    shell("chown -hR games /os/one")
    refused(two, "OS tree belongs to games", "`owner`, chos.toml(5)")
    policy = "[environment.one.policy]\n"
    for said in ('owner = "games"', 'trust = "site"\nowner = "games"'):
        two.configure("one:/os/one\ntwo:/os/two\n", one=policy + said + "\n")
        refused(two, 'owner = "games" needs trust = "foreign"')
    two.configure("one:/os/one\ntwo:/os/two\n", one=policy + 'trust = "foreign"\nowner = "nobody-here"\n')
    refused(two, "account nobody-here, which may own the OS tree, is unknown")
    two.configure("one:/os/one\ntwo:/os/two\n", one=policy + 'trust = "foreign"\nowner = "games"\n')
    two.up()
    assert "NoNewPrivs:\t1" in two.chos("one", "/bin/cat", "/proc/self/status").stdout
    shell("chown alice /os/one/etc")
    refused(two, "/etc of the OS tree belongs to alice")


def test_an_account_that_may_own_a_tree_no_more(two: Node) -> None:
    shell("chown -hR games /os/one")
    policy = '[environment.one.policy]\ntrust = "foreign"\n'
    two.configure("one:/os/one\ntwo:/os/two\n", one=policy + 'owner = "games"\n')
    two.up()
    two.configure("one:/os/one\ntwo:/os/two\n", one=policy)
    os.rename("/os/one", "/os/away")
    result = two.up(check=False)
    assert NOBODY in result.stderr and "an OS tree of games's is not allowed now" in result.stderr, result
    refuse("one")


# --- FUSE ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fuse(node: Node, command: list[str], where: Path, user: str = "root") -> Iterator[None]:
    """A FUSE file system, served until the end."""
    where.mkdir(parents=True, exist_ok=True)

    def mounted() -> bool:
        return any(f" {where} " in line for line in Path("/proc/self/mountinfo").read_text().splitlines())

    server = node.start([*command, str(where)], user=user)
    try:
        wait_for(lambda: mounted() or server.poll() is not None, "the FUSE file system")
        if not mounted():
            pytest.skip(f"FUSE does not work here: {server.communicate()[1]}")
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)
        server.kill()
        server.wait()


def program(name: str) -> str:
    if not os.path.exists(f"/usr/bin/{name}") or not os.path.exists("/dev/fuse"):
        pytest.skip(f"{name} or /dev/fuse is not here")
    return f"/usr/bin/{name}"


@pytest.fixture
def fuse_for_users(node: Node, etc: Callable[[str], Path]) -> None:
    """/dev/fuse and allow_other for everybody, as on a workstation."""
    device = Path("/dev/fuse-for-users")
    if not device.exists():
        os.mknod(device, 0o020666, os.makedev(10, 229))
        device.chmod(0o666)
    if Path("/dev/fuse").exists():
        node.mount("--bind", str(device), "/dev/fuse")
    etc("fuse.conf").write_text("user_allow_other\n")


def test_a_tree_that_root_mounted_for_itself(two: Node) -> None:
    """squashfuse without allow_other: root may look, users may not."""
    squashfuse = program("squashfuse")
    shell("mksquashfs /os/one /srv/owners/one.sqfs -quiet -no-progress >/dev/null")
    tree = Path("/os/one")
    with fuse(two, [squashfuse, "-f", "/srv/owners/one.sqfs"], tree):
        result, checked = two.up(check=False), two.chosctl("check", check=False)
        for said in (result.stderr, checked.stdout):
            assert "users cannot look into the OS tree: /os/one is FUSE without allow_other" in said, said
            assert "-o allow_other" in said and "architecture" not in said
    with fuse(two, [squashfuse, "-f", "-o", "allow_other", "/srv/owners/one.sqfs"], tree):
        two.up("--renew")
        assert two.chos("one", "/bin/true").returncode == 0


@pytest.mark.usefixtures("fuse_for_users")
def test_a_tree_that_a_user_mounted(two: Node) -> None:
    """Without allow_other even root cannot look; with it, what it says of owners is the user's word."""
    bindfs = program("bindfs")
    shell("mkdir /srv/owners/mnt; chown alice /srv/owners/mnt")
    two.configure("one:/srv/owners/mnt\ntwo:/os/two\n")
    where = Path("/srv/owners/mnt")
    with fuse(two, [bindfs, "-f", "--no-allow-other", "/os/one"], where, user="alice"):
        result, checked = two.up(check=False), two.chosctl("check", check=False)
        for said in (result.stderr, checked.stdout):
            assert "Permission denied: /srv/owners/mnt is FUSE without allow_other" in said, said
            assert "user_allow_other" in said and "architecture" not in said
    with fuse(two, [bindfs, "-f", "-o", "allow_other", "/os/one"], where, user="alice"):
        assert os.stat(where).st_uid == 0, "it says that it is root's"
        refused(two, "OS tree was mounted by alice (uid ", "(FUSE)")


@pytest.mark.usefixtures("fuse_for_users")
def test_a_bind_that_a_user_mounted(two: Node) -> None:
    bindfs = program("bindfs")
    shell("mkdir /srv/owners/mnt; chown alice /srv/owners/mnt")
    two.configure("one:/os/one\ntwo:/os/two\n", one=bound("/srv/owners/mnt", "/etc/profile.d"))
    where = Path("/srv/owners/mnt")
    with fuse(two, [bindfs, "-f", "--no-allow-other", "/srv/owners/site"], where, user="alice"):
        result, checked = two.up(check=False), two.chosctl("check", check=False)
        for said in (result.stderr, checked.stdout):
            assert "cannot be looked at: Permission denied" in said and "FUSE without allow_other" in said, said
    with fuse(two, [bindfs, "-f", "-o", "allow_other", "/srv/owners/site"], where, user="alice"):
        refused(two, "what is shown at /etc/profile.d was mounted by alice", "untrusted = true")


# --- what else check names -----------------------------------------------------------------------------------------


def test_a_stray_database_of_rpm(two: Node) -> None:
    """Named, with what mends it; it keeps nobody out."""
    shell("mkdir -p /os/one/root/.rpmdb; touch /os/one/root/.rpmdb/rpmdb.sqlite; rm -rf /os/one/var/lib/dpkg")
    checked = two.chosctl("check", "--json", check=False)
    (problem,) = json.loads(checked.stdout)
    assert problem["severity"] == "warning" and problem["message"].startswith("/os/one/root/.rpmdb: ")
    assert "rpmdb --importdb" in problem["message"] and "rm -r /os/one/root/.rpmdb" in problem["message"]
    assert two.up().returncode == 0
    shell("rm -r /os/one/root/.rpmdb")
    assert "no problem found" in two.chosctl("check").stdout
