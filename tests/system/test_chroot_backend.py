"""Adding a backend is one file and a row of the table: a throwaway one, of under 60 lines, that does a chroot."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attack_tools import patched
from node import Node, wait_for

HERE = Path(__file__).resolve().parent
ROW = (
    f"sys.path.append({str(HERE)!r}); from chosns import backends; "
    "backends.TABLE['chroot'] = backends.Row('chroot_backend', 'chroot_backend')"
)


def chosctl(*words: str) -> Any:
    done = patched(ROW, *words, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


@pytest.fixture
def one(node: Node) -> Node:
    node.tree("one")
    node.configure("one:/os/one\n")
    return node


def test_it_is_short() -> None:
    lines = (HERE / "chroot_backend.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 60


def test_its_life(one: Node) -> None:
    """Made, unchanged, entered, seen by ps, made again, and down."""
    assert [env["state"] for env in chosctl("up", "--backend=chroot")["environments"]] == ["made"]
    assert [env["state"] for env in chosctl("up")["environments"]] == ["unchanged"]
    state = chosctl("status")
    assert state["healthy"] and state["backends"] == ["chroot"] and state["environments"][0]["state"] == "up"
    tree = Path("/run/chos/gen/one.1/tree").read_text().rstrip("\n")
    inside = subprocess.Popen(["chroot", tree, "/bin/sleep", "600"])
    try:
        wait_for(lambda: os.readlink(f"/proc/{inside.pid}/root") == tree, "the process inside")
        assert [entry["generation"] for entry in chosctl("ps")] == ["one.1"]
        os.rename("/os/one", "/os/old")
        one.tree("one")
        made = chosctl("up")["environments"][0]
        assert made["generation"] == "one.2" and "the tree was replaced" in made["why"][0]
    finally:
        inside.kill()
        inside.wait()
    assert "registry" in chosctl("down", "--dry-run")["actions"][-1]["text"]
    chosctl("down")
    assert not os.path.ismount("/run/chos")


def test_beside_another(one: Node) -> None:
    """What gives namespaces makes the generations; the other has to agree that they can be entered by it, too."""
    made = chosctl("up", "--backend=ns,chroot")["environments"][0]
    assert made["state"] == "made"
    assert json.loads(Path("/run/chos/gen/one.1/manifest.json").read_text())["backend"] == "ns"
    assert one.chos("one", "true").returncode == 0


def test_that_it_is_not_there(one: Node) -> None:
    """Without its row it is an unknown word, and what it has prepared is as of a later version."""
    refused = one.chosctl("up", "--backend=chroot", check=False)
    assert refused.returncode == 2 and "chroot is not one or more of ns, kmod" in refused.stderr
    chosctl("up", "--backend=chroot")
    assert "prepared for chroot" in one.up("--dry-run").stdout
    one.up()
    assert one.chos("one", "true").returncode == 0
