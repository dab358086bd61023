"""Integration tests: the installed pam_chos.so in real daemons, on a throwaway node (`make integration`).

The node and its users are those of the system tests. Daemons listen on the loopback address only and are ended by
their process id; pam.d files are put back after each test.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from daemons import *  # noqa: F403
from daemons import Node, Sshd, Stacks, free_port
from node_fixtures import etc, node, pytest_sessionstart, users

__all__ = ["etc", "node", "pytest_sessionstart", "users"]


@pytest.fixture
def stacks() -> Iterator[Stacks]:
    """pam.d, put back after the test."""
    stacks = Stacks()
    yield stacks
    stacks.restore()


@pytest.fixture
def dotfile() -> Iterator[Callable[..., Path]]:
    """A function that writes ~/.chos for a user (or removes it, for None); all are removed after the test."""
    written: set[Path] = set()

    def write(user: str, text: str | None) -> Path:
        account = pwd.getpwnam(user)
        path = Path(account.pw_dir) / ".chos"
        _remove(path)
        written.add(path)
        if text is not None:
            path.write_text(text)
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    yield write
    for path in written:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.fixture
def log() -> Iterator[Callable[[str], list[str]]]:
    """What was sent to syslog: a function that gives the lines with a word in them, as `<priority>text`."""
    lines: list[str] = []
    path = Path("/dev/log")
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(str(path))
    path.chmod(0o666)
    server.settimeout(0.05)
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            with contextlib.suppress(socket.timeout):
                lines.append(server.recv(65536).decode(errors="replace"))

    thread = threading.Thread(target=listen)
    thread.start()

    def found(word: str) -> list[str]:
        time.sleep(0.15)
        return [line for line in lines if word in line]

    yield found
    done.set()
    thread.join()
    server.close()
    path.unlink(missing_ok=True)


@pytest.fixture
def two(node: Node) -> Node:
    """Environments `one` and `two`, without a default."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    return node


@pytest.fixture(scope="session")
def keys() -> Path:
    """A host key, and a key that alice, bob and root accept."""
    directory = Path("/etc/ssh-test")
    directory.mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        if not (directory / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "authorized").write_text((directory / "user.pub").read_text())
    (directory / "client").write_text(
        f"IdentityFile {directory}/user\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
        "LogLevel ERROR\nBatchMode yes\nConnectTimeout 30\n"
    )
    for user in ("alice", "bob"):
        # An account without a password is locked, which sshd refuses; one with an impossible password is not.
        subprocess.run(["usermod", "-p", "*", user], check=True)
    return directory


@pytest.fixture
def start_sshd(keys: Path) -> Iterator[Callable[..., Sshd]]:
    """A function that starts sshd with further lines of configuration; ended after the test."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed (tools/deps test)")
    running: list[Sshd] = []

    def start(configuration: str = "", wrapper: tuple[str, ...] = ()) -> Sshd:
        port = free_port()
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        path = keys / f"sshd-{port}"
        path.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\n"
            "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"StrictModes no\nPidFile none\nMaxStartups 200\nMaxSessions 100\nUseDNS no\n{configuration}\n"
        )
        process = subprocess.Popen(
            [*wrapper, "/usr/sbin/sshd", "-D", "-e", "-f", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(keys / f"log-{port}").open("wb"),
            cwd="/",
        )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None and time.monotonic() < deadline, (keys / f"log-{port}").read_text()
            time.sleep(0.02)
        running.append(Sshd(process, port, keys))
        return running[-1]

    yield start
    for sshd in running:
        for pid in [*sshd.children(), sshd.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        sshd.process.wait(20)


@pytest.fixture
def sshd(start_sshd: Callable[..., Sshd], stacks: Stacks) -> Sshd:
    """sshd with pam_chos as its last session line, and internal sftp."""
    stacks.add("sshd")
    return start_sshd("Subsystem sftp internal-sftp")
