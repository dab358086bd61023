"""The node that is measured: a user, an environment whose tree is the node's own root, and many mounts.

The tree is a bind mount of the root, so that a program inside is the very same file as outside.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import subprocess
from pathlib import Path

from progress import Progress
from report import Samples

TREE = Path("/os/base")
MOUNTS = Path("/mnt/chos-bench")
TRUE = "/usr/bin/true"
_libc = ctypes.CDLL(None, use_errno=True)


class Stand:
    """One per run. `progress` says how many samples there is time for, and is told what is done."""

    def __init__(self, tools: Path, progress: Progress) -> None:
        self.tools, self._progress = tools, progress
        self.count = progress.count
        self.mounts = 0
        run("useradd", "--create-home", "--shell", "/bin/sh", "bench")
        self.uid = pwd.getpwnam("bench").pw_uid
        # Private: a bind mount of the root below the root would otherwise appear in itself, in every environment.
        TREE.parent.mkdir()
        _mount("bench", TREE.parent, "tmpfs")
        run("mount", "--make-private", str(TREE.parent))
        self.make_tree(TREE)
        Path("/etc/chos").write_text(f"%SHELLS\nbase:{TREE}\n")
        MOUNTS.mkdir(parents=True, exist_ok=True)
        _mount("bench", MOUNTS, "tmpfs")

    def make_tree(self, path: Path) -> None:
        """The node's own root, bound there; private: what is mounted on the base appears there no second time."""
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", "/", str(path))
        run("mount", "--make-private", str(path))

    def set_mounts(self, count: int) -> None:
        """Have that many further file systems on the base."""
        while self.mounts < count:
            self.mounts += 1
            place = MOUNTS / str(self.mounts)
            place.mkdir(exist_ok=True)
            _mount("bench", place, "tmpfs")
        while self.mounts > count:
            _check(_libc.umount2(str(MOUNTS / str(self.mounts)).encode(), 0), "umount")
            self.mounts -= 1

    def chosctl(self, *arguments: str) -> str:
        self._progress.step()
        return run("chosctl", *arguments)

    def up(self, *arguments: str) -> list[dict[str, object]]:
        """chosctl up: what it says of each environment."""
        environments: list[dict[str, object]] = json.loads(self.chosctl("up", "--json", *arguments))["environments"]
        assert all(entry["state"] in ("made", "unchanged") for entry in environments), environments
        return environments

    def pin(self, name: str = "base") -> str:
        """The mount namespace of an environment."""
        return os.path.realpath(f"/run/chos/env/{name}") + "/ns"

    def time(
        self, commands: dict[str, list[str]], rounds: int, *, root: bool = False, vfork: bool = False, cwd: str = "/"
    ) -> dict[str, Samples]:
        """Run the commands against each other, in `cwd`; see spawn.c. CHOS=base is set for all of them alike."""
        self._progress.step()
        line: list[str] = []
        for command in commands.values():
            line += [*command, ":::"]
        who = [] if root else ["-u", str(self.uid)]
        spawn = ["env", "-C", cwd, str(self.tools / "spawn"), "-n", str(rounds)]
        output = run(*spawn, *who, *(["-v"] if vfork else []), *line[:-1])
        columns = zip(*([int(word) / 1000 for word in text.split()] for text in output.splitlines()))
        return {label: Samples(tuple(values)) for label, values in zip(commands, columns)}


def run(*command: str) -> str:
    """Run a command; what it prints. Ends the benchmark when it fails."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/bench",
        "USER": "bench",
        "LANG": "C.UTF-8",
        "CHOS": "base",
    }
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = result.stdout + result.stderr
        raise SystemExit(f"bench: {' '.join(command)[:200]} ended with status {result.returncode}\n{said}")
    return result.stdout


def _mount(source: str, place: Path, kind: str) -> None:
    _check(_libc.mount(source.encode(), str(place).encode(), kind.encode(), 0, b"size=64k"), str(place))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)
