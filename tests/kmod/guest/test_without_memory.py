"""Memory that cannot be had: no child is silently outside, nobody is half inside. Needs a kernel with failslab."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from chosfs import Child, child, link, load, mount, parameter, place, refused, setchos, state, unload, unmount, wait_for

FAILSLAB = Path("/sys/kernel/debug/failslab")
RESERVE = 256  # entries that the module keeps for such times

pytestmark = [
    pytest.mark.usefixtures("module"),
    pytest.mark.skipif(not FAILSLAB.exists(), reason="this kernel has no failslab"),
]


def failing(*, atomic_only: bool) -> None:
    """From now on, allocations of this process and its children fail: those that must not wait, or all."""
    settings = {
        "task-filter": "Y",
        "probability": "100",
        "interval": "1",
        "times": "-1",
        "space": "0",
        "verbose": "0",
        "ignore-gfp-wait": "Y" if atomic_only else "N",
        "cache-filter": "N",
    }
    for name, value in settings.items():
        (FAILSLAB / name).write_text(value)


@pytest.fixture(autouse=True)
def settings() -> None:
    failing(atomic_only=True)


def fail_me(on: bool) -> None:
    Path("/local/proc/self/make-it-fail" if place() != "real" else "/proc/self/make-it-fail").write_text(
        "1" if on else "0"
    )


def test_children_without_memory() -> None:
    """The reserve serves: each child is inside."""

    def enter() -> list[tuple[str, str]]:
        setchos("/os/a")
        fail_me(True)
        children = [Child(state) for _ in range(20)]
        seen = [process.result() for process in children]
        fail_me(False)
        return seen

    assert child(enter) == [("/os/a", "a")] * 20
    assert parameter("lost") == "0"


def test_when_the_reserve_is_used_up() -> None:
    """A child that could not be recorded finds nothing at all (EIO), not the base, not an ancestor's environment."""

    def look() -> tuple[str, str]:
        try:
            return ("found", link())
        except OSError:
            return ("EIO", refused(os.stat, "/bin/sh"))

    def enter() -> set[tuple[str, str]]:
        setchos("/os/a")
        fail_me(True)
        go = threading.Event()
        threading.stack_size(65536)
        threads = [threading.Thread(target=go.wait) for _ in range(RESERVE + 20)]
        for thread in threads:
            thread.start()
        answers = {process.result() for process in [Child(look) for _ in range(5)]}
        fail_me(False)
        go.set()
        for thread in threads:
            thread.join()
        return answers

    answers = child(enter)
    assert answers == {("EIO", "EIO")}
    assert int(parameter("lost")) >= 20
    # Others are not concerned.
    assert child(state) == ("/", "real")

    def later() -> tuple[tuple[str, str], tuple[str, str]]:
        setchos("/os/b")
        return state(), child(state)

    assert child(later) == (("/os/b", "b"), ("/os/b", "b"))


def test_entering_fails_as_a_whole() -> None:
    """setchos at each possible failure: it says so and changes nothing, or it succeeds and is complete."""

    def attempts() -> set[tuple[str, str, str]]:
        seen = set()
        before = ("/", "real")
        for nth in range(1, 25):
            descriptor = os.open("/proc/chos/setchos", os.O_WRONLY)
            control = os.open(f"/proc/self/task/{os.getpid()}/fail-nth", os.O_RDWR)
            os.pwrite(control, str(nth).encode(), 0)
            answer = refused(os.write, descriptor, b"/os/a")
            left = os.pread(control, 20, 0)
            os.pwrite(control, b"0", 0)
            os.close(control)
            os.close(descriptor)
            after = state()
            assert (answer, after) in (("ok", ("/os/a", "a")), ("ENOMEM", before)), (nth, answer, after)
            seen.add((answer, *after))
            if answer == "ok":
                setchos("/")
                before = state()
            if left.strip() != b"0":
                break  # there was no failure left to make
        return seen

    failing(atomic_only=False)
    try:
        seen = child(attempts)
    finally:
        failing(atomic_only=True)
    assert {answer for answer, _, _ in seen} == {"ok", "ENOMEM"}


def test_the_module_goes_all_the_same() -> None:
    """After all that nothing is held back."""
    unmount()
    wait_for(lambda: parameter("processes") == "0", "nobody is inside")
    unload()
    load()
    mount()
