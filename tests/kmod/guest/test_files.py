"""The files of /proc/chos: what they are, what a write does, who may."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from chosfs import LIBC, PROC, REAL_ROOT, become, child, end, link, place, refused, setchos, state, write

pytestmark = pytest.mark.usefixtures("module")


def test_names_and_modes() -> None:
    """Those of the original, and no more."""
    modes = {name: stat.filemode(os.lstat(f"{PROC}/{name}").st_mode) for name in os.listdir(PROC)}
    assert modes == {
        "link": "lrwxrwxrwx",
        "setchos": "-rw-rw-rw-",
        "resetchos": "-rw-rw-rw-",
        "valid": "-rw-------",
        "version": "-r--r--r--",
        "savestate": "-rw-------",
    }


def test_version() -> None:
    """The line that chos --version prints."""
    version = subprocess.run(["modinfo", "-F", "version", "chos"], capture_output=True, text=True).stdout.strip()
    assert Path(f"{PROC}/version").read_text() == f"chos {version} Fork trapped\n"


def test_who_never_entered() -> None:
    """The base."""
    assert state() == ("/", "real")


@pytest.mark.parametrize("user", ["root", "alice"])
def test_enter_and_leave(user: str) -> None:
    """A, B, A again, and back, all from inside; each time the other OS tree's files."""

    def steps() -> list[tuple[str, str]]:
        become(user)
        seen = []
        for path in ("/os/a", "/os/b", "/os/a", "/"):
            setchos(path)
            seen.append(state())
        return seen

    assert child(steps) == [("/os/a", "a"), ("/os/b", "b"), ("/os/a", "a"), ("/", "real")]
    assert state() == ("/", "real")


def test_a_program_inside() -> None:
    """The tree's own shell, through the links of /chos; the same path inside and out; the base at /local."""

    def enter() -> list[str]:
        setchos("/os/b")
        script = """. /etc/os-release; echo $ID; cat /chos/os/a/etc/os-release
            . /local/etc/os-release; echo $ID; readlink /proc/chos/link"""
        return subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    base = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)["ID"]
    assert child(enter) == ["b", "ID=a", base, "/os/b"]


@pytest.mark.parametrize("path", ["/os/c", "/os", "/os/a/", "/os/a/..", "os/a", "/os/A", "-", "/os/ab"])
def test_not_on_the_list(path: str) -> None:
    """ENOENT, and everything as it was."""

    def attempt() -> tuple[str, tuple[str, str]]:
        setchos("/os/b")
        return refused(setchos, path), state()

    assert child(attempt) == ("ENOENT", ("/os/b", "b"))


def test_a_list_that_changes() -> None:
    """Who has a path keeps it when it goes from the list; nobody gets it any more."""

    def stay() -> tuple[str, str, str]:
        setchos("/os/a")
        child(write_as_base, b"-")
        return link(), refused(setchos, "/os/a"), link()

    def write_as_base(text: bytes) -> None:
        setchos("/")
        write("valid", text)

    assert child(stay) == ("/os/a", "ENOENT", "/os/a")
    assert Path(f"{PROC}/valid").read_text() == ""


def test_reset() -> None:
    """Forgets the own path: then the nearest ancestor's counts, then `/`. The root directory stays."""

    def inner() -> tuple[str, str]:
        setchos("/os/b")
        before = link()
        write("resetchos", "1")
        return before, link()

    def outer() -> tuple[tuple[str, str], str, bool]:
        setchos("/os/a")
        seen = child(inner)
        write("resetchos", "x")
        return seen, link(), (os.stat("/").st_dev, os.stat("/").st_ino) == REAL_ROOT

    assert child(outer) == (("/os/b", "/os/a"), "/", False)


def test_an_ancestor_that_enters_later() -> None:
    """A process that was there before sees its nearest ancestor's path, and stays where it is."""
    ready, go = os.pipe()

    def parent() -> tuple[str, str]:
        pid = os.fork()
        if pid == 0:
            os.read(ready, 1)
            os._exit(0 if state() == ("/os/a", "real") else 1)
        setchos("/os/a")
        os.write(go, b"x")
        return state()[0], str(os.waitpid(pid, 0)[1])

    assert child(parent) == ("/os/a", "0")
    os.close(ready)
    os.close(go)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"/os/a", "ok"),
        (b"/os/a\n", "ok"),
        (b"/os/a\0", "ok"),
        (b"/os/a\n\0", "ok"),
        (b"/os/a\0\n", "EINVAL"),
        (b"/os/a\n\n", "EINVAL"),
        (b"/os/a\0b", "EINVAL"),
        (b"/os/a\n/os/b\n", "EINVAL"),
        (b"", "EINVAL"),
        (b"\n", "EINVAL"),
        (b"\0", "EINVAL"),
        (b"/" * 4095, "ENOENT"),
        (b"/" * 4095 + b"\n\0", "ENOENT"),
        (b"/" * 4096, "ENAMETOOLONG"),
        (b"/" * 4098, "ENAMETOOLONG"),
        (b"/" * 1_000_000, "ENAMETOOLONG"),
    ],
    ids=lambda value: repr(value[:12]) + (f"*{len(value)}" if len(value) > 12 else "")
    if isinstance(value, bytes)
    else None,
)
def test_writes(data: bytes, answer: str) -> None:
    """One write is one command; what cannot be one changes nothing."""

    def attempt() -> tuple[str, tuple[str, str]]:
        return refused(write, "setchos", data), state()

    assert child(attempt) == (answer, ("/os/a", "a") if answer == "ok" else ("/", "real"))


def test_writes_in_pieces() -> None:
    """Two halves are two commands; on one descriptor each write counts by itself, wherever its offset is."""

    def attempt() -> list[str]:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        seen = [refused(os.write, descriptor, b"/os/"), refused(os.write, descriptor, b"a\n"), link()]
        seen += [refused(os.write, descriptor, b"/os/a\n"), link(), refused(os.write, descriptor, b"/os/b\n"), link()]
        return [*seen, refused(os.pwrite, descriptor, b"/os/a\n", 7), refused(os.lseek, descriptor, 3, 0)]

    assert child(attempt) == ["ENOENT", "ENOENT", "/", "ok", "/os/a", "ok", "/os/b", "ESPIPE", "ESPIPE"]


def test_the_list_at_odd_offsets() -> None:
    """`valid` can be read from anywhere, and a write means the same wherever reading has come to."""
    descriptor = os.open(f"{PROC}/valid", os.O_RDWR)
    os.lseek(descriptor, 3, os.SEEK_SET)
    assert os.write(descriptor, b"/os/c\n") == 6
    assert refused(os.pwrite, descriptor, b"/os/d\n", 12345) == "ESPIPE"
    assert os.pread(descriptor, 100, 0) == b"/os/a\n/os/b\n/os/c\n"
    assert os.pread(descriptor, 100, 7) == b"os/b\n/os/c\n"
    assert os.pread(descriptor, 3, 10) == b"b\n/"
    assert os.pread(descriptor, 100, 1000) == b""
    os.close(descriptor)


def test_bad_memory() -> None:
    """EFAULT for a buffer that is not there, and for one that ends too early."""
    descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
    for address in (1, 0xFFFF_8000_0000_0000):
        assert LIBC.write(descriptor, ctypes.c_void_p(address), ctypes.c_size_t(5)) == -1
        assert ctypes.get_errno() == errno.EFAULT
    os.close(descriptor)


def test_vectors() -> None:
    """writev: the kernel hands over piece by piece, and none is a path."""

    def attempt() -> str:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        return refused(os.writev, descriptor, [b"/os", b"/a"])

    assert child(attempt) == "ENOENT"


def test_the_list() -> None:
    """In order, without doubles; `-` empties it; `/` may be on it; what is no path is refused."""
    valid = Path(f"{PROC}/valid")
    assert valid.read_text() == "/os/a\n/os/b\n"
    for path in ("/os/c", "/os/a", "/"):
        write("valid", path)
    assert valid.read_text() == "/os/a\n/os/b\n/os/c\n/\n"
    assert [refused(write, "valid", text) for text in (b"os/d", b"/a\n/b\n", b"--", b"", b"/" + b"x" * 5000)] == [
        "EINVAL",
        "EINVAL",
        "EINVAL",
        "EINVAL",
        "ENAMETOOLONG",
    ]
    write("valid", "-\n")
    assert valid.read_text() == ""


def test_one_path_leaves_the_list() -> None:
    """`-` and a path removes that one, and no other; whoever is in it stays."""
    valid = Path(f"{PROC}/valid")

    def inside() -> list[str]:
        descriptor = os.open(valid, os.O_WRONLY)
        setchos("/os/a")
        os.write(descriptor, b"-/os/a\n")
        return [*state(), refused(setchos, "/os/a"), *state(), refused(setchos, "/os/b"), *state()]

    assert child(inside) == ["/os/a", "a", "ENOENT", "/os/a", "a", "ok", "/os/b", "b"]
    assert valid.read_text() == "/os/b\n"
    longest = b"/" + b"x" * 4094
    write("valid", longest)
    attempts = {
        b"-/os/a": "ENOENT",
        b"-/os": "ENOENT",
        b"-os/b": "EINVAL",
        b"--/os/b": "EINVAL",
        b"-" + longest + b"x": "ENAMETOOLONG",
        b"-" + longest + b"x\n\0": "ENAMETOOLONG",
        b"-" + longest + b"\n\0": "ok",
        b"-" + longest: "ENOENT",
    }
    assert {text: refused(write, "valid", text) for text in attempts} == attempts
    write("valid", "/os/a")
    assert valid.read_text() == "/os/b\n/os/a\n"


def test_ten_thousand_paths() -> None:
    """All are there, in order, and each can be entered."""
    write("valid", "-")
    paths = [f"/os/{'deep/' * (number % 7)}{number}" for number in range(10_000)]
    descriptor = os.open(f"{PROC}/valid", os.O_RDWR)
    for path in paths:
        os.write(descriptor, path.encode())
    os.close(descriptor)
    assert Path(f"{PROC}/valid").read_text().splitlines() == paths
    for path in (paths[0], paths[5_000], paths[-1]):

        def enter(path: str = path) -> str:
            setchos(path)
            return link()

        assert child(enter) == path


def test_who_may_change_the_list() -> None:
    """root. No user, nor one who may open everything, nor root of a user namespace, nor root without CAP_SYS_ADMIN."""

    def user() -> str:
        become("alice")
        return refused(os.open, f"{PROC}/valid", os.O_WRONLY)

    def powerful_user() -> list[str]:
        os.chmod(f"{PROC}/valid", 0o666)
        os.chmod(f"{PROC}/savestate", 0o666)
        become("alice")
        attempts = [("valid", "/os/c"), ("valid", "-"), ("valid", "-/os/a"), ("savestate", "1")]
        return [refused(write, name, text) for name, text in attempts]

    def given() -> str:
        descriptor = os.open(f"{PROC}/valid", os.O_WRONLY)
        become("alice")
        return refused(os.write, descriptor, b"/os/c")

    assert child(user) == "EACCES"
    assert child(given) == "EPERM"
    try:
        assert child(powerful_user) == ["EPERM"] * 4
    finally:
        os.chmod(f"{PROC}/valid", 0o600)
        os.chmod(f"{PROC}/savestate", 0o600)
    attempt = f"echo /os/c >{PROC}/valid"
    assert (
        subprocess.run(["setpriv", "--bounding-set=-sys_admin", "sh", "-c", attempt], capture_output=True).returncode
        != 0
    )
    assert subprocess.run(["unshare", "-Ur", "sh", "-c", attempt], capture_output=True).returncode != 0
    assert Path(f"{PROC}/valid").read_text() == "/os/a\n/os/b\n"


def test_savestate() -> None:
    """Refused, and the kernel's log says why; 0, which is what is, may be written."""
    assert Path(f"{PROC}/savestate").read_text() == "0\n"
    write("savestate", "0\n")
    assert refused(write, "savestate", "2\n") == "EINVAL"
    assert refused(write, "savestate", "1\n") == "ENOTSUP"
    assert "savestate: processes cannot keep" in subprocess.run(["dmesg"], capture_output=True, text=True).stdout


PROGRAM_32 = r"""
static int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}
void _start(void)
{
    static char text[100];
    int result = call(4, 3, "/os/a\n", 6), length;
    if (result == 6) {
        length = call(85, (int)"/proc/chos/link", text, sizeof(text));
        result = call(4, 1, text, length) == length ? 0 : 99;
    }
    for (;;) call(1, result < 0 ? -result : result, 0, 0);
}
"""


def test_a_32_bit_caller(tmp_path: Path) -> None:
    """The same interface."""
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM_32)
    subprocess.run(
        ["gcc", "-m32", "-nostdlib", "-static", "-fno-pic", "-fno-stack-protector", "-o", program, source], check=True
    )

    def attempt() -> str:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        os.dup2(descriptor, 3)
        return subprocess.run([program], capture_output=True, text=True, pass_fds=[3], check=True).stdout

    try:
        assert child(attempt) == "/os/a"
    except AssertionError as error:
        if "Exec format error" in str(error):
            pytest.skip("this kernel runs no 32-bit programs")
        raise


def test_debug_and_the_log() -> None:
    """With `debug` every command is in the kernel's log; without, nothing is."""

    def log() -> list[str]:
        lines = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
        return [line.split("chos: ", 1)[1] for line in lines if "] setchos" in line]

    before = len(log())
    child(setchos, "/os/a")
    assert len(log()) == before
    Path("/sys/module/chos/parameters/debug").write_text("1")
    child(setchos, "/os/a")
    child(refused, setchos, "/os/c")
    assert [line.split("] ")[1] for line in log()[before:]] == ["setchos /os/a: 0", f"setchos /os/c: -{errno.ENOENT}"]


def test_killed_inside() -> None:
    """A process that is killed leaves nothing."""

    def stay() -> None:
        setchos("/os/a")
        os.write(go, b"x")
        os.read(never, 1)

    ready, go = os.pipe()
    never, never_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        stay()
        os._exit(0)
    os.read(ready, 1)
    end(pid)
    for descriptor in (ready, go, never, never_end):
        os.close(descriptor)
    assert place() == "real"
