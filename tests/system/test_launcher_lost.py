"""An installed launcher with which nobody can enter is seen by whoever watches the node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import Node

CHOS = Path("/usr/bin/chos")
CAPABILITIES = "cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep"


@pytest.fixture
def up(node: Node) -> Iterator[Node]:
    """A healthy node, whose launcher is put right again afterwards."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    assert json.loads(node.chosctl("status", "--json").stdout)["launcher"] == ""
    content = CHOS.read_bytes()
    yield node
    CHOS.unlink(missing_ok=True)
    CHOS.write_bytes(content)
    CHOS.chmod(0o755)
    subprocess.run(["setcap", CAPABILITIES, str(CHOS)], check=True)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["setcap", "-r", str(CHOS)], "has lost its capabilities"),
        (["chmod", "0700", str(CHOS)], "cannot be executed by users"),
        (["rm", str(CHOS)], "is not installed here"),
    ],
)
def test_everybody_is_told(up: Node, command: list[str], word: str) -> None:
    subprocess.run(command, check=True)
    status = up.chosctl("status", "--json", check=False)
    found = json.loads(status.stdout)
    assert (status.returncode, found["healthy"]) == (1, False) and word in found["launcher"]
    checked = up.chosctl("check", check=False)
    assert checked.returncode == 1 and word in checked.stdout
    assert word in up.up(check=False).stderr


def test_set_uid_is_as_good(up: Node) -> None:
    subprocess.run(["setcap", "-r", str(CHOS)], check=True)
    CHOS.chmod(0o4755)
    assert up.chosctl("status").returncode == 0 and up.chosctl("check").returncode == 0
    assert up.chos("one", "true").returncode == 0
