"""/proc/chos: what scripts and programs of the original's sites read and write there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from node import Node
from rows import row

SECTION = "/proc/chos"
NS = {"ns": "no kernel module, no /proc/chos: use chos"}
PROC = Path("/proc/chos")


@row("any user who writes a listed path to `setchos` enters that tree; `/` leaves it", section=SECTION, but=NS)
def test_setchos(node: Node) -> None:
    tell = "cat /etc/os-release | grep ^ID="
    enter = "echo {} >/proc/chos/setchos; "
    script = f"{enter.format('/os/one')}{tell}; {enter.format('/os/two')}{tell}; {enter.format('/')}"
    shell = node.run(["/bin/sh", "-c", f"{script}stat -c %i /"])
    assert shell.stdout == f"ID=one\nID=two\n{os.stat('/').st_ino}\n", shell


@row("a path that is not on the list is refused (ENOENT)", section=SECTION, but=NS)
def test_not_on_the_list(node: Node) -> None:
    result = node.run(["/bin/sh", "-c", "echo /os/plain >/proc/chos/setchos"])
    assert result.returncode != 0 and "Permission" not in result.stderr and PROC.exists(), result
    assert os.stat(PROC / "setchos").st_mode & 0o777 == 0o666


@row("`link` leads each process to its own tree", section=SECTION, but=NS)
def test_link(node: Node) -> None:
    assert PROC.exists() and os.readlink(PROC / "link") == "/"
    assert node.chos("one", "readlink", "/proc/chos/link").stdout == "/os/one\n"
    script = "readlink /proc/chos/link; sh -c 'echo x >/proc/chos/resetchos; readlink /proc/chos/link'; true"
    assert node.chos("two", "sh", "-c", script).stdout == "/os/two\n/os/two\n", "the parent's, without one's own"


@row("`valid` is the list; only root reads and changes it", section=SECTION, but=NS)
def test_valid(node: Node) -> None:
    assert PROC.exists() and sorted((PROC / "valid").read_text().split()) == ["/os/one", "/os/two"]
    assert node.run(["cat", "/proc/chos/valid"]).returncode != 0
    assert node.run(["/bin/sh", "-c", "echo /etc >/proc/chos/valid"]).returncode != 0


@row("`version` says that forks are trapped", section=SECTION, but=NS)
def test_version(node: Node) -> None:
    assert PROC.exists()
    assert node.run(["cat", "/proc/chos/version"]).stdout.endswith(" Fork trapped\n")


@row(
    "`savestate`: processes keep their environment while the module is replaced",
    section=SECTION,
    but={
        **NS,
        "kmod": "without the module nothing notices when they fork; unloading is refused while any process is inside",
    },
)
def test_savestate(node: Node) -> None:
    result = subprocess.run("echo 1 >/proc/chos/savestate", shell=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
