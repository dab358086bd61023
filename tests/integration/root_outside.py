"""A node where alice and bob work in an environment full of traps, and what has been caught there.

`Place` is what a row of `test_root_outside` gets: commands, terminals and daemons whose locale is the traps'.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pty
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import traps
from daemons import Node, Stacks, wait_for
from node_fixtures import empty_node
from watcher import Watch, watching

LIMIT = 20  # seconds after which something hangs
NAME = "evil"
EVERYTHING = """[tree]
top = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/var", "/opt"]
[base]
rest = true
devices = ["/dev"]
"""
SESSION = "session required pam_chos.so"
SERVICES = ("sshd", "su", "runuser", "sudo", "sudo-i", "login", "cron", "atd")
USERS = ("alice", "bob")
INSIDE = "cat /etc/os-release; id -u"


Act = Callable[[int, int], None]  # what is done to a process on a terminal: its pid, and the terminal's descriptor


@dataclasses.dataclass
class Place:
    """The node, and its watcher."""

    node: Node
    watch: Watch
    stacks: Stacks

    def env(self, **more: str) -> dict[str, str]:
        return {**os.environ, **traps.VARIABLES, **more}

    def run(self, *words: str, stdin: str | None = None, **env: str) -> str:
        """What a command of root's says, both streams."""
        given: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        given.update(text=True, errors="replace", env=self.env(**env), cwd="/", timeout=LIMIT, check=False)
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **given)
        return str(done.stdout)

    def signalled(self, number: signal.Signals, *words: str, user: str = "alice") -> str:
        """The same, with a signal once a process `sleep 1000` of the user's is there."""
        process = subprocess.Popen(
            words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.env(), cwd="/", start_new_session=True,
        )  # fmt: skip
        self.wait_until_inside(user)
        process.send_signal(number)
        if number != signal.SIGTERM:  # which hosts pass on; of the others some are ignored
            end_sleepers(user)
        text = process.communicate(timeout=LIMIT)[0]
        end_sleepers(user)
        return str(text)

    def wait_until_inside(self, user: str = "alice") -> None:
        """A process `sleep 1000` of the user's is there, and nobody who is root stands inside."""
        wait_for(lambda: sleepers(user), "the user's process")
        pin = self.node.pin(self.node.generation(NAME))
        standing = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_root_inside(pid, pin)]
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in standing]
        assert not standing, f"root stands inside: {names}"

    def terminal(self, *words: str, typed: str = "", after: Act | None = None, **env: str) -> str:
        """What a program shows on a terminal; `after` gets its pid and the terminal instead of what is typed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir("/")
            os.execvpe(words[0], list(words), self.env(TERM="linux", **env))
        output = b""
        if after is not None:
            after(pid, terminal)
        elif typed:
            os.write(terminal, typed.encode())
        with contextlib.suppress(OSError):
            while select.select([terminal], [], [], LIMIT)[0] and (chunk := os.read(terminal, 65536)):
                output += chunk
        with contextlib.suppress(OSError):
            os.close(terminal)
        os.waitpid(pid, 0)
        return output.decode(errors="replace").replace("\r", "")


def _is_root_inside(pid: int, pin: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino != pin:
            return False
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return False
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return "0" in values["Uid"].split() or int(values["CapPrm"], 16) != 0


def sleepers(user: str = "alice") -> list[int]:
    """Processes `sleep 1000` of a user; not the shell whose command line it is in."""
    found = subprocess.run(["pgrep", "-u", user, "-f", "^sleep 1000"], text=True, capture_output=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def end_all(user: str = "alice") -> None:
    """Whatever a user still has: a shell that ignores that its terminal has gone."""
    found = subprocess.run(["pgrep", "-u", user], text=True, capture_output=True, check=False)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def end_sleepers(user: str = "alice") -> None:
    for pid in sleepers(user):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def trapped(tmp: Path) -> Iterator[Place]:
    """The environment `evil` is everybody's default, and watched."""
    with empty_node() as node:
        tree = Path("/os") / NAME
        tree.mkdir(parents=True)
        node.mount("-t", "tmpfs", "-o", "mode=0755", "trap", str(tree))
        node.tree(NAME)
        sockets = traps.lay(tree)
        traps.reset()
        Path("/etc/chos.d/bindmaps").mkdir(parents=True)
        Path("/etc/chos.d/bindmaps/everything.toml").write_text(EVERYTHING)
        node.configure(f"{NAME}:/os/{NAME}\n", evil=f'[environment.{NAME}]\nbindmap = "everything"\n')
        node.up()
        for user in USERS:
            dotfile = Path(f"/home/{user}/.chos")
            dotfile.write_text(NAME)
            shutil.chown(dotfile, user, user)
        stacks = Stacks()
        pin = Path("/run/chos/gen") / node.generation(NAME) / "ns"
        try:
            with watching(tree, pin, sockets, tmp / "seen") as watch:
                yield Place(node, watch, stacks)
        finally:
            stacks.restore()
            for user in USERS:
                Path(f"/home/{user}/.chos").unlink(missing_ok=True)
