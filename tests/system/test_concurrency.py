"""Many at once: entries while generations change, several writers, and ten thousand entries."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest
from node import LIMIT, REGISTRY, Node, mount_points, wait_for

ENTRIES = 50
RENEWALS = 20


def site(node: Node, number: int) -> None:
    """A configuration whose variable, file and namespace all say which one it is."""
    node.configure(
        "one:/os/one\n",
        site=f"""
        [environment.one]
        env = {{ CHOS_TEST_NUMBER = "{number}" }}
        bind = [{{ source = "/srv/numbers/{number}", target = "/opt/number" }}]
        """,
    )


def all_end_with(lines: list[list[str]], end: list[str]) -> bool:
    return all(found[-1:] == end for found in lines)


def test_entries_while_generations_change(node: Node) -> None:
    """Fifty users enter all the time while the environment is renewed twenty times."""
    node.tree("one")
    for number in range(RENEWALS + 1):
        Path(f"/srv/numbers/{number}").mkdir(parents=True, exist_ok=True)
        Path(f"/srv/numbers/{number}/number").write_text(f"{number}\n")
    site(node, 0)
    node.up()
    # The variable is the registry's word, the file is the namespace's: both must be of one generation.
    look = 'read n </opt/number/number; echo "$CHOS_TEST_NUMBER $n"'
    loop = f"while :; do CHOS=one chos sh -c '{look}' || echo failed $?; done 2>&1"
    # Nice, so that the writer gets its share of a small machine.
    loops = [node.start(["nice", "-n19", "sh", "-c", loop], user=("alice", "bob")[at % 2]) for at in range(ENTRIES)]
    lines: list[list[str]] = [[] for _ in loops]

    def read(at: int) -> None:
        stdout = loops[at].stdout
        assert stdout
        lines[at].extend(line.rstrip("\n") for line in stdout)

    readers = [threading.Thread(target=read, args=(at,)) for at in range(ENTRIES)]
    for reader in readers:
        reader.start()
    for number in range(1, RENEWALS + 1):
        site(node, number)
        node.up()
        now = [f"{number} {number}"]
        wait_for(partial(all_end_with, lines, now), "every loop to be in the new one")
    for process in loops:
        process.kill()
    for reader in readers:
        reader.join(LIMIT)
    complete = [line for found in lines for line in found]
    assert len(complete) > ENTRIES * RENEWALS
    wrong = [line for line in complete if line.count(" ") != 1 or line.split(" ")[0] != line.split(" ")[1]]
    assert not wrong, f"{len(wrong)} of {len(complete)} entries failed or had halves of two generations: {wrong[:3]}"
    assert {line.split(" ")[0] for line in complete} > {str(number) for number in range(1, RENEWALS)}
    assert node.generation("one") == f"one.{RENEWALS + 1}"
    subprocess.run(["rm", "-rf", "/srv/numbers"], check=True)


def test_two_writers_at_once(node: Node) -> None:
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\ntwo:/os/two\n")
    writers = [node.start(["chosctl", "up", "--renew"], user="root") for _ in range(6)]
    for writer in writers:
        out, err = writer.communicate(timeout=LIMIT)
        assert writer.returncode == 0, err
    assert (node.generation("one"), node.generation("two")) == ("one.6", "two.6"), "one after the other"
    assert set(os.listdir(REGISTRY / "gen")) == {"one.6", "two.6"}
    assert sum(point == str(REGISTRY) for point in mount_points()) == 1
    for name in ("one", "two"):
        assert node.chos(name, "true").returncode == 0


@pytest.mark.parametrize("command", ["up", "down"])
def test_who_waits_says_so(node: Node, command: str) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    assert "waiting" not in node.up().stderr
    with open(REGISTRY / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = node.start(["chosctl", command], user="root")
        assert waiting.stderr and "waiting for another chosctl" in waiting.stderr.readline()
        assert waiting.poll() is None
    assert waiting.communicate(timeout=LIMIT) and waiting.returncode == 0


def test_the_first_two_writers_at_once(node: Node) -> None:
    """Nothing is prepared yet, so that each would make the registry."""
    node.tree("one")
    node.configure("one:/os/one\n")
    for _ in range(5):
        writers = [node.start(["chosctl", "up"], user="root") for _ in range(4)]
        for writer in writers:
            err = writer.communicate(timeout=LIMIT)[1]
            assert writer.returncode == 0, err
        assert sum(point == str(REGISTRY) for point in mount_points()) == 1
        assert os.listdir(REGISTRY / "gen") == ["one.1"]
        assert node.chos("one", "true").returncode == 0
        node.chosctl("down")


def test_up_and_down_at_once(node: Node) -> None:
    """Whoever comes last wins; nothing is left half-way."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    for _ in range(5):
        both = [node.start(["chosctl", verb], user="root") for verb in ("down", "up")]
        for process in both:
            err = process.communicate(timeout=LIMIT)[1]
            assert process.returncode == 0, err
        result = node.chos("one", "true")
        assert result.returncode == 0 or "chosctl up" in result.stderr or "no such environment" in result.stderr
        node.up()
        assert node.chos("one", "true").returncode == 0


def test_readers_see_whole_answers_while_a_writer_works(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    writer = node.start(["sh", "-ec", "for i in 1 2 3 4 5 6 7 8 9 10; do chosctl up --renew; done"], user="root")
    asked = 0
    while writer.poll() is None or asked < 3:
        for arguments in (["status"], ["ps"], ["list"]):
            result = node.chosctl(*arguments, check=False, user=("root", "alice")[asked % 2])
            assert result.returncode == 0, (arguments, result.stderr)
        assert "one." in node.chos("one", "--which", check=True).stdout
        asked += 1
    out, err = writer.communicate()
    assert writer.returncode == 0, err


def kernel_counts() -> dict[str, int]:
    return {
        "mounts": len(mount_points()),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "descriptors of process 1": len(os.listdir("/proc/1/fd")),
        "files of the registry": sum(len(files) for _, _, files in os.walk(REGISTRY)),
    }


def test_ten_thousand_entries_leave_nothing(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    resident = node.resident("one")
    inside = node.ask(resident, "wc -l </proc/self/mountinfo")
    before = kernel_counts()
    fds = len(os.listdir("/proc/self/fd"))
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0)]
    environment = {"CHOS": "one", "PATH": "/bin"}
    failures = 0
    for _ in range(2500):
        four = [
            os.posix_spawn("/usr/bin/chos", ["chos", "/bin/true"], environment, file_actions=actions) for _ in range(4)
        ]
        failures += sum(os.waitpid(pid, 0)[1] != 0 for pid in four)
    assert failures == 0
    assert len(os.listdir("/proc/self/fd")) == fds
    assert kernel_counts() == before
    assert node.ask(resident, "wc -l </proc/self/mountinfo") == inside
    node.leave(resident)
    node.chosctl("down")
    assert not REGISTRY.exists()
