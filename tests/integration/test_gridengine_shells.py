"""qlogin, and qrsh without a command, of a real Grid Engine: shells that a real sshd opens, where pam_chos moves them.

Grid Engine starts no starter for them. Its builtin ones go through neither, and are on the base.
"""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import gridengine
import pytest
from conftest import BASE_ID, Node, Stacks, os_id
from gridengine import GridEngine

CLIENT = Path("/etc/ssh-test/alice")
DAEMON = "/usr/sbin/sshd -i -f /etc/ssh-test/inetd"


@pytest.fixture(scope="module")
def by_sshd(users: None, keys: Path) -> Iterator[GridEngine]:
    """The configuration that docs/integrations/sge.md gives, with a key that alice may read."""
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed (tools/deps test)")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (keys / "inetd").write_text(
        f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\nUsePAM yes\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nStrictModes no\nPidFile none\nUseDNS no\n"
    )
    key = keys / "alices-key"
    shutil.copy(keys / "user", key)
    os.chown(key, pwd.getpwnam("alice").pw_uid, -1)
    key.chmod(0o600)
    CLIENT.write_text((keys / "client").read_text().replace(f"{keys}/user", str(key)))
    qlogin = keys / "qlogin"
    qlogin.write_text(f'#!/bin/sh\nexec ssh -tt -F {CLIENT} -p "$2" "$1"\n')
    qlogin.chmod(0o755)
    with gridengine.running() as cell:
        change(
            cell,
            qlogin_command=str(qlogin),
            qlogin_daemon=DAEMON,
            rlogin_command=f"/usr/bin/ssh -tt -F {CLIENT}",
            rlogin_daemon=DAEMON,
        )
    # The execution daemon learns of it when it starts.
    with gridengine.running() as cell:
        yield cell
        change(
            cell, qlogin_command="builtin", qlogin_daemon="builtin", rlogin_command="builtin", rlogin_daemon="builtin"
        )


def change(grid: GridEngine, **settings: str) -> None:
    """The file has to be called as the configuration is."""
    text = grid.command("qconf", "-sconf", "global").partition("\n")[2]
    for key, value in settings.items():
        text = re.sub(rf"^{key}\s.*$", f"{key} {value}", text, flags=re.MULTILINE)
    Path("/tmp/global").write_text(text)
    grid.command("qconf", "-Mconf", "/tmp/global")


def shell(grid: GridEngine, words: list[str], typed: str) -> str:
    """What alice sees on her terminal."""
    account = pwd.getpwnam("alice")
    pid, terminal = pty.fork()
    if pid == 0:
        os.initgroups("alice", account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.chdir(account.pw_dir)
        home = {"HOME": account.pw_dir, "LOGNAME": "alice", "USER": "alice", "SHELL": "/bin/sh"}
        os.execve(f"/usr/bin/{words[0]}", words, {"PATH": "/usr/bin:/bin", **home, **grid.environment})
    output, waiting = b"", typed.encode()
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            output += chunk
            if waiting and b"$ " in output:  # what is typed before the prompt may be lost
                os.write(terminal, waiting)
                waiting = b""
    os.waitpid(pid, 0)
    os.close(terminal)
    return output.decode().replace("\r", "")


SHOW = "cat /etc/os-release; pwd; echo CHOS=$CHOS job=${JOB_ID:-none}; exit\n"


def test_builtin_shells_are_on_the_base(two: Node, dotfile: Callable[..., Path]) -> None:
    """As the page says: no starter, no PAM. `chos` is there."""
    dotfile("alice", "two")
    with gridengine.running() as cell:
        text = shell(cell, ["qrsh"], f"env CHOS=one chos cat /etc/os-release\n{SHOW}")
    assert [line for line in text.splitlines() if line.startswith("ID=")] == ["ID=one", BASE_ID], text


@pytest.mark.parametrize("command", ["qlogin", "qrsh"])
def test_shells_by_sshd(
    two: Node, by_sshd: GridEngine, stacks: Stacks, dotfile: Callable[..., Path], command: str
) -> None:
    """Without `-pty no`, Grid Engine 8.1.9 gives a terminal of its own and ends the daemon at once."""
    stacks.add("sshd")
    dotfile("alice", "two")
    text = shell(by_sshd, [command, "-pty", "no"], SHOW)
    assert os_id(text) == "ID=two", text
    assert "/home/alice\nCHOS=two " in text, text
    assert by_sshd.ready()
    dotfile("alice", "nowhere")
    text = shell(by_sshd, [command, "-pty", "no"], SHOW)
    assert os_id(text) == BASE_ID, text
    assert "nowhere: no such environment" in text
    assert "is in the base system" in text
