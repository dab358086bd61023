"""Who may not enter or leave: whoever was put somewhere to stay there, and whoever does not know what it writes."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from pathlib import Path

import pytest
from chosfs import LIBC, PROC, become, call, child, link, place, refused, setchos, state, write

pytestmark = pytest.mark.usefixtures("module")
NEWNS, NEWUSER = 0x20000, 0x10000000


def both() -> list[str]:
    """What entering and leaving answer."""
    return [refused(setchos, "/os/a"), refused(setchos, "/")]


def test_in_a_chroot() -> None:
    """A process in a jail that has /proc cannot leave it, root or not."""

    def jailed(user: str) -> tuple[list[str], bool]:
        before = os.stat("/os/c")
        os.chroot("/os/c")
        os.chdir("/")
        become(user)
        answers = both()
        after = os.stat("/")
        return answers, (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)

    subprocess.run(["mount", "--rbind", "--make-rslave", "/proc", "/os/c/proc"], check=True)
    try:
        Path("/os/c/etc/passwd").write_text(Path("/etc/passwd").read_text())
        assert child(jailed, "root") == (["EPERM", "EPERM"], True)
        assert child(jailed, "alice") == (["EPERM", "EPERM"], True)
    finally:
        subprocess.run(["umount", "-l", "/os/c/proc"], check=True)


def test_in_a_chroot_with_a_descriptor() -> None:
    """The file was opened before the jail was shut."""

    def jailed() -> tuple[list[str], str]:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        os.chroot("/os/c")
        answers = [refused(os.write, descriptor, b"/os/a"), refused(os.write, descriptor, b"/")]
        return answers, place()

    assert child(jailed) == (["EPERM", "EPERM"], "c")


def test_in_a_chroot_inside() -> None:
    """A jail in an environment is a jail."""

    def jailed() -> list[str]:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        setchos("/os/a")
        os.chroot("/os/c")
        return [refused(os.write, descriptor, b"/"), refused(os.write, descriptor, b"/os/b"), place()]

    assert child(jailed) == ["EPERM", "EPERM", "c"]


def test_in_a_mount_namespace() -> None:
    """Whose mounts are not process 1's: it would come out among mounts that it was kept from."""

    def apart() -> tuple[list[str], str]:
        call("unshare", NEWNS)
        return both(), place()

    def apart_inside() -> tuple[list[str], str]:
        setchos("/os/a")
        call("unshare", NEWNS)
        return both(), link()

    assert child(apart) == (["EPERM", "EPERM"], "real")
    assert child(apart_inside) == (["EPERM", "EPERM"], "/os/a")


def test_in_a_user_namespace() -> None:
    """Also one that has the machine's root directory."""

    def apart(user: str) -> tuple[list[str], tuple[str, str]]:
        become(user)
        call("unshare", NEWUSER)
        return both(), state()

    assert child(apart, "root") == (["EPERM", "EPERM"], ("/", "real"))
    assert child(apart, "alice") == (["EPERM", "EPERM"], ("/", "real"))


def test_a_container_that_gets_the_hosts_proc() -> None:
    """User, mount and PID namespaces, a root directory of its own, /proc bound: its root is nobody here."""
    script = """set -e
        mount --rbind /proc /os/c/proc
        ! chroot /os/c /bin/sh -c 'echo /os/a >/proc/chos/setchos' 2>/dev/null
        ! chroot /os/c /bin/sh -c 'echo / >/proc/chos/setchos' 2>/dev/null
        ! chroot /os/c /bin/sh -c 'echo /os/c >/proc/chos/valid' 2>/dev/null
        ! mount -t chosfs chosfs /mnt 2>/dev/null"""
    subprocess.run(["unshare", "-Urmpf", "sh", "-c", script], check=True)
    assert Path(f"{PROC}/valid").read_text() == "/os/a\n/os/b\n"


def test_proc_in_a_container() -> None:
    """With the module's files mounted, a user namespace may still mount a proc of its own; there is no module in it."""
    script = "mount -t proc proc /proc && ls -A /proc/chos | wc -l"
    result = subprocess.run(["unshare", "-Urmpf", "sh", "-c", script], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, "0"), result.stderr


SAY = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words)
{
    (void)count;
    if (write(1, words[1], strlen(words[1])) >= 0) return 0;
    perror("say");
    return 1;
}
"""


def test_output_of_a_privileged_program(tmp_path: Path) -> None:
    """A user who makes /proc/chos/setchos the output of a program with more privilege moves nobody."""
    program = Path("/usr/local/bin/say")  # /tmp is nosuid
    (tmp_path / "say.c").write_text(SAY)
    subprocess.run(["gcc", "-o", program, tmp_path / "say.c"], check=True)

    def attempt() -> tuple[int, str]:
        become("alice")
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        said = subprocess.run([program, "/os/a"], stdout=descriptor, stderr=subprocess.PIPE, text=True)
        return said.returncode, said.stderr.strip()

    assert child(attempt) == (0, "")
    program.chmod(0o4755)
    assert child(attempt) == (1, "say: Operation not permitted")
    program.chmod(0o2755)  # of the group root
    assert child(attempt) == (1, "say: Operation not permitted")
    program.chmod(0o755)
    subprocess.run(["setcap", "cap_net_raw+ep", program], check=True)
    assert child(attempt) == (1, "say: Operation not permitted")


ROOT = ((0, 0, 0), (0, 0, 0), [0])
USER = ((1, 1, 1), (1, 1, 1), [1, 2])
PRIVILEGED = {
    "root": ROOT,
    "the saved uid": ((1, 1, 0), (1, 1, 1), [1, 2]),
    "the effective gid": ((1, 1, 1), (1, 0, 1), [1, 2]),
    "the saved gid": ((1, 1, 1), (1, 1, 0), [1, 2]),
    "the gid": ((1, 1, 1), (0, 1, 1), [1, 2]),
    "one group more": ((1, 1, 1), (1, 1, 1), [1, 2, 3]),
    "another group": ((1, 1, 1), (1, 1, 1), [1, 3]),
}


@pytest.mark.parametrize("writer", PRIVILEGED.values(), ids=PRIVILEGED)
def test_output_of_a_daemon(writer: tuple[tuple[int, int, int], tuple[int, int, int], list[int]]) -> None:
    """A descriptor that a user hands to who is more than the user: that one's process is not moved by it."""

    def opened() -> tuple[int, int]:
        return os.open(f"{PROC}/setchos", os.O_WRONLY), os.open(f"{PROC}/resetchos", os.O_WRONLY)

    def be(uids: tuple[int, int, int], gids: tuple[int, int, int], groups: list[int]) -> None:
        os.setgroups(groups)
        os.setresgid(*gids)
        os.setresuid(*uids)

    def daemon(who: tuple[tuple[int, int, int], tuple[int, int, int], list[int]]) -> tuple[list[str], tuple[str, str]]:
        receive, send = socket.socketpair()

        def user() -> None:
            be(*USER)
            socket.send_fds(send, [b"x"], list(opened()))

        child(user)
        setchos_file, reset = socket.recv_fds(receive, 1, 2)[1]
        be(*who)
        return [refused(os.write, reset, b"1"), refused(os.write, setchos_file, b"/os/a")], state()

    assert child(daemon, USER) == (["ok", "ok"], ("/os/a", "a"))
    assert child(daemon, writer) == (["EPERM", "EPERM"], ("/", "real"))


def test_no_chos_directory() -> None:
    """Without /chos there is nowhere to go, and leaving says so too."""
    os.rename("/chos", "/chos.away")
    try:
        assert child(both) == ["ENOENT", "ENOENT"]
        Path("/chos").write_text("")
        assert child(both) == ["ENOTDIR", "ENOTDIR"]
        os.unlink("/chos")
    finally:
        os.rename("/chos.away", "/chos")


def test_no_new_privileges() -> None:
    """They forbid gains of privilege, and entering is none."""

    def enter() -> tuple[str, str]:
        become("alice")
        LIBC.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
        assert LIBC.prctl(38, 1, 0, 0, 0) == 0
        setchos("/os/a")
        return state()

    assert child(enter) == ("/os/a", "a")


def test_nothing_is_gained() -> None:
    """The same ids and no capability, inside and back."""

    def identity() -> list[str]:
        names = ("Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:")
        return [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(names)]

    def enter() -> list[list[str]]:
        become("alice")
        seen = [identity()]
        for path in ("/os/a", "/"):
            setchos(path)
            seen.append(identity())
        return seen

    before, inside, after = child(enter)
    assert before == inside == after


def test_reset_is_harmless() -> None:
    """resetchos of who has nothing, twice."""

    def twice() -> tuple[str, str]:
        write("resetchos", "1")
        write("resetchos", "1")
        return state()

    assert child(twice) == ("/", "real")
