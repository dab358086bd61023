"""The fixtures of every test that needs a node: `node`, `users`, `etc`. A folder's conftest.py imports them.

The node is made once a session; `node` gives each test an empty configuration and nothing prepared, and checks
afterwards that nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import REGISTRY, Node, mount_points


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0 or socket.gethostname() != "node" or os.getpid() > 100000:
        pytest.exit("these tests change the machine that they run on: use `make system integration`", returncode=4)
    for command in ("/usr/bin/chos", "/usr/bin/chosctl"):
        if not os.path.exists(command):
            pytest.exit(f"{command} is not installed on this node: use `make system integration`", returncode=4)


@pytest.fixture(scope="session", autouse=True)
def users() -> None:
    """alice and bob, each in a group of her and his own, both in none besides."""
    for name in ("alice", "bob"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)


def _end_residents() -> None:
    """Kill what a test left running in another mount namespace; this node's only."""
    own = os.stat("/proc/self/ns/mnt").st_ino
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) > 1:
            try:
                if os.stat(f"/proc/{entry}/ns/mnt").st_ino != own:
                    os.kill(int(entry), signal.SIGKILL)
            except OSError:
                continue


@pytest.fixture
def etc(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that names a file of the base's /etc which the test may change: it is put back afterwards."""
    kept: dict[Path, Path] = {}

    def change(name: str) -> Path:
        path = Path("/etc") / name
        if path not in kept:
            kept[path] = tmp_path / f"etc-{len(kept)}"
            if os.path.lexists(path):
                shutil.copy2(path, kept[path], follow_symlinks=False)
        return path

    yield change
    for path, copy in kept.items():
        path.unlink(missing_ok=True)
        if os.path.lexists(copy):
            shutil.copy2(copy, path, follow_symlinks=False)


@contextlib.contextmanager
def empty_node() -> Iterator[Node]:
    """A node with nothing prepared; what was made on it is taken away again."""
    before = mount_points()
    Path("/os").mkdir(exist_ok=True)
    node = Node()
    try:
        yield node
    finally:
        _clear(node, before)
    assert [point for point in mount_points() if point not in before] == [], "the test left mounts behind"


def _clear(node: Node, before: list[str]) -> None:
    node.end()
    _end_residents()
    if REGISTRY.is_dir():
        with_pins = [point for point in mount_points() if point.startswith("/run/chos")]
        for point in reversed(with_pins):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    for point in reversed(mount_points()[len(before) :]):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    for path in ("/etc/chos", "/etc/chos.conf", "/etc/sysconfig/chos"):
        Path(path).unlink(missing_ok=True)
    shutil.rmtree("/etc/chos.d", ignore_errors=True)
    # A tree that is still bound there would be deleted: a bind of the same file system looks like a directory of it.
    assert not [point for point in mount_points() if point.startswith("/os/")], "a tree is still mounted"
    subprocess.run(["rm", "-rf", "--one-file-system", "/os"], check=False)


@pytest.fixture
def node() -> Iterator[Node]:
    """An empty node for each test."""
    with empty_node() as node:
        yield node
