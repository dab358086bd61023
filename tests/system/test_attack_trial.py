"""Attacks by a tree's shell on the node that tries it: rules 17, 22, 27 and 28 of docs/security.md.

`chosctl up` runs the tree's /bin/sh before anybody may enter. The tree belongs to root, but its content is somebody
else's, and this is the first of it that runs. What it can reach is found out by a shell that tries (spy.c).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_tools import clean, compiled, patched, patched_command, refuse, spawn, status_of
from node import Node

TREE = Path("/os/one")
SPY = (Path(__file__).parent / "spy.c").read_text()
KEY = 0x43484F53  # of the base's shared memory and the like
# What chosctl hears from the shell goes into a file, too.
LISTEN = """
from chosns.mounts import worker
heard = worker.Worker._read
def hear(self, *late):
    chunk = heard(self, *late)
    with open("/run/heard", "ab") as file:
        file.write(chunk)
    return chunk
worker.Worker._read = hear
"""


def spy_tree(node: Node, **bait: object) -> None:
    """A tree whose shell is the spy, with places where everybody may write, and a mount of its own."""
    node.tree("one")
    (TREE / "bin/sh").unlink()
    shutil.copy(compiled("spy", SPY), TREE / "bin/sh")
    (TREE / "usr/open").mkdir()
    (TREE / "usr/open").chmod(0o1777)
    (TREE / "usr/open/file").write_text("the tree's")
    (TREE / "usr/open/file").chmod(0o666)
    (TREE / "usr/mounted").mkdir()
    node.mount("-t", "tmpfs", "-o", "mode=1777", "mounted", "/os/one/usr/mounted")
    (TREE / "etc/bait").write_text("".join(f"{name}={value}\n" for name, value in bait.items()))
    node.configure("one:/os/one\n")


@contextlib.contextmanager
def bait() -> Iterator[dict[str, object]]:
    """What any process of the base could reach: sockets, files, memory, and a process of uid 65534."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = Path("/srv/bait")
    with contextlib.ExitStack() as stack:
        folder.mkdir()
        stack.callback(shutil.rmtree, folder)
        for name in ("file", "mapped"):
            (folder / name).write_text("untouched")
            (folder / name).chmod(0o666)
        os.mkfifo(folder / "fifo")
        (folder / "fifo").chmod(0o666)
        stack.callback(os.close, os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK))
        for path in (folder, Path("/dev/shm"), Path("/run/lock")):
            path.chmod(0o1777)
        victim = subprocess.Popen(["/bin/sleep", "600"], user=65534, group=65534, extra_groups=[])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        queue = open_queue(libc)
        stack.callback(libc.mq_unlink, b"/chos-bait")
        stack.callback(libc.mq_close, queue)
        memory, messages, semaphores = (
            libc.shmget(KEY, 1, 0o1666),
            libc.msgget(KEY, 0o1666),
            libc.semget(KEY, 1, 0o1666),
        )
        stack.callback(libc.shmctl, memory, 0, None)
        stack.callback(libc.msgctl, messages, 0, None)
        semaphores = libc.semget(KEY, 1, 0o1666)
        stack.callback(libc.semctl, semaphores, 0, 0)
        assert min(queue, memory, messages, semaphores) >= 0, os.strerror(ctypes.get_errno())
        kinds = (socket.AF_INET, socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        tcp, udp, abstract, path_socket = (
            stack.enter_context(socket.socket(kind, socket.SOCK_DGRAM if at == 1 else socket.SOCK_STREAM))
            for at, kind in enumerate(kinds)
        )
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        abstract.bind("\0chos-bait")
        path_socket.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o666)
        for one in (tcp, abstract, path_socket):
            one.listen()
        yield {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "victim": victim.pid}


def open_queue(libc: ctypes.CDLL) -> int:
    """A POSIX message queue that everybody may read and write."""
    before = os.umask(0)
    try:
        return int(libc.mq_open(b"/chos-bait", os.O_CREAT | os.O_RDWR, 0o666, None))
    finally:
        os.umask(before)


def up_and_hear(code: str = "") -> tuple[subprocess.CompletedProcess[str], str]:
    """chosctl up, changed by `code`; and all that it heard from the tree's shell."""
    Path("/run/heard").unlink(missing_ok=True)
    result = patched(LISTEN + code, "up", "--renew")
    heard = Path("/run/heard").read_text(errors="replace")
    return result, heard.partition('{"what": "built"')[2].partition("\n")[2]


# What a node may lack, as far as one can lack it and still prepare an environment.
UNSHARE = (
    "from chosns.system import syscalls; unshare = syscalls.unshare\n"
    "def refuse(flags):\n"
    "    if flags & {refused}: raise OSError(28, 'refused')\n"
    "    unshare(flags)\n"
    "syscalls.unshare = refuse\n"
)
LACKING = {
    "nothing": "",
    "a user namespace": UNSHARE.format(refused="syscalls.CLONE_NEWUSER"),
    "a network namespace": UNSHARE.format(refused="syscalls.CLONE_NEWNET"),
    "every namespace but mount": UNSHARE.format(refused="~syscalls.CLONE_NEWNS"),
    "seccomp": "from chosns.backends.ns import calls; calls.program = lambda machine: b''\n",
    "Landlock": "from chosns.system import syscalls; syscalls.landlock_version = lambda: 0\n",
    "read-only mounts": "from chosns.backends.ns import trial; trial._TIGHT = 6\n",
    "Landlock and a user namespace": "from chosns.system import syscalls; syscalls.landlock_version = lambda: 0\n"
    + UNSHARE.format(refused="syscalls.CLONE_NEWUSER"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_the_trial_reaches_nothing(node: Node, lacking: str) -> None:
    """Rule 28: no socket, file, memory, process, key, terminal or descriptor of the base; no writing in the tree."""
    if lacking == "read-only mounts" and ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 1:
        pytest.skip("no Landlock here, which would have to do without them")
    with bait() as what:
        spy_tree(node, **what)
        result, heard = up_and_hear(LACKING[lacking])
        assert Path("/srv/bait/file").read_text() == Path("/srv/bait/mapped").read_text() == "untouched"
    assert result.returncode == 0, result
    rows = dict(line.split(": ", 1) for line in heard.splitlines())
    assert rows.pop("variable") == "PATH=/usr/bin:/bin"
    assert len(rows) > 70
    reached = [row for row, answer in rows.items() if answer != "no"]
    assert [row for row in reached if not (row.startswith("call ") and lacking == "seccomp")] == []
    if lacking == "seccomp":
        assert "call socket" in reached, "so the rows tell something"
    assert (TREE / "usr/open/file").read_text() == "the tree's"


def test_neither_namespaces_nor_seccomp(node: Node) -> None:
    """Rule 28: on a node where the shell could not be kept from the network it is not run, and that is said."""
    spy_tree(node)
    result, heard = up_and_hear(LACKING["seccomp"] + LACKING["a network namespace"])
    assert (result.returncode, heard) == (1, "")
    assert "no network namespace, and no seccomp" in result.stderr, result
    refuse("one")


@pytest.mark.parametrize("number", [0, 1])
def test_no_more_mount_namespaces(node: Node, number: int) -> None:
    """The node's limit on them may be reached with the environment's own, or with the trial's: said, and told apart
    from a full disk, which has the same number."""
    node.tree("one")
    node.configure("one:/os/one\n")
    code = (
        "from chosns.system import syscalls; unshare = syscalls.unshare; made = []\n"
        "def refuse(flags):\n"
        "    if flags & syscalls.CLONE_NEWNS:\n"
        f"        if len(made) >= {number}: raise OSError(28, 'refused')\n"
        "        made.append(1)\n"
        "    unshare(flags)\n"
        "syscalls.unshare = refuse\n"
    )
    result = patched(code, "up")
    assert result.returncode == 1 and "allows no more mount namespaces" in result.stderr, result
    assert "max_mnt_namespaces" in result.stderr
    refuse("one")


def shell_that_waits(node: Node) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A trial that is going on, and the pid of its shell as the base sees it."""
    spy_tree(node, wait=60)
    with_secrets = "exec 9</etc/shadow 77>/run/nobody-should-write; cd /root; exec chosctl up"
    up = node.start(["/bin/bash", "-c", with_secrets], user="root", cwd="/", env={"SECRET": "x"})
    deadline = time.monotonic() + 20
    while True:
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{entry}/cmdline").read_bytes() == b"sh\0-c\0:\0":
                    yield up, int(entry)
                    return
        assert time.monotonic() < deadline and up.poll() is None


def test_what_the_shell_is(node: Node) -> None:
    """Rule 28, seen from the base: ids of its own, no right at all, namespaces of its own, one mount tree, no more."""
    for up, pid in shell_that_waits(node):
        builder = os.stat(f"/proc/{up.pid}/ns/mnt")
        status = status_of(Path(f"/proc/{pid}/status").read_text())
        uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
        assert uids == gids and len(uids) == 1 and int(uids.pop()) >= 2_100_000_000
        assert status["Groups"] == "" and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        descriptors = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert descriptors.pop("0") == "/dev/null"
        assert set(descriptors) == {"1", "2"} and all(to.startswith("pipe:") for to in descriptors.values())
        for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user"):
            own, ours = (os.readlink(f"/proc/{one}/ns/{name}") for one in (pid, "self"))
            assert own != ours, name
        assert os.stat(f"/proc/{pid}/ns/mnt") != builder
        assert Path(f"/proc/{pid}/environ").read_bytes() == b"PATH=/usr/bin:/bin\0"
        points = {}
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            fields = line.split(" ")
            points[fields[4]] = set(fields[5].split(","))
            assert "ro" in points[fields[4]] and "nosuid" in points[fields[4]], line
            assert fields[6] == "-", "belongs to no group of mounts: nothing comes or goes with the base's"
        assert {"/", "/usr", "/etc", "/dev"} < set(points) and not {"/local", "/proc", "/home", "/tmp"} & set(points)
        assert all("nodev" in flags for point, flags in points.items() if point != "/dev")
        assert os.listdir(f"/proc/{pid}/root/dev") == ["null"]
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert {line.split("  ")[0]: line.split()[-2] for line in limits.splitlines()}["Max processes"] == "1"
        pinned = spawn(["nsenter", "--mount=/run/chos/gen/one.1/ns", "cat", "/proc/self/mountinfo"], user="root").stdout
        assert " /local " in pinned and " /home " in pinned, "the environment's own namespace stays as it was built"
        up.kill()
        up.wait()
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    Path("/run/nobody-should-write").unlink()


def test_nobody_else_has_the_shells_uid(node: Node) -> None:
    """Rule 28: a number that some process has already is not taken."""
    spy_tree(node)
    code = (
        "from chosns.backends.ns import confine; confine._IDS = range(2_100_000_000, 2_100_000_002)\n"
        "ids = [confine.unused_id() for _ in range(50)]\n"
        "open('/run/ids', 'w').write(' '.join(map(str, sorted(set(ids)))))\n"
    )
    other = subprocess.Popen(["/bin/sleep", "600"], user=2_100_000_000, group=0, extra_groups=[])
    try:
        assert patched(code, "up").returncode == 0
    finally:
        other.kill()
        other.wait()
    assert Path("/run/ids").read_text() == "2100000001"
    Path("/run/ids").unlink()


def elf32(code: bytes) -> bytes:
    """A static program for i386."""
    start, size = 0x08048000, 52 + 32 + len(code)
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, start + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return header + struct.pack("<8I", 1, 0, start, start, size, size, 5, 4096) + code


SOCKET_32 = bytes.fromhex(
    "b867010000 bb01000000 b901000000 31d2 cd80"  # socket(AF_UNIX, SOCK_STREAM, 0)
    "31db 85c0 7805 bb07000000"  # status 7 if there is one, else 0
    "b801000000 cd80"
)


def test_a_shell_of_32_bits(node: Node) -> None:
    """Rule 28: it runs, as it would for users, and its system calls are judged as well."""
    node.tree("one")
    (TREE / "bin/sh").unlink()
    (TREE / "bin/sh").write_bytes(elf32(SOCKET_32))
    (TREE / "bin/sh").chmod(0o755)
    try:
        assert subprocess.run([TREE / "bin/sh"], check=False).returncode == 7
    except OSError:
        pytest.skip("this machine runs no programs of i386")
    node.configure("one:/os/one\n")
    node.up()


def test_programs_that_are_the_bases(node: Node) -> None:
    """A bind may put a directory of programs in the place of the tree's: its shell is what users will have."""
    node.tree("one")
    shutil.move(TREE / "bin", "/srv/bin")
    (TREE / "bin").mkdir()
    (TREE / "bin/sh").write_text("none\n")
    (TREE / "bin/sh").chmod(0o755)
    node.configure("one:/os/one\n", site='[[environment.one.bind]]\nsource = "/srv/bin"\ntarget = "/bin"\n')
    node.up()
    assert node.chos("one", "true").returncode == 0
    shutil.rmtree("/srv/bin")


def only_for(place: Path, *uids: int) -> None:
    """An ACL (linux/posix_acl_xattr.h) by which these users may look there, and others not."""
    entries = [(0x01, 7, 0xFFFFFFFF), *((0x02, 5, uid) for uid in sorted(uids))]
    entries += [(0x04, 0, 0xFFFFFFFF), (0x10, 5, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(place, "system.posix_acl_access", acl)


def test_a_file_system_that_knows_its_users(node: Node) -> None:
    """Rule 28: a server that refuses unknown uids (Lustre) is met as nobody, in a PID namespace; nothing is reached."""
    with bait() as what:
        spy_tree(node, **what)
        only_for(TREE / "bin", 65534, pwd.getpwnam("alice").pw_uid)
        result, heard = up_and_hear()
        assert result.returncode == 0, result
        rows = dict(line.split(": ", 1) for line in heard.splitlines())
        assert rows.pop("variable") and len(rows) > 70
        assert [row for row, answer in rows.items() if answer != "no"] == []
        result, heard = up_and_hear(UNSHARE.format(refused="syscalls.CLONE_NEWPID"))
        assert (result.returncode, heard) == (1, "/bin/sh: Permission denied\n"), result


KEYHOLDER = """
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    (void)argc;
    syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL);
    syscall(SYS_add_key, "user", "chos-attack", "secret", 6, -3 /* KEY_SPEC_SESSION_KEYRING */);
    if (syscall(SYS_request_key, "user", "chos-attack", NULL, 0) < 0)
        return 77;
    execvp(argv[1], argv + 1);
    return 78;
}
"""


def test_the_trees_shell_has_no_keys(node: Node) -> None:
    """Rule 17: root's session keyring may hold Kerberos tickets and keys of file systems."""
    spy_tree(node)
    Path("/run/heard").unlink(missing_ok=True)
    command = patched_command(LISTEN + LACKING["seccomp"], "up")  # with it, there are no calls for keys
    result = spawn([compiled("keyholder", KEYHOLDER), *command], user="root")
    if result.returncode == 77:
        pytest.skip("this kernel has no keyrings")
    assert (result.returncode, "reach keys: no" in Path("/run/heard").read_text()) == (0, True), result
    result = patched("from chosns.system import syscalls; syscalls._NR_KEYCTL = {}", "up", "--renew")
    assert (result.returncode, node.generation("one")) == (1, "one.1"), "without a way to leave them nothing runs"
    assert "root's keys" in result.stderr


def test_the_trees_shell_has_no_terminal(node: Node) -> None:
    """Rule 17: through root's terminal it could type commands that root's shell runs (TIOCSTI)."""
    spy_tree(node)
    Path("/run/heard").unlink(missing_ok=True)
    command = patched_command(LISTEN, "up")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
    said = b""
    with contextlib.suppress(OSError):  # EIO: everybody has closed it
        while chunk := os.read(terminal, 4096):
            said += chunk
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert "reach terminal: no" in Path("/run/heard").read_text()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("while :; do echo talk talk talk talk; done", "no answer within 2 s"),
        ("printf '\\033[2J\\007evil\\n'; exit 3", "status 3"),
        ("kill -9 $$", "killed by signal 9"),
        ("kill -TERM $$", "killed by signal 15"),
        ("kill -STOP $$", "no answer within 2 s"),
        ("exec sleep 300", "no answer within 2 s"),
        ("(sleep 300 &) ; exit 0", "can't fork"),
        ('echo \'{"what": "built"}\'; exit 1', "status 1"),
    ],
)
def test_a_hostile_shell(node: Node, script: str, reason: str) -> None:
    """Rule 17: the tree's shell may talk, hang, die or lie: its environment fails in time, with a clean message."""
    node.tree("one")
    node.tree("two")
    (TREE / "bin/sh").unlink()
    (TREE / "bin/sh").write_text("#!/bin/busybox ash\n" + script + "\n")
    (TREE / "bin/sh").chmod(0o755)
    node.configure("one:/os/one\ntwo:/os/two\n")
    result = node.up("--timeout", "2", check=False)
    assert result.returncode == 1 and reason in result.stderr, result
    clean(result.stdout + result.stderr.replace("—", "-"))
    assert len(result.stderr) < 2000
    assert node.chos("two", "true").returncode == 0
    refuse("one", "could not be prepared")


IMPORTER = """
from chosns.backends.ns import backend as ns
name = ns.os_name
def importing(tree):
    try:
        import chosnothing
    except ImportError:
        "x".encode("cp1140")
    return name(tree)
ns.os_name = importing
"""


def test_the_builder_imports_nothing_of_the_tree(node: Node) -> None:
    """Rule 27: standing in the new root, Python would find its library in the tree, and run it as root."""
    node.tree("one")
    trap = "open('/run/trapped', 'w').close()\nraise ImportError\n"
    for folder in {path for path in sys.path if path.startswith("/usr")}:
        for file in (TREE / folder[1:] / "chosnothing.py", TREE / folder[1:] / "encodings/cp1140.py"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(trap)
    node.configure("one:/os/one\n")
    result = patched(IMPORTER, "up")
    assert not Path("/run/trapped").exists()
    assert result.returncode == 1 and "cp1140" in result.stderr, result
