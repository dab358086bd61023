"""The node under test: a class with its configuration, its commands and its users, and what tests wait for and ask."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
TREES = REPO / ".cache" / "trees"
REGISTRY = Path("/run/chos")
LIMIT = 120  # seconds after which a command counts as hung


def tree_path(name: str) -> Path:
    """A cached OS tree; the test is skipped, saying so, where it could not be made."""
    path = TREES / name
    if not path.exists():
        pytest.skip(f"OS tree {name} is not there: tools/trees {name}")
    return path.resolve()


def install(program: str, tree: Path) -> None:
    """A program (or library) of the base, with what it is linked with, at the same place in a tree."""
    output = subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout
    for path in [program, *(word for word in output.split() if word.startswith("/"))]:
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
        target.chmod(0o755)


def wait_for(check: Callable[[], Any], what: str) -> Any:
    """The first true answer of `check`; fails when there is none before LIMIT."""
    deadline = time.monotonic() + LIMIT
    while not (answer := check()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)
    return answer


def _identity(user: str, cwd: str | None, env: dict[str, str] | None) -> dict[str, Any]:
    """What subprocess needs to start something as a user: identity, home directory, a clean environment and `env`."""
    account = pwd.getpwnam(user)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": account.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "SHELL": account.pw_shell,
        "LANG": "C.UTF-8",
        **(env or {}),
    }
    return {
        "env": environment,
        "cwd": cwd or account.pw_dir,
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": os.getgrouplist(user, account.pw_gid),
    }


class Node:
    """The node under test: its configuration, its commands, its users."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

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

    def chosctl(
        self, *arguments: str, check: bool = True, env: dict[str, str] | None = None, user: str = "root"
    ) -> subprocess.CompletedProcess[str]:
        """Run chosctl; its output as text."""
        return self.run(["chosctl", *arguments], check=check, env=env, user=user)

    def up(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """chosctl up."""
        return self.chosctl("up", *arguments, check=check)

    def chos(
        self,
        name: str | None,
        *arguments: str,
        user: str = "alice",
        check: bool = False,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """env CHOS=NAME chos ARGUMENTS, as a user; CHOS unset where `name` is None."""
        more = dict(env or {})
        if name is not None:
            more["CHOS"] = name
        return self.run(["chos", *arguments], user=user, check=check, cwd=cwd, env=more, stdin=stdin)

    def run(
        self,
        command: list[str],
        *,
        user: str = "alice",
        check: bool = False,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a user with that user's identity and a clean environment."""
        result = subprocess.run(
            command,
            **_identity(user, cwd, env),
            text=True,
            capture_output=True,
            timeout=LIMIT,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{command} → {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def start(
        self, command: list[str], *, user: str = "alice", cwd: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Like `run`, but not waited for: its three streams are pipes. Killed after the test."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            **_identity(user, cwd, env),
            text=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        self._started.append(process)
        return process

    def resident(self, name: str, *, user: str = "alice") -> subprocess.Popen[str]:
        """A shell that lives in an environment until its standard input is closed, and runs what it reads there."""
        process = self.start(["chos", "sh"], user=user, env={"CHOS": name})
        assert self.ask(process, "echo ready") == "ready"
        return process

    def ask(self, resident: subprocess.Popen[str], line: str) -> str:
        """What a line of shell prints when a resident runs it."""
        assert resident.stdin and resident.stdout
        resident.stdin.write(f"{{ {line}; }} 2>&1; echo '--end--'\n")
        resident.stdin.flush()
        answer = ""
        for text in resident.stdout:
            before, end, _ = text.rpartition("--end--\n")
            answer += before if end else text
            if end:
                return answer.rstrip("\n")
        raise AssertionError(f"the resident ended: {answer}{resident.stderr.read() if resident.stderr else ''}")

    def leave(self, resident: subprocess.Popen[str]) -> None:
        """Let a resident end, and wait for that."""
        resident.communicate(timeout=LIMIT)

    def end(self) -> None:
        """Kill what `start` started."""
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):  # what it never read
                    if stream:
                        stream.close()

    def generation(self, name: str) -> str:
        """The published generation of an environment, `NAME.N`."""
        return os.path.basename(os.readlink(REGISTRY / "env" / name))

    def pin(self, generation: str) -> int:
        """Inode number of the mount namespace of a generation, `NAME.N`."""
        return os.stat(REGISTRY / "gen" / generation / "ns").st_ino


def mount_points() -> list[str]:
    """Where something is mounted on the base, in order."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line.split(" ")[4] for line in file]
