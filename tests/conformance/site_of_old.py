"""A node as sites of the original have it: trees with links into /local, and files in /etc written for the original."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from node import Node, wait_for

CHOS = """# Sites write what they like up here.
early:/os/one
%OTHER
other:/os/one
%SHELLS

# The name that people know, and those of before
first:/os/one
one:/os/one
one:/os/two
a line without its separator
/auto/one:/os/one
two:/os/two
leave:/
default:/os/two
%ENV
late:/os/one
"""
CONF = "%ENV\nCHOS\nHOME\nTERM\nPATH\nKEPT\n"
SITE = """[node]
backends = ["{backend}"]
[jobs]
user_file = ".chos"
memory = "2G"
processes = 700
[records]
file = "/var/log/chos/entries"
"""
_LINKS = ("passwd", "group", "shadow", "gshadow", "hosts", "resolv.conf", "nsswitch.conf", "localtime", "chos")


class Site:
    """The node and what is written on it for the backend under test."""

    told: str  # by the last `prepare`

    def __init__(self, node: Node, backend: str) -> None:
        self.node = node
        self.backend = backend
        self.prepared = False

    def make_trees(self) -> None:
        """Trees `one` and `two` as the original wants them, and `plain` as a distribution makes it."""
        probe = Path("/tmp/probe")
        source = Path(__file__).with_name("probe.c")
        subprocess.run(["musl-gcc", "-static", "-O1", source, "-o", probe, "-pthread"], check=True)
        for name in ("one", "two", "plain"):
            tree = self.node.tree(name)
            shutil.copy(probe, tree / "bin/probe")
            if name != "plain":
                _link(tree)

    def write(self) -> None:
        """The configuration, as it is when no test is changing it."""
        Path("/etc/chos").write_text(CHOS)
        Path("/etc/chos").chmod(0o644)
        Path("/etc/chos.conf").write_text(CONF)
        Path("/etc/chos.d").mkdir(exist_ok=True)
        Path("/etc/chos.d/site.toml").write_text(SITE.format(backend=self.backend))

    def prepare(self) -> None:
        """`chosctl up` with that configuration, where another was prepared before."""
        if not self.prepared:
            result = self.node.up(check=False)
            self.told = result.stdout + result.stderr
            self.prepared = True

    def end_residents(self) -> None:
        """End who still lives in an environment, whichever the backend: what keeps its own from being taken down."""
        here = os.stat("/proc/self/ns/mnt").st_ino

        def left() -> list[int]:
            found = []
            for entry in os.listdir("/proc"):
                with suppress(OSError):
                    if entry.isdigit() and int(entry) > 1 and _is_inside(int(entry), here):
                        found.append(int(entry))
            return found

        for pid in left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not left(), "processes in environments have ended")


def _is_inside(pid: int, base: int) -> bool:
    os.readlink(f"/proc/{pid}/exe")  # a thread of the kernel has none, though some have mounts of their own
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino != base or os.readlink(f"/proc/{pid}/root") == "/chos"


def _link(tree: Path) -> None:
    """What the original's administrators were told to do to a tree."""
    for name in _LINKS:
        path = tree / "etc" / name
        path.unlink(missing_ok=True)
        path.symlink_to(f"/local/etc/{name}")
    # Batch scripts are there.
    (tree / "var/spool").mkdir(parents=True, exist_ok=True)
    (tree / "var/spool/slurmd-test").symlink_to("/local/var/spool/slurmd-test")
    for name in ("chos", "chos-job-starter"):
        path = tree / "usr/bin" / name
        path.unlink(missing_ok=True)
        path.symlink_to(f"/local/usr/bin/{name}")


def os_id(text: str) -> str:
    """The ID= of an os-release in some output."""
    return next((line[3:] for line in text.splitlines() if line.startswith("ID=")), text)
