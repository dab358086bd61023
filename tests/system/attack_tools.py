"""What the attacks share: a marker that must not appear, hostile starts, small C programs, patched builders."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node import REPO, Node, wait_for

FAILED = 125
PROGRAMS = Path("/tmp/attack-programs")


def one(node: Node, *arguments: str, **chosd: str) -> None:
    """A node with one environment, `one`, prepared."""
    node.tree("one")
    node.configure("one:/os/one\n", **chosd)
    node.up(*arguments)


def spawn(
    command: Sequence[str | bytes],
    *,
    user: str = "alice",
    env: dict[Any, Any] | None = None,
    prepare: Callable[[], object] | None = None,
    timeout: float = 20,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user; `prepare` runs as that user just before. A hang is an error."""
    account = pwd.getpwnam(user)
    environment: dict[Any, Any] = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": account.pw_dir,
        "SHELL": "/bin/sh",
        **(env or {}),
    }
    more.setdefault("cwd", "/")
    more.setdefault("stdin", subprocess.DEVNULL)
    if "stdout" not in more:
        more["capture_output"] = True
    return subprocess.run(
        command,
        env=environment,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid),
        preexec_fn=prepare,
        timeout=timeout,
        text=True,
        errors="surrogateescape",
        check=False,
        **more,
    )


def inside(node: Node, generation: str, process: subprocess.Popen[Any], command: str) -> None:
    """Wait until a process lives in a generation and has become the command: the launcher is done with it."""

    def there() -> bool:
        assert process.poll() is None, f"it ended: {process.returncode}"
        name = Path(f"/proc/{process.pid}/comm").read_text().strip()
        return name == command and os.stat(f"/proc/{process.pid}/ns/mnt").st_ino == node.pin(generation)

    wait_for(there, f"{command} in {generation}")


class Marker:
    """A command that leaves a trace wherever it runs: /tmp is the base's on both sides."""

    def __init__(self) -> None:
        self.path = Path(f"/tmp/marker-{uuid.uuid4().hex}")
        self.command = ["/bin/sh", "-c", f"echo ran >{self.path}"]

    @property
    def ran(self) -> bool:
        return self.path.exists()

    def refused(self, result: subprocess.CompletedProcess[str], *words: str, status: int | None = FAILED) -> None:
        """The command did not run, and chos said so with its own exit status and a clean message."""
        assert not self.ran, f"the command ran\n{result.stderr}"
        assert result.returncode != 0, result
        if status is not None:
            assert result.returncode == status, result
        clean(result.stderr)
        for word in words:
            assert word in result.stderr, result.stderr


def refuse(
    name: str | bytes,
    *words: str,
    command: Sequence[str] = ("/usr/bin/chos",),
    user: str = "alice",
    env: dict[Any, Any] | None = None,
    status: int | None = FAILED,
    **more: Any,
) -> None:
    """`chos` with this name, on the marker: it must be refused."""
    marker = Marker()
    result = spawn([*command, *marker.command], user=user, env={"CHOS": name, **(env or {})}, **more)
    marker.refused(result, *words, status=status)


def clean(text: str) -> None:
    """Nothing in a message moves a cursor."""
    assert all(char == "\n" or " " <= char <= "~" for char in text), repr(text)


def compiled(name: str, source: str) -> str:
    """A static program for the attack, to be run on the base and inside any tree."""
    PROGRAMS.mkdir(mode=0o755, exist_ok=True)
    program = PROGRAMS / name
    if not program.exists():
        compiler = shutil.which("musl-gcc") or "gcc"
        subprocess.run(
            [compiler, "-D_GNU_SOURCE", "-static", "-O1", "-x", "c", "-", "-o", program],
            input=source,
            text=True,
            check=True,
        )
        program.chmod(0o755)
    return str(program)


def build_launcher(path: str, *flags: str, capabilities: bool = True, mode: int = 0o755) -> str:
    """Another build of the launcher, installed on this node."""
    compiler = "musl-gcc" if shutil.which("musl-gcc") else "gcc"
    subprocess.run(["/bin/sh", REPO / "launcher/build.sh", compiler, path, "attack", *flags], check=True)
    os.chmod(path, mode)
    if capabilities:
        subprocess.run(["setcap", "cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep", path], check=True)
    return path


def patched_command(code: str, *arguments: str) -> list[str]:
    """The command line of the installed chosctl with ARGUMENTS, after `code` has changed something in it."""
    start = Path("/usr/bin/chosctl").read_text()
    where = re.findall(r"sys\.path\.insert\(0, *(['\"].*?['\"])\)", start)[0]
    script = (
        f"import sys; sys.path.insert(0, {where}); sys.argv = ['chosctl', *{list(arguments)!r}]\n"
        f"{code}\nfrom chosns.cli import main\nmain()\n"
    )
    return [sys.executable, "-I", "-c", script]


def patched(
    code: str, *arguments: str, env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run that."""
    return subprocess.run(
        patched_command(code, *arguments),
        text=True,
        capture_output=True,
        timeout=timeout,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **(env or {})},
        check=False,
        cwd="/",
    )


def status_of(text: str) -> dict[str, str]:
    """/proc/PID/status as a dictionary."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
