"""Attacks on the launcher by whoever starts it: rules 1, 2, 6, 7, 8 and 10 of docs/security.md."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from attack_tools import FAILED, Marker, build_launcher, clean, compiled, one, refuse, spawn, status_of
from node import Node

EMPTY_ARGV = """
#include <unistd.h>
#include <stdio.h>
int main(int argc, char **argv) {
    (void)argc;
    char *none[] = {NULL}, *env[] = {argv[2], "PATH=/bin", NULL};
    execve(argv[1], none, env);
    perror("execve");
    return 99;
}
"""
# Writes to the file ARG what its descriptors 0 to 9 are.
DESCRIPTORS = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    static char text[10][256];
    (void)argc;
    for (int i = 0; i < 10; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", i);
        if (readlink(path, text[i], 255) < 0)
            strcpy(text[i], "none");
    }
    FILE *out = fopen(argv[1], "w");
    for (int i = 0; i < 10; i++)
        fprintf(out, "%s\\n", text[i]);
    return fclose(out);
}
"""
# What a user might try after the launcher has let go: each line says NAME and errno (0: it worked).
PROBE = """
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *what, long rc) { printf("%s %d\\n", what, rc < 0 ? errno : 0); }
int main(void) {
    int ns = open("/proc/self/ns/mnt", O_RDONLY);
    say("setns", setns(ns, CLONE_NEWNS));
    say("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    say("chroot", chroot("/tmp"));
    say("mknod", mknod("/tmp/attack-null", S_IFCHR | 0666, 1 << 8 | 3));
    say("unshare", unshare(CLONE_NEWNS));
    say("keepcaps", prctl(PR_SET_SECUREBITS, 1, 0, 0, 0));
    say("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
    say("setgid", setgid(0));
    say("setresuid", setresuid(0, 0, 0));
    say("setuid", setuid(0));
    printf("uid %d euid %d\\n", getuid(), geteuid());
    return 0;
}
"""
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


@pytest.fixture
def suid() -> str:
    """The launcher installed set-uid root, without file capabilities."""
    return build_launcher("/usr/bin/chos-suid", capabilities=False, mode=0o4755)


def test_no_arguments_at_all(node: Node) -> None:
    """Rule 1: an empty argument list (pkexec's) is refused or seen as one empty word, never as the environment."""
    one(node)
    program = compiled("empty-argv", EMPTY_ARGV)
    refused = spawn([program, "/usr/bin/chos", "chos=/bin/true"])
    assert refused.returncode == FAILED
    clean(refused.stderr)
    # The kernel has put one empty word in since 5.18: a login shell, as for `chos` alone.
    shell = spawn([program, "/usr/bin/chos", "CHOS=one"], input="echo in; exit 7\n", stdin=None)
    assert shell.returncode in (7, FAILED), shell


def test_closed_standard_descriptors(node: Node) -> None:
    """Rule 1: whatever of 0 to 2 is closed, the command has /dev/null there, and no file of the launcher's."""
    one(node)
    out = Path(tempfile.mkdtemp(dir="/tmp"))
    out.chmod(0o777)
    program = compiled("descriptors", DESCRIPTORS)
    cases = [(c, user) for n in (1, 2, 3) for c in itertools.combinations((0, 1, 2), n) for user in ("alice", "root")]
    for closed, user in cases:  # for alice libc may have done it, because the program has capabilities
        redirect = " ".join(f"{n}>&-" for n in closed)
        command = f"exec /usr/bin/chos {program} {out}/fds {redirect}"
        result = spawn(["/bin/sh", "-c", command], user=user, env={"CHOS": "one"})
        assert result.returncode == 0, result
        fds = (out / "fds").read_text().splitlines()
        assert [fds[n] for n in closed] == ["/dev/null"] * len(closed), closed
        assert fds[3:] == ["none"] * 7, closed


def test_callers_descriptors_are_left_alone_and_ours_do_not_leak(node: Node) -> None:
    """Rule 1: descriptors beyond 2 (make's job server) arrive as they are; none of the launcher's does."""
    one(node)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 77)
        try:
            result = spawn(
                ["/usr/bin/chos", "/bin/sh", "-c", "ls /proc/$$/fd; readlink /proc/$$/fd/77; echo written >&77"],
                env={"CHOS": "one"},
                pass_fds=(77,),
            )
        finally:
            os.close(77)
        assert result.stdout.split()[:4] == ["0", "1", "2", "77"], result
        file.seek(0)
        assert file.read() == b"written\n"


NAMES = [
    b"../one",
    b"..",
    b".",
    b".one",
    b"./one",
    b"one/",
    b"one/../one",
    b"gen/one.1",
    b"-v",
    b"_one",
    b"%2Fos%2Fone",
    b"a" * 65,
    b"one\n",
    b"one\r",
    b"\x1b[2J\x1b]0;owned\x07",
    b"one two",
    b"one\x7f",
    b"\xff\xfe",
    b"%s%n%s",
    b"\xc2\x9b31m",
    b"*",
    b"$(id)",
    b"/" * 300,
    b"/" + b"x" * 300,
    b"/\x1b[2J",
    b"/os/one\n",
    b"/os/one/",
    b"//os/one",
    b"/os/./one",
    b"/os/../os/one",
    b"/etc/shadow",
    b"/run/chos/gen/one.1",
]


def test_hostile_names(node: Node) -> None:
    """Rules 2 and 10: what is no name, or nobody's name, is refused; nothing runs; the message is printable ASCII."""
    one(node)
    for name in NAMES:
        refuse(name)


def test_an_empty_name_counts_as_none(node: Node) -> None:
    """Rule 10: CHOS= and no CHOS at all run nothing, rather than the base's command."""
    one(node)
    refuse("", "is not set")
    marker = Marker()
    marker.refused(spawn(["/usr/bin/chos", *marker.command]), "is not set")


def test_a_path_name_is_never_opened(node: Node) -> None:
    """Rule 2: an absolute path in $CHOS is looked up, escaped, in the registry; no system call gets the path itself."""
    one(node)
    trace = Path("/tmp/trace-path")
    for path in ("/etc/shadow", "/os/one"):
        subprocess.run(
            [
                "strace",
                "-f",
                "-u",
                "alice",
                "-o",
                trace,
                "-e",
                "trace=%file,%desc,process",
                "/usr/bin/chos",
                "/bin/true",
            ],
            env={"CHOS": path, "PATH": "/bin"},
            cwd="/",
            check=path == "/os/one",
            capture_output=True,
        )
        calls = trace.read_text()
        assert "%2F" + path[1:].replace("/", "%2F") in calls
        assert f'"{path}' not in calls, calls


LIMITS = {
    "FSIZE": (resource.RLIMIT_FSIZE, 0),
    "NOFILE": (resource.RLIMIT_NOFILE, 5),  # two are free: the registry is held while a pin or a file is open
    "NPROC": (resource.RLIMIT_NPROC, 1),
    "STACK": (resource.RLIMIT_STACK, 64 << 10),
    "CORE": (resource.RLIMIT_CORE, resource.RLIM_INFINITY),
    "MEMLOCK": (resource.RLIMIT_MEMLOCK, 0),
    "SIGPENDING": (resource.RLIMIT_SIGPENDING, 0),
}


def test_hostile_limits(node: Node) -> None:
    """Rule 6: the launcher works under any limit that its command can live with, and passes it on."""
    one(node)
    for name, (which, value) in LIMITS.items():
        limits = {}
        for program in ([], ["/usr/bin/chos"]):
            result = spawn(
                [*program, "/bin/cat", "/proc/self/limits"],
                env={"CHOS": "one"},
                prepare=lambda w=which, v=value: resource.setrlimit(w, (v, v)),
            )  # type: ignore[misc]
            assert result.returncode == 0, (name, result)
            limits[len(program)] = result.stdout
        assert limits[0] == limits[1], name


def test_limits_that_leave_no_room(node: Node) -> None:
    """Rule 6: with less than two descriptors free it fails, says so, and executes nothing; with none allowed musl
    itself ends the process."""
    one(node)
    for limit in (3, 4):
        refuse(
            "one",
            "too few files may be open",
            prepare=lambda n=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)),  # type: ignore[misc]
        )
    for limit in (0, 1, 2):
        refuse("one", status=None, prepare=lambda n=limit: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n)))  # type: ignore[misc]
    refuse("nowhere", prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))


FULL = "too few files may be open"


def test_a_lack_of_descriptors_is_called_so(node: Node) -> None:
    """Rules 6 and 10: wherever the limit of open files is met, the message names it, and not a file that is there."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\nlost:/os/lost\n", jobs='[jobs]\nuser_file = ".chos"\n')
    node.up(check=False)
    Path("/home/alice/.chos").write_text("one\n")
    os.symlink("/usr/bin/chos", "/usr/local/bin/chos-job-starter")
    true = ["/usr/bin/chos", "/bin/true"]
    inside = ["/usr/bin/chos", "/bin/sh", "-c", 'ulimit -n "$1"; export CHOS="$2"; shift 2; exec "$@"', "sh"]
    starts: dict[str, Callable[[int], tuple[list[str], str]]] = {
        "enter": lambda n: (["prlimit", f"--nofile={n}", *true], "one"),
        "an unknown name": lambda n: (["prlimit", f"--nofile={n}", *true], "nowhere"),
        "one that is not prepared": lambda n: (["prlimit", f"--nofile={n}", *true], "lost"),
        "--which": lambda n: (["prlimit", f"--nofile={n}", "/usr/bin/chos", "--which"], "one"),
        "a job": lambda n: (["prlimit", f"--nofile={n}", "/usr/local/bin/chos-job-starter", "/bin/true"], ""),
        "from one to another": lambda n: ([*inside, str(n), "two", *true], "one"),
        "back to the base": lambda n: ([*inside, str(n), "root", *true], "one"),
    }
    usual = {"an unknown name": "no such environment", "one that is not prepared": "could not be prepared"}
    try:
        for what, start in starts.items():
            said = []
            for limit in range(3, 10):
                command, name = start(limit)
                result = spawn(command, env={"CHOS": name})
                good = usual[what] in result.stderr if what in usual else result.returncode == 0
                assert good or (result.returncode == FAILED and FULL in result.stderr), (what, limit, result)
                assert good or "failed (No file descriptors available)" in result.stderr, (what, limit, result)
                said.append(good)
            assert not said[0] and said[-1], (what, said)
    finally:
        os.unlink("/usr/local/bin/chos-job-starter")
        os.unlink("/home/alice/.chos")


def test_signals_are_passed_on_as_they_were(node: Node) -> None:
    """Rule 6: blocked and ignored signals stay so in the command, pending ones too."""
    one(node)

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
        os.kill(os.getpid(), signal.SIGUSR1)

    result = spawn(["/usr/bin/chos", "/bin/cat", "/proc/self/status"], env={"CHOS": "one"}, prepare=prepare)
    status = status_of(result.stdout)
    assert int(status["SigBlk"], 16) & 0x7FFBFEFF == 0x7FFBFEFF
    assert int(status["SigIgn"], 16) & 1 << signal.SIGHUP - 1
    assert int(status["ShdPnd"], 16) & 1 << signal.SIGUSR1 - 1


def test_deleted_working_directory(node: Node) -> None:
    """Rules 6 and 8: from a directory that is gone the command runs in /, and the user is told."""
    one(node)

    def prepare() -> None:
        directory = tempfile.mkdtemp(dir="/tmp")
        os.chdir(directory)
        os.rmdir(directory)

    result = spawn(["/usr/bin/chos", "/bin/pwd"], env={"CHOS": "one"}, prepare=prepare)
    assert (result.returncode, result.stdout) == (0, "/\n")
    assert "going to /" in result.stderr


def test_many_arguments_and_a_large_environment(node: Node) -> None:
    """Rule 6: 4,096 arguments and 1.9 MB of environment (the kernel's limit is 2) arrive whole."""
    one(node)
    big = {f"V{n}": "x" * (126 << 10) for n in range(15)}
    result = spawn(
        ["/usr/bin/chos", "/bin/sh", "-c", "echo $# ${#V0} ${#V14}", "sh", *["a"] * 4096], env={"CHOS": "one", **big}
    )
    assert result.stdout == f"4096 {126 << 10} {126 << 10}\n", result.stderr


def test_too_large_an_environment_runs_nothing(node: Node) -> None:
    """Rules 6 and 10: where the policy's own variables no longer fit, the command does not run, inside or outside."""
    one(node, one='[environment.one.env]\nADDED = "' + "y" * 7000 + '"\n')
    marker = Marker()
    fits = {f"V{n}": "x" * (127 << 10) for n in range(16)}
    for size in range(60 << 10, 0, -512):  # the largest environment that the kernel lets the launcher itself have
        try:
            result = spawn(["/usr/bin/chos", *marker.command], env={"CHOS": "one", **fits, "LAST": "x" * size})
        except OSError:
            continue
        marker.refused(result, "Argument list too long", status=126)
        return
    pytest.fail("no environment was too large")


def kept_nothing(text: str) -> dict[str, str]:
    """The status shows no capability in any set but the bounding set."""
    status = status_of(text)
    for name in CAPABILITY_SETS:
        assert int(status[name], 16) == 0, f"{name}: {status[name]}"
    assert len(set(status["Uid"].split())) == 1
    assert len(set(status["Gid"].split())) == 1
    return status


@pytest.mark.parametrize("program", ["/usr/bin/chos", "/usr/bin/chos-suid"])
def test_nothing_is_kept(node: Node, suid: str, program: str) -> None:
    """Rule 7: installed with file capabilities or set-uid root, the command has the user's ids and no capability."""
    del suid
    one(node)
    status = kept_nothing(spawn([program, "/bin/cat", "/proc/self/status"], env={"CHOS": "one"}).stdout)
    base = status_of(spawn(["/bin/cat", "/proc/self/status"]).stdout)
    for same in ("CapBnd", "NoNewPrivs", "Uid", "Gid", "Groups", "Seccomp"):
        assert status[same] == base[same]


@pytest.mark.parametrize("program", ["/usr/bin/chos", "/usr/bin/chos-suid"])
def test_nothing_can_be_taken_again(node: Node, suid: str, program: str) -> None:
    """Rule 7: setuid(0), setns, mount, chroot and raising ambient capabilities fail in the command."""
    del suid
    one(node)
    result = spawn([program, compiled("probe", PROBE)], env={"CHOS": "one"})
    lines = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines()[:-1])
    assert set(lines) == {
        "setns",
        "mount",
        "chroot",
        "mknod",
        "unshare",
        "keepcaps",
        "ambient",
        "setgid",
        "setresuid",
        "setuid",
    }
    assert all(code == "1" for code in lines.values()), lines  # EPERM
    assert "uid 0" not in result.stdout.replace("euid 0", "uid 0")


def test_callers_capabilities_are_not_passed_on(node: Node) -> None:
    """Rule 7: ambient and inheritable capabilities of the caller end here."""
    one(node)
    result = subprocess.run(
        [
            "setpriv",
            "--reuid",
            "alice",
            "--regid",
            "alice",
            "--init-groups",
            "--inh-caps",
            "+net_raw,+sys_admin",
            "--ambient-caps",
            "+net_raw,+sys_admin",
            "/usr/bin/chos",
            "/bin/cat",
            "/proc/self/status",
        ],
        env={"CHOS": "one", "PATH": "/bin"},
        text=True,
        capture_output=True,
        check=True,
        cwd="/",
    )
    kept_nothing(result.stdout)


def test_no_new_privs_policy(node: Node) -> None:
    """Rule 7: where the policy says so, set-uid programs and the launcher itself give nothing any more."""
    one(node, one="[environment.one.policy]\nno_new_privs = true\n")
    status = kept_nothing(spawn(["/usr/bin/chos", "/bin/cat", "/proc/self/status"], env={"CHOS": "one"}).stdout)
    assert status["NoNewPrivs"] == "1"
    refuse("one", "no_new_privs", command=("/usr/bin/chos", "/usr/bin/env", "CHOS=root", "/usr/bin/chos"))


def test_root_stays_root_but_gains_nothing(node: Node) -> None:
    """Rule 7: root's command has root's rights within the bounding set that root came with, no more."""
    one(node)
    result = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_module,-sys_rawio", "/usr/bin/chos", "/bin/cat", "/proc/self/status"],
        env={"CHOS": "one", "PATH": "/bin"},
        text=True,
        capture_output=True,
        check=True,
        cwd="/",
    )
    status = status_of(result.stdout)
    assert not int(status["CapPrm"], 16) & (1 << 16 | 1 << 17)
    assert not int(status["CapBnd"], 16) & (1 << 16 | 1 << 17)
    assert status["CapInh"].strip("0") == status["CapAmb"].strip("0") == ""


def test_root_stays_root_with_no_new_privs(node: Node) -> None:
    """Rule 7: the flag keeps programs from gaining; root has its rights already."""
    one(node, one="[environment.one.policy]\nno_new_privs = true\n")
    shown = ["/bin/cat", "/proc/self/status"]
    words = {"text": True, "capture_output": True, "check": True, "cwd": "/"}
    base, inside = (
        status_of(subprocess.run([*start, *shown], env={"CHOS": "one", "PATH": "/bin"}, **words).stdout)  # type: ignore[call-overload]
        for start in ([], ["/usr/bin/chos"])
    )
    assert inside["NoNewPrivs"] == "1"
    assert {key: inside[key] for key in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")} == {
        key: base[key] for key in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")
    }


def test_foreign_working_directory(node: Node) -> None:
    """Rule 8: started in bob's 0700 directory, alice's command runs in / and cannot reach it; she is told."""
    one(node)
    Path("/home/bob/private").mkdir(mode=0o700, exist_ok=True)
    os.chown(
        "/home/bob/private", *(int(n) for n in subprocess.check_output(["sh", "-c", "id -u bob; id -g bob"]).split())
    )
    Path("/home/bob/private/secret").write_text("secret")
    result = spawn(
        ["/usr/bin/chos", "/bin/sh", "-c", "pwd; cat secret; cat ./secret"],
        env={"CHOS": "one"},
        cwd="/home/bob/private",
    )
    assert result.stdout == "/\n"
    assert "/home/bob/private cannot be kept (Permission denied); going to /" in result.stderr


def test_hostile_working_directory_name(node: Node) -> None:
    """Rule 10: the name of a directory in a message is escaped."""
    one(node)
    evil = Path("/tmp/\x1b[2J\x1b]0;owned\x07")
    evil.mkdir(exist_ok=True)
    evil.chmod(0o700)
    result = spawn(["/usr/bin/chos", "/bin/pwd"], env={"CHOS": "one"}, cwd=str(evil))
    assert result.stdout == "/\n"
    clean(result.stderr)


def test_hostile_command_name_and_options(node: Node) -> None:
    """Rule 10: commands, options and argv[0] with control characters are escaped in messages."""
    one(node)
    evil = "\x1b[2J\x1b]0;owned\x07\xff"
    for command in ([evil], ["/" + evil], ["--" + evil], ["--backend=" + evil], ["-" + evil]):
        result = spawn(["/usr/bin/chos", *command], env={"CHOS": "one"})
        assert result.returncode in (125, 126, 127), result
        clean(result.stderr)
    result = spawn(["chos-job-starter\x1b[2J"], executable="/usr/bin/chos", env={"CHOS": "one"})
    clean(result.stderr)


def test_no_new_privs_caller(node: Node) -> None:
    """Rule 10: from a caller with no_new_privs nothing runs, and the message says why."""
    one(node)
    refuse("one", "no_new_privs", command=("setpriv", "--no-new-privs", "/usr/bin/chos"))


def test_without_capabilities(node: Node) -> None:
    """Rule 10: a copy of the launcher, which has no capabilities, runs nothing."""
    one(node)
    subprocess.run(["cp", "/usr/bin/chos", "/tmp/chos-copy"], check=True)
    refuse("one", "capabilities", command=("/tmp/chos-copy",))


def test_in_a_users_own_namespaces(node: Node) -> None:
    """Rule 10: in a user namespace or a rootless container pins are out of reach: nothing runs anywhere."""
    one(node)
    for wrapper in (
        ("unshare", "-U"),
        ("unshare", "-Ur"),
        ("unshare", "-Urm"),
        ("unshare", "-Urmpf"),
        ("bwrap", "--dev-bind", "/", "/"),
        ("bwrap", "--unshare-all", "--dev-bind", "/", "/"),
    ):
        refuse("one", command=(*wrapper, "/usr/bin/chos"))
