"""Root never stands inside: Slurm's tasks, the plugins beside ours, and pam_job_starter.

The tree has a trap wherever a process of root's could step (`traps.py`), and the kernel holds whoever opens or
executes one of its files until it is known who that is (`watcher.py`). A plugin in front of ours and one behind it step
on everything (`behind.c`) in each hook that Slurm calls on the node.
"""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import traps
from conftest import BASE_ID, LIMIT, Stacks, wait_for
from root_outside import NAME, Place, trapped
from slurm_cluster import PLUGIN, Slurm, identity, missing
from test_pam_job_starter import JOBS, STACK, Mom, finished

ID = f"ID={NAME}"
SHOW = "cat /etc/os-release; id -u"
TOP = Path("/srv/slurm-outside")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, users: None) -> Iterator[Place]:
    with trapped(tmp_path_factory.mktemp("traps")) as place:
        yield place


@pytest.fixture(autouse=True)
def nothing_is_caught(place: Place) -> Iterator[None]:
    """In none of these tests."""
    place.watch.take()
    traps.reset()
    yield
    check(place)


def check(place: Place) -> int:
    """Nobody privileged was in the tree since the last time; how often somebody else was."""
    seen = place.watch.take()
    wrong = dict.fromkeys(str(access) for access in seen if access.privileged)
    assert not wrong and not traps.sprung(), "\n".join(["root stood inside:", *wrong, *traps.sprung()])
    return len(seen)


# --- Slurm --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(place: Place) -> Iterator[Slurm]:
    """Its spool directory is where the environment shows the base."""
    if why := missing():
        pytest.skip(why)
    cluster = Slurm(TOP, spool=TOP / "spool")
    plugin = TOP / "behind.so"
    TOP.mkdir()
    source = Path(__file__).with_name("behind.c")
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Werror", "-shared", "-fPIC", "-o", plugin, source], check=True)
    # A second copy, since Slurm loads none twice.
    shutil.copy(plugin, TOP / "before.so")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(params=["required", "optional"])
def slurm(cluster: Slurm, request: pytest.FixtureRequest) -> Iterator[Slurm]:
    for name in ("before", "behind"):
        (TOP / f"{name}.notes").write_text("")
        (TOP / f"{name}.notes").chmod(0o666)
    cluster.plugstack.write_text(
        f"required {TOP}/before.so {TOP}/before.notes\n{request.param} {PLUGIN}\n"
        f"required {TOP}/behind.so {TOP}/behind.notes\n"
    )
    yield cluster
    cluster.emptied()


def hooks(name: str) -> dict[str, tuple[str, int, int, int]]:
    """Of one of the plugins: each hook, as whom it ran, with which effective and permitted capabilities, and those of a
    program that it executed."""
    lines = [line.split() for line in (TOP / f"{name}.notes").read_text().splitlines()]
    return {
        words[0]: (pwd.getpwuid(int(words[1])).pw_name, *(int(words[at], 16) for at in (2, 3, 5)))  # type: ignore[misc]
        for words in lines
        if len(words) == 6
    }


AS = {
    "user_init": "alice",
    "task_init_privileged": "root",
    "task_init": "alice",
    "task_post_fork": "root",
    "task_exit": "root",
    "exit": "root",
}


def all_hooks_ran(slurm: Slurm) -> None:
    """As the user they have no effective capability, and what they execute has none; behind ours, none is left."""
    slurm.emptied()
    slurm.wait(lambda: hooks("before").keys() == hooks("behind").keys() == AS.keys(), "the hooks of both plugins")
    for name in ("before", "behind"):
        assert {hook: note[0] for hook, note in hooks(name).items()} == AS
        _, effective, permitted, executed = hooks(name)["task_init"]
        assert (effective, executed) == (0, 0)
        assert permitted == 0 or name == "before"


def test_srun(slurm: Slurm, place: Place) -> None:
    done = slurm.srun("-n3", "sh", "-c", SHOW)
    assert done.stdout.count(ID) == 3, done
    assert check(place) > 3, "the watcher is blind"
    all_hooks_ran(slurm)


def test_sbatch(slurm: Slurm) -> None:
    text = slurm.batch(SHOW, f"--chos={NAME}")
    assert ID in text, text
    all_hooks_ran(slurm)


def test_prologs(slurm: Slurm) -> None:
    """TaskProlog, as the user and inside; TaskEpilog, as the user and on the base."""
    for name in ("prolog", "epilog"):
        script = TOP / f"{name}.sh"
        script.write_text(f"#!/bin/sh\n. /etc/os-release\necho print {name} $ID\necho $ID $(id -u) >/tmp/{name}\n")
        script.chmod(0o755)
        Path(f"/tmp/{name}").unlink(missing_ok=True)
    done = slurm.srun(f"--task-prolog={TOP}/prolog.sh", f"--task-epilog={TOP}/epilog.sh", "sh", "-c", SHOW)
    assert ID in done.stdout and f"prolog {NAME}\n" in done.stdout, done
    all_hooks_ran(slurm)
    alice = pwd.getpwnam("alice").pw_uid
    assert Path("/tmp/prolog").read_text() == f"{NAME} {alice}\n"
    assert Path("/tmp/epilog").read_text() == f"{BASE_ID.removeprefix('ID=')} {alice}\n"


def test_terminal(slurm: Slurm) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        who = identity("alice")
        os.setgroups(who["extra_groups"])
        os.setgid(who["group"])
        os.setuid(who["user"])
        os.chdir("/")
        os.execvpe("srun", ["srun", "--pty", "sh", "-c", SHOW], slurm.environment("alice", traps.VARIABLES))
    text = ""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(terminal, 4096):
            text += data.decode()
    os.waitpid(pid, 0)
    os.close(terminal)
    assert ID in text, text
    all_hooks_ran(slurm)


FAILURES = {
    "no such command": ("/nowhere",),
    "no executable": ("/etc/motd",),
    "a status": ("sh", "-c", f"{SHOW}; exit 3"),
    "killed": ("sh", "-c", f"{SHOW}; kill -SEGV $$"),
    "no working directory": ("--chdir=/usr/share/doc", "sh", "-c", SHOW),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failures(slurm: Slurm, what: str) -> None:
    done = slurm.srun(*FAILURES[what], env=traps.VARIABLES)
    assert (done.returncode == 0) == (what == "no working directory"), done
    all_hooks_ran(slurm)


@pytest.mark.parametrize("number", ["TERM", "KILL"])
def test_cancelled(slurm: Slurm, number: str) -> None:
    job = slurm.sbatch(f"{SHOW}; echo ready; sleep 600", env=traps.VARIABLES)
    output = slurm.top / "jobs" / f"job-{job}"
    slurm.wait(lambda: output.exists() and "ready" in output.read_text(), "the job")
    slurm.client("scancel", "--full", f"--signal={number}", job)
    slurm.ended(job)
    assert ID in output.read_text()
    all_hooks_ran(slurm)


def test_refused(slurm: Slurm) -> None:
    """Nothing is entered; the plugin behind has its hooks on the base until the task ends."""
    done = slurm.srun(*("sh", "-c", SHOW), env={"CHOS": "nowhere", **traps.VARIABLES})
    assert (done.returncode, done.stdout) == (125, ""), done
    assert ID in slurm.srun("sh", "-c", SHOW).stdout


# --- pam_job_starter ----------------------------------------------------------------------------------------------

SESSIONS = "/tmp/outside-sessions"


@pytest.fixture
def mom(place: Place, stacks: Stacks) -> Iterator[Mom]:
    """Modules before and behind pam_chos run a program when they open and when they close."""
    if shutil.which("musl-gcc") is None:
        pytest.skip("without musl-gcc there is no pam_job_starter")
    JOBS.mkdir(parents=True, exist_ok=True)
    note = Path("/usr/local/sbin/note-session")
    note.write_text(f"#!/bin/sh\n. /etc/os-release\necho $PAM_TYPE $ID >>{SESSIONS}\n")
    note.chmod(0o755)
    Path(SESSIONS).unlink(missing_ok=True)
    line = f"session required pam_exec.so {note}\n"
    stacks.write("jobstarter", f"{line}session required pam_env.so\n{STACK.read_text()}{line}")
    yield Mom()
    base = BASE_ID.removeprefix("ID=")
    opened, closed = [f"open_session {base}"] * 2, [f"close_session {base}"] * 2
    assert Path(SESSIONS).read_text().splitlines() in (opened + closed, opened), (
        "a session that is refused is not closed"
    )
    note.unlink()
    subprocess.run(["rm", "-rf", "/var/spool/torque"], check=True)


WORDS = {
    "a job": (("/bin/sh", "-c", f"{SHOW}; exit 7"), 7),
    "no such command": (("/nowhere",), 127),
    "no executable": (("/etc/motd",), 126),
    "killed": (("/bin/sh", "-c", f"{SHOW}; kill -SEGV $$"), -signal.SIGSEGV),
}


@pytest.mark.parametrize("what", WORDS)
@pytest.mark.parametrize("how", [{}, {"CHOS": NAME}], ids=["the user's file", "a variable"])
def test_pam_job_starter(mom: Mom, what: str, how: dict[str, str]) -> None:
    words, status = WORDS[what]
    with mom.script("").open() as stdin:
        done = finished(mom.start(stdin, words=words, **traps.VARIABLES, **how))
    assert done.returncode == status, done
    assert (ID in done.stdout) == ("sh" in words[0]), done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_a_signal_to_pam_job_starter(mom: Mom, number: signal.Signals) -> None:
    ready = Path("/tmp/outside-ready")
    ready.unlink(missing_ok=True)
    with mom.script("").open() as stdin:
        words = ("/bin/sh", "-c", f"{SHOW}; touch {ready}; sleep 600 & wait")
        process = mom.start(stdin, words=words, **traps.VARIABLES)
        wait_for(ready.exists, "the job")
        process.send_signal(number)
        done = process.wait(LIMIT)
    assert done == -number
    os.killpg(process.pid, signal.SIGKILL)
    assert ID in process.communicate(timeout=LIMIT)[0]


def test_pam_job_starter_refuses(mom: Mom) -> None:
    done = mom.run(CHOS="nowhere", **traps.VARIABLES)
    assert (done.returncode, done.stdout) == (125, ""), done
