"""pam_job_starter, called as TORQUE 6 documents and does for `$job_starter_run_privileged`: still root, with the user's
variables, the script (or a pipe with its path) on standard input. The product itself cannot be had.
"""

from __future__ import annotations

import fcntl
import os
import pty
import pwd
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import BASE_ID, LIMIT, REPO, Node, Stacks, os_id, wait_for
from daemons import starters

STARTER = "/usr/bin/pam_job_starter"
JOBS = Path("/var/spool/torque/mom_priv/jobs")
EVENTS = Path("/tmp/jobstarter-events")
STACK = Path("/usr/share/chos/pam.d/jobstarter")
NOTE = "session required pam_exec.so /tmp/note"
BASE = BASE_ID.removeprefix("ID=")
SHOW = (
    "cat /etc/os-release; pwd; echo CHOS=$CHOS $WORD; "
    "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm)' /proc/self/status; exit 7\n"
)


pytestmark = pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="without musl-gcc there is no pam_job_starter")


@pytest.fixture
def mom(two: Node, stacks: Stacks) -> Iterator[Mom]:
    """The directories of pbs_mom, and the stack as it is installed, with a line that notes each session, and where."""
    JOBS.mkdir(parents=True, exist_ok=True)
    note = Path(NOTE.split()[-1])
    note.write_text(f"#!/bin/sh\n. /etc/os-release\necho $PAM_TYPE $PAM_USER $PAM_SERVICE $ID >>{EVENTS}\n")
    note.chmod(0o755)
    EVENTS.unlink(missing_ok=True)
    stacks.write("jobstarter", f"{NOTE}\n{STACK.read_text()}")
    yield Mom()
    subprocess.run(["rm", "-rf", "/var/spool/torque"], check=True)


class Mom:
    """What pbs_mom does when it starts a job of a user."""

    def script(self, text: str, user: str | int = "alice") -> Path:
        path = JOBS / "1.server.SC"
        path.write_text(text)
        path.chmod(0o700)
        uid = user if isinstance(user, int) else pwd.getpwnam(user).pw_uid
        gid = user if isinstance(user, int) else pwd.getpwnam(user).pw_gid
        os.chown(path, uid, gid)
        return path

    def start(
        self,
        stdin: Any,
        words: tuple[str, ...] = ("/bin/sh",),
        before: str = "",
        pass_fds: Sequence[int] = (),
        **variables: str,
    ) -> subprocess.Popen[str]:
        """In a session of its own, in the home directory, as root, with the variables of InitUserEnv."""
        account = pwd.getpwnam("alice")
        env = {
            "PATH": "/usr/bin:/bin",
            "PBS_O_LOGNAME": "alice",
            "PBS_O_HOME": account.pw_dir,
            "HOME": account.pw_dir,
            "LOGNAME": "alice",
            "USER": "alice",
            "SHELL": "/bin/sh",
            "PBS_JOBID": "1.server",
            "PBS_ENVIRONMENT": "PBS_BATCH",
            **variables,
        }
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["bash", "-c", f'{before}\nexec "$0" "$@"', STARTER, *words] if before else [STARTER, *words],
            env=env,
            stdin=stdin,
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=account.pw_dir,
            start_new_session=True,
            pass_fds=pass_fds,
        )

    def piped(self, line: str) -> Any:
        """SHELL_INVOKE: a pipe in which a line is."""
        read, write = os.pipe()
        os.write(write, line.encode())
        os.close(write)
        return os.fdopen(read)

    def run(self, text: str = SHOW, user: str | int = "alice", how: str = "pipe", **variables: str) -> Done:
        script = self.script(text, user)
        with self.piped(f"{script}\n") if how == "pipe" else script.open() as stdin:
            return finished(self.start(stdin, **variables))


Done = subprocess.CompletedProcess[str]


def finished(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=LIMIT)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def events() -> list[str]:
    return EVENTS.read_text().splitlines() if EVENTS.exists() else []


def session(user: str = "alice") -> list[str]:
    """A module above pam_chos opens and closes on the base: there is nothing of a tree that root would run."""
    return [f"{what}_session {user} jobstarter {BASE}" for what in ("open", "close")]


def check(done: Done, os_name: str, user: str = "alice") -> None:
    account = pwd.getpwnam(user)
    assert done.returncode == 7, done
    assert os_id(done.stdout) == f"ID={os_name}", done
    ids = f"{account.pw_uid}\t" * 3 + str(account.pw_uid)
    assert f"Uid:\t{ids}\n" in done.stdout
    groups = " ".join(map(str, sorted(os.getgrouplist(user, account.pw_gid))))
    assert f"Groups:\t{groups} \n" in done.stdout
    assert "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n" in done.stdout
    assert events()[-2:] == session(user)


def refused(done: Done, *words: str, opened: bool = False) -> None:
    assert (done.returncode, done.stdout) == (125, ""), done
    for word in words:
        assert word in done.stderr, done
    assert done.stderr.startswith("chos: ")
    assert opened or events() == []


@pytest.mark.parametrize("how", ["pipe", "script"])
def test_as_torque_6_starts_a_privileged_starter(mom: Mom, how: str) -> None:
    done = mom.run(how=how, CHOS="one", WORD="kept")
    check(done, "one")
    assert "\n/home/alice\nCHOS=one kept\n" in done.stdout
    assert done.stderr == ""


def test_the_users_file_decides_else(mom: Mom, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "two")
    check(mom.run(), "two")
    dotfile("alice", None)
    check(mom.run(), BASE)


def test_script_with_arguments_and_exec(mom: Mom) -> None:
    """$exec_with_exec, and qsub -F."""
    script = mom.script("#!/bin/sh\ncat /etc/os-release; echo $# $1; exit 4\n")
    with mom.piped(f"exec {script} a b\n") as stdin:
        done = finished(mom.start(stdin, CHOS="one"))
    assert (done.returncode, os_id(done.stdout)) == (4, "ID=one"), done
    assert done.stdout.endswith("2 a\n")


def test_interactive_job(mom: Mom) -> None:
    """qsub -I: the terminal is the user's."""
    main, terminal = pty.openpty()
    account = pwd.getpwnam("alice")
    os.chown(os.ttyname(terminal), account.pw_uid, account.pw_gid)
    with os.fdopen(terminal) as stdin:
        process = mom.start(stdin, words=("/bin/sh", "-c", SHOW), CHOS="two")
        check(finished(process), "two")
    os.close(main)


@pytest.mark.parametrize("name", ["LOGNAME", "PBS_O_LOGNAME", "USER", "HOME"])
@pytest.mark.parametrize("value", ["root", "bob", "nobody-at-all"])
def test_a_users_word_is_not_believed(mom: Mom, name: str, value: str) -> None:
    check(mom.run(CHOS="one", **{name: value}), "one")


def test_two_names_of_one_user(mom: Mom) -> None:
    """Only the script's owner counts; a name of the same number may be chosen."""
    uid = str(pwd.getpwnam("bob").pw_uid)
    subprocess.run(["useradd", "-o", "-u", uid, "-d", "/home/bob", "-s", "/bin/sh", "robert"], check=True)
    try:
        mom.run(user="bob", LOGNAME="robert", CHOS="one")
        assert events() == session("robert")
    finally:
        subprocess.run(["userdel", "robert"], check=True, capture_output=True)


def test_variables_mean_nothing_to_root(mom: Mom, tmp_path: Path) -> None:
    """A library that its user names is not loaded as long as anything is root; the job has it."""
    source, library, seen = tmp_path / "evil.c", Path("/tmp/evil.so"), Path("/tmp/evil-uids")
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\n__attribute__((constructor)) static void f(void)\n"
        f'{{ FILE *o = fopen("{seen}", "a"); if (o) {{ fprintf(o, "%d\\n", (int)getuid()); fclose(o); }} }}\n'
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    seen.unlink(missing_ok=True)
    seen.touch()
    seen.chmod(0o666)
    done = mom.run(LD_PRELOAD=str(library), LD_LIBRARY_PATH="/tmp", CHOS="root", GLIBC_TUNABLES="glibc.malloc.check=3")
    assert done.returncode == 7, done
    assert set(seen.read_text().split()) == {str(pwd.getpwnam("alice").pw_uid)}


def test_whose_job_cannot_be_told(mom: Mom, tmp_path: Path) -> None:
    """A task of the TM interface gets /dev/null or a socket; its user wrote all of its variables."""
    here, there = socket.socketpair()
    with here, there:
        refused(finished(mom.start(here)), "does not show whose job this is")
    refused(finished(mom.start(subprocess.DEVNULL)), "does not show whose job this is")
    with mom.piped("") as stdin:
        refused(finished(mom.start(stdin)), "no script on standard input")


def test_a_path_that_is_no_script_of_moms(mom: Mom) -> None:
    """What a user could have put there, were he able to write into the pipe."""
    script = mom.script(SHOW)
    (JOBS / "link").symlink_to(script)
    (JOBS / "directory").mkdir()
    open_directory = JOBS / "open"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    (open_directory / "script").write_text("")
    hers = Path("/home/alice/script")
    hers.write_text("")
    os.chown(open_directory / "script", 1, 1)
    paths = [
        JOBS / "link",
        JOBS / "directory",
        JOBS / "missing",
        open_directory / "script",
        hers,
        "relative",
        "/",
        "x" * 4095,
    ]
    for path in [*paths, f"{JOBS}/../jobs/{script.name}"]:
        with mom.piped(f"{path}\n") as stdin:
            refused(finished(mom.start(stdin)), "no script of pbs_mom's")
    os.link(script, JOBS / "second")
    with mom.piped(f"{script}\n") as stdin:
        refused(finished(mom.start(stdin)), "no script of pbs_mom's")
    hers.unlink()


def test_root_and_missing_users(mom: Mom) -> None:
    refused(mom.run(user="root", CHOS="one"), "no job is started as root")
    refused(mom.run(user="root", how="script"), "no job is started as root")
    refused(mom.run(user=54321), "no account")


@pytest.mark.parametrize("line", ["account required pam_deny.so", "session required pam_deny.so"])
def test_a_stack_that_denies(mom: Mom, stacks: Stacks, line: str) -> None:
    stacks.write("jobstarter", f"account required pam_permit.so\n{line}\n")
    refused(mom.run(CHOS="one"))


def test_an_environment_that_cannot_be_had(mom: Mom) -> None:
    """The stack says onerr=deny: the job does not run on the base."""
    refused(mom.run(CHOS="nowhere"), "nowhere: no such environment", opened=True)
    refused(mom.run(CHOS="x" * 5000), "not a legal environment name", opened=True)
    refused(mom.run(CHOS="a\x1b[2J/../b"), opened=True)


STACKS_THAT_DO_NOT_ENTER = {
    "none": "",
    "on the base": "session required pam_chos.so",
    "a stranger's word": "session required pam_env.so readenv=1 envfile=/tmp/variables",
}


@pytest.mark.parametrize("line", STACKS_THAT_DO_NOT_ENTER.values(), ids=STACKS_THAT_DO_NOT_ENTER)
def test_a_stack_that_does_not_enter(mom: Mom, stacks: Stacks, line: str) -> None:
    """Nothing but what was asked for will do; the session is closed again."""
    Path("/tmp/variables").write_text("CHOS=two\n")
    stacks.write("jobstarter", f"{NOTE}\naccount required pam_permit.so\n{line}\n")
    refused(mom.run(CHOS="nowhere"), "nowhere: was not entered", opened=True)
    assert events() == session()


def test_another_environment_will_not_do(mom: Mom, stacks: Stacks, two: Node) -> None:
    two.configure("one:/os/one\ndefault:/os/two\n")
    two.up()
    stacks.write("jobstarter", f"{NOTE}\n{STACK.read_text()}".replace("onerr=deny", "onerr=deny fail_to_default=1"))
    refused(mom.run(CHOS="nowhere"), "nowhere: was not entered", opened=True)
    assert events() == session()
    check(mom.run(), "two")


def test_the_base_by_name(mom: Mom) -> None:
    check(mom.run(CHOS="root"), BASE)


def test_no_stack(mom: Mom) -> None:
    """`other` would let jobs through, onto the base."""
    stack, vendors = Path("/etc/pam.d/jobstarter"), Path("/usr/lib/pam.d/jobstarter")
    text = stack.read_text()
    stack.unlink()
    for chos in ("one", ""):
        refused(mom.run(CHOS=chos), "/etc/pam.d/jobstarter: is missing")
    vendors.parent.mkdir(exist_ok=True)
    vendors.write_text(text)
    try:
        check(mom.run(CHOS="one"), "one")
    finally:
        vendors.unlink()


def test_working_directory_is_the_users(mom: Mom) -> None:
    """pbs_mom went there as root."""
    script = mom.script("pwd\n")
    with mom.piped(f"{script}\n") as stdin:
        os.chown("/home/alice", 0, 0)
        os.chmod("/home/alice", 0o700)
        try:
            done = finished(mom.start(stdin, CHOS="one"))
        finally:
            account = pwd.getpwnam("alice")
            os.chown("/home/alice", account.pw_uid, account.pw_gid)
            os.chmod("/home/alice", 0o755)
    assert (done.returncode, done.stdout) == (0, "/\n"), done


def test_signals_and_the_end(mom: Mom) -> None:
    """A signal to the starter reaches the job; a job that dies of one shows so; either way its session is closed."""
    ready = Path("/tmp/job-ready")
    ready.unlink(missing_ok=True)
    script = mom.script(f"trap 'echo told; exit 9' USR1\ntouch {ready}\nwhile :; do sleep 0.05; done\n")
    with script.open() as stdin:
        process = mom.start(stdin, CHOS="one")
        wait_for(ready.exists, "the job")
        process.send_signal(signal.SIGUSR1)
        done = finished(process)
    assert (done.returncode, done.stdout) == (9, "told\n"), done
    assert events()[-1] == session()[1]
    done = mom.run("kill -TERM $$\n", how="script", CHOS="one")
    assert done.returncode == -signal.SIGTERM
    assert events()[-1] == session()[1]


def test_who_ignores_children(mom: Mom) -> None:
    """As a batch system may that started it. Modules, too, have children to wait for."""
    script = mom.script(SHOW)
    with script.open() as stdin:
        check(finished(mom.start(stdin, before="trap '' CHLD", CHOS="one")), "one")


def test_closed_descriptors(mom: Mom) -> None:
    """No file of root's takes their numbers, and the job finds none of them closed."""
    seen = Path("/tmp/job-descriptors")
    seen.unlink(missing_ok=True)
    script = mom.script(f"(readlink /proc/$$/fd/1; readlink /proc/$$/fd/2) >{seen}; exit 5\n")
    with script.open() as stdin:
        done = finished(mom.start(stdin, before="exec >&- 2>&-", CHOS="one"))
    assert (done.returncode, seen.read_text()) == (5, "/dev/null\n" * 2), done
    done = finished(mom.start(subprocess.DEVNULL, before="exec <&-", CHOS="one"))
    refused(done, "does not show whose job this is", opened=True)


def test_modules_clean_up_once(mom: Mom, stacks: Stacks, tmp_path: Path) -> None:
    """In the process that closes the session. The copies of their data elsewhere have no effects outside."""
    source, module, cleaned = Path(__file__).with_name("cleans.c"), tmp_path / "cleans.so", tmp_path / "cleaned"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(module), str(source), "-lpam"], check=True)
    stacks.write("jobstarter", f"{NOTE}\nsession required {module} {cleaned}\n{STACK.read_text()}")
    check(mom.run(CHOS="one"), "one")
    assert sorted(cleaned.read_text().split()) == ["aloud", "silent"]


def test_inherited_descriptors_are_not_held(mom: Mom) -> None:
    """By the process that closes the session: whoever started the job would wait for it at the end of a pipe."""
    ready, go_on = Path("/tmp/job-ready"), Path("/tmp/job-go-on")
    for path in (ready, go_on):
        path.unlink(missing_ok=True)
    script = mom.script(f"touch {ready}; while [ ! -e {go_on} ]; do sleep 0.02; done; exit 5\n")
    with script.open() as stdin, open(os.devnull) as null:
        numbers = [fcntl.fcntl(null, fcntl.F_DUPFD, least) for least in (50, 1500)]
        process = mom.start(stdin, pass_fds=numbers, CHOS="one")
    wait_for(ready.exists, "the job")
    [closer] = [pid for pid in starters() if os.getsid(pid) != process.pid]
    held = set(map(int, os.listdir(f"/proc/{closer}/fd")))
    passed = set(map(int, os.listdir(f"/proc/{process.pid}/fd")))
    go_on.touch()
    assert finished(process).returncode == 5
    assert set(numbers) <= passed and not held & set(numbers), (held, passed)


@pytest.mark.parametrize("option", ["", "enter=fork"], ids=["as installed", "a module that would enter"])
def test_only_the_user_enters(mom: Mom, stacks: Stacks, tmp_path: Path, option: str) -> None:
    """One process enters, when it is the user's, and names no path inside but `/` until its last capability is gone."""
    stacks.write("jobstarter", f"{NOTE}\n{STACK.read_text().strip()} {option}\n")
    script, trace = mom.script(SHOW), tmp_path / "trace"
    watched = "trace=setns,/open,/stat,/readlink,/access,execve,/set.*uid,connect,capset"
    with script.open() as stdin:
        check(
            finished(mom.start(stdin, before=f'exec strace -ff -o {trace} -e {watched} "$0" "$@"', CHOS="one")), "one"
        )
    [calls] = [text.splitlines() for path in tmp_path.glob("trace.*") if "setns(" in (text := path.read_text())]
    user = next(number for number, call in enumerate(calls) if re.match(r"setresuid.*= 0", call))
    [entered] = [number for number, call in enumerate(calls) if call.startswith("setns(")]
    dropped = next(number for number, call in enumerate(calls) if "effective=0, permitted=0, inheritable=0" in call)
    assert user < entered < dropped, calls
    assert [call for call in calls[entered:dropped] if re.search('"/[^"]', call)] == [], calls


@pytest.mark.parametrize("call", ["prctl", "capset", "capset:when=2+", "setns"])
def test_a_kernel_that_refuses(mom: Mom, call: str) -> None:
    """The module itself needs prctl(2), and denies; of the others it cannot know, and the session is closed."""
    inject = f'exec strace -f -qq -o /dev/null -e trace=prctl,capset,setns -e inject={call}:error=EPERM "$0" "$@"'
    with mom.script(SHOW).open() as stdin:
        refused(finished(mom.start(stdin, before=inject, CHOS="one")), opened=True)
    assert events() == (session()[:1] if call == "prctl" else session())


def test_limits_of_the_session(mom: Mom, two: Node) -> None:
    """A user who may write nothing gets in all the same, without a record."""
    limits, entries = Path("/etc/security/limits.d/test.conf"), Path("/var/log/entries")
    entries.write_text("")
    limits.parent.mkdir(exist_ok=True)
    two.configure("one:/os/one", records=f'[records]\nfile = "{entries}"\n')
    two.up()
    check(mom.run(CHOS="one"), "one")
    assert entries.read_text().count("service=jobstarter") == 1
    limits.write_text("alice hard fsize 0\n")
    try:
        done = mom.run("cat /etc/os-release; ulimit -f; exit 7\n", CHOS="one")
    finally:
        limits.unlink()
    assert (done.returncode, os_id(done.stdout)) == (7, "ID=one") and done.stdout.endswith("\n0\n"), done
    assert entries.read_text().count("\n") == 1


def test_no_starter_no_job(mom: Mom) -> None:
    """Killed, it takes the job along: nobody would close its session."""
    pid_file = Path("/tmp/job-pid")
    pid_file.unlink(missing_ok=True)
    script = mom.script(f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600\n")
    with script.open() as stdin:
        process = mom.start(stdin, CHOS="one")
        wait_for(pid_file.exists, "the job")
        process.kill()
        process.wait(LIMIT)
        pid = int(pid_file.read_text())
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the job's end")
        finished(process)


def test_commands_that_cannot_be_executed(mom: Mom) -> None:
    for word, status in (("/missing", 127), ("/etc", 126)):
        with mom.piped(f"{mom.script('')}\n") as stdin:
            done = finished(mom.start(stdin, words=(word,), CHOS="one"))
        assert (done.returncode, done.stdout) == (status, ""), done
        assert done.stderr.startswith(f"chos: {word}: ")


def test_who_is_not_root(two: Node) -> None:
    """Without privilege it is chos-job-starter."""
    done = two.run([STARTER, "sh", "-c", "cat /etc/os-release; exit 3"], env={"CHOS": "one"})
    assert (done.returncode, os_id(done.stdout), done.stderr) == (3, "ID=one", "")
    assert two.run([STARTER]).returncode == 125
    done = two.run([STARTER, "true"], env={"CHOS": "nowhere"})
    assert done.returncode == 125 and "no such environment" in done.stderr


def test_not_with_another_c_library(tmp_path: Path) -> None:
    """A static program of glibc reads variables as root before it can disarm any: without musl-gcc none is built."""
    programs, build = tmp_path / "bin", tmp_path / "build"
    programs.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name != "musl-gcc":
            (programs / path.name).symlink_to(path)
    command = ["/usr/bin/meson", "setup", build, REPO]
    path = {"PATH": str(programs)}
    done = subprocess.run(command, env=path, text=True, capture_output=True, timeout=LIMIT, check=True)
    assert "WARNING: musl-gcc was not found: pam_job_starter is not built" in done.stdout
    targets = (build / "build.ninja").read_text()
    assert "chos-fault" in targets and "pam_job_starter" not in targets
    assert "pam_job_starter" not in (build / "meson-info/intro-install_plan.json").read_text()
