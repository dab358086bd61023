"""Slurm: what is refused, and what a user, an administrator or a broken node can do wrong.

A task that cannot be where it should be fails with the reason in its own standard error; it never runs on the base
instead, and no node is drained.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BASE_ID, Node, os_id, silent_file_system
from slurm_cluster import Slurm, identity
from slurm_fixtures import GROUP, cluster, prepared, slurm, two

__all__ = ["cluster", "prepared", "slurm", "two"]
WHERE = ("/bin/cat", "/etc/os-release")
SHOW = "cat /etc/os-release"
CLOSED = f'[environment.two]\ngroups = ["{GROUP}"]\n'


def refused(slurm: Slurm, words: str, *arguments: str, **more: object) -> str:
    """A task that does not run, and says why; the next one does. What its standard error says."""
    done = slurm.srun(*arguments, *WHERE, **more)
    assert done.returncode == 125 and done.stdout == "", done
    assert f"chos: {words}" in done.stderr, done
    assert os_id(slurm.srun("--chos=one", *WHERE).stdout) == "ID=one"
    return done.stderr


# --- names --------------------------------------------------------------------------------------------------------


def test_unknown(slurm: Slurm, dotfile: Callable[..., Path]) -> None:
    for more in ((), ("--export=NONE",), ("-n2",)):
        text = refused(slurm, "nowhere: no such environment on this node", *more, env={"CHOS": "nowhere"})
        assert "      `chosctl list` shows what you may enter" in text
    dotfile("alice", "nowhere")
    refused(slurm, "nowhere: no such environment")


def test_a_batch_job(slurm: Slurm) -> None:
    """It fails, with the reason in its output."""
    job = slurm.sbatch(SHOW, "--error=err-%j", "--no-requeue", env={"CHOS": "nowhere"})
    shown = slurm.ended(job)
    assert (shown["JobState"], shown["ExitCode"]) == ("FAILED", "125:0")
    assert "chos: nowhere: no such environment" in (slurm.top / "jobs" / f"err-{job}").read_text()
    assert slurm.output(job) == ""


@pytest.mark.parametrize("plugin", ["required", "optional"])
def test_optional(slurm: Slurm, plugin: str) -> None:
    """plugstack.conf cannot turn a refusal into a run on the base."""
    slurm.set_plugin(plugin)
    refused(slurm, "nowhere: no such environment", env={"CHOS": "nowhere"})
    slurm.set_plugin(plugin, "submit_check=0")
    refused(slurm, "nowhere: no such environment", "--chos=nowhere")


ILLEGAL = {
    "": ": not a legal",
    "a b": "a b: not a legal",
    "../one": "../one: not a legal",
    "%2Fos%2Fone": "%2Fos%2Fone: not a legal",
    "a\033]0;b\007": r"a\x1b]0;b\x07: not a legal",
    "x" * 65: "x" * 65 + ": not a legal",
    "/" + "x" * 300: "/" + "x" * 200,
    "%n%s": "%n%s: not a legal",
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_names(slurm: Slurm, name: str) -> None:
    """By option: at submission, whatever the submit host knows. By $CHOS: in the task."""
    slurm.set_plugin("required", "submit_check=0")
    done = slurm.srun(f"--chos={name}", "true")
    assert done.returncode not in (0, 125) and f"chos: {ILLEGAL[name]}" in done.stderr, done
    if name:
        refused(slurm, ILLEGAL[name], env={"CHOS": name})


def test_refused_at_submission(slurm: Slurm, two: Node) -> None:
    """A name that nobody on the submit host knows; where nothing is prepared, nobody knows better than the node."""
    for command in (["srun", "true"], ["salloc", "true"], ["sbatch", "--wrap=true"]):
        done = slurm.client(command[0], "--chos=nowhere", *command[1:], user="alice", cwd="/tmp")
        assert done.returncode not in (0, 125), done
        assert "chos: nowhere: no such environment on this node\n" in done.stderr
    two.chosctl("down")
    try:
        done = slurm.srun("--chos=one", "true")
        assert done.returncode == 125 and "no environment is prepared on this node" in done.stderr, done
        assert os_id(slurm.srun(*WHERE).stdout) == BASE_ID
    finally:
        two.up()


def test_fail_to_default(slurm: Slurm, two: Node, dotfile: Callable[..., Path]) -> None:
    """Not for a name that was given for this very job."""
    slurm.set_plugin("required", "fail_to_default=1 submit_check=0")
    refused(slurm, "default: no such environment", env={"CHOS": "nowhere"})
    two.configure("default:/os/two\none:/os/one\n")
    two.up()
    done = slurm.srun(*WHERE, env={"CHOS": "nowhere"})
    assert os_id(done.stdout) == "ID=two"
    assert "chos: nowhere: no such" in done.stderr and "      this job tries `default` instead\n" in done.stderr
    dotfile("alice", "nowhere")
    assert os_id(slurm.srun(*WHERE).stdout) == "ID=two"
    refused(slurm, "nowhere: no such environment", "--chos=nowhere")


@pytest.mark.parametrize(
    "words", ["onerr=deny", "timeout=0", "user_conf_file=/etc/shadow", "submit_check=yes", "debug"]
)
def test_wrong_options(slurm: Slurm, words: str) -> None:
    slurm.set_plugin("required", f"fail_to_default=1 {words}")
    done = slurm.srun(*WHERE)
    assert (done.returncode, done.stdout) == (125, "")
    assert f"chos: plugstack.conf of this node has an unknown option or value: {words}\n" in done.stderr


# --- who may enter ------------------------------------------------------------------------------------------------


def test_a_closed_environment(slurm: Slurm, two: Node) -> None:
    """The task is root when it enters, and could; its user may not. The groups are the job's."""
    two.configure("one:/os/one\ntwo:/os/two\n", two=CLOSED)
    two.up()
    for name in ("two", "/os/two"):
        refused(slurm, f"{name}: the administrator has not allowed you", f"--chos={name}")
    assert os_id(slurm.srun("--chos=two", *WHERE, user="bob").stdout) == "ID=two"
    status = slurm.srun("--chos=two", "grep", "-E", "^(Uid|Gid|Groups|Cap)", "/proc/self/status", user="bob").stdout
    assert status == slurm.srun("grep", "-E", "^(Uid|Gid|Groups|Cap)", "/proc/self/status", user="bob").stdout
    subprocess.run(["setfacl", "-m", "u:alice:rx", f"/run/chos/gen/{two.generation('two')}"], check=True)
    assert os_id(slurm.srun("--chos=two", *WHERE).stdout) == "ID=two"


def test_a_daemon_that_keeps_its_rights(slurm: Slurm, two: Node) -> None:
    """With these securebits a process that becomes the user loses nothing: the kernel is to judge all the same."""
    two.configure("one:/os/one\ntwo:/os/two\n", two=CLOSED)
    two.up()
    slurm.stop_daemon("slurmd")
    slurm.start_slurmd(("setpriv", "--securebits=+no_setuid_fixup"))
    try:
        refused(slurm, "two: the administrator has not allowed you", "--chos=two")
        assert os_id(slurm.srun("--chos=two", *WHERE, user="bob").stdout) == "ID=two"
        status = slurm.srun("--chos=one", "grep", "-E", "^Cap(Inh|Prm|Eff|Amb)", "/proc/self/status").stdout
        assert {line.split()[1] for line in status.splitlines()} == {"0" * 16}, status
    finally:
        slurm.stop_daemon("slurmd")
        slurm.start_slurmd()


def test_root(slurm: Slurm) -> None:
    """uid 0 is never moved, and told so when it asks."""
    for env in ({}, {"CHOS": "one"}, {"CHOS": "nowhere"}):
        text = slurm.srun("sh", "-c", f"{SHOW}; env", user="root", env=env).stdout
        assert os_id(text) == BASE_ID and "CHOS_GENERATION" not in text
    assert os_id(slurm.srun("--chos=root", *WHERE, user="root").stdout) == BASE_ID
    done = slurm.srun("--chos=one", *WHERE, user="root")
    assert (done.returncode, done.stdout) == (125, "") and "chos: root's jobs are never moved" in done.stderr


# --- the user's file ----------------------------------------------------------------------------------------------

FILES = {
    "FIFO": "mkfifo .chos",
    "directory": "mkdir .chos",
    "device": "mknod .chos c 5 0",
    "link to a secret": "ln -s /root/secret .chos",
    "link to the process": "ln -s /proc/self/root/etc/hostname .chos",
    "no permission": "echo one >.chos; chmod 000 .chos",
    "root's": "echo one >.chos; chmod 600 .chos; chown root .chos",
    "zeros": "truncate -s 1G .chos",
    "control characters": "printf 'a\\033]0;b\\007\\n' >.chos",
    "a format": "echo %s%n >.chos",
}


@pytest.mark.parametrize("what", FILES)
def test_hostile_files(slurm: Slurm, dotfile: Callable[..., Path], what: str) -> None:
    """None hangs the task, shows what root could read, or lets the command run on the base."""
    dotfile("alice", None)
    Path("/root/secret").write_text("one secret\n")
    Path("/root/secret").chmod(0o600)
    change = FILES[what] if "chown" in FILES[what] else f"{FILES[what]}; chown -h alice .chos"
    subprocess.run(["/bin/sh", "-ec", change], cwd="/home/alice", check=True)
    text = refused(slurm, "")
    assert "secret" not in text and "\033" not in text


@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "swallows"])
def test_a_home_that_hangs(slurm: Slurm, reads: bool) -> None:
    """After the time limit the task fails; who names the environment needs no home."""
    subprocess.run(["useradd", "-M", "-d", "/hung", "hung"], check=False)
    slurm.set_plugin("required", "timeout=1")
    with silent_file_system(Path("/hung"), reads):
        more = {"user": "hung", "env": {"HOME": "/"}}
        refused(slurm, "~/.chos: cannot be read, the home directory does not answer", **more)
        assert os_id(slurm.srun("--chos=two", *WHERE, **more).stdout) == "ID=two"


def test_no_home(slurm: Slurm) -> None:
    subprocess.run(["useradd", "-M", "-d", "/nonexistent", "homeless"], check=False)
    assert os_id(slurm.srun(*WHERE, user="homeless").stdout) == BASE_ID


# --- the node -----------------------------------------------------------------------------------------------------


def test_damage(slurm: Slurm, two: Node) -> None:
    """A pin that is gone, a policy that is not what it should be."""
    policy = Path(f"/run/chos/gen/{two.generation('two')}/policy")
    text = policy.read_text()
    policy.write_text(f"{text}unknown=1\n")
    refused(slurm, f"gen/{two.generation('two')}/policy: is damaged", "--chos=two")
    policy.write_text(text.replace("root=", "root=1"))
    refused(slurm, "two: the namespace does not contain what the registry says", "--chos=two")
    policy.write_text(text)
    subprocess.run(["umount", policy.parent / "ns"], check=True)
    refused(slurm, "two: the prepared environment is gone", "--chos=two")
    two.up()
    assert os_id(slurm.srun("--chos=two", *WHERE).stdout) == "ID=two"


@pytest.mark.parametrize("plugin", ["required", "optional"])
@pytest.mark.parametrize("call", ["prctl", "capset", "capset:when=2+", "setns"])
def test_a_kernel_that_refuses(slurm: Slurm, plugin: str, call: str) -> None:
    """Whatever fails on the way, nothing is executed."""
    slurm.set_plugin(plugin)
    slurm.stop_daemon("slurmd")
    watched = ("-e", "trace=prctl,capset,setns", "-e", f"inject={call}:error=EPERM")
    slurm.start_slurmd(("strace", "-D", "-f", "-qq", "-o", "/dev/null", *watched))
    try:
        done = slurm.srun("--chos=one", *WHERE)
    finally:
        slurm.stop_daemon("slurmd")
        slurm.start_slurmd()
    assert (done.returncode, done.stdout) == (125, "") and "chos: " in done.stderr, done


def test_a_script_that_is_not_inside(slurm: Slurm, two: Node) -> None:
    """A batch script lies in slurmd's spool directory; where a bind map leaves that out, the job is told so."""
    bare = (
        '[tree]\ntop = ["/bin", "/lib", "/usr", "/etc", "/var"]\n'
        '[base]\nshare = ["/proc", "/run", "/tmp", "/home"]\ndevices = ["/dev"]\n[etc]\nlinks = ["passwd", "group"]\n'
    )
    Path("/etc/chos.d/bindmaps").mkdir(parents=True)
    Path("/etc/chos.d/bindmaps/bare.toml").write_text(bare)
    two.configure("one:/os/one\ntwo:/os/two\n", two='[environment.two]\nbindmap = "bare"\n')
    two.up()
    job = slurm.sbatch(SHOW, "--chos=two")
    assert slurm.ended(job)["ExitCode"] == "125:0"
    assert "slurm_script: the batch script is not in this environment" in slurm.output(job)
    assert os_id(slurm.srun("--chos=two", *WHERE).stdout) == "ID=two"


def test_a_daemon_with_mounts_of_its_own(slurm: Slurm) -> None:
    """slurmd in a namespace made after the pins, as systemd's PrivateTmp= makes one: jobs on the base stay in it."""
    slurm.stop_daemon("slurmd")
    slurm.start_slurmd(("unshare", "--mount", "--propagation", "slave"))
    try:
        own = os.readlink(f"/proc/{slurm.daemons['slurmd'].pid}/ns/mnt")
        for options in ((), ("--chos=root",)):
            assert slurm.srun(*options, "readlink", "/proc/self/ns/mnt").stdout == f"{own}\n"
        assert os_id(slurm.srun("--chos=one", *WHERE).stdout) == "ID=one"
        refused(slurm, "nowhere: no such", env={"CHOS": "nowhere"})
    finally:
        slurm.stop_daemon("slurmd")
        slurm.start_slurmd()


def test_nothing_is_opened_inside_with_privilege(slurm: Slurm) -> None:
    """The task is the user when it enters; from then until its last capability is gone it names no path but `/`."""
    trace = slurm.top / "trace"
    slurm.stop_daemon("slurmd")
    watched = "trace=setns,/open,/stat,/readlink,/access,execve,/set.*uid,connect,capset"
    slurm.start_slurmd(("strace", "-D", "-ff", "-o", str(trace), "-e", watched))
    try:
        assert os_id(slurm.srun("--chos=one", *WHERE).stdout) == "ID=one"
    finally:
        slurm.stop_daemon("slurmd")
        slurm.start_slurmd()
    [calls] = [text.splitlines() for path in slurm.top.glob("trace.*") if "setns(" in (text := path.read_text())]
    calls = [call for call in calls if not call.startswith(("+++", "---"))]
    user = max(number for number, call in enumerate(calls) if re.match(r"setre\w*uid.*= 0", call))
    [entered] = [number for number, call in enumerate(calls) if call.startswith("setns(")]
    dropped = next(number for number, call in enumerate(calls) if "effective=0, permitted=0, inheritable=0" in call)
    assert user < entered < dropped, calls
    assert [call for call in calls[entered:dropped] if re.search('"/[^"]', call)] == [], calls


LOOK = """
for f in mem environ maps auxv; do head -c 1 /proc/$0/$f >&- 2>&1 && echo "saw $f"; done
ls /proc/$0/fd >&- 2>&1 && echo "saw fd"
for f in cwd root exe ns/mnt; do readlink /proc/$0/$f && echo "saw $f"; done
"""
TIGHTER = {
    "groups": CLOSED,
    "no_new_privs": "[environment.two.policy]\nno_new_privs = true\n",
}


@pytest.mark.parametrize("what", TIGHTER)
def test_a_task_that_was_stopped(slurm: Slurm, two: Node, what: str) -> None:
    """Inside, with its capabilities, while the administrator tightens: what holds then holds for it, too. Its user may
    stop it and end it, but not look into it."""
    trace = slurm.top / "stopped"
    slurm.stop_daemon("slurmd")
    watched = ("-e", "trace=setns", "-e", "inject=setns:signal=STOP")
    slurm.start_slurmd(("strace", "-D", "-ff", "-o", str(trace), *watched))

    def stopped() -> list[int]:
        found = slurm.top.glob("stopped.*")
        return [int(path.suffix[1:]) for path in found if "--- stopped by SIGSTOP ---" in path.read_text()]

    command = ["srun", "--quiet", "--chos=two", "grep", "NoNewPrivs", "/proc/self/status"]
    pipe = subprocess.PIPE
    task = subprocess.Popen(
        command, text=True, stdout=pipe, stderr=pipe, cwd="/", env=slurm.environment("alice"), **identity("alice")
    )
    try:
        [pid] = slurm.wait(stopped, "the task to stop")
        look = subprocess.run(["/bin/sh", "-c", LOOK, str(pid)], text=True, capture_output=True, **identity("alice"))
        assert look.stdout == "", look
        two.configure("one:/os/one\ntwo:/os/two\n", two=TIGHTER[what])
        two.up()
        while task.poll() is None:  # where it begins again it stops again
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.05)
    finally:
        task.kill()
        slurm.stop_daemon("slurmd")
        slurm.start_slurmd()
    out, err = task.communicate()
    if what == "groups":
        assert task.returncode == 125 and out == "" and "two: the administrator has not allowed you" in err
    else:
        assert (task.returncode, out) == (0, "NoNewPrivs:\t1\n"), err
    for path in slurm.top.glob("stopped.*"):
        path.unlink()
