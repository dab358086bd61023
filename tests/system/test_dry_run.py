"""chosctl up, reload, down with --dry-run: what would be done, and why; and nothing is changed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from node import REGISTRY, Node, mount_points


def decision(node: Node, *arguments: str) -> list[dict[str, Any]]:
    """The actions, as JSON."""
    done = node.chosctl(*arguments, "--dry-run", "--json", check=False)
    return json.loads(done.stdout)["actions"]  # type: ignore[no-any-return]


def made(node: Node) -> list[str]:
    """Why the one generation that would be made is made."""
    [why] = [action["why"] for action in decision(node, "reload") if action["action"] == "Make"]
    return why  # type: ignore[no-any-return]


def everything() -> dict[str, tuple[int, int, int]]:
    """Each file of the registry, with what tells that it was touched."""
    found = {}
    for top, directories, files in os.walk(REGISTRY):
        for name in [*directories, *files]:
            status = os.lstat(f"{top}/{name}")
            found[f"{top}/{name}"] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    return found


@pytest.fixture
def one(node: Node) -> Node:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\n")
    node.up()
    return node


def test_on_a_node_where_nothing_is_prepared(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    before = mount_points()
    done = node.chosctl("up", "--dry-run")
    assert "make one.1\n  nothing is prepared" in done.stdout and "make the registry" in done.stdout
    assert not (REGISTRY / "base").exists() and mount_points() == before
    assert "make one.1" in node.chosctl("reload", "--dry-run").stdout
    node.up()
    assert (REGISTRY / "gen/one.1/manifest.json").exists(), "as it was said"


def test_where_nothing_changed(one: Node) -> None:
    before = everything(), mount_points()
    assert one.chosctl("up", "--dry-run").stdout == "nothing to do\n"
    assert decision(one, "up") == []
    assert (everything(), mount_points()) == before


def test_a_change_is_told_and_not_made(one: Node) -> None:
    one.configure("one:/os/one\n", site='[environment.one]\ngroups = ["alice"]\npolicy = { no_new_privs = true }\n')
    before = everything(), mount_points()
    done = one.chosctl("reload", "--dry-run")
    assert "make one.2" in done.stdout and "policy: no_new_privs is true now" in done.stdout
    assert "other groups may enter" in done.stdout and "retire one.1" in done.stdout
    assert (everything(), mount_points()) == before
    assert one.chos("one", "true").returncode == 0
    said = [action["action"] for action in decision(one, "reload")]
    assert said == ["Narrow", "Make", "Grant", "Publish", "Retire"]
    real = one.up().stdout
    assert "policy: no_new_privs is true now" in real, "up itself says why, too"
    assert decision(one, "up") == []


def test_why_the_tree(one: Node) -> None:
    """A tree that was replaced by rename is named with device and inode."""
    inode = os.stat("/os/one").st_ino
    shutil.copytree("/os/one", "/os/new", symlinks=True)
    os.rename("/os/one", "/os/old")
    os.rename("/os/new", "/os/one")
    [why] = made(one)
    assert why.startswith("the tree was replaced: device:inode ") and f":{inode} → " in why


def test_why_another_path(one: Node) -> None:
    one.configure("one:/os/two\n")
    assert "its tree is /os/two now, and was /os/one" in made(one)


def test_why_the_bind_map(one: Node) -> None:
    """The line of the configuration that is new is named."""
    Path("/srv/data").mkdir(parents=True, exist_ok=True)
    one.configure("one:/os/one\n", site='[[environment.one.bind]]\nsource = "/srv/data"\ntarget = "/opt/data"\n')
    assert any(why.startswith("new: /opt/data") and "/etc/chos.d/site.toml:1" in why for why in made(one)), made(one)


def test_why_the_launcher(one: Node) -> None:
    launcher = shutil.which("chos")
    assert launcher
    before = made_of(one)
    copy = f"{launcher}.new"
    subprocess.run(["cp", "--preserve=all", launcher, copy], check=True)
    os.rename(copy, launcher)
    assert before != made(one) == ["the launcher was upgraded"]


def made_of(node: Node) -> dict[str, Any]:
    manifest = json.loads((REGISTRY / "gen" / node.generation("one") / "manifest.json").read_text())
    return manifest["made_of"]  # type: ignore[no-any-return]


def test_why_a_generation_of_an_earlier_version(one: Node) -> None:
    path = REGISTRY / "gen/one.1/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["made_of"]
    path.write_text(json.dumps(manifest))
    assert decision(one, "up") == [], "the same is made of the same"
    path.write_text(json.dumps({**manifest, "fingerprint": "0" * 32}))
    assert made(one) == ["an earlier version of chosctl made it, and did not write down of what"]


def test_what_was_damaged(one: Node) -> None:
    (REGISTRY / "gen/one.1/policy").write_text("chos-policy 1\n")
    assert made(one) == ["one.1 was damaged, or others than root could write in it"]


def test_what_would_fail(one: Node) -> None:
    """An environment that cannot be prepared ends with status 1, and its message; it is not touched."""
    one.configure("one:/os/nowhere\n")
    before = everything()
    done = one.chosctl("up", "--dry-run", check=False)
    assert done.returncode == 1 and "/os/nowhere" in done.stderr and "nothing to do" not in done.stdout
    assert everything() == before


def test_a_damaged_configuration(one: Node) -> None:
    one.configure("one:/os/one\n", site="[environment.one]\nbindmap = 3\n")
    done = one.chosctl("up", "--dry-run", check=False)
    assert done.returncode == 1 and "bindmap" in done.stderr
    assert one.chos("one", "true").returncode == 0


def test_mounts_that_came_since(one: Node) -> None:
    Path("/srv/late").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "late", "/srv/late"], check=True)
    try:
        [restrict] = decision(one, "up")
        assert (restrict["action"], restrict["generation"], restrict["mounts"]) == ("Restrict", "one.1", 2), (
            "and below /local"
        )
        one.up()
        assert decision(one, "up") == []
    finally:
        subprocess.run(["umount", "-l", "/srv/late"], check=True)


def test_down(one: Node) -> None:
    before = everything()
    done = one.chosctl("down", "--dry-run")
    assert "retire one.1" in done.stdout and "remove the registry" in done.stdout
    assert everything() == before and one.chos("one", "true").returncode == 0
    resident = one.resident("one")
    done = one.chosctl("down", "one", "--dry-run")
    assert "let nobody enter one" in done.stdout and "one.1 would stay: processes in it: 1" in done.stdout
    one.leave(resident)
    assert one.chosctl("down", "nobody", "--dry-run", check=False).returncode == 1


def test_needs_root_and_says_so(one: Node) -> None:
    done = one.chosctl("up", "--dry-run", user="alice", check=False)
    assert done.returncode == 1 and "needs root" in done.stderr


def test_while_another_is_at_work(one: Node) -> None:
    """It takes no lock: nobody waits for it, and it waits for nobody."""
    with open(REGISTRY / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert one.chosctl("up", "--dry-run").stdout == "nothing to do\n"


def test_where_there_is_no_kernel_module(one: Node) -> None:
    """It says so as `up` does, and promises nothing."""
    real = one.chosctl("up", "--backend", "kmod", check=False)
    if real.returncode == 0:
        pytest.skip("this kernel has the module")
    told = one.chosctl("up", "--dry-run", "--backend", "kmod", check=False)
    assert told.returncode == 1 and told.stderr == real.stderr
    both = one.chosctl("up", "--dry-run", "--backend", "ns,kmod", check=False)
    assert both.returncode == 1 and "only ns is prepared" in both.stderr and "kernel module" not in both.stdout
