"""pam_chos in sshd: files and ports. What moves them is a program of the tree, or sshd, which is inside by then."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from conftest import Node, Sshd, Stacks, os_id, run, tree_path


def test_internal_sftp_and_scp(two: Node, sshd: Sshd, dotfile: Callable[..., Path], tmp_path: Path) -> None:
    """Files of the environment and of the base's home, in both directions."""
    dotfile("alice", "one")
    batch = "get /etc/os-release got\nput got /home/alice/put\n"
    result = run(sshd.command("alice", "-b", "-", "127.0.0.1", program="sftp"), stdin=batch, cwd=tmp_path)
    assert result.returncode == 0, result
    assert os_id((tmp_path / "got").read_text()) == "ID=one"
    assert Path("/home/alice/put").read_text() == (tmp_path / "got").read_text()
    result = run(sshd.command("alice", "127.0.0.1:/etc/os-release", str(tmp_path / "copied"), program="scp"))
    assert result.returncode == 0, result
    assert os_id((tmp_path / "copied").read_text()) == "ID=one"
    sshd.settle()


def install(program: str, tree: Path) -> None:
    """A program of the base, with its libraries, at the same place in a tree."""
    output = subprocess.run(["ldd", program], text=True, capture_output=True, check=True).stdout
    for path in [program, *(word for word in output.split() if word.startswith("/"))]:
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(path).read_bytes())
        target.chmod(0o755)


def test_external_sftp_and_old_scp(
    node: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path], tmp_path: Path
) -> None:
    """They are programs, so they have to be in the tree: where they are they work, where not it is a clear failure."""
    server = "/usr/lib/openssh/sftp-server"
    tree = node.tree("one")
    for program in (server, "/usr/bin/scp"):
        install(program, tree)
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    stacks.add("sshd")
    sshd = start_sshd(f"Subsystem sftp {server}")
    for name, good in (("one", True), ("two", False)):
        dotfile("alice", name)
        result = run(
            sshd.command("alice", "-b", "-", "127.0.0.1", program="sftp"),
            stdin="get /etc/os-release got\n",
            cwd=tmp_path,
        )
        assert (result.returncode == 0) is good, result
        copy = sshd.command("alice", "-O", "127.0.0.1:/etc/os-release", str(tmp_path / "old"), program="scp")
        result = run(copy)
        assert (result.returncode == 0) is good, result
    for name in ("got", "old"):
        assert os_id((tmp_path / name).read_text()) == "ID=one"


def test_agent_and_port_forwarding(
    node: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path], keys: Path
) -> None:
    """The forwarded agent answers inside (trixie has an ssh-add), and a forwarded port arrives."""
    tree_path("trixie")
    node.tree("deb", like="trixie")
    node.configure("deb:/os/deb\n")
    node.up()
    stacks.add("sshd")
    sshd = start_sshd()
    dotfile("alice", "deb")
    fingerprint = run(["ssh-keygen", "-l", "-f", str(keys / "user.pub")]).stdout.split()[1]
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", "/tmp/agent"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not Path("/tmp/agent").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        environment = {**os.environ, "SSH_AUTH_SOCK": "/tmp/agent"}
        subprocess.run(["ssh-add", "-q", str(keys / "user")], env=environment, check=True)
        command = sshd.command("alice", "ssh-add -l; . /etc/os-release; echo $VERSION_CODENAME")
        result = run([*command[:3], "-A", *command[3:]], env=environment)
        assert fingerprint in result.stdout, result
        assert "trixie" in result.stdout
    finally:
        agent.terminate()
        agent.wait()
    command = sshd.command("alice", f"127.0.0.1:{sshd.port}")
    result = run([*command[:3], "-W", command[-1], *command[3:-1]], stdin="")
    assert result.stdout.startswith("SSH-2.0"), result
