"""Nobody gains a right inside, whichever way leads to a program of the base; and outside everybody does as before."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from chosfs import (
    LIBC,
    PROC,
    Child,
    become,
    call,
    child,
    load,
    mount,
    parameter,
    place,
    refused,
    setchos,
    state,
    unload,
    unmount,
    wait_for,
    write,
)
from gains import LANDLOCK_TSYNC, SECCOMP_TSYNC, ask_no_new_privs, install_filter, no_new_privs, restrict, traps

pytestmark = pytest.mark.usefixtures("module")
DIRECTORY = "/usr/local/gains"
STATUS = "while read -r key value; do if [ $key = $1 ]; then echo $value; fi; done </proc/self/status"


@pytest.fixture(autouse=True, scope="module")
def programs(trees: None) -> None:
    """See gains.traps()."""
    traps()


@pytest.fixture
def clears(module: None) -> bool:
    """Whether leaving takes no_new_privs away again: where the module cannot see who else wants it, it never does."""
    return parameter("clears") == "Y"


@pytest.fixture(params=["", "nosuid"])
def tree(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tree as it is, and mounted nosuid."""
    if request.param:
        subprocess.run("mount --bind /os/a /os/a; mount -o remount,bind,nosuid /os/a", shell=True, check=True)
    yield
    if request.param:
        subprocess.run(["umount", "-l", "/os/a"], check=True)


def output(*command: str, executable: str | None = None, fds: tuple[int, ...] = ()) -> str:
    """What a program says."""
    return subprocess.run(command, executable=executable, stdout=subprocess.PIPE, text=True, pass_fds=fds).stdout


def from_the_working_directory(name: str) -> str:
    os.chdir(DIRECTORY)
    setchos("/os/a")
    return output(f"./{name}")


def by_a_descriptor(name: str) -> str:
    descriptor = os.open(f"{DIRECTORY}/{name}", os.O_RDONLY)
    setchos("/os/a")
    return output(name, executable=f"/proc/self/fd/{descriptor}", fds=(descriptor,))


def by_a_siblings_root(name: str) -> str:
    sibling = subprocess.Popen(["/usr/bin/sleep", "1000"])
    try:
        setchos("/os/a")
        return output(f"/proc/{sibling.pid}/root{DIRECTORY}/{name}")
    finally:
        sibling.kill()
        sibling.wait()


def by_a_thread(name: str) -> str:
    """Which entered alone, and whose program takes the whole process."""
    os.chdir(DIRECTORY)
    read, pipe = os.pipe()

    def enter() -> None:
        setchos("/os/a")
        os.dup2(pipe, 1)
        os.execv(f"./{name}", [name])

    def run() -> None:
        threading.Thread(target=enter).start()
        threading.Event().wait()

    Child(run)
    os.close(pipe)
    with os.fdopen(read) as file:
        return file.read()


WAYS = [from_the_working_directory, by_a_descriptor, by_a_siblings_root, by_a_thread]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("name", ["uid", "gid", "capability"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_program_of_the_base_with_the_trees_loader(way: Callable[[str], str], name: str) -> None:
    """The tree's loader runs as the user: with no uid, group or capability of the program's."""

    def attempt() -> tuple[str, int, int]:
        become("alice")
        return way(name), os.getuid(), os.getgid()

    said, uid, gid = child(attempt)
    assert said == f"{uid} {gid} 0 "


def test_su_itself() -> None:
    """It got the uid 0 on the way to its loader."""

    def attempt() -> tuple[str, int]:
        become("alice")
        os.chdir("/usr/bin")
        setchos("/os/a")
        return output("./su", "--version"), os.getuid()

    said, uid = child(attempt)
    assert said.split()[0] == str(uid)


@pytest.mark.parametrize("user", ["root", "alice"])
def test_set_inside_and_cleared_outside(user: str, clears: bool) -> None:
    """A to B and the base: set all the while, and then as it was."""

    def steps() -> list[bool]:
        become(user)
        seen = [no_new_privs()]
        for path in ("/os/a", "/os/b", "/os/b", "/", "/", "/os/a", "/"):
            setchos(path)
            seen.append(no_new_privs())
        return seen

    kept = not clears
    assert child(steps) == [False, True, True, True, kept, kept, True, kept]


def test_after_leaving_programs_gain_again(clears: bool) -> None:
    """sudo, su and chos with its capabilities work on the base, also for who comes from inside."""

    def steps() -> list[str]:
        become("alice")
        setchos("/os/a")
        setchos("/")
        return [output(f"{DIRECTORY}/uid", "-u").strip(), output(f"{DIRECTORY}/capability", "-u").strip()]

    uid, other = child(steps)
    assert uid == ("0" if clears else other)


def test_root_keeps_its_capabilities() -> None:
    """Who has all gains nothing by executing a program, and loses nothing."""

    def enter() -> tuple[str, str]:
        def capabilities() -> str:
            command = [
                "/bin/sh",
                "-c",
                "while read -r a b; do case $a in CapEff:) echo $b;; esac; done </proc/self/status",
            ]
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

        before = capabilities()
        setchos("/os/a")
        return before, capabilities()

    before, inside = child(enter)
    assert before == inside and before.strip("0\n")


def test_who_had_it_keeps_it() -> None:
    def steps() -> list[bool]:
        ask_no_new_privs()
        setchos("/os/a")
        setchos("/os/b")
        setchos("/")
        return [no_new_privs(), child(no_new_privs)]

    assert child(steps) == [True, True]


def leave_after(restriction: Callable[[], object]) -> tuple[object, list[bool]]:
    """Whether no_new_privs is still set after leaving, and after another visit."""

    def steps() -> tuple[object, list[bool]]:
        become("alice")
        setchos("/os/a")
        answer = restriction()
        seen = []
        for path in ("/", "/os/b", "/"):
            setchos(path)
            seen.append(no_new_privs())
        return answer, seen

    return child(steps)  # type: ignore[no-any-return]


@pytest.mark.parametrize("restriction", [ask_no_new_privs, install_filter, restrict], ids=lambda way: way.__name__)
def test_a_restriction_that_came_since_stays(restriction: Callable[[], object]) -> None:
    """A process that was confined inside cannot get out of it by leaving: prctl(2), seccomp(2), Landlock."""
    answer, seen = leave_after(restriction)
    if answer is False:
        pytest.skip("this kernel has no Landlock")
    assert seen == [True, True, True]


@pytest.mark.parametrize("restriction", [ask_no_new_privs, install_filter, restrict], ids=lambda way: way.__name__)
def test_children_of_the_confined(restriction: Callable[[], object]) -> None:
    """Nor can its children, nor programs that it executes."""

    def confined() -> tuple[object, bool]:
        return restriction(), child(lambda: child(leave))

    def leave() -> bool:
        setchos("/")
        return no_new_privs()

    def enter() -> tuple[object, bool]:
        setchos("/os/a")
        return child(confined)  # type: ignore[no-any-return]

    answer, kept = child(enter)
    if answer is False:
        pytest.skip("this kernel has no Landlock")
    assert kept


def test_other_calls_of_prctl_do_not_count(clears: bool) -> None:
    """Naming a thread and the like asks for nothing."""

    def name() -> None:
        assert LIBC.prctl(15, b"name", 0, 0, 0) == 0

    _, seen = leave_after(name)
    assert seen == [not clears, True, not clears]


@pytest.mark.parametrize("flags", [0, LANDLOCK_TSYNC], ids=["itself", "all threads"])
def test_landlock_by_another_thread(flags: int) -> None:
    """It may have been for all threads; who left before is restricted by the kernel itself."""

    def enter() -> tuple[bool, bool]:
        setchos("/os/a")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(restrict(flags)))
        thread.start()
        thread.join()
        setchos("/")
        return answers[0], no_new_privs()

    answer, kept = child(enter)
    if not answer:
        pytest.skip("this kernel has no such Landlock")
    assert kept


def test_a_filter_for_all_threads() -> None:
    """seccomp's TSYNC reaches a thread that is inside, and it stays without gains outside."""

    def enter() -> bool:
        setchos("/os/a")
        thread = threading.Thread(target=install_filter, args=(SECCOMP_TSYNC,))
        thread.start()
        thread.join()
        setchos("/")
        return no_new_privs()

    assert child(enter) is True


def test_children_and_threads(clears: bool) -> None:
    """What the module set is handed on as such: each leaves for itself, and nobody else is touched."""

    def leave() -> list[object]:
        before = no_new_privs()
        setchos("/")
        return [before, no_new_privs()]

    def in_a_thread() -> list[object]:
        seen: list[list[object]] = []
        thread = threading.Thread(target=lambda: seen.append(leave()))
        thread.start()
        thread.join()
        return seen[0]

    def enter() -> list[object]:
        before = no_new_privs()
        setchos("/os/a")
        return [before, child(leave), child(lambda: child(leave)), in_a_thread(), no_new_privs(), leave()]

    left = [True, not clears]
    assert child(enter) == [False, left, left, left, True, left]


def test_a_thread_that_enters_binds_itself() -> None:
    """Its siblings stay on the base, and gain what they gained."""

    def enter() -> list[object]:
        seen: list[object] = []

        def thread() -> None:
            setchos("/os/a")
            seen.append(no_new_privs())

        other = threading.Thread(target=thread)
        other.start()
        other.join()
        return [*seen, no_new_privs(), place()]

    assert child(enter) == [True, False, "real"]


def test_who_enters_beside_other_threads_keeps_it() -> None:
    """One of them may be restricting all in that moment."""

    def enter() -> list[bool]:
        done = threading.Event()
        other = threading.Thread(target=done.wait)
        other.start()
        seen = []
        for path in ("/os/a", "/"):
            setchos(path)
            seen.append(no_new_privs())
        done.set()
        other.join()
        setchos("/")
        return [*seen, no_new_privs()]

    assert child(enter) == [True, True, True]


def test_without_the_right_to_clear() -> None:
    """With `clears=N`, and where the kernel lacks what the module needs for it."""
    unmount()
    unload()
    load("clears=N")
    mount()
    write("valid", "/os/a")

    def steps() -> list[bool]:
        seen = [no_new_privs()]
        for path in ("/os/a", "/"):
            setchos(path)
            seen.append(no_new_privs())
        return seen

    assert parameter("clears") == "N"
    assert child(steps) == [False, True, True]


def test_a_program_that_another_thread_executes(clears: bool) -> None:
    """The thread's own mark goes on in it."""
    script = "echo / >/proc/chos/setchos; " + STATUS

    def enter() -> str:
        read, pipe = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(pipe, 1)
            setchos("/os/a")

            def thread() -> None:
                setchos("/os/b")
                os.execv("/bin/sh", ["sh", "-c", script, "sh", "NoNewPrivs:"])

            threading.Thread(target=thread).start()
            threading.Event().wait()
        os.close(pipe)
        os.waitpid(pid, 0)
        with os.fdopen(read) as file:
            return file.read().strip()

    assert child(enter) == ("0" if clears else "1")


def test_reset_forgets_the_path_only(clears: bool) -> None:
    """The root directory stays, and so does no_new_privs, to be cleared when the task leaves."""

    def steps() -> list[bool]:
        setchos("/os/a")
        write("resetchos", "1")
        seen = [no_new_privs()]
        setchos("/")
        return [*seen, no_new_privs()]

    assert child(steps) == [True, not clears]


def test_who_could_not_enter_is_as_before() -> None:
    """No path on the list, no /chos, another root directory: nothing is set."""

    def attempts() -> list[object]:
        seen: list[object] = [refused(setchos, "/os/c"), no_new_privs()]
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        os.chroot("/os/c")
        return [*seen, refused(os.write, descriptor, b"/os/a"), no_new_privs()]

    assert child(attempts) == ["ENOENT", False, "EPERM", False]
    os.rename("/chos", "/chos.away")
    try:
        assert child(lambda: [refused(setchos, "/os/a"), no_new_privs()]) == ["ENOENT", False]
    finally:
        os.rename("/chos.away", "/chos")


def test_who_has_a_filter_and_could_not_enter_is_as_before() -> None:
    """A container's manager installs a filter without no_new_privs, as root may: what is refused must not add it."""

    def attempt() -> list[object]:
        install_filter()
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        os.chroot("/os/c")
        return [no_new_privs(), refused(os.write, descriptor, b"/os/a"), no_new_privs()]

    assert child(attempt) == [False, "EPERM", False]


def test_who_was_there_by_chroot(clears: bool) -> None:
    """Root's chroot(8) to /chos sets nothing; a write to setchos from there does."""

    def steps() -> list[object]:
        descriptor = os.open(f"{PROC}/setchos", os.O_WRONLY)
        os.chroot("/chos")
        os.chdir("/")
        seen: list[object] = [no_new_privs()]
        os.write(descriptor, b"/os/a")
        seen += [state(), no_new_privs()]
        os.write(descriptor, b"/")
        return [*seen, no_new_privs()]

    assert child(steps) == [False, ("/os/a", "a"), True, not clears]


def test_a_tracer_outside() -> None:
    """A process of the base may trace one that is inside; that makes neither of them gain anything."""
    attach, detach = 16, 17
    ready, go = os.pipe()
    release, release_end = os.pipe()

    def enter() -> str:
        become("alice")
        LIBC.prctl(4, 1, 0, 0, 0)  # dumpable, or the user may not trace it
        os.chdir(DIRECTORY)
        setchos("/os/a")
        os.write(go, b"x")
        os.read(release, 1)
        return output("./uid")

    def trace(pid: int) -> tuple[bool, str]:
        become("alice")
        call("ptrace", attach, pid, None, None)
        os.waitpid(pid, 0)
        call("ptrace", detach, pid, None, None)
        return no_new_privs(), output(f"{DIRECTORY}/uid", "-u").strip()

    process = Child(enter)
    os.read(ready, 1)
    assert child(trace, process.pid) == (False, "0")
    os.write(release_end, b"x")
    assert process.result().split()[0] != "0"
    for descriptor in (ready, go, release, release_end):
        os.close(descriptor)


def test_forks_while_a_thread_enters_and_leaves() -> None:
    """Each child is what its maker was: outside and free, or inside and bound; never inside and free."""

    def look(seen: list[tuple[str, bool]]) -> None:
        seen.append(child(lambda: (place(), no_new_privs())))

    def run() -> tuple[set[tuple[str, bool]], set[tuple[str, bool]]]:
        outside: list[tuple[str, bool]] = []
        moving: list[tuple[str, bool]] = []
        done = threading.Event()

        def stay() -> None:
            while not done.is_set():
                look(outside)

        other = threading.Thread(target=stay)
        other.start()
        for number in range(60):
            setchos("/os/a" if number % 2 else "/")
            look(moving)
        wait_for(lambda: len(outside) > 10, "children of the other thread")
        done.set()
        other.join()
        return set(outside), set(moving)

    outside, moving = child(run)
    assert outside == {("real", False)}
    assert moving == {("real", False), ("a", True), ("real", True)}
