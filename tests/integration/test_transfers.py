"""pam_chos in sshd: files and ports. What moves them is a program of the tree, or sshd, which is inside by then."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import Node, Sshd, Stacks, free_port, install, os_id, run, tree_path, wait_for


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
    result = run(sshd.command("alice", str(tmp_path / "copied"), "127.0.0.1:back", program="scp"))
    assert result.returncode == 0, result
    assert Path("/home/alice/back").read_text() == (tmp_path / "copied").read_text()
    sshd.settle()


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
        copy = sshd.command("alice", "-O", "/etc/hostname", f"127.0.0.1:old-{name}", program="scp")
        assert (run(copy).returncode == 0) is good, result
        assert Path(f"/home/alice/old-{name}").exists() is good
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
        wait_for(Path("/tmp/agent").exists, "ssh-agent")
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


def test_rsync(
    node: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path], tmp_path: Path
) -> None:
    """rsync's other half is a program of the tree: there, both directions; where it is missing, the message says so."""
    if not Path("/usr/bin/rsync").exists():
        pytest.skip("rsync is not installed (tools/deps batch)")
    install("/usr/bin/rsync", node.tree("one"))
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    stacks.add("sshd")
    sshd = start_sshd()
    shell = " ".join(sshd.command("alice")[:-1])
    there = Path("/home/alice/rsynced")

    def rsync(*paths: str) -> subprocess.CompletedProcess[str]:
        return run(["rsync", "-a", "-e", shell, *paths])

    dotfile("alice", "one")
    result = rsync("alice@127.0.0.1:/etc/os-release", f"{tmp_path}/got")
    assert result.returncode == 0, result
    assert os_id((tmp_path / "got").read_text()) == "ID=one"
    result = rsync(f"{tmp_path}/got", f"alice@127.0.0.1:{there}")
    assert result.returncode == 0, result
    assert there.read_text() == (tmp_path / "got").read_text()
    there.unlink()

    dotfile("alice", "two")
    for paths in (
        ("alice@127.0.0.1:/etc/os-release", f"{tmp_path}/no"),
        (f"{tmp_path}/got", f"alice@127.0.0.1:{there}"),
    ):
        result = rsync(*paths)
        assert result.returncode != 0, result
        assert "rsync: not found" in result.stderr, "the tree's shell says it"
    assert not there.exists()
    assert not (tmp_path / "no").exists()


def served(port: int, name: str) -> str:
    """A file from a web server on this port; empty where nobody answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=20) as answer:
        return str(answer.read().decode())
    return ""


def test_forwarded_ports(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """-L: from the client to a program within the session. -R: from within the session to the client."""
    dotfile("alice", "one")
    here, there, back = free_port(), free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        forwards = (
            *("-L", f"{here}:127.0.0.1:{there}"),
            *("-R", f"{back}:127.0.0.1:{server.getsockname()[1]}"),
            *("-o", "ExitOnForwardFailure=yes"),
        )
        script = f"httpd -f -p 127.0.0.1:{there} -h /etc & nc 127.0.0.1 {back}; kill $!"
        command = sshd.command("alice", script)
        client = subprocess.Popen(
            [*command[:3], *forwards, *command[3:]], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        server.settimeout(20)
        connection, _ = server.accept()
        connection.sendall(b"from the client\n")
        assert os_id(wait_for(lambda: served(here, "os-release"), "who listens inside")) == "ID=one"
        connection.close()
        assert client.communicate(timeout=20)[0] == "from the client\n"
    sshd.settle()
