"""Who has ended: by the kernel's process events where they are to be had, else by looking again."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chosns.observe import endings

ROOT = Path(__file__).resolve().parents[2]
LONG = 600.0  # seconds: nothing here takes them


@pytest.fixture
def events() -> Iterator[endings.Events]:
    try:
        found = endings.Events()
    except endings.NoEvents as error:
        pytest.skip(f"no process events here: {error}")
    with found:
        yield found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its standard input is closed."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def test_the_end_of_a_process_is_told(
    events: endings.Events, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else ends this wait: it looks again much later."""
    monkeypatch.setattr(endings, "_RECHECK", LONG)
    assert sleeper.stdin
    sleeper.stdin.close()
    events.wait({sleeper.pid}, LONG)


def test_an_end_before_the_wait_is_told_too(
    events: endings.Events, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lost wake-up: from the subscription on, what ends is kept until it is asked for."""
    monkeypatch.setattr(endings, "_RECHECK", LONG)
    sleeper.kill()
    sleeper.wait()
    events.wait({sleeper.pid}, LONG)


def test_children_are_waited_for_too(events: endings.Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "_RECHECK", LONG)
    # The parent ends once it has read a line, its child when the pipe is closed.
    command = ["sh", "-c", "read go; (cat; echo ended >&2) <&0 &"]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdin and parent.stderr
    parent.stdin.write("go\n")
    parent.stdin.flush()
    parent.wait()
    parent.stdin.close()
    events.wait({parent.pid}, LONG)
    os.set_blocking(parent.stderr.fileno(), False)
    assert parent.stderr.read() == "ended\n"


def test_lost_events_are_looked_for(events: endings.Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOBUFS: the socket's buffer was full. Whoever waits looks at the processes again."""

    def full(_fd: int, _size: int) -> bytes:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(endings, "_RECHECK", LONG)
    monkeypatch.setattr(endings.Events, "_readable", lambda _self, _seconds: True)
    monkeypatch.setattr(endings.os, "read", full)  # type: ignore[attr-defined]
    events.wait({os.getpid()}, LONG)


def test_it_looks_again_all_the_same(events: endings.Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may leave an environment without ending."""
    monkeypatch.setattr(endings, "_RECHECK", 0.01)
    events.wait({os.getpid()}, LONG)


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        (["unshare", "--net"], "net namespace"),
        (["unshare", "--pid", "--fork"], "pid namespace"),
        (["unshare", "--user", "--map-root-user"], "user namespace"),
    ],
)
def test_elsewhere_it_looks_again_and_says_why(prefix: list[str], why: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes namespaces")
    code = "from chosns.observe.endings import watch; found = watch(); print(type(found).__name__, found.why)"
    if why.startswith("net"):
        pytest.importorskip("pyroute2.netlink.connector.cn_proc")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"Polling this is not the machine's own {why}")
    assert done.stderr == ""


def test_without_pyroute2_or_with_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12 has 0.7.2, which knows no process events."""
    monkeypatch.setattr(endings, "_OWN", {})
    monkeypatch.setitem(sys.modules, "pyroute2.netlink.connector", None)  # type: ignore[misc]
    found = endings.watch()
    assert isinstance(found, endings.Polling)
    assert found.why.startswith("pyroute2 0.7.12 or later is not installed")


def test_a_kernel_that_refuses_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel answers to a subscription has its error in it, or there is none."""
    cn_proc = pytest.importorskip("pyroute2.netlink.connector.cn_proc")
    monkeypatch.setattr(endings, "_OWN", {})
    answer = bytearray(76)
    struct.pack_into("=I", answer, 52, errno.EPERM)
    for said, why in ((bytes(answer), "CAP_NET_ADMIN"), (b"", "did not answer")):
        monkeypatch.setattr(endings.Events, "_ask", lambda _self, _what: None)
        monkeypatch.setattr(endings.Events, "_readable", lambda _self, _seconds, said=said: bool(said))
        monkeypatch.setattr(endings.os, "read", lambda _fd, _size, said=said: said)  # type: ignore[attr-defined]
        monkeypatch.setattr(cn_proc.ProcEventSocket, "bind", lambda _self: None)
        with pytest.raises(endings.NoEvents, match=why):
            endings.Events()


def test_looking_again_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(endings.time, "sleep", slept.append)  # type: ignore[attr-defined]
    polling = endings.Polling("why")
    polling.wait({1}, 0.25)
    polling.wait({1}, LONG)
    assert slept == [0.25, 1.0]


def test_who_does_not_wait_pays_nothing() -> None:
    """pyroute2 takes longer to import than `chosctl up` takes."""
    code = "import sys, chosns.cli.lifecycle, chosns.cli.observe, chosns.cli.processes; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not {"pyroute2", "chosns.observe.endings", "chosns.node.waiting"} & set(found.split())
