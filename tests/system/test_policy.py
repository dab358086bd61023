"""What /etc/chos.d says of an environment: policy, variables, binds. And who may enter it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import REGISTRY, Node


def one(node: Node, settings: str = "", like: str = "tiny") -> Path:
    """A node with one environment `one` that has these settings."""
    tree = node.tree("one", like=like)
    node.configure("one:/os/one\n", site="[environment.one]\n" + settings)
    return tree


# --- policy -------------------------------------------------------------------------------------------------------


def test_no_new_privs(node: Node) -> None:
    one(node, "policy = { no_new_privs = true }\n")
    node.up()
    assert "NoNewPrivs:\t1" in node.chos("one", "cat", "/proc/self/status", check=True).stdout
    stuck = node.chos("one", "env", "CHOS=root", "chos", "echo", "ran")
    assert (stuck.returncode, stuck.stdout) == (125, "")
    assert "no_new_privs" in stuck.stderr


def test_without_no_new_privs(node: Node) -> None:
    one(node)
    node.up()
    assert "NoNewPrivs:\t0" in node.chos("one", "cat", "/proc/self/status", check=True).stdout


@pytest.mark.parametrize(
    ("personality", "options", "expected"),
    [('"linux32"', "-m", "i686"), ('"uname26"', "-r", "2.6."), ('["linux32", "uname26"]', "-rm", "2.6. i686")],
)
def test_personality(node: Node, personality: str, options: str, expected: str) -> None:
    one(node, f"policy = {{ personality = {personality} }}\n")
    node.up()
    out = node.chos("one", "uname", options, check=True).stdout
    for part in expected.split():
        assert part in out
    child = node.chos("one", "sh", "-c", f"sh -c 'uname {options}'", check=True).stdout
    assert child == out, "children inherit it"
    assert node.run(["uname", options], check=True).stdout != out


def test_variables(node: Node) -> None:
    one(node, '[environment.one.env]\nLANG = "C"\nEMPTY = ""\nODD = "a=b  c\\"d $HOME"\n')
    node.up()
    variables = {"LANG": "de_DE", "EMPTY": "full", "OTHER": "kept"}
    out = node.chos("one", "env", check=True, env=variables).stdout.splitlines()
    assert {"LANG=C", "EMPTY=", 'ODD=a=b  c"d $HOME', "OTHER=kept"} <= set(out)
    assert sum(line.startswith("LANG=") for line in out) == 1
    login = node.chos("one", stdin="env\n", check=True).stdout.splitlines()
    assert "LANG=C" in login, "login shells have them too, whatever chos.conf keeps"


def test_a_policy_of_any_length(node: Node) -> None:
    """Around what libchos reads at first (256 bytes), and more. A policy that is cut anywhere would be refused."""
    one(node, '[environment.one.env]\nLAST = ""\n')
    node.up()
    shortest = (REGISTRY / "gen" / node.generation("one") / "policy").stat().st_size
    for length in (*range(252, 261), 511, 3000):  # or some bytes more: numbers of inodes differ
        value = "x" * (length - shortest)
        node.configure("one:/os/one\n", site=f'[environment.one.env]\nLAST = "{value}"\n')
        node.up()
        assert (REGISTRY / "gen" / node.generation("one") / "policy").stat().st_size >= length - 4
        assert f"LAST={value}" in node.chos("one", "env", check=True).stdout.splitlines(), length


def test_a_read_only_tree(node: Node) -> None:
    tree = one(node, "policy = { read_only = true }\n")
    node.up()
    for path in ("/usr/x", "/bin/x", "/etc/x", "/var/lib/x", "/opt/x"):
        result = node.chos("one", "touch", path, user="root")
        assert result.returncode != 0 and "Read-only" in result.stderr, path
    node.chos("one", "sh", "-c", "echo x >/home/alice/y; echo x >/tmp/alice-y; echo x >/var/tmp/alice-y", check=True)
    assert not list(tree.rglob("x"))


def test_a_writable_tree(node: Node) -> None:
    """As in the original, root may install into a tree from inside."""
    tree = one(node)
    node.up()
    node.chos("one", "touch", "/opt/installed", user="root", check=True)
    assert (tree / "opt/installed").exists()
    assert node.chos("one", "touch", "/opt/x").returncode != 0, "alice may not"


EUID = '#include <stdio.h>\n#include <unistd.h>\nint main(void){printf("%d\\n", (int)geteuid());return 0;}\n'


def setuid_program(path: Path) -> None:
    """A program of root's that says as whom it runs."""
    subprocess.run(["gcc", "-static", "-x", "c", "-o", path, "-"], input=EUID, text=True, check=True)
    path.chmod(0o4755)


def test_set_user_id_has_no_effect_unless_the_policy_allows_it(node: Node) -> None:
    tree = one(node)
    setuid_program(tree / "usr/bin/euid")
    alice = node.run(["id", "-u"], check=True).stdout
    node.up()
    assert node.chos("one", "euid", check=True).stdout == alice
    node.configure("one:/os/one\n", site="[environment.one]\npolicy = { nosuid = false }\n")
    node.up()
    assert node.chos("one", "euid", check=True).stdout == "0\n"


def test_set_user_id_of_the_base_has_no_effect_inside(node: Node) -> None:
    """It was written for the base's files, and may trust what it finds in /etc or /lib."""
    one(node)
    node.up()
    setuid_program(Path("/srv/euid"))
    assert node.run(["/srv/euid"], check=True).stdout == "0\n"
    assert node.chos("one", "/srv/euid", check=True).stdout != "0\n"
    assert node.chos("one", "/local/srv/euid", check=True).stdout != "0\n"


def test_devices_of_the_tree_do_not_work(node: Node) -> None:
    tree = one(node)
    made = subprocess.run(["mknod", "-m", "666", str(tree / "opt/zero"), "c", "1", "5"], check=False)
    if made.returncode != 0:
        pytest.skip("device nodes cannot be made on this machine")
    node.up()
    result = node.chos("one", "head", "-c1", "/opt/zero")
    assert result.returncode != 0 and "ermission denied" in result.stderr
    assert node.chos("one", "sh", "-c", "head -c3 /dev/zero | wc -c", check=True).stdout.strip() == "3"


# --- binds --------------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[Path]:
    path = Path("/srv/site")
    path.mkdir()
    (path / "file").write_text("site\n")
    yield path
    shutil.rmtree(path)


def test_extra_binds(node: Node, site: Path) -> None:
    (site / "own").mkdir()
    shutil.chown(site / "own", "alice", "alice")
    tree = one(
        node,
        """
        bind = [
          { source = "/srv/site", target = "/software/site" },
          { source = "/srv/site/own", target = "/usr/local/share/own", untrusted = true },
          { source = "/srv/site/own", target = "/opt/own-ro", read_only = true, untrusted = true },
          { source = "/srv/site/file", target = "/usr/share/one-file" },
          { source = "/srv/missing", target = "/opt/missing", optional = true },
        ]
        """,
    )
    node.up()
    shell = node.resident("one")
    assert node.ask(shell, "cat /software/site/file /usr/share/one-file") == "site\nsite"
    assert node.ask(shell, "touch /usr/local/share/own/x && ls /opt/own-ro") == "x"
    assert "Read-only" in node.ask(shell, "touch /opt/own-ro/y")
    assert node.ask(shell, "ls -d /opt/missing").endswith("No such file or directory")
    assert not (tree / "software").exists() and not (tree / "usr/share/one-file").exists()
    node.mount("-t", "tmpfs", "none", "/srv/site/own")
    subprocess.run(["umount", "/srv/site/own"], check=True)


def test_a_bind_whose_source_is_missing(node: Node) -> None:
    node.tree("two")
    one(node, 'bind = [{ source = "/srv/missing", target = "/opt/missing" }]\n')
    node.configure("one:/os/one\ntwo:/os/two\n")
    result = node.up(check=False)
    assert result.returncode == 1
    assert "/srv/missing" in result.stderr and "optional" in result.stderr and "site.toml:2" in result.stderr
    assert node.chos("two", "true").returncode == 0


# --- groups -------------------------------------------------------------------------------------------------------


@pytest.fixture
def groups() -> Iterator[None]:
    """alice is in physics, bob in chemistry, both in none of the other."""
    for group, user in (("physics", "alice"), ("chemistry", "bob")):
        subprocess.run(["groupadd", "-f", group], check=True)
        subprocess.run(["usermod", "-aG", group, user], check=True)
    yield
    for group in ("physics", "chemistry"):
        subprocess.run(["groupdel", group], check=True)


def refused(node: Node, name: str, user: str) -> None:
    result = node.chos(name, "echo", "ran", user=user)
    assert (result.returncode, result.stdout) == (125, "")
    assert name in result.stderr and "not allowed you to enter" in result.stderr and "chosctl list" in result.stderr


def test_one_group(node: Node, groups: None) -> None:
    one(node, 'groups = ["physics"]\n')
    node.up()
    assert node.chos("one", "true", user="alice").returncode == 0
    refused(node, "one", "bob")
    refused(node, "/os/one", "bob")
    assert node.chos("one", "true", user="root").returncode == 0
    assert "one" in node.chosctl("list", user="alice").stdout
    assert "one" not in node.chosctl("list", user="bob").stdout
    assert "closed" in node.chosctl("list", "--all", user="bob").stdout


def test_several_groups(node: Node, groups: None) -> None:
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "carol"], check=True)
    try:
        one(node, 'groups = ["physics", "chemistry"]\n')
        node.up()
        assert node.chos("one", "true", user="alice").returncode == 0
        assert node.chos("one", "true", user="bob").returncode == 0
        refused(node, "one", "carol")
    finally:
        subprocess.run(["userdel", "-r", "carol"], check=True, capture_output=True)


def test_a_primary_group(node: Node) -> None:
    one(node, 'groups = ["bob"]\n')
    node.up()
    assert node.chos("one", "true", user="bob").returncode == 0
    refused(node, "one", "alice")


def test_everyone(node: Node) -> None:
    one(node)
    node.up()
    for user in ("alice", "bob", "root"):
        assert node.chos("one", "true", user=user).returncode == 0
    unknown = [
        "setpriv",
        "--reuid",
        "54321",
        "--regid",
        "54321",
        "--clear-groups",
        "env",
        "CHOS=one",
        "chos",
        "id",
        "-u",
    ]
    assert node.run(unknown, user="root", check=True).stdout == "54321\n", "whoever he is"


def test_no_way_round_by_another_environment(node: Node, groups: None) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n", site='[environment.one]\ngroups = ["physics"]\n')
    node.up()
    inside = node.chos("two", "env", "CHOS=one", "chos", "echo", "ran", user="bob")
    assert (inside.returncode, inside.stdout) == (125, "")
    assert "not allowed" in inside.stderr
    generation = REGISTRY / "gen" / node.generation("one")
    for path in (generation, f"/local{generation}"):
        assert node.chos("two", "ls", str(path), user="bob").returncode != 0
    assert node.run(["cat", str(generation / "policy")], user="bob").returncode != 0


def test_groups_changed_by_reload(node: Node, groups: None) -> None:
    one(node, 'groups = ["physics"]\n')
    node.up()
    refused(node, "one", "bob")
    node.configure("one:/os/one\n", site='[environment.one]\ngroups = ["chemistry"]\n')
    node.chosctl("reload")
    assert node.chos("one", "true", user="bob").returncode == 0
    refused(node, "one", "alice")


def test_a_group_that_does_not_exist_closes_the_environment(node: Node) -> None:
    one(node, 'groups = ["nobody-has-it"]\n')
    result = node.up(check=False)
    assert result.returncode == 1 and "nobody-has-it" in result.stderr
    refusal = node.chos("one", "echo", "ran")
    assert (refusal.returncode, refusal.stdout) == (125, "")
    assert "could not be prepared" in refusal.stderr and "nobody-has-it" in refusal.stderr
