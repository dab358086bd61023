"""The boot script and the unit: their verbs, their exit statuses, and that a restart locks nobody out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import REGISTRY, Node

SCRIPT = "/etc/init.d/chos"
LOCK = Path("/var/lock/subsys/chos")
UNIT = next(
    (path for path in Path("/").glob("*/lib/systemd/system/chos.service")), Path("/lib/systemd/system/chos.service")
)


@pytest.fixture
def site(node: Node) -> Iterator[Node]:
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\ntwo:/os/two\n")
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    yield node
    LOCK.unlink(missing_ok=True)


def verb(node: Node, word: str) -> int:
    return node.run([SCRIPT, word], user="root").returncode


def test_verbs(site: Node) -> None:
    assert verb(site, "status") == 3 and verb(site, "condrestart") == 0
    assert not (REGISTRY / "backend").is_symlink(), "condrestart prepared what was not up"
    assert verb(site, "start") == 0 and verb(site, "status") == 0 and LOCK.exists()
    assert verb(site, "stop") == 0 and verb(site, "status") == 3 and not LOCK.exists()
    assert verb(site, "stop") == 0
    assert verb(site, "restart") == 0 and verb(site, "status") == 0
    assert verb(site, "nonsense") == verb(site, "") == 2


def test_one_broken_environment(site: Node) -> None:
    site.configure("one:/os/one\nthree:/os/three\n")
    assert verb(site, "start") == 1 and verb(site, "status") == 1 and LOCK.exists()
    assert site.chos("one", "true").returncode == 0
    assert verb(site, "stop") == 0 and not LOCK.exists()


@pytest.mark.parametrize("word", ["restart", "force-reload", "reload", "condrestart", "try-restart"])
def test_a_restart_locks_nobody_out(site: Node, word: str) -> None:
    """The names stay from beginning to end; what was changed is seen."""
    assert verb(site, "start") == 0
    before = (REGISTRY / "env").stat().st_ino
    resident = site.resident("one")
    site.configure("one:/os/two\n")
    entering = "while :; do CHOS=one chos true || exit 1; echo; done"
    meanwhile = site.start(["/bin/sh", "-c", entering])
    assert meanwhile.stdout and meanwhile.stdout.readline() == "\n"
    assert verb(site, word) == 0
    assert meanwhile.stdout.readline() == "\n" and meanwhile.poll() is None
    assert "ID=two" in site.chos("one", "cat", "/etc/os-release").stdout
    assert "ID=one" in site.ask(resident, "cat /etc/os-release")
    assert (REGISTRY / "env").stat().st_ino == before


def unit_command(key: str) -> list[str]:
    """What systemd would run: `$$` is `$`, `%n` the unit's name, and quotation marks are the shell's here."""
    (line,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return ["/bin/sh", "-c", line.replace("$$", "$").replace("%n", "chos.service")]


@pytest.mark.parametrize(
    ("job", "stays"),
    [("1 chos.service restart running", True), ("1 chos.service stop running", False), ("", False)],
)
def test_stopping_the_unit(site: Node, tmp_path: Path, job: str, stays: bool) -> None:
    assert site.run(unit_command("ExecStart"), user="root").returncode == 0
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho '{job}'\n")
    (tmp_path / "systemctl").chmod(0o755)
    result = site.run(unit_command("ExecStop"), user="root", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert result.returncode == 0
    assert (site.chos("one", "true").returncode == 0) is stays


def test_the_unit_is_right() -> None:
    verified = subprocess.run(["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False)
    assert "chos.service" not in verified.stderr, verified.stderr
    assert {"SuccessExitStatus=1", "TimeoutStartSec=infinity"} <= set(UNIT.read_text().splitlines())


def test_whoever_asks_whether_anything_is_prepared_sees_it(site: Node) -> None:
    """`backend` is a link that leads nowhere: scripts have to ask for the link."""
    site.up()
    backend = REGISTRY / "backend"
    assert backend.is_symlink() and not backend.exists()
