"""pam_chos in atd: a job that was submitted on the base, or inside, runs in its user's environment."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import BASE_ID, Node, Stacks, end, os_id, wait_for

HERE = Path("/tmp/at-here")
SHOW = "(cat /etc/os-release; pwd; id -un; echo CHOS=$CHOS)"


@pytest.fixture
def atd(stacks: Stacks) -> Iterator[subprocess.Popen[bytes]]:
    """atd, with pam_chos as its last session line."""
    if not Path("/usr/sbin/atd").exists():
        pytest.skip("atd is not installed (tools/deps batch)")
    stacks.add("atd")
    HERE.mkdir(exist_ok=True)
    HERE.chmod(0o1777)
    daemon = subprocess.Popen(["/usr/sbin/atd", "-f"], stdin=subprocess.DEVNULL, cwd="/")
    # `at` finds the daemon, to wake it, by this file.
    wait_for(lambda: _pid_file() == str(daemon.pid), "atd")
    yield daemon
    end(daemon)


def _pid_file() -> str:
    path = Path("/run/atd.pid")
    return path.read_text().strip() if path.exists() else ""


def submit(node: Node, user: str) -> Path:
    """A job that says, once it is over, where it was and how its last command ended; submitted on the base, in HERE."""
    said = HERE / f"{user}-said"
    said.unlink(missing_ok=True)
    job = f"{SHOW} >{said}.new 2>&1\nsh -c 'exit 7'\necho $? >>{said}.new\nmv {said}.new {said}\n"
    submitted = node.run(["at", "now"], user=user, cwd=str(HERE), stdin=job)
    assert submitted.returncode == 0, submitted
    return said


def jobs_of(atd: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{atd.pid}/task/{atd.pid}/children").read_text().strip()


def test_jobs(two: Node, atd: subprocess.Popen[bytes], dotfile: Callable[..., Path]) -> None:
    """The OS of ~/.chos, the directory where the job was submitted, its exit status; nothing stays in the daemon.

    atd hands the variables of PAM to nobody: $CHOS is what it was when the job was submitted.
    """
    before = os.stat(f"/proc/{atd.pid}/ns/mnt").st_ino
    dotfile("alice", "one\n")
    dotfile("bob", "two\n")
    for user, name in (("alice", "one"), ("bob", "two")):
        said = submit(two, user)
        text = wait_for(lambda said=said: said.exists() and said.read_text(), "the job")
        assert os_id(text) == f"ID={name}", text
        assert text.splitlines()[-4:] == [str(HERE), user, "CHOS=", "7"]
    wait_for(lambda: not jobs_of(atd), "the end of the jobs' sessions")
    assert os.stat(f"/proc/{atd.pid}/ns/mnt").st_ino == before
    assert two.chosctl("ps", "--json").stdout.count('"pid"') == 0


@pytest.mark.parametrize("onerr", ["base", "deny"])
def test_what_a_failure_means(
    two: Node,
    atd: subprocess.Popen[bytes],
    stacks: Stacks,
    dotfile: Callable[..., Path],
    log: Callable[[str], list[str]],
    onerr: str,
) -> None:
    """onerr=base: in the base. onerr=deny: the job does not run. The log says why; root's jobs run either way."""
    stacks.add("atd", f"onerr={onerr}")
    dotfile("alice", "nowhere")
    said = submit(two, "alice")
    wait_for(lambda: log("nowhere: no such environment"), "the message")
    wait_for(lambda: not jobs_of(atd), "the end of the job")
    if onerr == "base":
        assert os_id(said.read_text()) == BASE_ID
    else:
        assert not said.exists()
    said = submit(two, "root")
    wait_for(said.exists, "root's job")
    assert os_id(said.read_text()) == BASE_ID
