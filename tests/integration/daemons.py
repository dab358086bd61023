"""What the tests of daemons share: pam.d files that are put back, an sshd, commands with a limit.

The node's own names are here too, so that a test finds all that it needs in one place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import subprocess
from pathlib import Path

from node import REGISTRY, REPO, Node, install, mount_points, tree_path, wait_for
from silent import silent_file_system

__all__ = [
    "AUTH",
    "BASE_ID",
    "LIMIT",
    "LINE",
    "REGISTRY",
    "REPO",
    "Node",
    "Sshd",
    "Stacks",
    "end",
    "free_port",
    "install",
    "mount_points",
    "os_id",
    "run",
    "silent_file_system",
    "tree_path",
    "wait_for",
]
LIMIT = 60
BASE_ID = next(line for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("ID="))
LINE = "session required pam_chos.so"
AUTH = "auth optional pam_chos.so"  # of services whose child enters when it asks for its credentials


def os_id(text: str) -> str:
    """The ID= line of an os-release in some output."""
    found = [line.strip() for line in text.splitlines() if line.startswith("ID=")]
    return found[0] if found else text


class Stacks:
    """pam.d: files that are put back."""

    def __init__(self) -> None:
        self._kept: dict[Path, bytes | None] = {}
        self._original: dict[str, str] = {}

    def write(self, service: str, text: str) -> None:
        """A stack of its own."""
        path = Path("/etc/pam.d") / service
        self._kept.setdefault(path, path.read_bytes() if path.exists() else None)
        path.write_text(text)

    def add(self, service: str, options: str = "", line: str = LINE) -> None:
        """The module as the last session line of an existing stack, once."""
        path = Path("/etc/pam.d") / service
        if service not in self._original:
            self._original[service] = path.read_text()
        auth = AUTH if service in ("sshd", "cron") else ""
        self.write(service, f"{self._original[service]}\n{auth}\n{line} {options}\n")

    def restore(self) -> None:
        for path, content in self._kept.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)


@dataclasses.dataclass
class Sshd:
    """A running sshd, and clients that reach it."""

    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    def command(self, user: str, *arguments: str, program: str = "ssh") -> list[str]:
        port = "-P" if program in ("scp", "sftp") else "-p"
        return [
            program,
            "-F",
            str(self.directory / "client"),
            port,
            str(self.port),
            *self._user(program, user),
            *arguments,
        ]

    def _user(self, program: str, user: str) -> list[str]:
        return [f"{user}@127.0.0.1"] if program == "ssh" else ["-o", f"User={user}"]

    def ssh(
        self, user: str, *arguments: str, options: tuple[str, ...] = (), stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """ssh USER@127.0.0.1 ARGUMENTS, as root on the same node."""
        command = self.command(user, *arguments)
        return run([*command[:3], *options, *command[3:]], stdin=stdin)

    def os(self, user: str, **more: object) -> str:
        """Which OS a command of this user sees."""
        return os_id(self.ssh(user, "cat /etc/os-release", **more).stdout)  # type: ignore[arg-type]

    def children(self) -> list[int]:
        """Processes of sessions."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def settle(self) -> None:
        """Wait until no session is left."""
        wait_for(lambda: not self.children(), "a session did not end")

    def namespace(self) -> int:
        return os.stat(f"/proc/{self.process.pid}/ns/mnt").st_ino


def run(command: list[str], *, stdin: str | None = None, **more: object) -> subprocess.CompletedProcess[str]:
    """Run as root, output as text; a hang is an error."""
    given: dict[str, object] = {"cwd": "/", **more}
    given.update({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL})
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, text=True, errors="replace", capture_output=True, timeout=LIMIT, check=False, **given
    )


def end(daemon: subprocess.Popen[bytes]) -> None:
    """SIGTERM, again and again until it has ended: atd misses one that comes just before it begins to wait."""
    while daemon.poll() is None:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def starters() -> list[int]:
    """Processes of pam_job_starter's second program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/exe"):
        try:
            if os.readlink(path).startswith("/usr/lib/chos/starters/pam/session"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
