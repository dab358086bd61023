"""A worker that fails, dies, hangs or babbles costs its parent one error, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import prctl
import pytest

from chosns import errors
from chosns.errors import BuildError, ChosError, PlanError, TreeError, UnsupportedError
from chosns.mounts.worker import Worker
from chosns.system import syscalls


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test ends with the descriptors and children that it began with."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def start(main: Callable[[Worker], None], limit: float = 10.0) -> Worker:
    return Worker(main, "el9", limit)


def shell(script: str) -> Callable[[Worker], None]:
    return lambda worker: become(worker, "/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"})


def become(worker: Worker, path: str, arguments: list[str], environment: dict[str, str]) -> None:
    worker.become(path, arguments, environment, os.open("/dev/null", os.O_RDWR))


def hang(_: Worker) -> None:
    time.sleep(60)


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def test_a_conversation() -> None:
    def main(worker: Worker) -> None:
        worker.send("one", number=1, text="é\n\udcff", items=[1, 2])
        order = worker.wait()
        worker.send("two", order=order)
        assert worker.wait() == ""

    with start(main) as worker:
        assert worker.expect("one") == {"what": "one", "number": 1, "text": "é\n\udcff", "items": [1, 2]}
        worker.tell("go on")
        assert worker.expect("two")["order"] == "go on"
        pid = worker.pid
    assert gone(pid)


def test_two_reports_in_one_breath_and_one_in_many() -> None:
    def main(worker: Worker) -> None:
        worker.send("one")
        worker.send("two", text="x" * 300_000)  # more than a pipe holds

    with start(main) as worker:
        worker.expect("one")
        assert len(worker.expect("two")["text"]) == 300_000
        worker.finish()


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ChosError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_the_same_on_both_sides(kind: type[ChosError]) -> None:
    def main(_: Worker) -> None:
        raise kind("is broken", object="/srv/os/el9", hint="mend it")

    with start(main) as worker, pytest.raises(ChosError) as caught:
        worker.expect("planned")
    assert type(caught.value) is kind
    assert caught.value.to_json() == {"error": "is broken", "object": "/srv/os/el9", "hint": "mend it"}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(5, "Input/output error", "/os"), "^el9: Input/output error: /os$"),
        (ValueError("x"), "ValueError: x"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_any_other_exception_is_a_build_error(error: BaseException, words: str) -> None:
    def main(_: Worker) -> None:
        raise error

    with start(main) as worker, pytest.raises(BuildError, match=words) as caught:
        worker.expect("planned")
    assert caught.value.object == "el9"


def test_an_error_in_the_middle() -> None:
    def main(worker: Worker) -> None:
        worker.send("planned")
        worker.wait()
        raise PlanError("no")

    with start(main) as worker:
        worker.expect("planned")
        worker.tell("build")
        with pytest.raises(PlanError, match="no"):
            worker.expect("namespace")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_killed(number: signal.Signals) -> None:
    def main(_: Worker) -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    with start(main) as worker, pytest.raises(BuildError, match=f"killed by signal {int(number)}") as caught:
        worker.expect("planned")
    assert caught.value.object == "el9"


def test_a_worker_that_just_ends() -> None:
    with start(lambda _: os._exit(3)) as worker, pytest.raises(BuildError, match="status 3"):
        worker.expect("planned")
    with start(lambda _: None) as worker, pytest.raises(BuildError, match="status 0"):
        worker.expect("planned")


def test_half_a_report_is_none() -> None:
    def main(worker: Worker) -> None:
        os.write(worker._report, b'{"what": "plan')

    with start(main) as worker, pytest.raises(BuildError, match="ended unexpectedly"):
        worker.expect("planned")


def test_orders_for_the_dead() -> None:
    """Whoever is told to go on may be dead: that is for `expect` to say, not for a broken pipe."""

    def main(worker: Worker) -> None:
        worker.send("planned")
        os.kill(os.getpid(), signal.SIGKILL)

    with start(main) as worker:
        worker.expect("planned")
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        worker.tell("build")
        with pytest.raises(BuildError, match="killed by signal 9"):
            worker.expect("namespace")


def test_a_worker_that_hangs() -> None:
    started = time.monotonic()
    with start(hang, limit=0.2) as worker:
        pid = worker.pid
        with pytest.raises(BuildError, match="no answer within") as caught:
            worker.expect("planned")
    assert 0.2 <= time.monotonic() - started < 5
    assert "server that does not answer" in caught.value.hint
    assert gone(pid)


def test_the_limit_is_for_the_whole_work() -> None:
    def main(worker: Worker) -> None:
        while True:
            worker.send("tick")
            time.sleep(0.02)

    started = time.monotonic()
    with start(main, limit=0.3) as worker, pytest.raises(BuildError, match="no answer within"):
        while time.monotonic() < started + 5:
            worker.expect("tick")
            time.sleep(0.05)
    assert time.monotonic() - started < 5


def test_the_limit_is_for_a_program_that_talks_all_the_time_too() -> None:
    started = time.monotonic()
    with start(shell("while :; do echo x; done"), limit=0.3) as worker, pytest.raises(BuildError, match="no answer"):
        worker.finish()
    assert time.monotonic() - started < 5


def test_half_a_report_and_then_nothing() -> None:
    def main(worker: Worker) -> None:
        os.write(worker._report, b"{")
        hang(worker)

    with start(main, limit=0.2) as worker, pytest.raises(BuildError, match="no answer within"):
        worker.expect("planned")


def test_a_worker_that_ignores_signals_is_gone_after_the_block() -> None:
    def main(worker: Worker) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        worker.send("ready")
        hang(worker)

    with start(main) as worker:
        worker.expect("ready")
        pid = worker.pid
    assert gone(pid)


def test_an_error_of_the_parents_ends_the_worker() -> None:
    with pytest.raises(TreeError), start(hang) as worker:
        pid = worker.pid
        raise TreeError("of its own")
    assert gone(pid)


def test_a_program_that_runs() -> None:
    with start(shell(":")) as worker:
        worker.finish()
    with start(shell("echo talkative; echo very >&2")) as worker:
        worker.finish()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo last words >&2; exit 3", r"does not run \(status 3\): last words$"),
        ("echo on stdout; exit 1", "on stdout"),
        ("exit 127", r"does not run \(status 127\)$"),
        ("kill -11 $$", "killed by signal 11"),
    ],
)
def test_a_program_that_fails_has_its_last_words(script: str, words: str) -> None:
    with start(shell(script)) as worker, pytest.raises(BuildError, match=words) as caught:
        worker.finish()
    assert caught.value.object == "el9"
    assert "architecture" in caught.value.hint


def test_a_program_that_cannot_be_executed() -> None:
    def main(worker: Worker) -> None:
        become(worker, "/nothing", ["x"], {})

    with (
        start(main) as worker,
        pytest.raises(BuildError, match=r"\(status 127\): /nothing: No such file or directory$"),
    ):
        worker.finish()


def test_a_program_that_never_ends() -> None:
    with start(shell("exec sleep 60"), limit=0.3) as worker:
        pid = worker.pid
        with pytest.raises(BuildError, match="no answer within"):
            worker.finish()
    assert gone(pid)


def test_a_program_that_never_stops_talking_does_not_fill_the_memory() -> None:
    """The tree's shell is the first of its code to run: what it says is cut, not kept."""
    script = "head -c 60000000 /dev/zero | tr '\\0' x; echo END; exit 1"
    with start(shell(script), limit=60) as worker:
        before = _high_water()
        with pytest.raises(BuildError, match="END$") as caught:
            worker.finish()
        assert _high_water() - before < 10_000
    assert len(caught.value.message) < 400


def _high_water() -> int:
    """The most memory that this process ever had, in kB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


def test_what_a_program_inherits() -> None:
    """Nothing on standard input, the report on the others; no descriptor of its caller."""
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    script = "readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '; env; exit 1"
    try:
        with start(shell(script)) as worker, pytest.raises(BuildError) as caught:
            worker.finish()
    finally:
        os.close(secret)
    assert ": /dev/null" in caught.value.message
    assert "0 1 2 3 PATH" in caught.value.message  # 3 is the directory that ls reads
    assert "HOME=" not in caught.value.message


def test_the_worker_ends_with_its_parent() -> None:
    report, far = os.pipe()
    middle = os.fork()
    if middle == 0:
        worker = start(hang).__enter__()
        os.write(far, str(worker.pid).encode())
        os._exit(0)
    os.close(far)
    os.waitpid(middle, 0)
    pid = int(os.read(report, 32))
    os.close(report)
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and _state(pid) != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(pid) or _state(pid) == "Z"  # its new parent may be slow to reap


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"


def test_many_workers_one_after_the_other() -> None:
    for number in range(20):
        with start(lambda worker: worker.send("hello")) as worker:
            worker.expect("hello")
            if number % 2:
                worker.finish()


def test_whoever_has_very_many_descriptors() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 2048:
        pytest.skip("this machine does not allow so many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, limits[1]))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with start(shell("exit 3")) as worker, pytest.raises(BuildError, match="status 3"):
            worker.finish()
    finally:
        for fd in many:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_unsupported_is_among_the_kinds() -> None:
    assert UnsupportedError in KINDS
    assert ChosError in KINDS


def test_one_that_hangs_is_recognised_in_ps() -> None:
    """By the environment's name, and by as much of a long one as the kernel takes."""

    def tell(worker: Worker) -> None:
        with open("/proc/self/comm") as file:
            worker.send("name", text=file.read())

    for name, shown in (("el9", "chos:el9\n"), ("a-very-long-name", "chos:a-very-lon\n")):
        with Worker(tell, name, 10.0) as worker:
            assert worker.expect("name")["text"] == shown


def test_it_ends_with_its_parent() -> None:
    def tell(worker: Worker) -> None:
        worker.send("signal", number=prctl.get_pdeathsig())

    with start(tell) as worker:
        assert worker.expect("signal")["number"] == signal.SIGKILL


def test_without_python_prctl_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed to give up rights, so there is no way on without it."""
    monkeypatch.setitem(sys.modules, "prctl", None)  # type: ignore[misc]
    with pytest.raises(UnsupportedError, match="module prctl is missing") as caught, start(hang):
        pass
    assert "python3-prctl" in caught.value.hint


def test_it_is_imported_before_the_child_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child may be in a tree when it needs it, and can import nothing there."""

    def use(worker: Worker) -> None:
        sys.meta_path.clear()
        syscalls.die_with_parent(signal.SIGKILL)
        worker.send("done")

    monkeypatch.delitem(sys.modules, "prctl", raising=False)
    with start(use) as worker:
        worker.expect("done")


def test_who_prepares_nothing_does_not_import_it() -> None:
    code = "import sys, chosns.cli.lifecycle, chosns.cli.observe; print(*sys.modules)"
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True).stdout
    assert "prctl" not in found.split()
