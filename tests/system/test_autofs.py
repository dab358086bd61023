"""A real automounter on the base: its file systems appear inside when somebody there walks into them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import LIMIT, Node, mount_points, wait_for

pytestmark = pytest.mark.skipif(
    not (shutil.which("automount", path="/usr/sbin:/sbin") and Path("/dev/autofs").exists()),
    reason="no automounter here: apt-get install autofs, and a kernel with autofs",
)

EXPORT = Path("/srv/export")


@pytest.fixture
def automount(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts an automounter for /auto: KEY is a bind of /srv/export/KEY."""
    Path("/auto").mkdir(exist_ok=True)
    for key in ("red", "green", "blue"):
        (EXPORT / key).mkdir(parents=True, exist_ok=True)
        (EXPORT / key / "colour").write_text(key + "\n")
    (tmp_path / "auto.map").write_text(f"*  -fstype=bind  :{EXPORT}/&\n")
    (tmp_path / "auto.master").write_text(f"/auto  {tmp_path}/auto.map  --timeout=300\n")
    daemons: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        # In a session of its own: processes of the daemon's group do not trigger mounts.
        daemons.append(
            subprocess.Popen(
                [
                    "automount",
                    "--foreground",
                    "--dont-check-daemon",
                    "-p",
                    str(tmp_path / "pid"),
                    str(tmp_path / "auto.master"),
                ],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        )
        wait_for(lambda: daemons[-1].poll() is not None or "/auto" in mount_points(), "automount to mount /auto")
        assert daemons[-1].poll() is None, "automount ended"

    yield start
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(LIMIT)
    for point in reversed([point for point in mount_points() if (point + "/").startswith("/auto/")]):
        subprocess.run(["umount", "-l", point], check=True)


def test_triggered_inside(node: Node, automount: Callable[[], None]) -> None:
    node.tree("early")
    node.tree("late")
    node.configure("early:/os/early\nlate:/os/late\n")
    node.up("early")
    before = node.resident("early")
    automount()
    node.up("late")
    after = node.resident("late", user="bob")
    assert "/auto/red" not in mount_points() and "/auto/green" not in mount_points()
    assert node.ask(before, "cat /auto/red/colour") == "red", "in an environment that is older than the automounter"
    assert "/auto/red" in mount_points(), "mounted on the base"
    assert node.ask(after, "cat /auto/red/colour") == "red"
    assert node.ask(after, "cat /auto/green/colour") == "green", "in an environment that is younger"
    assert node.ask(before, "cat /auto/green/colour") == "green"
    assert Path("/auto/blue/colour").read_text() == "blue\n"
    assert node.ask(before, "cat /auto/blue/colour") == "blue", "triggered on the base, seen inside"


def test_a_key_that_is_not_there_is_an_error_not_a_hang(node: Node, automount: Callable[[], None]) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    automount()
    node.up()
    result = node.chos("one", "ls", "/auto/nothing")
    assert result.returncode != 0 and "No such file" in result.stderr


def test_working_directory_in_an_automounted_home(node: Node, automount: Callable[[], None]) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    automount()
    assert node.chos("one", "pwd", cwd="/auto/green", check=True).stdout == "/auto/green\n"
    assert node.chos("one", "cat", "colour", cwd="/auto/green", check=True).stdout == "green\n"
