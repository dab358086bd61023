"""TORQUE: what its pbs_mom does with our starters, and the guard against what it does with PBS_O_ROOTDIR.

The product cannot be had here; torque_mom.py does what it does, step by step.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import BASE_ID, LIMIT, Node, Stacks, os_id, wait_for
from daemons import starters
from torque_mom import JOBS, PRIV, QSTAT, SERVER, PbsMom, kill_session

from chosns.integrate.mom import can_chroot

pytestmark = pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="without musl-gcc there is no pam_job_starter")
WHERE = "cat /etc/os-release; id -u\n"
JAIL = Path("/home/alice/jail")
PROOF = JAIL / "proof"
NO_CHROOT = "/usr/lib/chos/starters/torque/no-chroot"


@pytest.fixture
def mom(two: Node, stacks: Stacks) -> Iterator[PbsMom]:
    """pbs_mom, not configured yet."""
    stacks.write("jobstarter", "")
    Path("/etc/pam.d/jobstarter").unlink()
    mom = PbsMom()
    yield mom
    subprocess.run(["chosctl", "install", "torque", "--undo"], check=False, capture_output=True)
    mom.remove()
    shutil.rmtree(JAIL, ignore_errors=True)


@pytest.fixture
def privileged(mom: PbsMom) -> PbsMom:
    """With the privileged starter, as chosctl installs it."""
    done = install("--option", "privileged")
    assert done.returncode == 0, done
    mom.read_config()
    return mom


@pytest.fixture
def jail(mom: PbsMom) -> str:
    """A directory of alice's with a starter of hers, which notes as whom it runs."""
    source = Path("/tmp/starter.c")
    source.write_text(
        '#include <stdio.h>\n#include <unistd.h>\nint main(void) { FILE *f = fopen("/proof", "w"); '
        'if (f == NULL) return 9; fprintf(f, "%d\\n", (int)getuid()); return fclose(f); }\n'
    )
    for name in ("usr/bin", "home/alice", "bin"):
        (JAIL / name).mkdir(parents=True)
    subprocess.run(["musl-gcc", "-static", "-o", JAIL / "usr/bin/pam_job_starter", source], check=True)
    shutil.copy(JAIL / "usr/bin/pam_job_starter", JAIL / "usr/bin/chos-job-starter")
    shutil.copy(JAIL / "usr/bin/pam_job_starter", JAIL / "bin/sh")
    subprocess.run(["chown", "-R", "alice", JAIL], check=True)
    return str(JAIL)


def install(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["chosctl", "install", "torque", *words], capture_output=True, text=True, timeout=LIMIT)


def ran(done: subprocess.CompletedProcess[str] | None) -> subprocess.CompletedProcess[str]:
    assert done is not None, "the prologue has refused it"
    return done


# --- what pbs_mom does by itself ------------------------------------------------------------------------------------


def test_without_the_guard_a_user_is_root(privileged: PbsMom, jail: str) -> None:
    """If this fails, the others prove nothing."""
    (PRIV / "prologue").unlink()
    assert ran(privileged.submit(WHERE, {"PBS_O_ROOTDIR": jail}).run()).returncode == 0
    assert PROOF.read_text() == "0\n"


def test_the_plain_starter_makes_nobody_root(mom: PbsMom, jail: str) -> None:
    assert install().returncode == 0
    mom.read_config()
    ran(mom.submit(WHERE, {"PBS_O_ROOTDIR": jail}).run())
    assert PROOF.read_text() == f"{pwd.getpwnam('alice').pw_uid}\n"


def test_a_starter_that_cannot_be_executed(privileged: PbsMom, two: Node) -> None:
    """pbs_mom goes on to the shell, as root: why nothing is taken from under it."""
    os.chmod("/usr/bin/pam_job_starter", 0o644)
    try:
        done = ran(privileged.submit(WHERE, {"CHOS": "one"}).run())
        check = subprocess.run(["chosctl", "check"], capture_output=True, text=True)
    finally:
        os.chmod("/usr/bin/pam_job_starter", 0o755)
    assert done.stdout.endswith("\n0\n") and os_id(done.stdout) == BASE_ID
    assert check.returncode == 1 and "executes the users' shells as root" in check.stdout


def test_a_plain_starter_that_cannot_be_executed(mom: PbsMom) -> None:
    """As the user, on the base, with status 0."""
    assert install().returncode == 0
    mom.read_config()
    starter = Path("/usr/bin/chos-job-starter")
    away = starter.with_suffix(".away")
    starter.rename(away)
    try:
        done = ran(mom.submit(WHERE, {"CHOS": "one"}).run())
        check = subprocess.run(["chosctl", "check"], capture_output=True, text=True)
    finally:
        away.rename(starter)
    assert done.returncode == 0 and os_id(done.stdout) == BASE_ID
    assert done.stdout.endswith(f"\n{pwd.getpwnam('alice').pw_uid}\n")
    assert check.returncode == 1 and "jobs with $CHOS run on the base" in check.stdout


@pytest.mark.parametrize("option", [(), ("--option", "privileged")], ids=["plain", "privileged"])
def test_a_starter_that_was_missing_at_the_start(mom: PbsMom, option: tuple[str, ...]) -> None:
    """The job runs on the base with status 0; `check` says so."""
    assert install(*option).returncode == 0
    name = Path("/usr/bin/pam_job_starter" if option else "/usr/bin/chos-job-starter")
    away = name.with_suffix(".away")
    name.rename(away)
    try:
        mom.read_config()
        check = subprocess.run(["chosctl", "check"], capture_output=True, text=True)
    finally:
        away.rename(name)
    assert len(mom.log) == 1
    done = ran(mom.submit(WHERE, {"CHOS": "one"}).run())
    assert done.returncode == 0 and os_id(done.stdout) == BASE_ID
    assert check.returncode == 1 and f"{name} cannot be used" in check.stdout and "run on the base" in check.stdout


def test_a_pbs_mom_that_is_older_than_the_starter(mom: PbsMom) -> None:
    daemon = daemon_named_pbs_mom()
    try:
        assert install().returncode == 0
        check = subprocess.run(["chosctl", "check"], capture_output=True, text=True)
    finally:
        daemon.kill()
        daemon.wait()
    assert f"pbs_mom (process {daemon.pid}) started before" in check.stdout and "restart pbs_mom -p" in check.stdout


# --- the guard ------------------------------------------------------------------------------------------------------

LONG = ",".join(f"V{n}={'x' * (n % 97)}" for n in range(3000))
ATTACKS = {
    "the variable": "PBS_O_ROOTDIR={jail}",
    "first": "PBS_O_ROOTDIR={jail},A=b",
    "empty": "PBS_O_ROOTDIR=",
    "after a long list": LONG + ",PBS_O_ROOTDIR={jail}",
    "before a long list": "PBS_O_ROOTDIR={jail}," + LONG,
    "in a value": "X=a,PBS_O_ROOTDIR={jail}",
    "in a value, quoted": 'X="a\\,PBS_O_ROOTDIR={jail}"',
    "after a line break": "X=a\nb,PBS_O_ROOTDIR={jail}",
    "after what looks like the end": "X=\n    etime = now\n\nJob Id: 2.server\n    Job_Name = a,PBS_O_ROOTDIR={jail}",
    "with odd characters before": "X=\x01\x7f\udcff\t\r\\,PBS_O_ROOTDIR={jail}",
    "lower case": "pbs_o_rootdir={jail}",
    "a name that begins so": "PBS_O_ROOTDIRECTORY={jail}",
    "broken by hand": "A=PBS_O_\n\tROOTDIR={jail}",
}


@pytest.mark.parametrize("source", ["both", "pbs_mom", "server"])
def test_the_guard_refuses(privileged: PbsMom, jail: str, source: str) -> None:
    """Whichever of the two knows of it: the server's list can be altered while pbs_mom starts the job."""
    for listed in ATTACKS.values():
        refuses(privileged, jail, listed, source)


def refuses(mom: PbsMom, jail: str, listed: str, source: str) -> None:
    job = mom.submit(WHERE, {"PBS_O_ROOTDIR": jail})
    text = "PBS_O_HOME=/home/alice," + listed.replace("{jail}", jail)
    harmless = "PBS_O_HOME=/home/alice,PBS_O_LOGNAME=alice"
    job.tell_server((text if source != "pbs_mom" else harmless).encode("utf-8", "replace").decode())
    content = text if source != "server" else harmless
    job.file.write_bytes(b"\1\0Variable_List\0" + content.encode("utf-8", "surrogateescape") + b"\0")
    assert job.run() is None, listed
    assert "chos: job 1.server is refused: it names PBS_O_ROOTDIR" in job.said
    assert not PROOF.exists()


def test_a_name_that_is_broken_anywhere(privileged: PbsMom) -> None:
    """qstat breaks the line in the middle of the name."""
    job = privileged.submit(WHERE)
    for column in range(90):
        job.tell_server(f"PBS_O_HOME={'h' * column},PBS_O_ROOTDIR=/home/alice/jail")
        assert job.prologue() == 1 and "names PBS_O_ROOTDIR" in job.said


@pytest.mark.parametrize("manager", [True, False])
def test_other_jobs_run(privileged: PbsMom, manager: bool) -> None:
    privileged.manager(manager)
    variables = {"CHOS": "one", "NOTE": "PBS_O_ROOT and PBS_O_DIR", "PBS_O_INITDIR": "/home/alice"}
    done = ran(privileged.submit(WHERE, variables).run())
    assert (done.returncode, os_id(done.stdout), done.stderr) == (0, "ID=one", ""), done
    assert done.stdout.endswith(f"\n{pwd.getpwnam('alice').pw_uid}\n")


@pytest.mark.parametrize("job", ["12[3].server", "7[].server.example.org", "1234567.a-b.c_d"])
def test_ids_of_jobs(privileged: PbsMom, jail: str, job: str) -> None:
    """Of arrays, too. The file of another job does not count."""
    privileged.submit(WHERE, {"PBS_O_ROOTDIR": jail}, job="123.server")
    assert privileged.submit(WHERE, job=job).prologue() == 0
    assert privileged.submit(WHERE, {"PBS_O_ROOTDIR": jail}, job=job).prologue() == 1


@pytest.mark.parametrize("job", ["", "-x", "1;id", "1 2", "../1", "1*", "$(id)", "1\n2"])
def test_what_is_no_id(privileged: PbsMom, job: str) -> None:
    done = subprocess.run([PRIV / "prologue", job, "alice"], capture_output=True, text=True)
    assert done.returncode == 1 and "gave no job id" in done.stderr


def test_the_guard_cannot_ask(privileged: PbsMom) -> None:
    """A server that is down, a job that it does not know, no qstat: refused."""
    job = privileged.submit(WHERE)
    assert job.prologue() == 0
    (SERVER / "down").touch()
    assert job.prologue() == 1 and "fails on this node" in job.said
    (SERVER / "down").unlink()
    (SERVER / job.id).unlink()
    assert job.prologue() == 1
    half = "#!/bin/sh\necho '    Variable_List = A=b'; exit 1\n"
    for text in (half, "", "#!/bin/sh\nexit 0\n", "#!/bin/sh\necho; exit 0\n", "#!/bin/sh\nkill -9 $$\n"):
        QSTAT.write_text(text)
        assert job.prologue() == 1, text
    QSTAT.chmod(0o644)
    assert job.prologue() == 1
    QSTAT.unlink()
    assert job.prologue() == 1
    QSTAT.touch()


def test_nothing_shows_the_variables(privileged: PbsMom) -> None:
    """qstat keeps silent about them, with status 0, where root is no manager of the server."""
    job = privileged.submit(WHERE)
    job.file.unlink()
    assert job.prologue() == 0
    privileged.manager(False)
    assert job.prologue() == 1 and "nothing shows its variables" in job.said
    job.file.write_bytes(b"")
    assert job.prologue() == 1


def test_the_guard_is_gone(privileged: PbsMom) -> None:
    """A prologue without it refuses all jobs."""
    guard = Path("/usr/lib/chos/starters/torque/guard")
    away = guard.with_suffix(".away")
    guard.rename(away)
    try:
        assert privileged.submit(WHERE).prologue() == 1
    finally:
        away.rename(guard)


def test_variables_of_the_prologue_mean_nothing(privileged: PbsMom, jail: str, tmp_path: Path) -> None:
    """Moab hands on some of the user's."""
    job = privileged.submit(WHERE, {"PBS_O_ROOTDIR": jail})
    job.file.unlink()
    (tmp_path / "timeout").write_text("#!/bin/sh\necho Variable_List\n")
    (tmp_path / "timeout").chmod(0o755)
    env = {"PATH": str(tmp_path), "ENV": "/nowhere", "IFS": "O", "PBS_DEFAULT": "evil", "LC_ALL": "tr_TR.UTF-8"}
    done = subprocess.run([PRIV / "prologue", job.id, "alice"], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "names PBS_O_ROOTDIR" in done.stderr


def test_the_other_nodes_of_a_job(privileged: PbsMom, jail: str) -> None:
    job = privileged.submit(WHERE, {"PBS_O_ROOTDIR": jail})
    assert job.prologue("prologue.parallel") == 1
    assert privileged.submit(WHERE).prologue("prologue.parallel") == 0


# --- what no prologue sees ------------------------------------------------------------------------------------------

# pbs_mom as another process: reads its configuration, runs a job, and then a task of it.
OTHER_MOM = """
import sys
sys.path[:0] = {path!r}
from torque_mom import PRIV, Job, PbsMom
mom = PbsMom.__new__(PbsMom)
mom.config, mom.log = PRIV / "config", []
mom.read_config()
job = Job(mom, "1.server", "alice", "cat /etc/os-release\\n", {{"CHOS": "one"}})
done = job.run()
print(done.returncode, done.stdout + done.stderr)
job.variables["PBS_O_ROOTDIR"] = {jail!r}
process = job.task("/bin/sh")
print(process.wait())
"""


def run_mom(jail: str, *before: str) -> subprocess.CompletedProcess[str]:
    code = OTHER_MOM.format(path=[path for path in sys.path if path], jail=jail)
    return subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)


def test_qalter_and_a_task(privileged: PbsMom, jail: str) -> None:
    """The guard is not asked: why pbs_mom itself must not be able to do it."""
    done = run_mom(jail)
    assert done.returncode == 0 and "ID=one" in done.stdout, done
    assert PROOF.read_text() == "0\n"


def test_a_pbs_mom_that_cannot_chroot(privileged: PbsMom, jail: str) -> None:
    """Jobs enter their environment all the same; the task ends before anything is executed."""
    done = run_mom(jail, NO_CHROOT)
    assert done.returncode == 0 and "ID=one" in done.stdout and done.stdout.endswith("\n254\n"), done
    assert not PROOF.exists()


@pytest.mark.parametrize(
    ("by", "can"),
    [
        ([NO_CHROOT], False),
        ([], True),
        (["env", "CHOS_NO_CHROOT=1"], True),
        ([NO_CHROOT, "env", "-u", "CHOS_NO_CHROOT"], True),
    ],
    ids=["by way of it", "plain", "the variable alone", "another filter"],
)
def test_how_a_pbs_mom_was_started(by: list[str], can: bool) -> None:
    """A filter of system calls alone is no proof: units and containers have their own."""
    process = subprocess.Popen([*by, "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        assert process.stdout and process.stdout.readline() == b"\n"
        assert can_chroot(psutil.Process(process.pid)) is can
    finally:
        process.kill()
        process.communicate()


def test_no_chroot_on_its_own() -> None:
    """Also in programs that it starts; in vain is not enough to start anything."""
    words = ["sh", "-c", "chroot / true; echo $?; grep Seccomp: /proc/self/status; id -u"]
    done = subprocess.run([NO_CHROOT, *words], capture_output=True, text=True)
    assert done.stdout == "125\nSeccomp:\t2\n0\n" and "Operation not permitted" in done.stderr
    assert subprocess.run([NO_CHROOT, "sh", "-c", "exit 7"]).returncode == 7
    assert subprocess.run([NO_CHROOT, "/missing"], capture_output=True).returncode == 126
    assert subprocess.run([NO_CHROOT], capture_output=True).returncode == 125
    alice = ["setpriv", "--reuid", "alice", "--clear-groups", NO_CHROOT, "id"]
    done = subprocess.run(alice, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, "")


def test_chos_where_chroot_is_forbidden(two: Node) -> None:
    """A user's `chos` in such a job, there and back."""
    alice = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups"]
    inside = "cat /etc/os-release; CHOS=root chos cat /etc/os-release"
    done = subprocess.run(
        [NO_CHROOT, *alice, "chos", "sh", "-c", inside],
        env={**os.environ, "CHOS": "one"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "ID=one\n" in done.stdout and f"\n{BASE_ID}\n" in done.stdout, done


def test_check_looks_at_the_pbs_mom_that_runs(privileged: PbsMom) -> None:
    for before, told in (((), 1), ((NO_CHROOT,), 0)):
        daemon = daemon_named_pbs_mom(*before)
        try:
            check = subprocess.run(["chosctl", "check"], capture_output=True, text=True)
        finally:
            daemon.kill()
            daemon.wait()
        assert check.stdout.count("may become root") == told and check.returncode == told, check


# --- it goes only when no pbs_mom can use it any more ---------------------------------------------------------------


def daemon_named_pbs_mom(*before: str) -> subprocess.Popen[bytes]:
    program = Path("/tmp/pbs_mom")
    shutil.copy("/usr/bin/sleep", program)
    process = subprocess.Popen([*before, program, "1000"])
    name = Path(f"/proc/{process.pid}/comm")
    wait_for(lambda: name.read_text() == "pbs_mom\n", "pbs_mom")
    return process


def test_undo_waits_for_the_end_of_pbs_mom(privileged: PbsMom) -> None:
    daemon = daemon_named_pbs_mom()
    try:
        done = install("--undo")
        assert done.returncode == 1 and "momctl -s" in done.stderr, done
        assert (PRIV / "prologue").exists() and "privileged true" in privileged.config.read_text()
        prerm = Path(__file__).resolve().parents[2] / "packaging/deb/chos.prerm"
        removal = subprocess.run(["/bin/sh", prerm, "remove"], capture_output=True, text=True)
        assert removal.returncode != 0 and "pbs_mom" in removal.stderr, removal
        assert Path("/usr/bin/pam_job_starter").exists() and (PRIV / "prologue").exists()
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    done = install("--undo")
    assert done.returncode == 0 and not (PRIV / "prologue").exists(), done
    assert privileged.config.read_text() == "$logevent 255\n"


def test_users_cannot_stand_in_the_way(privileged: PbsMom) -> None:
    """A process of theirs with that name is none of root's."""
    program = Path("/tmp/pbs_mom")
    shutil.copy("/usr/bin/sleep", program)
    program.chmod(0o755)
    process = subprocess.Popen(["setpriv", "--reuid", "alice", "--clear-groups", program, "1000"])
    try:
        wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "pbs_mom\n", "the process")
        assert install("--undo").returncode == 0
    finally:
        process.kill()
        process.wait()
    assert not JOBS.parent.joinpath("prologue").exists()


# --- how a privileged job ends, and what is said --------------------------------------------------------------------


@pytest.fixture
def events(privileged: PbsMom, stacks: Stacks) -> Path:
    """A file in which each opening and closing of a session is noted."""
    note, events = Path("/tmp/note"), Path("/tmp/events")
    note.write_text(f"#!/bin/sh\necho $PAM_TYPE >>{events}\n")
    note.chmod(0o755)
    events.unlink(missing_ok=True)
    stack = Path("/etc/pam.d/jobstarter")
    stacks.write("jobstarter", f"session required pam_exec.so {note}\n{stack.read_text()}")
    return events


def test_a_session_is_closed_after_sigkill(privileged: PbsMom, events: Path) -> None:
    """qdel: pbs_mom kills every process of the job's session, and the starter with them."""
    ready = Path("/tmp/ready")
    ready.unlink(missing_ok=True)
    job = privileged.submit(f"touch {ready}; sleep 1000 & wait\n", {"CHOS": "one"})
    assert job.prologue() == 0
    process = job.start()
    wait_for(ready.exists, "the job")
    os.kill(process.pid, signal.SIGSTOP)  # it does not come to close the session itself
    kill_session(process.pid)
    assert process.wait(LIMIT) == -signal.SIGKILL
    wait_for(lambda: events.read_text() == "open_session\nclose_session\n", "the session to be closed")
    wait_for(lambda: not starters(), "the end of whoever closed it")


def test_a_session_is_closed_once(privileged: PbsMom, events: Path) -> None:
    done = ran(privileged.submit("exit 3\n", {"CHOS": "one"}).run())
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    wait_for(lambda: not starters(), "the end of all processes")
    assert events.read_text() == "open_session\nclose_session\n"


def test_a_sigkill_while_the_session_is_closed(privileged: PbsMom, events: Path) -> None:
    """As qdel sends it while the job ends: each module closes once all the same."""
    closing, go_on = Path("/tmp/closing"), Path("/tmp/go-on")
    for path in (closing, go_on):
        path.unlink(missing_ok=True)
    wait = f"if [ $PAM_TYPE = close_session ]; then touch {closing}; while [ ! -e {go_on} ]; do sleep 0.02; done; fi"
    Path("/tmp/note").write_text(f"#!/bin/sh\necho $PAM_TYPE >>{events}\n{wait}\n")
    process = privileged.submit("exit 3\n", {"CHOS": "one"}).start()
    wait_for(closing.exists, "the closing of the session")
    kill_session(process.pid)
    assert process.wait(LIMIT) == -signal.SIGKILL
    go_on.touch()
    wait_for(lambda: not starters(), "the end of whoever closed it")
    assert events.read_text() == "open_session\nclose_session\n"


def test_who_closes_cannot_be_started(privileged: PbsMom) -> None:
    """No descriptor is left for it: the job runs, and is told."""
    limits, stack = Path("/tmp/limits"), Path("/etc/pam.d/jobstarter")
    limits.write_text("* - nofile 4\nroot - nofile 4\n")
    stack.write_text(f"{stack.read_text()}\nsession required pam_limits.so conf={limits}\n")
    done = ran(privileged.submit("exit 3\n").run())
    assert done.returncode == 3 and "closes the session if this one is killed: Too many open files" in done.stderr, done


def test_who_closes_was_killed(privileged: PbsMom, events: Path) -> None:
    """The job ends as it would."""
    ready, go_on = Path("/tmp/ready"), Path("/tmp/go-on")
    for path in (ready, go_on):
        path.unlink(missing_ok=True)
    text = f"touch {ready}; while [ ! -e {go_on} ]; do sleep 0.02; done; exit 4\n"
    job = privileged.submit(text, {"CHOS": "one"})
    process = job.start()
    wait_for(ready.exists, "the job")
    [closer] = [pid for pid in starters() if os.getsid(pid) != process.pid]
    os.kill(closer, signal.SIGKILL)
    go_on.touch()
    assert process.wait(LIMIT) == 4
    assert events.read_text() == "open_session\nclose_session\n"


@pytest.mark.parametrize("option", [(), ("--option", "privileged")], ids=["plain", "privileged"])
def test_a_shell_that_the_tree_lacks(mom: PbsMom, option: tuple[str, ...]) -> None:
    """Both starters have the same hint."""
    assert install(*option).returncode == 0
    mom.read_config()
    done = ran(mom.submit(WHERE, {"CHOS": "one"}).run(shell="/opt/site/bin/fish"))
    assert done.returncode == 127 and done.stdout == ""
    assert done.stderr.startswith("chos: /opt/site/bin/fish: ") and "is it installed in the OS tree" in done.stderr


def test_shell_use_argv(mom: PbsMom) -> None:
    """The plain starter serves it; the privileged one cannot know whose job it is, and says what it may be."""
    assert install().returncode == 0
    mom.read_config()
    done = ran(mom.submit(WHERE, {"CHOS": "one"}).run(how="argv"))
    assert (done.returncode, os_id(done.stdout)) == (0, "ID=one"), done
    assert install("--undo").returncode == 0 and install("--option", "privileged").returncode == 0
    mom.read_config()
    done = ran(mom.submit(WHERE, {"CHOS": "one"}).run(how="argv"))
    assert (done.returncode, done.stdout) == (125, "")
    assert "--enable-shell-use-argv" in done.stderr and "chosctl install torque --undo" in done.stderr


def test_an_argument_makes_nobody_somebody_else(privileged: PbsMom) -> None:
    """pbsdsh /bin/sh SCRIPT of bob's: a task of alice's has these words, too."""
    bobs = privileged.submit("id -u\n", user="bob", job="2.server")
    alices = privileged.submit(WHERE, {"CHOS": "one"})
    alices.script = bobs.script
    done = ran(alices.run(how="argv"))
    assert (done.returncode, done.stdout) == (125, "")


def test_switching_on_a_node(mom: PbsMom) -> None:
    """It says how, and which jobs move."""
    assert "run on the base" in install().stderr
    done = install("--option", "privileged")
    assert done.returncode == 1 and "--undo" in done.stderr and "moves jobs" in done.stderr, done
    assert install("--undo").returncode == 0
    assert "`default`" in install("--option", "privileged").stderr
    stack = Path("/etc/pam.d/jobstarter")
    stack.write_text(stack.read_text() + "session optional pam_limits.so\n")
    done = install("--undo")
    assert done.returncode == 0 and "/etc/pam.d/jobstarter stays" in done.stderr, done
