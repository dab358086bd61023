"""A launcher that was stopped while it entered: rule 29. What has been closed or tightened since holds.

Whoever starts it may stop it, at any instruction and for weeks. The fault build stops itself at a named step
(CHOS_STOP), so that each of these moments is hit; the storm at the end hits the installed launcher wherever it is.
"""

from __future__ import annotations

import os
import pwd
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from attack_tools import build_launcher, compiled
from node import REGISTRY, REPO, Node
from stops import FAULTY, FAULTY_SUID, Launch, stopped

# In the order of events.
OUTSIDE = ("link", "generation", "pin", "setns")
STEPS = (*OUTSIDE, "policy", "root", "again")
PRIVATE = ["unshare", "-m", "--propagation", "slave"]  # where pins cannot be seen: by way of the base
GROUPS = '[environment.one]\ngroups = ["bob"]\n'
TIGHT = "[environment.one.policy]\nno_new_privs = true\n"


@pytest.fixture(scope="module", autouse=True)
def faulty() -> None:
    """The launcher built so that it stops at a step, with file capabilities and set-uid root."""
    build_launcher(FAULTY, "-DCHOS_FAULT")
    build_launcher(FAULTY_SUID, "-DCHOS_FAULT", capabilities=False, mode=0o4755)


def at_every_step(name: str = "one", steps: tuple[str, ...] = STEPS) -> list[Launch]:
    """One that is stopped at each step, for each way to start."""
    starts: list[tuple[str, list[str]]] = [(FAULTY, []), (FAULTY, PRIVATE), (FAULTY_SUID, [])]
    return [Launch(step, name, program, wrapper) for program, wrapper in starts for step in steps]


def prepared(node: Node, **chosd: str) -> None:
    """`one` with an alias, and `two`."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\n", **chosd)
    node.up()


def now(section: str) -> None:
    """What /etc/chos.d says of `one` from now on."""
    Path("/etc/chos.d").mkdir(exist_ok=True)
    Path("/etc/chos.d/one.toml").write_text(section)


def test_nothing_has_changed(node: Node) -> None:
    """Being stopped is no reason to be refused, nor is an `up` with nothing to do."""
    prepared(node)
    waiting = [*at_every_step(), *at_every_step("alias")]
    node.up()
    for launch in waiting:
        launch.entered(node.pin("one.1"))


@pytest.mark.parametrize("groups", [["bob"], ["bob", "root"]])
def test_closed_to_the_user(node: Node, groups: list[str]) -> None:
    """By group or ACL: nothing is executed; nor where no new generation could be made, and the old one was closed."""
    prepared(node)
    waiting = at_every_step()
    now(f"[environment.one]\ngroups = {groups}\n")
    os.rename("/os/one", "/os/away")
    assert node.up(check=False).returncode == 1
    more = at_every_step(steps=("link",))
    for launch in waiting[::2]:
        launch.refused("has not allowed you")
    os.rename("/os/away", "/os/one")
    node.up()
    for launch in [*waiting[1::2], *more]:
        launch.refused("has not allowed you")


def test_closed_by_hand(node: Node) -> None:
    """By mode, in the generation that is published: the kernel's judgement counts, also inside."""
    prepared(node)
    waiting = at_every_step()
    (REGISTRY / "gen/one.1").chmod(0o700)
    for launch in waiting:
        launch.refused("has not allowed you")


def test_open_to_the_user_all_the_time(node: Node) -> None:
    """A new generation for another group that the user is in as well: it is entered, though the old one is closed."""
    subprocess.run(["groupadd", "-f", "second"], check=True)
    subprocess.run(["gpasswd", "-a", "alice", "second"], check=True, capture_output=True)
    prepared(node, one='[environment.one]\ngroups = ["alice"]\n')
    waiting = at_every_step()
    now('[environment.one]\ngroups = ["second"]\n')
    node.up()
    subprocess.run(["gpasswd", "-d", "alice", "second"], check=True, capture_output=True)
    for launch in waiting:  # who left a group keeps it in processes that run
        launch.entered(node.pin("one.2"))


def test_the_policy_is_tightened(node: Node) -> None:
    """The new one is obeyed, in the new generation."""
    prepared(node)
    waiting = [*at_every_step(), *at_every_step("alias")]
    now(TIGHT)
    node.up()
    for launch in waiting:
        launch.entered(node.pin("one.2"), no_new_privs=True)


def test_the_policy_is_tightened_and_nothing_new_can_be_made(node: Node) -> None:
    """The names are gone then: nothing is executed."""
    prepared(node)
    waiting = [*at_every_step(), *at_every_step("alias")]
    os.rename("/os/one", "/os/away")
    now(TIGHT)
    assert node.up(check=False).returncode == 1
    for launch in waiting:
        launch.refused()


def test_the_policy_is_tightened_by_hand(node: Node) -> None:
    """In the generation's own file: what is obeyed is what it says when the user is inside."""
    prepared(node)
    waiting = at_every_step(steps=STEPS[:5])
    policy = REGISTRY / "gen/one.1/policy"
    policy.write_text(policy.read_text().replace("no_new_privs=0", "no_new_privs=1"))
    for launch in waiting:
        launch.entered(node.pin("one.1"), no_new_privs=True)


@pytest.mark.parametrize("steps", [STEPS, OUTSIDE])
def test_merely_renewed(node: Node, steps: tuple[str, ...]) -> None:
    """The newest generation is entered, whether the old one was retired or somebody is in it."""
    prepared(node)
    waiting = at_every_step(steps=steps)
    for _ in range(3):
        node.up("--renew")
    assert (REGISTRY / "gen/one.1/ns").exists() == (steps == STEPS)
    for launch in waiting:
        launch.entered(node.pin("one.4"))


@pytest.mark.parametrize("step", ["setns", "again"])
def test_renewed_at_every_turn(node: Node, step: str) -> None:
    """A few times are nothing to fail for. For ever is: it ends with a message, and nothing has run."""
    prepared(node)
    launch, unlucky = Launch(step), Launch(step)
    for _ in range(3):
        node.up("--renew")
        assert launch.go_on()
    launch.entered(node.pin("one.4"))
    turns = 0
    while unlucky.go_on():
        turns += 1
        assert turns < 40, "it never ends"
        node.up("--renew")
    unlucky.refused("is gone")


def test_taken_down(node: Node) -> None:
    """One environment, or all of them, and prepared again."""
    prepared(node)
    waiting = at_every_step()
    node.chosctl("down", "one")
    for launch in waiting:
        launch.refused("no such environment")
    node.up()
    waiting, later = at_every_step(), at_every_step()
    node.chosctl("down")
    for launch in waiting:
        launch.refused("no such environment")
    node.up()
    for launch in later:
        if PRIVATE[0] in launch.what and launch.end().returncode != 0:
            continue  # where it began, it sees the registry that is gone
        launch.entered(node.pin(node.generation("one")))


def test_the_name_is_taken_away(node: Node) -> None:
    """Its environment is still there, by its other name."""
    prepared(node)
    waiting = at_every_step("alias")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    for launch in waiting:
        launch.refused("no such environment")


def test_the_name_means_something_else(node: Node) -> None:
    """Another environment, or the base: it is entered as by a launcher that begins now."""
    prepared(node)
    waiting, later = at_every_step("alias"), at_every_step("alias")
    node.configure("one:/os/one\ntwo:/os/two\nalias:/os/two\n")
    node.up()
    for launch in waiting:
        launch.entered(node.pin("two.1"))
    node.configure("one:/os/one\ntwo:/os/two\nalias:/\n")
    node.up()
    for launch in later:
        launch.entered(os.stat("/proc/self/ns/mnt").st_ino)


def test_the_way_home_is_the_way_that_one_came(node: Node) -> None:
    """/local is the base's own directory for who began on the base, also when the name has come to mean the base."""
    prepared(node)
    Path("/local/here").mkdir(parents=True, exist_ok=True)
    try:
        launch = Launch("setns", "alias", cwd="/local/here", command="pwd")
        node.configure("one:/os/one\nalias:/\n")
        node.up()
        assert launch.end().stdout == "/local/here\n"
    finally:
        subprocess.run(["rm", "-rf", "/local"], check=True)


class Host:
    """A process of root's that enters for alice, as PAM and Slurm do; it has stopped at a step."""

    def __init__(self, program: str, step: str, wrapper: Sequence[str]) -> None:
        account = pwd.getpwnam("alice")
        self.process = subprocess.Popen(
            [*wrapper, program, str(account.pw_uid), str(account.pw_gid), "one"],
            env={"CHOS_STOP": step, "PATH": "/usr/bin:/bin"},
            cwd="/srv",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert stopped(self.process), f"it did not stop at {step}"

    def end(self) -> list[str]:
        """Let it go on; what it says."""
        while stopped(self.process):
            os.kill(self.process.pid, signal.SIGCONT)
        out = self.process.communicate()[0]
        assert self.process.returncode == 0, out
        return out.splitlines()


@pytest.fixture(scope="module")
def root_host() -> str:
    """tests/system/root_host.c, built."""
    program = "/usr/bin/root-host"
    sources = [str(path) for path in (REPO / "libchos").glob("*/*.c") if path.parent.name != "host"]
    flags = ["-D_GNU_SOURCE", "-DCHOS_FAULT", "-Wall", "-Werror", "-static", f"-I{REPO}/libchos"]
    subprocess.run(["gcc", *flags, REPO / "tests/system/root_host.c", *sources, "-o", program], check=True)
    return program


@pytest.mark.parametrize("change", ["nothing", "groups", "policy", "renewed", "down", "away"])
def test_a_host_that_is_root(node: Node, root_host: str, change: str) -> None:
    """It asks once more when it is inside, and goes back to where it was when it is refused."""
    prepared(node)
    hosts = [Host(root_host, step, wrapper) for wrapper in ([], PRIVATE) for step in STEPS]
    if change in ("groups", "policy"):
        now(GROUPS if change == "groups" else TIGHT)
    if change == "away":
        os.rename("/os/one", "/os/away")
        now(TIGHT)
    if change == "down":
        node.chosctl("down", "one")
    else:
        node.up(*(["--renew"] if change == "renewed" else []), check=change != "away")
    for host in hosts:
        said = host.end()
        if change in ("groups", "down", "away"):
            assert (said[0], said[2], said[6]) == ("refused", "/srv", "back"), said
        else:
            generation = node.generation("one")
            assert said[:5] == ["entered", str(node.pin(generation)), "/", str(int(change == "policy")), generation]
            assert int(said[5]) >= 2, "asked before and inside"


def test_a_host_without_descriptors(node: Node, root_host: str) -> None:
    """Where it has none left it says so, whichever step needs it, and is where it was."""
    prepared(node)
    account = pwd.getpwnam("alice")
    host = [root_host, str(account.pw_uid), str(account.pw_gid), "one"]
    said = [
        subprocess.run(
            [*wrapper, "prlimit", f"--nofile={limit}", *host],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/srv",
            text=True,
            capture_output=True,
            check=True,
        ).stdout.splitlines()
        for wrapper in ([], PRIVATE)
        for limit in range(3, 12)
    ]
    for lines in said:
        if lines[0] == "refused":
            assert lines[6] == "back" and "too few files may be open" in lines[8], lines
            assert "failed (Too many open files)" in lines[7], lines
    assert said[0][0] == said[9][0] == "refused" and said[8][0] == said[17][0] == "entered", said


# What a launcher of the storm runs: one line about itself. In one write, for many append to one file.
SAY = """
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    char line[100];
    struct stat st;
    if (stat("/proc/self/ns/mnt", &st))
        return 1;
    int flag = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    snprintf(line, sizeof line, "%d %lu %d\\n", (int)getpid(), (unsigned long)st.st_ino, flag);
    return write(1, line, strlen(line)) == (ssize_t)strlen(line) ? 0 : 1;
}
"""
STORM = 300


class Storm:
    """Many of the installed launcher, each stopped after a random time. `outside`: those that had not entered then."""

    def __init__(self, count: int) -> None:
        self.command = compiled("say", SAY)
        self.output = Path("/tmp/storm-output")
        self.output.write_text("")
        alone = [self.timed() for _ in range(15)]
        whole = sorted(alone)[len(alone) // 2]
        self.output.write_text("")
        self.pids = [self.stopped(random.uniform(0, whole)) for _ in range(count)]
        self.ended = {pid: os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT) for pid in self.pids}
        base = os.stat("/proc/self/ns/mnt").st_ino
        self.outside = {
            pid
            for pid, info in self.ended.items()
            if info and info.si_code == os.CLD_STOPPED and os.stat(f"/proc/{pid}/ns/mnt").st_ino == base
        }

    def start(self) -> int:
        """A child that becomes alice and the launcher."""
        account = pwd.getpwnam("alice")
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(os.open(self.output, os.O_WRONLY | os.O_APPEND), 1)
                os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                os.chdir("/")
                os.setgroups(os.getgrouplist("alice", account.pw_gid))
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
                os.execve("/usr/bin/chos", ["chos", self.command], {"CHOS": "one", "PATH": "/usr/bin:/bin"})
            finally:
                os._exit(99)
        return pid

    def timed(self) -> float:
        """How long it takes to the end, undisturbed."""
        begin = time.monotonic()
        assert os.waitpid(self.start(), 0)[1] == 0
        return time.monotonic() - begin

    def stopped(self, after: float) -> int:
        pid = self.start()
        time.sleep(after)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def go_on(self) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
        """All of them, to the end: status by pid; and of those that ran their command, where and how."""
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)
        statuses = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in self.pids}
        lines = [tuple(map(int, line.split())) for line in self.output.read_text().splitlines()]
        return statuses, {pid: (namespace, flag) for pid, namespace, flag in lines}


@pytest.mark.parametrize("change", ["policy", "groups"])
def test_storm(node: Node, change: str) -> None:
    """Nobody who had not entered when it was tightened enters as before; where it is no refusal, all enter."""
    prepared(node)
    storm = Storm(STORM)
    now(TIGHT if change == "policy" else GROUPS)
    node.up()
    statuses, ran = storm.go_on()
    assert len(storm.outside) > STORM / 20, "too few of them were stopped in time"
    if change == "policy":
        assert {pid: statuses[pid] for pid in storm.outside} == dict.fromkeys(storm.outside, 0)
        assert {pid: ran.get(pid) for pid in storm.outside} == dict.fromkeys(storm.outside, (node.pin("one.2"), 1))
    else:
        assert {pid: statuses[pid] for pid in storm.outside} == dict.fromkeys(storm.outside, 125)
        assert not storm.outside & set(ran)
