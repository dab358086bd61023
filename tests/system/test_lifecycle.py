"""up, reload, down: generations come and go, and nobody who works notices."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from node import REGISTRY, Node, mount_points, wait_for
from silent import silent_file_system


def generations() -> set[str]:
    return set(os.listdir(REGISTRY / "gen"))


def result(node: Node, *arguments: str) -> dict[str, Any]:
    """`chosctl … --json`."""
    return json.loads(node.chosctl(*arguments, "--json", check=False).stdout)  # type: ignore[no-any-return]


def states(node: Node, *arguments: str) -> dict[str, str]:
    return {entry["environment"]: entry["state"] for entry in result(node, *arguments)["environments"]}


@pytest.fixture
def pair(node: Node) -> Node:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    return node


def test_up_again_changes_nothing(pair: Node) -> None:
    before = {name: pair.pin(f"{name}.1") for name in ("one", "two")}
    manifest = (REGISTRY / "gen/one.1/manifest.json").stat()
    mounts = mount_points()
    assert states(pair, "up") == {"one": "unchanged", "two": "unchanged"}
    assert states(pair, "reload") == {"one": "unchanged", "two": "unchanged"}
    assert {name: pair.pin(f"{name}.1") for name in ("one", "two")} == before
    assert (REGISTRY / "gen/one.1/manifest.json").stat().st_mtime_ns == manifest.st_mtime_ns
    assert generations() == {"one.1", "two.1"}
    assert mount_points() == mounts


CHANGES = {
    "policy": "policy = { no_new_privs = true }",
    "variables": '[environment.one.env]\nX = "1"',
    "groups": 'groups = ["alice"]',
    "bindmap": 'bindmap = "cluster"',
    "bind": 'bind = [{ source = "/srv", target = "/opt/srv" }]',
    "personality": 'policy = { personality = "linux32" }',
}


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_only_what_changed_is_renewed(pair: Node, what: str) -> None:
    Path("/var/lib/condor").mkdir(exist_ok=True)  # something for the cluster's bind map
    two = pair.pin("two.1")
    pair.configure("one:/os/one\ntwo:/os/two\n", site="[environment.one]\n" + CHANGES[what] + "\n")
    assert states(pair, "reload") == {"one": "made", "two": "unchanged"}
    assert pair.generation("one") == "one.2"
    assert pair.generation("two") == "two.1" and pair.pin("two.1") == two
    assert generations() == {"one.2", "two.1"}, "the old one is gone: nobody used it"
    assert states(pair, "reload") == {"one": "unchanged", "two": "unchanged"}


def test_a_description_needs_no_new_generation(pair: Node) -> None:
    pair.configure("one:/os/one\ntwo:/os/two\n", site='[environment.one]\ndescription = "The first"\n')
    assert states(pair, "reload")["one"] == "unchanged"
    assert "The first" in pair.chosctl("list").stdout


def test_a_tree_replaced_by_rename_is_a_new_generation(pair: Node) -> None:
    pair.tree("one.new")
    resident = pair.resident("one")
    os.rename("/os/one", "/os/one.old")
    os.rename("/os/one.new", "/os/one")
    assert states(pair, "up") == {"one": "made", "two": "unchanged"}
    assert 'PRETTY_NAME="one.new"' in pair.chos("one", "cat", "/etc/os-release", check=True).stdout
    assert 'PRETTY_NAME="one"' in pair.ask(resident, "cat /etc/os-release"), "running work keeps the old tree"


def test_another_tree_for_the_same_name(pair: Node) -> None:
    pair.configure("one:/os/two\ntwo:/os/one\n")
    pair.up()
    assert 'PRETTY_NAME="two"' in pair.chos("one", "cat", "/etc/os-release", check=True).stdout
    assert 'PRETTY_NAME="one"' in pair.chos("two", "cat", "/etc/os-release", check=True).stdout


def test_renew(pair: Node) -> None:
    assert states(pair, "up", "--renew", "one") == {"one": "made"}
    assert (pair.generation("one"), pair.generation("two")) == ("one.2", "two.1")
    pair.up("--renew")
    assert (pair.generation("one"), pair.generation("two")) == ("one.3", "two.2")


def test_running_work_keeps_its_generation(pair: Node) -> None:
    old = pair.resident("one")
    inode = pair.pin("one.1")
    again = result(pair, "up", "--renew")
    assert again["in_use"] == {"one.1": 1}
    assert again["retired"] == ["two.1"]
    new = pair.resident("one", user="bob")
    assert pair.ask(old, "stat -L -c %i /proc/self/ns/mnt") == str(inode)
    assert pair.ask(new, "stat -L -c %i /proc/self/ns/mnt") == str(pair.pin("one.2"))
    for _ in range(2):
        assert result(pair, "up")["in_use"] == {"one.1": 1}, "never while in use"
    assert pair.ask(old, "ls /bin/sh; chos true && echo on; CHOS=two chos true && echo way") == "/bin/sh\non\nway"
    pair.leave(old)
    last = result(pair, "up")
    assert (last["in_use"], last["retired"]) == ({}, ["one.1"])
    assert pair.ask(new, "echo alive") == "alive"


def test_a_child_in_a_container_holds_the_generation(node: Node) -> None:
    """bubblewrap's processes have namespaces of their own; their environment must not vanish below them."""
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    resident = node.resident("new")
    probe = node.chos("new", "unshare", "-Urm", "true")
    if probe.returncode != 0:
        pytest.skip("users may not make user namespaces here")
    script = "echo ready; cat; cat /etc/os-release; ls /home"
    container = node.start(["chos", "unshare", "-Urm", "sh", "-c", script], env={"CHOS": "new"})
    assert container.stdout and container.stdout.readline() == "ready\n"
    node.leave(resident)
    node.up("--renew")
    node.up()
    out, err = container.communicate("")
    assert "trixie" in out and "alice" in out, err


def test_a_name_taken_away_is_not_entered_any_more(pair: Node) -> None:
    resident = pair.resident("one")
    pair.configure("two:/os/two\n")
    pair.chosctl("reload")
    refusal = pair.chos("one", "echo", "ran")
    assert (refusal.returncode, refusal.stdout) == (125, "")
    assert "two" in refusal.stderr
    assert pair.ask(resident, "cat /etc/os-release").count("one") > 0, "running work stays"
    status = {env["name"]: env["state"] for env in result(pair, "status")["environments"]}
    assert status == {"two": "up", "one": "unlisted"}
    pair.leave(resident)
    assert result(pair, "up")["retired"] == ["one.1"]


def test_down_one(pair: Node) -> None:
    resident = pair.resident("one")
    pair.chosctl("down", "one")
    assert pair.chos("one", "true").returncode == 125
    assert pair.chos("/os/one", "true").returncode == 125
    assert pair.chos("two", "true").returncode == 0
    assert pair.ask(resident, "echo alive") == "alive"
    pair.up()
    assert pair.chos("one", "true").returncode == 0


def test_down_by_an_alias(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\nalias:/os/one\n/auto/one:/os/one\n")
    node.up()
    node.chosctl("down", "alias")
    for name in ("one", "alias", "/auto/one", "/os/one"):
        assert node.chos(name, "true").returncode == 125


def test_down_of_an_environment_whose_name_is_a_path(node: Node) -> None:
    node.tree("one")
    for given in ("/auto/rh73", "old", "/os/one"):
        node.configure("/auto/rh73:/os/one\nold:/os/one\n")
        node.up()
        node.chosctl("down", given)
        assert node.chos("/auto/rh73", "true").returncode == 125, given
    node.up()
    wrong = node.chosctl("down", "no/name", check=False)
    assert wrong.returncode == 1 and "not prepared" in wrong.stderr and "Traceback" not in wrong.stderr


def test_down_leaves_nothing(node: Node) -> None:
    before = mount_points()
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    node.up("--renew")
    node.chosctl("down")
    assert mount_points() == before
    assert not REGISTRY.exists()
    refusal = node.chos("one", "true")
    assert refusal.returncode == 125 and "chosctl up" in refusal.stderr


def test_down_with_somebody_inside(pair: Node) -> None:
    resident = pair.resident("one")
    down = result(pair, "down")
    assert down["in_use"] == {"one.1": 1} and down["retired"] == ["two.1"]
    for name in ("one", "two"):
        assert pair.chos(name, "true").returncode == 125
    assert pair.ask(resident, "cat /etc/os-release; CHOS=root chos true && echo home").endswith("home")
    pair.leave(resident)
    pair.chosctl("down")
    assert not [point for point in mount_points() if point.startswith("/run/chos")]


def test_down_of_what_is_not_there(pair: Node) -> None:
    wrong = pair.chosctl("down", "three", check=False)
    assert wrong.returncode == 1 and "three" in wrong.stderr
    assert pair.chos("one", "true").returncode == 0
    pair.chosctl("down")
    assert "nothing is prepared" in pair.chosctl("down").stderr, "which is what was asked for"


def test_numbers_go_on_while_the_node_is_up(pair: Node) -> None:
    for _ in range(3):
        pair.up("--renew", "one")
    assert pair.generation("one") == "one.4"
    pair.chosctl("down", "one")
    pair.up("one")
    assert pair.generation("one") == "one.5", "who has the old link finds nothing, and no other generation"


def test_a_broken_tree_fails_alone(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    (Path("/os/bad/etc")).mkdir(parents=True)
    node.configure("one:/os/one\nbad:/os/bad\ntwo:/os/two\ngone:/os/gone\ndefault:/os/bad\n")
    up = node.up(check=False)
    assert up.returncode == 1
    assert "/os/bad" in up.stderr and "/bin/sh" in up.stderr and "/os/gone" in up.stderr
    for name in ("one", "two"):
        assert node.chos(name, "true").returncode == 0
    for name in ("bad", "default", "/os/bad"):
        refusal = node.chos(name, "echo", "ran")
        assert (refusal.returncode, refusal.stdout) == (125, "")
        assert f"{name}: could not be prepared on this node: " in refusal.stderr and "/bin/sh" in refusal.stderr
    assert states(node, "up") == {"one": "unchanged", "two": "unchanged", "bad": "failed", "gone": "failed"}
    status = {env["name"]: env for env in result(node, "status")["environments"]}
    assert status["bad"]["state"] == "failed" and "/bin/sh" in status["bad"]["reason"]
    assert node.chosctl("status", check=False).returncode == 1
    node.tree("bad")
    node.tree("gone")
    assert states(node, "up") == {"one": "unchanged", "two": "unchanged", "bad": "made", "gone": "made"}
    assert node.chosctl("status", check=False).returncode == 0
    assert os.listdir("/run/chos/failed") == []
    assert node.chos("default", "true").returncode == 0


def test_a_shell_that_does_not_run_is_noticed(node: Node) -> None:
    tree = node.tree("one")
    (tree / "bin/sh").unlink()
    (tree / "bin/sh").write_text("not a program\n")
    (tree / "bin/sh").chmod(0o755)
    node.configure("one:/os/one\n")
    up = node.up(check=False)
    assert up.returncode == 1 and "one" in up.stderr
    assert node.chos("one", "/bin/cat", "/etc/os-release").returncode == 125


def test_a_failed_renewal_keeps_the_old_generation(pair: Node) -> None:
    os.rename("/os/one/bin/sh", "/os/one/bin/sh.kept")
    assert states(pair, "up", "--renew") == {"one": "failed", "two": "made"}
    assert pair.generation("one") == "one.1"
    assert pair.chos("one", "/bin/cat", "/etc/os-release").returncode == 0


def test_sysconfig_is_honoured(node: Node) -> None:
    tree = node.tree("one")
    (tree / "scratch").mkdir()
    for path in ("/scratch", "/opt/site"):
        Path(path).mkdir(exist_ok=True)
        (Path(path) / "whose").write_text("base\n")
    Path("/etc/sysconfig").mkdir(exist_ok=True)
    try:
        node.configure("one:/os/one\n")
        node.up()
        assert node.chos("one", "ls", "/opt/site").returncode != 0
        Path("/etc/sysconfig/chos").write_text('BINDMOUNT="/opt/site /scratch /not/there"\nMAKELINKS=no\n')
        node.chosctl("reload")
        assert node.chos("one", "cat", "/opt/site/whose", "/scratch/whose", check=True).stdout == "base\nbase\n"
        # MAKELINKS=yes: every top-level entry that the base has is the tree's.
        (tree / "srv/whose").write_text("tree\n")
        Path("/srv/whose").write_text("base\n")
        assert node.chos("one", "cat", "/srv/whose", check=True).stdout == "base\n"
        Path("/etc/sysconfig/chos").write_text('BINDMOUNT="/opt/site"\nMAKELINKS=yes\n')
        node.chosctl("reload")
        assert node.chos("one", "cat", "/srv/whose", "/opt/site/whose", check=True).stdout == "tree\nbase\n"
    finally:
        subprocess.run(["rm", "-rf", "/scratch", "/opt/site", "/srv/whose"], check=True)


def test_the_clusters_bind_map_on_a_clusters_node(node: Node) -> None:
    places = [
        "/var/lib/sss/pipes",
        "/run/munge",
        "/var/spool/slurmd/job1",
        "/var/lib/condor/execute",
        "/gpfs/project",
        "/cvmfs/repo",
        "/scratch/alice",
        "/opt/sge/bin",
        "/etc/slurm",
    ]
    top = [
        "/gpfs",
        "/cvmfs",
        "/scratch",
        "/opt/sge",
        "/etc/slurm",
        "/var/lib/sss",
        "/var/lib/condor",
        "/run/munge",
        "/var/spool/slurmd",
    ]
    try:
        for place in places:
            Path(place).mkdir(parents=True, exist_ok=True)
            (Path(place) / "whose").write_text(place + "\n")
        node.tree("one")
        node.configure("one:/os/one\n", site='[environment.one]\nbindmap = "cluster"\n')
        node.up()
        shell = node.resident("one")
        for place in places:
            assert node.ask(shell, f"cat {place}/whose") == place
        assert node.chos("one", "pwd", cwd="/var/spool/slurmd/job1", check=True).stdout == "/var/spool/slurmd/job1\n"
        node.mount("-t", "tmpfs", "none", "/cvmfs/repo")
        Path("/cvmfs/repo/later").touch()
        assert node.ask(shell, "ls /cvmfs/repo") == "later"
        subprocess.run(["umount", "/cvmfs/repo"], check=True)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", *top], check=True)


def test_a_node_that_is_no_cluster_takes_the_clusters_bind_map(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n", site='[environment.one]\nbindmap = "cluster"\n')
    node.up()
    assert node.chos("one", "true").returncode == 0


def test_a_bind_map_of_the_site(node: Node) -> None:
    tree = node.tree("one")
    (tree / "opt/tool").mkdir()
    Path("/opt/lib").mkdir(exist_ok=True)
    Path("/opt/lib/whose").write_text("base\n")
    node.configure("one:/os/one\n", site='[environment.one]\nbindmap = "ours"\n')
    maps = Path("/etc/chos.d/bindmaps")
    maps.mkdir()
    (maps / "ours.toml").write_text('extends = "default"\n[base]\nshare = ["/opt/lib"]\n')
    node.up()
    assert node.chos("one", "cat", "/opt/lib/whose", check=True).stdout == "base\n"
    assert node.chos("one", "ls", "/opt", check=True).stdout.split() == ["lib", "tool"]
    (maps / "ours.toml").write_text('extends = "default"\n')
    assert states(node, "reload") == {"one": "made"}
    assert node.chos("one", "ls", "/opt", check=True).stdout.split() == ["tool"]


GROUPS = "[environment.one]\ngroups = {}\n"
CLOSED = ["root"], ["root", "bin"]


@pytest.mark.parametrize("groups", CLOSED, ids=["one group", "two groups"])
@pytest.mark.parametrize(
    "damage",
    ["setfacl -b $gen; chmod 755 $gen", "chmod 755 $gen", "chgrp alice $gen", "setfacl -m g:alice:rx $gen"],
)
def test_up_closes_what_was_opened(node: Node, groups: list[str], damage: str) -> None:
    node.tree("one")
    node.configure("one:/os/one\n", site=GROUPS.format(groups))
    node.up()
    gen = REGISTRY / "gen/one.1"
    assert node.chos("one", "true").returncode == 125
    before = (gen.stat().st_mode, gen.stat().st_gid, os.listxattr(gen))
    subprocess.run(["sh", "-c", damage], env={"gen": str(gen), "PATH": os.environ["PATH"]}, check=True)
    node.up()
    assert node.chos("one", "true").returncode == 125
    now = REGISTRY / "gen" / node.generation("one")
    assert (now.stat().st_mode, now.stat().st_gid, os.listxattr(now)) == before


def test_up_opens_what_was_closed(pair: Node) -> None:
    for path, mode in {"": 0o700, "env": 0o700, "gen": 0o700, "gen/one.1": 0o700, "failed": 0o700}.items():
        (REGISTRY / path).chmod(mode)
        pair.up()
        assert pair.chos("one", "true").returncode == 0, path
        assert (REGISTRY / path).stat().st_mode & 0o777 == 0o755, path
    assert pair.generation("one") == "one.1"


@pytest.mark.parametrize("name", ["tree", "policy", "manifest.json"])
def test_up_mends_files_that_nobody_can_read_or_anybody_write(pair: Node, name: str) -> None:
    for mode in (0o600, 0o666):
        (REGISTRY / "gen" / pair.generation("one") / name).chmod(mode)
        pair.up()
        assert pair.chos("one", "true").returncode == 0
        assert (REGISTRY / "gen" / pair.generation("one") / name).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("path", ["", "env", "gen"])
def test_a_registry_that_others_can_write_is_said_to_be_so_and_mended(pair: Node, path: str) -> None:
    (REGISTRY / path).chmod(0o777)
    if not path:
        for command in ("status", "list", "ps", "down"):
            wrong = pair.chosctl(command, check=False)
            assert wrong.returncode == 1 and "not root's alone" in wrong.stderr, (command, wrong)
        assert pair.chos("one", "true").returncode == 125
    pair.up()
    assert pair.chos("one", "true").returncode == 0
    assert (REGISTRY / path).stat().st_mode & 0o777 == 0o755
    assert pair.chosctl("status", check=False).returncode == 0


def test_an_environment_that_is_named_twice(pair: Node) -> None:
    pair.configure("one:/os/one\nother:/os/one\ntwo:/os/two\n")
    done = pair.up("one", "other", "one", "--renew")
    assert done.stdout.count("made") == 1 and "damaged" not in done.stdout + done.stderr


@pytest.mark.parametrize("damage", ["[" * 100_000, '{"namespace": 0, "plan": {"operations": 5}}', "{}", "7"])
def test_a_damaged_manifest_stops_nothing(pair: Node, damage: str) -> None:
    (REGISTRY / "gen/one.1/manifest.json").write_text(damage)
    assert "make one.2" in pair.chosctl("up", "--dry-run", check=False).stdout
    assert states(pair, "up") == {"one": "made", "two": "unchanged"}
    assert pair.chos("one", "true").returncode == 0
    assert states(pair, "up") == {"one": "unchanged", "two": "unchanged"}


def test_what_is_built_is_what_was_looked_at(pair: Node) -> None:
    """two's tree is replaced after it was looked at, while up waits for one's."""
    pair.configure("silent:/os/silent\none:/os/one\ntwo:/os/two\n")
    shutil.copytree("/os/two", "/os/new", symlinks=True)
    with silent_file_system(Path("/os/silent")):
        process = pair.start(
            ["chosctl", "up", "silent", "two", "--renew", "--jobs=2", "--timeout=5"],
            user="root",
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_for(lambda: len(children.read_text().split()) == 2, "both trees to be looked at")
        looking = children.read_text().split()[1]
        wait_for(lambda: Path(f"/proc/{looking}/wchan").read_text() in ("pipe_read", "anon_pipe_read"), "a plan")
        os.rename("/os/two", "/os/old")
        os.rename("/os/new", "/os/two")
        process.communicate(timeout=60)
    manifest = json.loads((REGISTRY / "gen" / pair.generation("two") / "manifest.json").read_text())
    assert manifest["made_of"]["tree"].split(":")[1] == str(os.stat("/os/two").st_ino)
    assert states(pair, "up", "two") == {"two": "unchanged"}
