"""Attacks by an OS tree on whoever prepares or enters it: rules 17, 18, 19 and 23 of docs/security.md.

The tree belongs to root, as it must, but its content is somebody else's: an image that was downloaded and unpacked.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attack_tools import compiled, one, patched, refuse, spawn
from node import Node, mount_points

TREE = Path("/os/one")
PLACES = (
    "/etc",
    "/usr",
    "/bin",
    "/lib",
    "/dev",
    "/var",
    "/var/tmp",
    "/var/log",
    "/run",
    "/root",
    "/home",
    "/opt",
    "/srv",
)


def replace(path: str, make: Callable[[Path], object]) -> None:
    """Put something else at a place of the tree."""
    place = TREE / path
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    make(place)


def link(to: str) -> Callable[[Path], object]:
    return lambda place: place.symlink_to(to)


def fifo(place: Path) -> None:
    os.mkfifo(place, 0o666)


def device(place: Path) -> None:
    os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(10, 130))  # a watchdog: who opens it had better not


def listener(place: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as one_end:
        one_end.bind(str(place))


def huge(place: Path) -> None:
    """A directory with very many entries."""
    place.mkdir()
    for number in range(20000):
        (place / f"entry-{number:05}").symlink_to("x")


def crowd(_: Path) -> None:
    """Very many directories at the top of the tree."""
    for number in range(6000):
        (TREE / f"top-{number:05}").mkdir()


def longest(place: Path) -> None:
    place.symlink_to("/" + "a/" * 2040)


HOSTILE: dict[str, list[tuple[str, Callable[[Path], object]]]] = {
    "etc -> /etc": [("etc", link("/etc"))],
    "etc -> ../../etc": [("etc", link("../../etc"))],
    "usr -> /": [("usr", link("/"))],
    "usr -> /local/usr": [("usr", link("/local/usr"))],
    "var -> /": [("var", link("/"))],
    "var -> /proc/self/root/var": [("var", link("/proc/self/root/var"))],
    "var -> /local/etc": [("var", link("/local/etc"))],
    "dev -> /etc": [("dev", link("/etc"))],
    "local -> /etc": [("local", link("/etc"))],
    "chos -> /etc": [("chos", link("/etc"))],
    "proc -> /etc": [("proc", link("/etc"))],
    "run -> /etc": [("run", link("/etc"))],
    "bin -> ../../..": [("bin", link("../../.."))],
    "bin -> /proc/1/root/bin": [("bin", link("/proc/1/root/bin"))],
    "var/tmp -> /etc": [("var/tmp", link("/etc"))],
    "var/log -> /local/etc": [("var/log", link("/local/etc"))],
    "var/tmp -> ../../../etc": [("var/tmp", link("../../../etc"))],
    "var/log -> /proc/self/cwd": [("var/log", link("/proc/self/cwd"))],
    "var/spool -> var/spool": [("var/spool", link("spool"))],
    "usr/bin -> /etc": [("usr/bin", link("/etc"))],
    "usr/bin/chos -> /etc/passwd": [("usr/bin/chos", link("/etc/passwd"))],
    "usr/bin/chos is a FIFO": [("usr/bin/chos", fifo)],
    "usr/bin/chos is a directory": [("usr/bin/chos", Path.mkdir)],
    "var/tmp is a FIFO": [("var/tmp", fifo)],
    "var/log is a device": [("var/log", device)],
    "var/cache is a socket": [("var/cache", listener)],
    "var/spool is a file": [("var/spool", lambda place: place.write_text("x"))],
    "dev is a FIFO": [("dev", fifo)],
    "top-level FIFO, device, socket, file": [
        ("x1", fifo),
        ("x2", device),
        ("x3", listener),
        ("x4", lambda place: place.write_text("x")),
    ],
    "etc/passwd -> /etc/shadow": [("etc/passwd", link("/etc/shadow"))],
    "etc/passwd is a FIFO": [("etc/passwd", fifo)],
    "etc/passwd is a directory": [("etc/passwd", Path.mkdir)],
    "etc/ssh -> /local/etc": [("etc/ssh", link("/local/etc"))],
    "etc/ssh -> /etc/ssh": [("etc/ssh", link("/etc/ssh"))],
    "etc/ssh is a FIFO": [("etc/ssh", fifo)],
    "os-release is a FIFO": [("etc/os-release", fifo)],
    "os-release is a device": [("etc/os-release", device)],
    "os-release -> /proc/self/environ": [("etc/os-release", link("/proc/self/environ"))],
    "os-release -> /proc/self/fd/0": [("etc/os-release", link("/proc/self/fd/0"))],
    "os-release -> ../../../../etc/shadow": [("etc/os-release", link("../../../../etc/shadow"))],
    "os-release is binary": [
        ("etc/os-release", lambda place: place.write_bytes(b"PRETTY_NAME=\x1b[2J\xff\x00\x07evil\n" * 9999))
    ],
    "a huge directory": [("etc/huge", huge), ("usr/huge", huge)],
    "a crowd at the top": [("crowd", crowd)],
    "the longest link": [("opt", longest)],
    "odd names at the top": [
        ("a\nb", Path.mkdir),
        ("\x1b[2J", Path.mkdir),
        ("a,b:c\\d", Path.mkdir),
        ("\udcff", Path.mkdir),
    ],
    "links around in circles": [("sw", link("nix")), ("nix", link("sw"))],
}


def base() -> str:
    """What of the base might change: names, modes and contents below /etc, what there is at the top, the mounts."""
    digest = hashlib.sha256()
    for folder, folders, files in sorted(os.walk("/etc")):
        for name in sorted([*folders, *files]):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            digest.update(f"{path} {status.st_mode} {status.st_uid} {status.st_size} {status.st_mtime_ns}\n".encode())
    names = [
        sorted(os.listdir(top))
        for top in ("/", "/usr", "/usr/bin", "/var", "/tmp", "/srv", "/opt", "/root", "/mnt", "/media")
    ]
    points = [point for point in mount_points() if not point.startswith("/run/chos")]
    return f"{digest.hexdigest()}\n{names}\n{points}"


def identities(paths: tuple[str, ...]) -> dict[str, str]:
    """Path → device and inode on the base."""
    return {path: "{0.st_dev}:{0.st_ino}".format(os.stat(path)) for path in paths if os.path.exists(path)}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_trees(node: Node, what: str) -> None:
    """Rule 17: refused, or prepared; no change outside, no hang, no base files under wrong names."""
    node.tree("one")
    node.configure("one:/os/one\n")
    for path, make in HOSTILE[what]:
        replace(path, make)
    before = base()
    started = time.monotonic()
    result = node.up(check=False)
    assert time.monotonic() - started < 15
    assert base() == before
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    listed = node.chosctl("list", check=False, user="alice")
    assert "root:" not in listed.stdout
    assert "\x1b" not in listed.stdout
    if result.returncode != 0:
        assert result.returncode == 1
        assert result.stderr.startswith("  "), "the reason"
        refuse("one")
        assert base() == before
        return
    # What is the tree's must not be the base's, and the other way round.
    script = "".join(f"echo {path} $(stat -L -c %d:%i {path} 2>/dev/null)\n" for path in PLACES)
    inside = dict(
        line.partition(" ")[::2]
        for line in spawn(
            ["/usr/bin/chos", "/bin/busybox", "sh", "-c", script], env={"CHOS": "one"}
        ).stdout.splitlines()
    )
    outside = identities(PLACES)
    for path in ("/etc", "/usr", "/bin", "/lib"):
        assert inside.get(path) != outside.get(path), (path, inside)
    # Users may write into the tree's directories no more than before.
    script = "for d in /etc /usr /usr/bin /bin /lib /var /local/etc; do touch $d/written 2>/dev/null && echo $d; done"
    assert spawn(["/usr/bin/chos", "/bin/busybox", "sh", "-c", script], env={"CHOS": "one"}).stdout == ""
    assert base() == before


def test_a_tree_that_changes_while_it_is_looked_at(node: Node) -> None:
    """Rule 17: somebody exchanges directories for links all the time; nothing outside changes, whatever `up` says."""
    node.tree("one")
    node.configure("one:/os/one\n")
    before = base()
    flip = (
        "while :; do mv /os/one/var /os/one/v2; ln -s /etc /os/one/var; rm /os/one/var; mv /os/one/v2 /os/one/var;"
        " mv /os/one/etc /os/one/e2; ln -s /etc /os/one/etc; rm /os/one/etc; mv /os/one/e2 /os/one/etc; done"
    )
    attacker = subprocess.Popen(["/bin/sh", "-c", flip], stderr=subprocess.DEVNULL)
    try:
        for _ in range(12):
            result = node.up("--renew", check=False)
            assert "Traceback" not in result.stderr
    finally:
        attacker.kill()
        attacker.wait()
    assert base() == before


SETUID = """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d\\n", (int)getuid(), (int)geteuid()); return setuid(0) == 0 ? 7 : 0; }
"""


def test_setuid_programs_and_devices_of_a_tree(node: Node) -> None:
    """Rule 18: set-uid programs, file capabilities and devices have no effect, in the tree or below /local."""
    node.tree("one")
    program = compiled("setuid", SETUID)
    places = ["/os/one/usr/bin/evil", "/usr/bin/evil", "/srv/evil", "/var/spool/evil"]
    for place in places:
        shutil.copy(program, place)
        os.chown(place, 0, 0)
        os.chmod(place, 0o4755)
        shutil.copy(program, place + "-cap")
        os.chmod(place + "-cap", 0o755)
        subprocess.run(["setcap", "cap_setuid,cap_sys_admin+ep", place + "-cap"], check=True)
        if not Path(place + "-null").exists():
            os.mknod(place + "-null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            os.chmod(place + "-null", 0o666)
    node.configure("one:/os/one\n")
    node.up()
    uid = spawn(["id", "-u"]).stdout.strip()
    assert spawn(["/usr/bin/evil"]).stdout == f"{uid} 0\n"  # it is a real attack
    assert spawn(["/usr/bin/evil-cap"]).returncode == 7  # so is this one: it became root
    for place in (
        "/usr/bin/evil",
        "/local/usr/bin/evil",
        "/srv/evil",
        "/local/srv/evil",
        "/var/spool/evil",
        "/local/os/one/usr/bin/evil",
        "/os/one/usr/bin/evil",
    ):
        assert spawn(["/usr/bin/chos", place], env={"CHOS": "one"}).stdout == f"{uid} {uid}\n", place
        capable = spawn(["/usr/bin/chos", place + "-cap"], env={"CHOS": "one"})
        assert (capable.returncode, capable.stdout) == (0, f"{uid} {uid}\n"), place
        opened = spawn(["/usr/bin/chos", "/bin/sh", "-c", f"echo x >{place}-null"], env={"CHOS": "one"})
        assert opened.returncode != 0, place
    assert (
        spawn(
            ["/usr/bin/chos", "/bin/sh", "-c", "echo x >/dev/null && echo x >/local/dev/null"], env={"CHOS": "one"}
        ).returncode
        == 0
    )
    for place in places[1:]:
        Path(place).unlink()
        Path(place + "-cap").unlink()
        Path(place + "-null").unlink()


def mounts_inside() -> list[list[str]]:
    """mountinfo of the environment, split; seen by alice."""
    text = spawn(["/usr/bin/chos", "/bin/cat", "/proc/self/mountinfo"], env={"CHOS": "one"}).stdout
    return [line.split(" ") for line in text.splitlines()]


def test_flags_of_every_mount(node: Node) -> None:
    """Rule 18: read back inside: all nosuid but the launcher, all nodev but /dev, /etc read-only, none shared."""
    Path("/srv/data").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "suid,dev", "data", "/srv/data")
    one(
        node,
        one="[environment.one.policy]\nread_only = true\n"
        '[[environment.one.bind]]\nsource = "/srv"\ntarget = "/mnt"\nread_only = true\n',
    )
    seen = set()
    for fields in mounts_inside():
        target, flags = fields[4], fields[5].split(",")
        seen.add(target)
        assert "nosuid" in flags or target == "/usr/bin/chos", fields
        assert "nodev" in flags or target.split("/local")[-1].startswith("/dev"), fields
        assert not [tag for tag in fields[6 : fields.index("-")] if tag.startswith("shared")], fields
        if target in ("/etc", "/usr", "/bin", "/mnt", "/mnt/data", "/usr/bin/chos"):
            assert "ro" in flags, fields
    assert {"/", "/local", "/etc", "/usr", "/srv/data", "/mnt", "/usr/bin/chos"} <= seen


LENIENT = """
import os, chosns.mounts.execute as execute, chosns.system.syscalls as syscalls
real, target = execute.Executor._do, {target!r}
def do(self, operation):
    if type(operation).__name__ == "Pivot":
        copy = os.open(self.stage + target, os.O_PATH)
        {action}
        os.close(copy)
    real(self, operation)
execute.Executor._do = do
"""


# Something else is mounted there than was to be, with the same flags.
INSTEAD = (
    "syscalls.umount(self.stage + target, syscalls.MNT_DETACH); "
    "put = lambda side, name: (lambda fd: (syscalls.mount_setattr(fd, '', set_=7 if target == '/etc' else 6), "
    "syscalls.move_mount(fd, -100, self.stage + target)))(syscalls.open_tree(side, name, 1)); put"
)


@pytest.mark.parametrize(
    ("target", "action", "word"),
    [
        (
            "/usr",
            "import ctypes; a = syscalls._MountAttr(0, syscalls.MOUNT_ATTR_NOSUID, 0, 0); "
            "syscalls._syscall('', 442, copy, b'', 0x1000, ctypes.byref(a), ctypes.sizeof(a))",
            "lacks flags",
        ),
        (
            "/home",
            "import ctypes; a = syscalls._MountAttr(0, syscalls.MOUNT_ATTR_NODEV, 0, 0); "
            "syscalls._syscall('', 442, copy, b'', 0x1000, ctypes.byref(a), ctypes.sizeof(a))",
            "lacks flags",
        ),
        (
            "/usr",
            "import ctypes; a = syscalls._MountAttr(0, 0, syscalls.MS_SHARED, 0); "
            "syscalls._syscall('', 442, copy, b'', 0x1000, ctypes.byref(a), ctypes.sizeof(a))",
            "is a shared mount",
        ),
        ("/srv", "syscalls.umount(self.stage + '/srv', syscalls.MNT_DETACH)", "nothing is mounted at /srv"),
        (
            "/srv",
            "import ctypes; a = syscalls._MountAttr(0, 0, 1 << 18, 0); "
            "syscalls._syscall('', 442, copy, b'', 0x1000, ctypes.byref(a), ctypes.sizeof(a))",
            "/srv does not follow the base's mounts",
        ),
        ("/srv", f"{INSTEAD}(self.base, 'mnt')", "/srv shows something else than the plan says"),
        ("/srv", f"{INSTEAD}(self.base, 'dev')", "/srv shows something else than the plan says"),
        ("/etc", f"{INSTEAD}(self.tree, 'etc')", "/etc shows something else than the plan says"),
    ],
)
def test_the_result_is_compared_with_the_plan(node: Node, target: str, action: str, word: str) -> None:
    """Rule 18: a mount that is missing, shared, or lacks a flag of the plan is noticed, and nothing is published."""
    one(node)
    result = patched(LENIENT.format(target=target, action=action), "up", "--renew")
    assert result.returncode == 1, result
    assert word in result.stderr
    assert node.generation("one") == "one.1"


def test_nothing_comes_back_to_the_base(node: Node) -> None:
    """Rule 19: what root mounts or unmounts inside stays there; what comes on the base appears inside."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    before = mount_points()
    enter = ["nsenter", "--mount=/run/chos/gen/one.1/ns"]
    for place in ("/mnt", "/srv", "/local/mnt", "/local/srv", "/usr", "/local/usr"):
        subprocess.run([*enter, "/bin/busybox", "mount", "-t", "tmpfs", "inside", place], check=True)
    subprocess.run([*enter, "/bin/busybox", "umount", "-l", "/home"], check=True)
    assert mount_points() == before
    other = node.chos("two", "cat", "/proc/self/mountinfo", check=True).stdout
    assert "inside" not in other
    Path("/media/later").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "later", "/media/later")
    assert " /media/later " in node.chos("two", "cat", "/proc/self/mountinfo", check=True).stdout


def test_late_mounts_are_restricted_by_the_next_up(node: Node) -> None:
    """Rules 18 and 34: a later mount has the base's flags until the next `up`, which makes no new generation for it."""
    one(node)
    Path("/media/later").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "suid,dev", "later", "/media/later")

    def flags() -> list[str]:
        return next(fields[5] for fields in mounts_inside() if fields[4] == "/media/later").split(",")

    assert "nosuid" not in flags()
    node.up()
    assert node.generation("one") == "one.1"
    assert {"nosuid", "nodev"} <= set(flags())


@pytest.mark.parametrize(
    "change",
    [
        "chown alice /os/one",
        "chmod g+w /os/one",
        "chmod o+w /os/one",
        "chmod 1777 /os/one",
        "chown alice /os",
        "chmod g+w /os",
        "mv /os/one /home/alice/one; ln -s /home/alice/one /os/one",
        "mv /os/one /tmp/one; ln -s /tmp/one /tmp/link; chown -h alice /tmp/link; ln -s /tmp/link /os/one",
    ],
)
def test_a_tree_that_users_can_change(node: Node, change: str) -> None:
    """Rule 23: a tree that others own or can write, or that they could exchange for another, is refused."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    subprocess.run(["/bin/sh", "-ec", change], check=True)
    result = node.up("--renew", check=False)
    subprocess.run(
        ["/bin/sh", "-c", "chown root /os; chmod 755 /os; rm -rf /home/alice/one /tmp/one /tmp/link"], check=True
    )
    assert result.returncode == 1, result
    assert json.loads(node.chosctl("status", "--json", check=False).stdout) is not None
    assert "root" in result.stderr
