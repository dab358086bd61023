"""pam_chos in sshd: commands and terminals, what they leave in the daemon, many at once. See also test_transfers.py."""

from __future__ import annotations

import concurrent.futures
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import BASE_ID, LINE, Node, Sshd, Stacks, os_id, run, silent_file_system, wait_for


def test_command(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """Each user's file decides: OS, home directory, exit status, variables; nothing stays in the daemon."""
    dotfile("alice", "one\n")
    dotfile("bob", "\n  two trailing words\nmore")
    sshd.settle()  # the connection that tried whether it listens
    before = (sshd.namespace(), sorted(os.listdir(f"/proc/{sshd.process.pid}/fd")))
    assert sshd.os("alice") == "ID=one"
    assert sshd.os("bob") == "ID=two"
    result = sshd.ssh("alice", 'pwd; echo "$CHOS $CHOS_GENERATION"; id -un; exit 7')
    assert result.stdout.split() == ["/home/alice", "one", "one.1", "alice"]
    assert result.returncode == 7
    assert result.stderr == ""
    sshd.settle()
    assert before == (sshd.namespace(), sorted(os.listdir(f"/proc/{sshd.process.pid}/fd")))
    assert two.chosctl("ps", "--json").stdout.count('"pid"') == 0


def test_who_chose_nothing(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """Without a file and a default, in the base, silently; with a default, there; `root` means the base."""
    result = sshd.ssh("alice", "cat /etc/os-release; env")
    assert os_id(result.stdout) == BASE_ID
    assert "CHOS" not in result.stdout
    assert result.stderr == ""
    two.configure("one:/os/one\ntwo:/os/two\ndefault:/os/two\n")
    two.up()
    assert sshd.os("alice") == "ID=two"
    dotfile("alice", "root")
    assert sshd.os("alice") == BASE_ID


def test_root_is_never_moved(two: Node, sshd: Sshd) -> None:
    two.configure("one:/os/one\ndefault:/os/one\n")
    two.up()
    Path("/root/.chos").write_text("one")
    try:
        assert sshd.os("root") == BASE_ID
    finally:
        Path("/root/.chos").unlink()


def test_terminal(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """A pty: the login shell is the tree's, the terminal has a name inside, the login is in the base's wtmp."""
    dotfile("alice", "one")
    Path("/var/log/wtmp").touch()
    size = Path("/var/log/wtmp").stat().st_size
    script = "cat /etc/os-release; tty; pwd; echo $TREE; exit 5\n"
    result = sshd.ssh("alice", options=("-tt",), stdin=script)
    assert result.returncode == 5, result
    assert os_id(result.stdout.replace("\r", "")) == "ID=one"
    assert "/dev/pts/" in result.stdout
    assert "/home/alice" in result.stdout
    assert "\ntiny" in result.stdout.replace("\r", ""), "the tree's /etc/profile was read"
    assert Path("/var/log/wtmp").stat().st_size > size
    sshd.settle()


def test_control_master(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """Sessions of one connection share the environment that it began in, whatever the file says by then."""
    dotfile("alice", "one")
    master = ("-o", "ControlPath=/tmp/control")
    assert sshd.ssh("alice", options=("-M", "-N", "-f", *master)).returncode == 0
    try:
        assert sshd.os("alice", options=master) == "ID=one"
        dotfile("alice", "two")
        assert sshd.os("alice", options=master) == "ID=one"
        assert sshd.os("alice") == "ID=two"
    finally:
        sshd.ssh("alice", options=("-O", "exit", *master))
    sshd.settle()


def test_the_clients_variable_does_not_count(
    two: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path]
) -> None:
    """SendEnv comes too late to choose, and does not hide what was chosen."""
    stacks.add("sshd")
    sshd = start_sshd("AcceptEnv CHOS")
    dotfile("alice", "one")
    command = sshd.command("alice", "cat /etc/os-release; echo CHOS=$CHOS")
    result = run([*command[:3], "-o", "SendEnv=CHOS", *command[3:]], env={**os.environ, "CHOS": "two"})
    assert os_id(result.stdout) == "ID=one"
    assert "CHOS=one\n" in result.stdout


def test_the_daemons_variable_counts(
    two: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path]
) -> None:
    """$CHOS of the calling process comes first, as in the original."""
    stacks.add("sshd")
    sshd = start_sshd(wrapper=("env", "CHOS=two"))
    dotfile("alice", "one")
    assert sshd.os("alice") == "ID=two"


def test_private_mounts(
    two: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, dotfile: Callable[..., Path]
) -> None:
    """A daemon with mounts of its own (PrivateTmp=) sees no pins: it goes by way of the base, and keeps its own."""
    stacks.add("sshd")
    sshd = start_sshd(
        wrapper=("unshare", "--mount", "--propagation", "slave", "sh", "-c", 'mount -t tmpfs x /mnt; exec "$0" "$@"')
    )
    own = sshd.namespace()
    assert own != os.stat("/proc/self/ns/mnt").st_ino
    dotfile("alice", "one")
    assert sshd.os("alice") == "ID=one"
    dotfile("alice", "nowhere")
    result = sshd.ssh("alice", "grep ' /mnt tmpfs' /proc/mounts; cat /etc/os-release")
    assert "/mnt tmpfs" in result.stdout, "a failure leaves the session in the daemon's own namespace"
    assert os_id(result.stdout) == BASE_ID
    assert sshd.namespace() == own


def test_many_at_once(two: Node, sshd: Sshd, dotfile: Callable[..., Path], request: pytest.FixtureRequest) -> None:
    """200 logins over three environments, 20 at a time, while one of them is prepared anew again and again."""
    two.tree("three")
    two.configure("one:/os/one\ntwo:/os/two\ndefault:/os/three\n")
    two.up()
    dotfile("alice", "one")
    dotfile("bob", "two")
    request.addfinalizer(lambda: subprocess.run(["userdel", "-rf", "carol"], check=True, capture_output=True))
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-p", "*", "carol"], check=True)
    wanted = {"alice": "ID=one", "bob": "ID=two", "carol": "ID=three"}

    def login(number: int) -> tuple[str, str]:
        user = list(wanted)[number % 3]
        return user, sshd.os(user)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(login, number) for number in range(200)]
        for _ in range(3):
            two.up("--renew", "one")
        results = [answer.result() for answer in answers]
    wrong = [result for result in results if result[1] != wanted[result[0]]]
    assert not wrong, wrong
    sshd.settle()
    assert two.chosctl("ps", "--json").stdout.count('"pid"') == 0


def test_a_terminal_is_told_why(two: Node, sshd: Sshd, dotfile: Callable[..., Path]) -> None:
    """An unknown name: the login works, in the base, and its terminal shows the reason once."""
    dotfile("alice", "nowhere\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("ssh", sshd.command("alice"))
    output = b""
    os.write(terminal, b"cat /etc/os-release; exit 6\n")
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    text = output.decode().replace("\r", "")
    assert text.count("nowhere: no such environment on this node") == 1, text
    assert os_id(text) == BASE_ID


@pytest.mark.parametrize("cause", ["unknown", "pin", "registry", "closed", "option"])
@pytest.mark.parametrize("onerr", ["base", "deny"])
def test_what_a_failure_means(
    two: Node,
    start_sshd: Callable[..., Sshd],
    stacks: Stacks,
    dotfile: Callable[..., Path],
    log: Callable[[str], list[str]],
    cause: str,
    onerr: str,
) -> None:
    """onerr=base: in the base. onerr=deny: nothing runs. The log says why in both; root is let in either way."""
    stacks.add("sshd", f"onerr={onerr}" + (" nonsense" if cause == "option" else ""))
    sshd = start_sshd("Subsystem sftp internal-sftp")
    dotfile("alice", "nowhere" if cause == "unknown" else "two")
    if cause == "pin":
        subprocess.run(["umount", f"/run/chos/gen/{two.generation('two')}/ns"], check=True)
    elif cause == "registry":
        two.chosctl("down")
    elif cause == "closed":
        subprocess.run(["groupadd", "-f", "secret"], check=True)
        two.configure("one:/os/one\ntwo:/os/two\n", two='[environment.two]\ngroups = ["secret"]\n')
        two.up()
    result = sshd.ssh("alice", "cat /etc/os-release")
    sftp = run(sshd.command("alice", "-b", "-", "127.0.0.1", program="sftp"), stdin="ls /etc/os-release\n")
    if onerr == "base":
        assert os_id(result.stdout) == BASE_ID, result
        assert sftp.returncode == 0, "a message does not get into a protocol"
    else:
        assert "ID=" not in result.stdout
        assert "this session is refused" in result.stdout, "the client sees it, with the message of the day"
        assert result.returncode in (254, 255), result
        assert sftp.returncode != 0
    reason = {
        "unknown": "nowhere: no such environment",
        "pin": "two: the prepared environment is gone",
        "registry": "no environment is prepared",
        "closed": "has not allowed you",
        "option": "not configured correctly",
    }[cause]
    assert len(log(reason)) == 2
    assert sshd.os("root") == BASE_ID
    sshd.settle()


def test_a_home_that_hangs(
    two: Node, start_sshd: Callable[..., Sshd], stacks: Stacks, log: Callable[[str], list[str]]
) -> None:
    """The module gives up after its time limit. (sshd itself waits for such a home afterwards; that is its own.)"""
    # Alone: pam_env and pam_mail look into the home directory too, without any limit.
    stacks.write("sshd", f"account required pam_permit.so\nsession required pam_permit.so\n{LINE} timeout=1\n")
    sshd = start_sshd()
    subprocess.run(["useradd", "-M", "-d", "/hung", "-s", "/bin/sh", "-p", "*", "hung"], check=False)
    with silent_file_system(Path("/hung"), reads=False):
        client = subprocess.Popen(
            sshd.command("hung", "true"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: log("home directory does not answer"), "the time limit")
        assert sshd.os("root") == BASE_ID, "others are not held up"
    assert client.wait(20) is not None
