"""Attacks on the launcher while it is privileged, and on how it finds the base: rules 4, 5, 6 and 10."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from attack_tools import Marker, build_launcher, one, spawn, status_of
from node import Node, wait_for

# The one look at the environment between setns and the drop: is this root the recorded one?
LOOKS_AT_ROOT = r'(stat|lstat|newfstatat|statx)\((AT_FDCWD, )?"/", '
# And the looks at the registry, by its descriptor: what does the policy say, is it still the user's to enter?
READS_POLICY = r'openat2\({}, "gen/one\.1/policy", {{flags=O_RDONLY.*RESOLVE_BENEATH'
LOOKS_AGAIN = r'readlinkat\({}, "gen/one\.1/\.\./\.\./env/one", "\.\./gen/one\.1"'
PATH_OF_CALL = re.compile(
    r"^(?:open|openat|openat2|readlink|stat|lstat|newfstatat|statx|access|statfs|chdir)\(.*?\"(?P<path>[^\"]*)\""
)


def trace() -> list[str]:
    """Every system call of the launcher that enters `one` as alice, without the process id."""
    path = Path("/tmp/trace")
    subprocess.run(
        ["strace", "-f", "-u", "alice", "-o", path, "/usr/bin/chos", "/bin/true"],
        cwd="/tmp",
        check=True,
        capture_output=True,
        env={
            "CHOS": "one",
            "PATH": "/bin",
            "LANG": "de_DE.UTF-8",
            "LOCPATH": "/tmp",
            "LD_PRELOAD": "/tmp/evil.so",
            "TZ": ":/tmp/zone",
        },
    )
    return [line.split(None, 1)[1] for line in path.read_text().splitlines()]


def position(calls: list[str], pattern: str, *, last: bool = False) -> int:
    """Where the first (or last) call that matches is."""
    found = [number for number, call in enumerate(calls) if re.match(pattern, call)]
    assert found, f"no {pattern} in:\n" + "\n".join(calls)
    return found[-1 if last else 0]


def registry(calls: list[str]) -> int:
    """The descriptor of the registry, which is held until the look again."""
    opened = calls[position(calls, r'openat2\(AT_FDCWD, "/run/chos", .*O_PATH.*= \d+$')]
    return int(opened.rpartition(" ")[2])


def test_nothing_of_the_environment_is_opened_with_privilege(node: Node) -> None:
    """Rule 5: between setns and the loss of the last capability the launcher looks at `/` and at the registry that it
    holds; before it, at the registry and /proc, and at nothing that a user named."""
    one(node)
    calls = trace()
    held = registry(calls)
    entered = position(calls, r"setns\(.*= 0$")
    dropped = position(calls, r"capset\(.*effective=0, permitted=0, inheritable=0")
    assert entered < dropped
    for call in calls[entered + 1 : dropped]:
        again = f"{READS_POLICY.format(held)}|{LOOKS_AGAIN.format(held)}"
        harmless = rf'read\(\d+, "chos-policy|close\(\d+\)|{LOOKS_AT_ROOT}|prctl\(|capget\(|get[a-z]+\('
        assert re.match(f"{again}|{harmless}", call), "\n".join(calls[entered : dropped + 1])
    for call in calls[1:entered]:
        found = PATH_OF_CALL.match(call)
        if found:
            assert re.fullmatch(
                r"/run/chos|/proc/self/ns/(mnt|user)|base|backend|login|env/one|gen/one\.1/(ns|\.)|/|\.",
                found["path"],
            ), call


def test_order_of_the_steps(node: Node) -> None:
    """Rules 4 and 29: pin, setns, policy, root compared, the way looked at again, capabilities given up and read back,
    setuid(0) tried, chdir, exec."""
    one(node)
    calls = trace()[1:]
    held = registry(calls)
    steps = [
        position(calls, pattern)
        for pattern in (
            rf'openat2\({held}, "gen/one\.1/ns", .*RESOLVE_BENEATH',
            r"setns\(.*= 0$",
            READS_POLICY.format(held),
            LOOKS_AT_ROOT,
            LOOKS_AGAIN.format(held),
            r"capset\(.*effective=0, permitted=0, inheritable=0",
            r"setuid\(0\) += -1 EPERM",
            r'chdir\("/tmp"\)',
            r'execve\("/bin/true"',
        )
    ]
    assert steps == sorted(steps), "\n".join(calls)
    assert steps[5] < position(calls, r"capget\(", last=True) < steps[6]
    assert position(calls, READS_POLICY.format(held)) == position(calls, READS_POLICY.format(held), last=True), "once"


LOOK = """
for f in mem environ maps auxv; do head -c 1 /proc/$0/$f >&- 2>&1 && echo "saw $f"; done
ls /proc/$0/fd >&- 2>&1 && echo "saw fd"
for f in cwd root exe ns/mnt; do readlink /proc/$0/$f && echo "saw $f"; done
"""
ATTACH = """
import ctypes, sys
print([ctypes.CDLL(None).ptrace(how, int(sys.argv[1]), 0, 0) for how in (16, 0x4206)])
"""


def test_nobody_looks_into_the_launcher_while_it_is_privileged(node: Node) -> None:
    """Rule 6: stopped in the middle, it can neither be traced nor read by the user who started it."""
    one(node)
    log = Path("/tmp/trace-stop")
    log.unlink(missing_ok=True)
    tracer = subprocess.Popen(
        ["strace", "-u", "alice", "-o", log, "-e", "inject=setns:signal=STOP", "/usr/bin/chos", "/bin/sleep", "600"],
        env={"CHOS": "one", "PATH": "/bin"},
        cwd="/",
    )

    def stopped() -> bool:
        assert tracer.poll() is None, "it did not stop"
        return log.exists() and "--- stopped by SIGSTOP ---" in log.read_text()

    def status() -> dict[str, str]:
        return status_of(Path(f"/proc/{pid}/status").read_text())

    wait_for(stopped, "the launcher stops at setns")
    (pid,) = Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()
    tracer.kill()
    tracer.wait()
    try:
        # Without its tracer it is stopped as by any SIGSTOP.
        wait_for(lambda: status()["TracerPid"] == "0" and status()["State"][0] == "T", "its tracer is gone")
        assert Path(f"/proc/{pid}/comm").read_text() == "chos\n"
        assert int(status()["CapEff"], 16) != 0, "it was stopped too late"
        assert spawn(["/bin/sh", "-c", LOOK, pid]).stdout == ""
        assert spawn(["/usr/bin/python3", "-I", "-c", ATTACH, pid]).stdout == "[-1, -1]\n"
        assert status()["State"][0] == "T", "it was there all the time"
    finally:
        os.kill(int(pid), signal.SIGKILL)


NEEDED = ("sys_admin", "sys_chroot", "sys_ptrace")


def test_nobody_looks_where_no_capability_was_gained(node: Node) -> None:
    """Rule 6: the kernel hides a process that gains rights when it begins; where it had them before, chos does that."""
    one(node)
    program = build_launcher("/usr/bin/chos-fault", "-DCHOS_FAULT")
    had = ",".join(f"+{name}" for name in NEEDED)
    start = [
        "setpriv",
        "--reuid",
        "alice",
        "--regid",
        "alice",
        "--init-groups",
        "--inh-caps",
        had,
        "--ambient-caps",
        had,
    ]
    for step in ("registry", "setns", "root", "drop", "verify", "exec"):
        process = node.start([*start, program, "/bin/true"], user="root", env={"CHOS": "one", "CHOS_STOP": step})
        info = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert info and info.si_code == os.CLD_STOPPED, step
        pid = str(process.pid)
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, f"at {step} it can be looked into"
        assert spawn(["/bin/sh", "-c", LOOK, pid]).stdout == "", step
        assert spawn(["/usr/bin/python3", "-I", "-c", ATTACH, pid]).stdout == "[-1, -1]\n", step


# A parent that moves to a user namespace with a registry of its own, and a child that does not.
TRICK = """
import ctypes, os, sys, tempfile, time
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
ready_r, ready_w = os.pipe()
child = os.fork()
if child == 0:
    os.read(ready_r, 1)
    os.environ["CHOS"] = sys.argv[1]
    os.execv("/usr/bin/chos", ["chos", "/bin/sh", "-c", "echo ran >" + sys.argv[2]])
assert libc.unshare(0x10000000 | 0x20000) == 0, os.strerror(ctypes.get_errno())
def put(path, text):
    with open(path, "w") as file:
        file.write(text)
put("/proc/self/setgroups", "deny")
put("/proc/self/uid_map", "0 %d 1" % uid)
put("/proc/self/gid_map", "0 %d 1" % gid)
libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)
forged = tempfile.mkdtemp()
if sys.argv[3] == "tmpfs":           # all of it forged; on the node it belongs to the user
    assert libc.mount(b"forged", b"/run/chos", b"tmpfs", 0, b"mode=0755") == 0, os.strerror(ctypes.get_errno())
    os.makedirs("/run/chos/gen/one.1")
    os.mkdir("/run/chos/env")
    os.symlink("../base", "/run/chos/env/root")
    os.symlink("../gen/one.1", "/run/chos/env/one")
    put("/run/chos/gen/one.1/ns", "")
    put("/run/chos/gen/one.1/policy", "")
    put("/run/chos/base", "")
def over(name, text):                # or the node's own, which is root's, with a few files covered
    put(forged + "/file", text)
    os.rename(forged + "/file", forged + "/" + name.replace("/", "-"))
    source = forged + "/" + name.replace("/", "-")
    assert libc.mount(source.encode(), b"/run/chos/" + name.encode(), None, 0x1000, None) == 0
root = os.stat("/")
over("base", "chos-base 1\\nns=%d\\nroot=%d %d\\n" % (os.stat("/proc/self/ns/mnt").st_ino, root.st_dev, root.st_ino))
policy = "chos-policy 1\\nname=one\\ngeneration=1\\nroot=%d %d\\nno_new_privs=0\\n"
over("gen/one.1/policy", policy % (root.st_dev, root.st_ino))
for cpu in sorted(os.sched_getaffinity(0)) * 4:  # some kernels refuse the pin on the wrong CPU
    moved_r, moved_w = os.pipe()
    other = os.fork()
    if other == 0:
        os.sched_setaffinity(0, {cpu})
        libc.unshare(0x20000)
        os.write(moved_w, b"x")
        time.sleep(600)
        os._exit(0)
    os.read(moved_r, 1)
    if libc.mount(b"/proc/%d/ns/mnt" % other, b"/run/chos/gen/one.1/ns", None, 0x1000, None) == 0:
        break
    os.kill(other, 9)
else:
    raise OSError("no pin")
os.write(ready_w, b"x")
status = os.waitpid(child, 0)[1]
os.kill(other, 9)
sys.exit(os.waitstatus_to_exitcode(status))
"""
IN_PRIVATE_MOUNTS = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private")


@pytest.mark.parametrize("name", ["root", "one"])
@pytest.mark.parametrize("how", ["tmpfs", "covered"])
def test_a_forged_base_among_the_ancestors(node: Node, name: str, how: str) -> None:
    """Rule 10: where no pin can be seen, a parent with a forged registry is not taken for the base.

    Were it believed, the child would stand in mounts of the user's making, with the node's set-uid programs in them.
    """
    one(node)
    marker = Marker()
    start = 'setpriv --reuid alice --regid alice --init-groups /usr/bin/python3 -I -c "$0" "$1" "$2" "$3"; exit $?'
    result = spawn([*IN_PRIVATE_MOUNTS, "/bin/sh", "-c", start, TRICK, name, str(marker.path), how], user="root")
    assert "Traceback" not in result.stderr, result.stderr
    marker.refused(result)


# A parent that moves to a user namespace, tells its mount namespace, and waits; and a child that does not move.
OFFER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.getuid(), os.getgid()
child = os.fork()
if child == 0:
    os.read(0, 1)
    os.environ["CHOS"] = sys.argv[1]
    os.execv("/usr/bin/chos", ["chos", "/bin/sh", "-c", "echo ran >" + sys.argv[2]])
assert libc.unshare(0x10000000 | 0x20000) == 0, os.strerror(ctypes.get_errno())
root = os.stat("/")
print("ns=%d\\nroot=%d %d" % (os.stat("/proc/self/ns/mnt").st_ino, root.st_dev, root.st_ino), flush=True)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("name", ["root", "one"])
def test_a_users_namespace_that_has_the_bases_number(node: Node, name: str) -> None:
    """Rule 10: numbers of namespaces are given again. One of a user's own that has got the base's, with such a root, is
    not entered: only the owner tells it from the base."""
    one(node)
    marker = Marker()
    start = 'exec setpriv --reuid alice --regid alice --init-groups /usr/bin/python3 -I -c "$0" "$1" "$2"'
    process = node.start([*IN_PRIVATE_MOUNTS, "/bin/sh", "-c", start, OFFER, name, str(marker.path)], user="root")
    assert process.stdin and process.stdout
    Path("/run/chos/base").write_text("chos-base 1\n" + process.stdout.readline() + process.stdout.readline())
    process.stdin.write("x")
    process.stdin.flush()
    out, err = process.communicate(timeout=60)
    marker.refused(subprocess.CompletedProcess([], process.returncode, out, err), "the way back to the base")


# What a user may do in namespaces of their own.
FORGED_HERE = """
mount -t tmpfs -o mode=0755 forged /run/chos || exit 99
mkdir -p /run/chos/env /run/chos/gen/one.1 && cd /run/chos/gen/one.1 || exit 99
:>ns
for cpu in 0 1 0 1 0 1 0 1; do
    taskset -c $cpu unshare -m sleep 600 >/dev/null 2>&1 &
    until [ "$(readlink /proc/$!/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep .01; done
    mount --bind /proc/$!/ns/mnt ns && break   # some kernels refuse it on the wrong CPU
done
mountpoint -q ns || grep -q nsfs /proc/self/mountinfo || exit 98
printf 'chos-policy 1\\nname=one\\ngeneration=1\\nroot=%s\\nno_new_privs=0\\n' "$(stat -c '%d %i' /)" >policy
printf 'chos-base 1\\nns=%s\\nroot=%s\\n' "$(stat -L -c %i /proc/self/ns/mnt)" "$(stat -c '%d %i' /)" >/run/chos/base
ln -s ns /run/chos/backend; ln -s ../gen/one.1 /run/chos/env/one; ln -s ../base /run/chos/env/root; cd /
CHOS=$0 chos /bin/sh -c 'readlink /proc/self/ns/user; cat /etc/shadow
setpriv --reuid 1 --clear-groups echo GAINED; su -c "echo GAINED"'
kill $!
"""


@pytest.mark.parametrize("name", ["root", "one"])
def test_a_forged_registry_in_a_namespace_of_ones_own(node: Node, name: str) -> None:
    """Rule 10: a user may forge everything in a user namespace of theirs; whatever chos does there stays in it."""
    one(node)
    result = spawn(["unshare", "-Urm", "/bin/sh", "-c", FORGED_HERE, name])
    assert result.returncode not in (98, 99), result
    assert os.readlink("/proc/self/ns/user") not in result.stdout
    assert "GAINED" not in result.stdout
    assert "root:" not in result.stdout  # /etc/shadow
