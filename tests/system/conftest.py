"""System tests: real mounts, real trees, on a throwaway node (`make system`).

Everything here changes accounts, /etc and mounts, so it refuses to run anywhere else. The node is made once a session;
`node` gives each test an empty configuration and nothing prepared, and checks afterwards that nothing is left.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
TREES = REPO / ".cache" / "trees"
REGISTRY = Path("/run/chos")
LIMIT = 120  # seconds after which a command counts as hung


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0 or socket.gethostname() != "node" or os.getpid() > 100000:
        pytest.exit("system tests change the machine that they run on: use `make system`", returncode=4)
    for command in ("/usr/bin/chos", "/usr/bin/chosctl"):
        if not os.path.exists(command):
            pytest.exit(f"{command} is not installed on this node: use `make system`", returncode=4)


@pytest.fixture(scope="session", autouse=True)
def users() -> None:
    """alice and bob, each in a group of her and his own, both in none besides."""
    for name in ("alice", "bob"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)


def tree_path(name: str) -> Path:
    """A cached OS tree; the test is skipped, saying so, where it could not be made."""
    path = TREES / name
    if not path.exists():
        pytest.skip(f"OS tree {name} is not there: tools/trees {name}")
    return path.resolve()


class Node:
    """The node under test: its configuration, its commands, its users."""

    def tree(self, name: str, like: str = "tiny") -> Path:
        """A tree of its own at /os/NAME: a copy of `tiny`, a bind mount of anything larger."""
        path = Path("/os") / name
        path.mkdir(parents=True, exist_ok=True)
        source = tree_path(like)
        if like == "tiny":
            shutil.copytree(source, path, symlinks=True, dirs_exist_ok=True)
            (path / "etc/os-release").write_text(f'NAME="{name}"\nPRETTY_NAME="{name}"\nID={name}\n')
        else:
            self.mount("--bind", str(source), str(path))
        return path

    def configure(self, shells: str, **chosd: str) -> None:
        """Write /etc/chos with these lines under %SHELLS, and /etc/chos.d/NAME.toml for each further argument."""
        Path("/etc/chos").write_text("%SHELLS\n" + shells.strip() + "\n")
        Path("/etc/chos").chmod(0o644)
        for name, text in chosd.items():
            Path("/etc/chos.d").mkdir(exist_ok=True)
            (Path("/etc/chos.d") / f"{name}.toml").write_text(text)

    def mount(self, *arguments: str) -> None:
        """mount(8) on the base; undone after the test."""
        subprocess.run(["mount", *arguments], check=True)

    def chosctl(self, *arguments: str, check: bool = True, env: dict[str, str] | None = None,
                user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run chosctl; its output as text."""
        return self.run(["chosctl", *arguments], check=check, env=env, user=user)

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """chosctl up."""
        return self.chosctl("up", *arguments, check=check)

    def chos(self, name: str | None, *arguments: str, user: str = "alice", check: bool = False, cwd: str | None = None,
             env: dict[str, str] | None = None, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """env CHOS=NAME chos ARGUMENTS, as a user; CHOS unset where `name` is None."""
        more = dict(env or {})
        if name is not None:
            more["CHOS"] = name
        return self.run(["chos", *arguments], user=user, check=check, cwd=cwd, env=more, stdin=stdin)

    def run(self, command: list[str], *, user: str = "alice", check: bool = False, cwd: str | None = None,
            env: dict[str, str] | None = None, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as a user with that user's identity and a clean environment."""
        account = pwd.getpwnam(user)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": account.pw_dir, "USER": user,
            "LOGNAME": user, "SHELL": account.pw_shell, "LANG": "C.UTF-8", **(env or {}),
        }
        result = subprocess.run(
            command, env=environment, cwd=cwd or account.pw_dir, text=True, capture_output=True, timeout=LIMIT,
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            user=account.pw_uid, group=account.pw_gid, extra_groups=os.getgrouplist(user, account.pw_gid),
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{command} → {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def generation(self, name: str) -> str:
        """The published generation of an environment, `NAME.N`."""
        return os.path.basename(os.readlink(REGISTRY / "env" / name))


def mount_points() -> list[str]:
    """Where something is mounted on the base, in order."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line.split(" ")[4] for line in file]


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
def node() -> Iterator[Node]:
    """An empty node."""
    before = mount_points()
    Path("/os").mkdir(exist_ok=True)
    yield Node()
    _end_residents()
    if REGISTRY.is_dir():
        with_pins = [point for point in mount_points() if point.startswith("/run/chos")]
        for point in reversed(with_pins):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    for point in reversed(mount_points()[len(before):]):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    for path in ("/etc/chos", "/etc/chos.conf", "/etc/sysconfig/chos"):
        Path(path).unlink(missing_ok=True)
    shutil.rmtree("/etc/chos.d", ignore_errors=True)
    subprocess.run(["rm", "-rf", "--one-file-system", "/os"], check=False)
    assert [point for point in mount_points() if point not in before] == [], "the test left mounts behind"
