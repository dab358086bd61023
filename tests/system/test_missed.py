"""chosctl ps --missed: processes of batch jobs that asked for an environment, and run on the base."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from node import Node

JOB = {"PBS_JOBID": "9.server"}
READY = "echo ready; read line"


@pytest.fixture
def two(node: Node) -> Node:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\nhere:/\n")
    node.up()
    return node


def start(node: Node, *command: str, user: str = "alice", **env: str) -> subprocess.Popen[str]:
    """A process that a daemon of root's starts, as far as can be seen; it says `ready` and waits."""
    process = node.start([*command, "sh", "-c", READY], user=user, env=env)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def missed(node: Node, *words: str, user: str = "root") -> list[dict[str, Any]]:
    done = node.chosctl("ps", "--missed", "--json", *words, user=user)
    found = json.loads(done.stdout)
    assert done.returncode == (3 if found else 0), done
    assert isinstance(found, list)
    return found


def pids(found: list[dict[str, Any]]) -> set[int]:
    return {one["pid"] for one in found}


@pytest.fixture(autouse=True)
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit status is 3 where there is something: no failure of the test's own command."""
    plain = Node.chosctl

    def chosctl(self: Node, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return plain(self, *words, **{"check": False, **more})

    monkeypatch.setattr(Node, "chosctl", chosctl)


def test_a_job_on_the_base(two: Node) -> None:
    process = start(two, CHOS="one", **JOB)
    (one,) = missed(two)
    assert one.pop("started") > 1e9
    assert one == {
        "pid": process.pid,
        "user": "alice",
        "product": "pbs",
        "job": "9.server",
        "environment": "one",
        "known": True,
        "command": f"sh -c {READY}",
    }
    done = two.chosctl("ps", "--missed")
    assert done.returncode == 3 and done.stdout.splitlines()[0].startswith("PID"), done
    assert "alice" in done.stdout and "pbs 9.server" in done.stdout
    assert missed(two, "one") and not missed(two, "two")
    assert missed(two, "--pid", str(process.pid)) and not missed(two, "--pid", "1")
    status = two.chosctl("status")
    assert status.returncode == 0 and "on the base: 1; `chosctl ps --missed`" in status.stderr, status
    assert json.loads(two.chosctl("status", "--json").stdout)["missed"] == 1
    two.leave(process)
    done = two.chosctl("ps", "--missed")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(two.chosctl("status", "--json").stdout)["missed"] == 0


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "4"}, "slurm 4"),
        ({"SGE_CELL": "default", "JOB_ID": "4", "SGE_TASK_ID": "2"}, "sge 4.2"),
        ({"LSB_JOBID": "4", "LSB_JOBINDEX": "0"}, "lsf 4"),
        ({"_CONDOR_SCRATCH_DIR": "/var/lib/condor/execute/dir_4", "_CONDOR_SLOT": "slot1_1"}, "htcondor slot1_1"),
        ({"GLOBUS_GRAM_JOB_CONTACT": "https://node:1/4/"}, "globus https://node:1/4/"),
        ({"GRID_GLOBAL_JOBID": "gsiftp://node/4"}, "arc gsiftp://node/4"),
    ],
)
def test_every_product(two: Node, variables: dict[str, str], job: str) -> None:
    process = start(two, CHOS="one", **variables)
    assert [(one["pid"], f"{one['product']} {one['job']}") for one in missed(two)] == [(process.pid, job)]


def test_no_miss(two: Node) -> None:
    """Inside; nothing asked for; the base asked for; not a job."""
    start(two, "chos", CHOS="one", **JOB)
    start(two, "chos-job-starter", CHOS="alias", **JOB)
    start(two, **JOB)
    start(two, CHOS="", **JOB)
    start(two, CHOS="here", **JOB)
    start(two, CHOS="one")
    assert missed(two) == []


def test_by_hand(two: Node) -> None:
    """Who came back from inside, and who set CHOS in a job that had not asked for it, meant the base."""
    start(two, "chos", "env", "CHOS=root", "chos", CHOS="one", **JOB)
    start(two, "chos", "env", "CHOS=root", "chos", "sh", "-c", f"CHOS=one sh -c '{READY}'; :", CHOS="one", **JOB)
    start(two, "sh", "-c", f"CHOS=one sh -c '{READY}'; :", **JOB)
    assert missed(two) == []


def test_who_waits_for_what_is_inside(two: Node) -> None:
    """time(1) around the starter, as A-REX has it, or a script that calls `chos` itself; what else it starts counts."""
    start(two, "sh", "-c", '"$@"; :', "-", "chos", CHOS="one", **JOB)
    assert missed(two) == []
    script = start(two, "sh", "-c", f"sleep 90 & chos sh -c '{READY}'; kill $!", "-", CHOS="one", **JOB)
    found = missed(two)
    two.leave(script)
    assert [one["command"] for one in found] == ["sleep 90"]


def test_children_of_a_job_on_the_base(two: Node) -> None:
    shell = start(two, "sh", "-c", '"$@"; :', "-", CHOS="one", **JOB)
    found = missed(two)
    assert len(found) == 2 and shell.pid in pids(found)


def test_a_shell_that_allocates(two: Node) -> None:
    """salloc: its shell has the job's number, and is where its user was, with or without --chos."""
    script = 'SLURM_JOB_ID=4 "$@"; :'
    start(two, "sh", "-c", script, "-", CHOS="one")
    start(two, "sh", "-c", f"SLURM_CHOS_OPTION=one {script}", "-")
    assert missed(two) == []
    task = start(two, SLURM_JOB_ID="4", SLURM_STEP_ID="2", SLURM_CHOS="one")
    assert [(one["pid"], one["job"]) for one in missed(two)] == [(task.pid, "4.2")]


def test_a_name_that_is_none(two: Node) -> None:
    """A starter would have refused it."""
    start(two, CHOS="nowhere", **JOB)
    (one,) = missed(two)
    assert (one["environment"], one["known"]) == ("nowhere", False)
    assert "nowhere (unknown)" in two.chosctl("ps", "--missed").stdout


def test_in_private_mounts_of_the_base(two: Node) -> None:
    """Batch systems make a copy of the base's mounts for a job's own /tmp. Another root directory is not the base."""
    become = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups"]
    process = start(two, "unshare", "--mount", *become, user="root", CHOS="one", **JOB)
    start(two, "chroot", "/os/two", user="root", CHOS="one", **JOB)
    assert pids(missed(two)) == {process.pid}


def test_in_a_pid_namespace(two: Node) -> None:
    start(two, "unshare", "--pid", "--fork", user="root", CHOS="one", **JOB)
    assert len(missed(two)) == 2, "unshare and its child"


def test_who_sees_what(two: Node) -> None:
    alice, bob = start(two, CHOS="one", **JOB), start(two, user="bob", CHOS="two", **JOB)
    assert pids(missed(two)) == {alice.pid, bob.pid}
    assert pids(missed(two, user="alice")) == {alice.pid}
    by_way_of_the_base = two.chos("one", "chosctl", "ps", "--missed", "--pid", str(alice.pid))
    assert by_way_of_the_base.returncode == 3, by_way_of_the_base
    there = two.chos("one", "chosctl", "ps", "--missed", "--pid", "1")
    assert (there.returncode, there.stdout, there.stderr) == (0, "", ""), there
    wrong = two.chosctl("ps", "--pid", "1")
    assert wrong.returncode == 2 and "--pid needs --missed" in wrong.stderr


def test_hostile_variables(two: Node) -> None:
    """Rule 32: what users write there is for showing, escaped, and bounded."""
    nasty = "\x1b[2Jone\nroot 0 pbs"
    shown = start(two, CHOS=nasty, PBS_JOBID=f"1\x07{nasty}")
    long = start(two, CHOS="x" * 100_000, PBS_JOBID="y" * 100_000)
    raw = start(two, CHOS="\udcff", **JOB)
    late = start(two, **{f"A{n}": "z" * 120_000 for n in range(10)}, CHOS="one", **JOB)
    found = {one["pid"]: one for one in missed(two)}
    assert found[shown.pid]["environment"] == nasty and not found[shown.pid]["known"]
    assert (len(found[long.pid]["environment"]), len(found[long.pid]["job"])) == (256, 128)
    assert found[raw.pid]["environment"] == "\udcff"
    assert late.pid not in found, "more than a megabyte before it"
    text = two.chosctl("ps", "--missed").stdout
    assert "\x1b" not in text and "\x07" not in text and r"\x1b[2Jone\nroot" in text
    assert len(text.splitlines()) == 4


def test_the_first_of_two_counts(two: Node) -> None:
    """As for getenv(3): execve(2) takes a name twice."""
    program = f"import ctypes\nwords = [b'sh', b'-c', b{READY!r}, None]\n"
    program += "env = [b'PBS_JOBID=9', b'CHOS=one', b'CHOS=here', None]\n"
    program += "kind = ctypes.c_char_p * 4\nctypes.CDLL(None).execve(b'/bin/sh', kind(*words), kind(*env))\n"
    process = two.start(["python3", "-c", program])
    assert process.stdout and process.stdout.readline() == "ready\n"
    assert [one["environment"] for one in missed(two)] == ["one"]


def test_processes_that_end_meanwhile(two: Node) -> None:
    """What ends while it is looked at is left out; the rest is found."""
    stays = start(two, CHOS="one", **JOB)
    busy = two.start(["sh", "-c", "while :; do /bin/true; done"], env={"CHOS": "one", **JOB})
    for _ in range(5):
        assert {stays.pid, busy.pid} <= pids(missed(two))
    busy.kill()
    busy.wait()
    assert os.getpid() not in pids(missed(two))
