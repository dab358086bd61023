"""spank_chos.so in a real Slurm: jobs and steps run in the environment that their user chose."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import worked
from conftest import BASE_ID, Node, os_id
from slurm_cluster import LASTING, Slurm, identity
from slurm_fixtures import cluster, prepared, slurm, two

__all__ = ["cluster", "prepared", "slurm", "two"]
pytestmark = pytest.mark.usefixtures("lasting")
WHERE = ("/bin/cat", "/etc/os-release")
SHOW = "cat /etc/os-release"


def in_os(slurm: Slurm, *arguments: str, **more: object) -> str:
    """Which OS a task of srun sees."""
    done = slurm.srun(*arguments, *WHERE, **more)
    assert done.returncode == 0, done
    return os_id(done.stdout)


@pytest.fixture(scope="module")
def lasting(cluster: Slurm, prepared: Node) -> str:
    """A job that runs as long as it may: a minute, Slurm's least, is over when the other tests are."""
    script = f"trap 'echo warned' USR1; {SHOW}; while :; do sleep 1; done"
    job = cluster.sbatch(script, "--chos=one", "--time=1", "--signal=B:USR1@40", f"--job-name={LASTING}")
    _ready(cluster, job, "ID=")
    return job


# --- who chooses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["srun", "sbatch", "salloc"])
def test_help(slurm: Slurm, command: str) -> None:
    [line] = [line for line in slurm.client(command, "--help").stdout.splitlines() if "chos" in line.split("=")[0]]
    assert line.split()[0] == "--chos=NAME"


def test_nobody_chooses(slurm: Slurm) -> None:
    assert in_os(slurm) == BASE_ID
    text = slurm.batch(f"{SHOW}; env")
    assert os_id(text) == BASE_ID and "CHOS" not in text


@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_srun(slurm: Slurm, dotfile: Callable[..., Path], export: str) -> None:
    """Each choice beats the next: --chos, $CHOS, ~/.chos."""
    more = (f"--export={export}",)
    dotfile("alice", "one\n")
    assert in_os(slurm, *more) == "ID=one"
    assert in_os(slurm, *more, env={"CHOS": "two"}) == "ID=two"
    assert in_os(slurm, *more, "--chos=one", env={"CHOS": "two"}) == "ID=one"
    assert in_os(slurm, *more, "--chos=root") == BASE_ID
    assert in_os(slurm, *more, env={"CHOS": "root"}) == BASE_ID
    assert in_os(slurm, *more, "--chos=/os/two") == "ID=two"
    dotfile("alice", None)
    assert in_os(slurm, *more) == BASE_ID


@pytest.mark.parametrize("export", ["ALL", "NONE"])
def test_sbatch(slurm: Slurm, dotfile: Callable[..., Path], export: str) -> None:
    more = (f"--export={export}",)
    dotfile("alice", "one\n")
    two, line = {"CHOS": "two"}, f"#SBATCH --chos=two\n{SHOW}"
    jobs = {
        slurm.sbatch(SHOW, *more): "one",
        slurm.sbatch(SHOW, *more, env=two): "two",
        slurm.sbatch(SHOW, *more, "--chos=one", env=two): "one",
        slurm.sbatch(line, *more): "two",
        slurm.sbatch(line, *more, "--chos=one"): "one",
    }
    assert [os_id(slurm.output(job)) for job in jobs] == [f"ID={name}" for name in jobs.values()]


def test_a_variable_that_is_exported_for_the_job(slurm: Slurm) -> None:
    """It is the job's $CHOS, whatever the submitter's is."""
    assert in_os(slurm, "--export=CHOS=one", env={"CHOS": "two"}) == "ID=one"


def test_default(slurm: Slurm, two: Node, dotfile: Callable[..., Path]) -> None:
    two.configure("default:/os/two\none:/os/one\n")
    two.up()
    assert in_os(slurm) == "ID=two"
    assert in_os(slurm, "--chos=root") == BASE_ID
    dotfile("alice", "\n")
    assert in_os(slurm) == "ID=two"


def test_another_users_file(slurm: Slurm) -> None:
    """The administrator names the file."""
    slurm.set_plugin("required", "user_conf_file=.os fail_to_default=1 timeout=5")
    path = Path("/home/alice/.os")
    path.write_text("two")
    try:
        assert in_os(slurm) == "ID=two"
    finally:
        path.unlink()


def test_salloc(slurm: Slurm) -> None:
    """The allocation's choice holds for its steps, but for one that names another. The shell stays where it is."""
    steps = ("", "--chos=two", "--chos=root", "--export=NONE")
    script = "; ".join([SHOW, *(f"srun -Q {step} /bin/{SHOW}" for step in steps)])
    done = slurm.client("salloc", "--quiet", "--chos=one", "sh", "-c", script, user="alice")
    found = [line for line in done.stdout.splitlines() if line.startswith("ID=")]
    assert found == [BASE_ID, "ID=one", "ID=two", BASE_ID, "ID=one"], done
    done = slurm.client("salloc", "-Q", "sh", "-c", f"srun -Q {SHOW}", user="alice", env={"CHOS": "two"})
    assert os_id(done.stdout) == "ID=two"


def test_within_a_job(slurm: Slurm, two: Node) -> None:
    """A batch script that is in an environment starts steps: they go along, or where they are told to. What --chos says
    of a job holds for its steps, as Slurm has it with every option of a plugin; only --chos says otherwise.
    """
    two.mount("--bind", "/", str(two.tree("same")))
    two.mount("--make-private", "/os/same")
    two.configure("one:/os/one\ntwo:/os/two\nsame:/os/same\n")
    two.up()
    show = "/bin/sh -c '. /etc/os-release; echo $CHOS $CHOS_GENERATION $ID'"
    steps = ["", "--export=NONE", "--chos=one", "CHOS=two", "CHOS=root", "-u CHOS"]
    script = "echo $CHOS\n" + "".join(
        f"env {step if not step.startswith('--') else ''} srun -Q {step if step.startswith('--') else ''} {show}\n"
        for step in steps
    )
    base = BASE_ID.removeprefix("ID=")
    one, another, same = (f"{name} {two.generation(name)}" for name in ("one", "two", "same"))
    along = f"{same} {base}"
    by_variable, by_option = slurm.sbatch(script, env={"CHOS": "same"}), slurm.sbatch(script, "--chos=same")
    assert slurm.output(by_option).splitlines() == ["same", along, along, f"{one} one", along, along, along]
    expected = ["same", along, along, f"{one} one", f"{another} two", f"root {base}", base]
    assert slurm.output(by_variable).splitlines() == expected


# --- what a job gets ----------------------------------------------------------------------------------------------


def test_policy(slurm: Slurm, two: Node) -> None:
    policy = 'policy = { no_new_privs = true, personality = "linux32" }\nenv = { SITE = "a=b c", EMPTY = "" }\n'
    two.configure("one:/os/one\ntwo:/os/two\n", two=f"[environment.two]\n{policy}")
    two.up()
    script = "uname -m; grep NoNewPrivs /proc/self/status; env | grep -E '^(CHOS|SITE|EMPTY|SLURM_CHOS)' | sort"
    expected = [
        "i686",
        "NoNewPrivs:\t1",
        "CHOS=two",
        f"CHOS_GENERATION={two.generation('two')}",
        "EMPTY=",
        "SITE=a=b c",
    ]
    env = {"CHOS": "two", "CHOS_GENERATION": "of-the-submitter", "SITE": "of-the-submitter"}
    assert slurm.srun("sh", "-c", script, env=env).stdout.splitlines() == expected
    assert slurm.batch(script, "--chos=two", env=env).splitlines() == expected
    text = slurm.batch(script, "--chos=one")
    assert "NoNewPrivs:\t0" in text and "CHOS=one\n" in text and "SITE" not in text


def test_who_the_job_is(slurm: Slurm) -> None:
    """Identity, groups and capabilities are those of the same job on the base."""
    command = ("sh", "-c", "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status")
    assert slurm.srun("--chos=one", *command, user="bob").stdout == slurm.srun(*command, user="bob").stdout != ""


def test_directory_and_files(slurm: Slurm) -> None:
    """Working directory and output files are the user's, by the same paths; what is not there inside is said."""
    place = slurm.top / "jobs" / "a directory"
    place.mkdir(exist_ok=True)
    place.chmod(0o777)
    options = ("--output=out-%j-%x", "--error=err", "--job-name=name", f"--chdir={place}", "--chos=one")
    job = slurm.sbatch("pwd; echo bad >&2; touch made; cat $0 | head -1", *options)
    slurm.ended(job)
    assert (place / f"out-{job}-name").read_text() == f"{place}\n#!/bin/sh\n"
    assert (place / "err").read_text() == "bad\n"
    assert {path.owner() for path in place.iterdir()} == {"alice"}
    done = slurm.srun("--chos=one", "sh", "-c", "echo hello; pwd", "--output", cwd="/home/alice", input="")
    assert done.stdout == "hello\n/home/alice\n"
    done = slurm.srun("--chos=one", "pwd", cwd="/usr/share/doc")
    assert done.stdout == "/tmp\n" and "couldn't chdir to `/usr/share/doc'" in done.stderr


def test_input(slurm: Slurm) -> None:
    assert slurm.srun("--chos=one", "cat", input="through\n").stdout == "through\n"


def test_variables(slurm: Slurm) -> None:
    """TMPDIR and the loader's, which file capabilities would lose."""
    kept = {"TMPDIR": "/tmp/of-alice", "LD_LIBRARY_PATH": "/x", "MALLOC_ARENA_MAX": "1", "LOCPATH": "/y"}
    text = slurm.srun("--chos=one", "env", env=kept).stdout
    assert all(f"{name}={value}\n" in text for name, value in kept.items())


def test_tasks(slurm: Slurm, two: Node) -> None:
    """Several tasks of a step: one environment, one process for each."""
    done = slurm.srun("-n4", "--label", "--chos=two", "sh", "-c", "echo $SLURM_PROCID $(readlink /proc/self/ns/mnt)")
    pin = two.pin(two.generation("two"))
    assert sorted(done.stdout.splitlines()) == [f"{task}: {task} mnt:[{pin}]" for task in range(4)]


def test_arrays(slurm: Slurm) -> None:
    slurm.ended(slurm.sbatch(f"{SHOW}; echo $SLURM_ARRAY_TASK_ID", "--array=0-3", "--output=array-%a", "--chos=one"))
    slurm.emptied()
    for task in range(4):
        text = (slurm.top / "jobs" / f"array-{task}").read_text()
        assert os_id(text) == "ID=one" and text.endswith(f"\n{task}\n")


def test_alternating(slurm: Slurm) -> None:
    """Sixty jobs in two environments, as fast as they are taken."""
    for name in ("one", "two"):
        slurm.sbatch(SHOW, "--array=0-29", f"--output=alternating-{name}-%a", "--oversubscribe", env={"CHOS": name})
    slurm.emptied()
    for name in ("one", "two"):
        seen = [os_id(path.read_text()) for path in (slurm.top / "jobs").glob(f"alternating-{name}-*")]
        assert seen == [f"ID={name}"] * 30


def test_terminal(slurm: Slurm) -> None:
    """--pty, without quiet: what a user at a terminal does."""
    pid, master = pty.fork()
    if pid == 0:
        who = identity("alice")
        os.setgroups(who["extra_groups"])
        os.setgid(who["group"])
        os.setuid(who["user"])
        os.chdir("/")
        os.execvpe("srun", ["srun", "--pty", "--chos=one", "sh"], slurm.environment("alice", {"PS1": ""}))
    os.write(master, f"tty; {SHOW}; stty size; exit 7\n".encode())
    text = ""
    try:
        while data := os.read(master, 4096):
            text += data.decode()
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, text
    os.close(master)
    assert "ID=one" in text and "/dev/pts/" in text, text


def test_sbcast(slurm: Slurm) -> None:
    """A file that is sent to the nodes is there inside, executable."""
    program = slurm.top / "jobs" / "program"
    program.write_text(f"#!/bin/sh\n{SHOW}\n")
    program.chmod(0o755)
    script = f"sbcast --force {program} /tmp/sent && srun -Q --chos=two /tmp/sent; rm -f /tmp/sent"
    done = slurm.client("salloc", "--quiet", "sh", "-c", script, user="alice")
    assert os_id(done.stdout) == "ID=two", done


def test_bcast(slurm: Slurm) -> None:
    """The same for the program itself."""
    done = slurm.srun("--bcast=/tmp/cat", "--chos=one", "/os/two/bin/busybox", WHERE[1])
    Path("/tmp/cat").unlink()
    assert os_id(done.stdout) == "ID=one", done


# --- how a job ends -----------------------------------------------------------------------------------------------


def test_exit_status(slurm: Slurm) -> None:
    assert slurm.srun("--chos=one", "sh", "-c", "exit 42").returncode == 42
    assert slurm.srun("--chos=one", "sh", "-c", "kill -KILL $$").returncode == 137
    assert slurm.srun("--chos=one", "/nowhere").returncode == 2, "as without an environment"
    assert slurm.ended(slurm.sbatch("exit 42", "--chos=one"))["ExitCode"] == "42:0"
    shown = slurm.ended(slurm.sbatch("kill -TERM $$", "--chos=one"))
    assert (shown["ExitCode"], shown["JobState"]) == ("0:15", "FAILED")


def _ready(slurm: Slurm, job: str, word: str = "ready") -> None:
    output = slurm.top / "jobs" / f"job-{job}"
    slurm.wait(lambda: output.exists() and word in output.read_text(), f"job {job} to say {word}")


def test_signals(slurm: Slurm) -> None:
    """scancel: one that the job asked for, and the end. Nothing of the job is left."""
    job = slurm.sbatch("sleep 4711 &\ntrap 'echo got it' USR1\necho ready\nwhile :; do sleep 0.05; done", "--chos=one")
    _ready(slurm, job)
    slurm.client("scancel", "--batch", "--signal=USR1", job, user="alice")
    _ready(slurm, job, "got it")
    slurm.client("scancel", job, user="alice")
    assert slurm.ended(job)["JobState"] == "CANCELLED"
    slurm.wait(lambda: not subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True).stdout, "its processes")


def test_requeue(slurm: Slurm) -> None:
    """It comes back into the same environment, though nothing of the submitter's variables was kept."""
    script = f'{SHOW}\necho ready ${{SLURM_RESTART_COUNT:-0}}\n[ -n "$SLURM_RESTART_COUNT" ] || sleep 60'
    job = slurm.sbatch(script, "--requeue", "--export=NONE", "--open-mode=append", env={"CHOS": "two"})
    _ready(slurm, job, "ready 0")
    slurm.client("scontrol", "requeue", job)

    slurm.wait(lambda: slurm.show(job)["JobState"] == "PENDING", "the job in the queue again")
    # Slurm would wait for two minutes. In the same second slurmd takes it for the one that it has just ended.
    slurm.client("scontrol", "update", f"JobId={job}", "StartTime=now+2")

    def again() -> bool:
        shown = slurm.show(job)
        return shown["Restarts"] == "1" and shown["JobState"] == "COMPLETED"

    slurm.wait(again, "the second run")
    text = (slurm.top / "jobs" / f"job-{job}").read_text()
    assert re.findall("^ID=.*", text, re.MULTILINE) == ["ID=two", "ID=two"]


# --- records ------------------------------------------------------------------------------------------------------


def test_records(slurm: Slurm, two: Node, log: Callable[[str], list[str]]) -> None:
    """One line for each step on a node, whatever its number of tasks; jobs are named as sacct names them."""
    path = Path("/var/log/chos-entries")
    path.touch(0o600)
    two.configure("one:/os/one\ntwo:/os/two\n", records=f'[records]\nfile = "{path}"\n')
    two.up()
    slurm.srun("-n3", "--chos=one", "true")
    batch = slurm.sbatch("true", "--chos=two")
    slurm.ended(batch)
    array = slurm.sbatch("true", "--array=7", env={"CHOS": "two"})
    slurm.srun("true")
    slurm.srun("--chos=root", "true")
    slurm.emptied()
    lines = path.read_text().splitlines()
    path.unlink()
    assert len(lines) == 3, lines
    jobs = (r"\d+\.0", rf"{batch}\.batch", rf"{array}_7\.batch")
    for line, environment, job in zip(lines, ("one", "two", "two"), jobs):
        assert re.fullmatch(
            rf"time=\S+Z user=alice uid=\d+ environment={environment} generation={environment}\.\d+ "
            rf"service=slurm job={job} pid=\d+",
            line,
        ), line
    assert len(log("service=slurm")) == 3


def test_the_worked_example(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page for administrators says, from `chosctl install slurm` to its undo."""
    slurm.set_plugin("")
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    worked.run("slurm")


def test_time_limit(slurm: Slurm, lasting: str) -> None:
    """It is told before its time is over, and ended then."""
    _ready(slurm, lasting, "warned")
    assert slurm.ended(lasting)["JobState"] == "TIMEOUT"
    text = (slurm.top / "jobs" / f"job-{lasting}").read_text()
    assert os_id(text) == "ID=one" and "DUE TO TIME LIMIT" in text
