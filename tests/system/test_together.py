"""Two users in two operating systems on one node, and nobody falls out of his."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from node import Node

# Becomes a daemon in the classic way, waits until its parent is gone, says so, and lives until its input ends.
DAEMON = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    os.sched_yield()
print(os.getpid(), os.getppid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def debian(node: Node) -> Node:
    """A node with `old` (bullseye) and `new` (trixie)."""
    node.tree("old", like="bullseye")
    node.tree("new", like="trixie")
    node.configure("old:/os/old\nnew:/os/new\n")
    node.up()
    return node


def namespace(pid: str) -> int:
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino


def os_release(pid: str) -> str:
    """What a process sees as /etc/os-release."""
    return Path(f"/proc/{pid}/root/etc/os-release").read_text()


def test_each_sees_his_own_system_at_once(debian: Node) -> None:
    alice = debian.resident("old")
    bob = debian.resident("new", user="bob")
    assert "VERSION_CODENAME=bullseye" in debian.ask(alice, "cat /etc/os-release")
    assert "VERSION_CODENAME=trixie" in debian.ask(bob, "cat /etc/os-release")
    assert debian.ask(alice, "id -un") == "alice"
    assert debian.ask(bob, "id -un") == "bob"
    assert debian.ask(bob, "echo $CHOS") == "new"


def test_each_sees_the_others_processes(debian: Node) -> None:
    alice = debian.resident("old")
    bob = debian.resident("new", user="bob")
    for one, other, owner in ((alice, bob, "bob"), (bob, alice, "alice")):
        listing = debian.ask(one, "ps -eo pid,user,args").splitlines()
        assert [f"{other.pid}", owner, "sh"] in [line.split() for line in listing], listing
    base = debian.run(["ps", "-o", "pid=,args=", "-p", f"{alice.pid},{bob.pid}"], check=True).stdout
    assert str(alice.pid) in base and str(bob.pid) in base


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_daemon_stays_when_its_parents_are_gone(debian: Node, name: str) -> None:
    inside = debian.pin(debian.generation(name))
    starter = debian.start(["chos", "python3", "-c", DAEMON], env={"CHOS": name})
    assert starter.stdout and starter.stdin
    pid, parent = starter.stdout.readline().split()
    assert starter.wait() == 0, "the daemon's first parent has ended well"
    assert parent == "1", "nobody of its family is left"
    assert namespace(pid) == inside
    assert {"old": "bullseye", "new": "trixie"}[name] in os_release(pid)
    starter.stdin.close()


def test_children_of_every_kind_stay(debian: Node) -> None:
    inside = debian.pin(debian.generation("new"))
    shell = debian.resident("new")
    assert debian.ask(shell, "stat -L -c %i /proc/self/ns/mnt") == str(inside)
    assert debian.ask(shell, "sh -c 'stat -L -c %i /proc/self/ns/mnt'; :") == str(inside)
    assert debian.ask(shell, "(stat -L -c %i /proc/self/ns/mnt) | cat") == str(inside)
    assert debian.ask(shell, "setsid -w stat -L -c %i /proc/self/ns/mnt") == str(inside)
    threads = (
        "import threading,os; t=threading.Thread(target=lambda: "
        "print(os.stat('/proc/thread-self/ns/mnt').st_ino)); t.start(); t.join()"
    )
    assert debian.ask(shell, f'python3 -c "{threads}"') == str(inside)


def test_a_chain_of_execs_stays_and_keeps_its_pid(debian: Node) -> None:
    code = "import os; print(os.getpid(), os.stat('/proc/self/ns/mnt').st_ino)"
    shell = ["sh", "-c", 'exec "$@"', "sh"]
    chain = debian.start(["chos", *shell, "env", "nice", *shell, "python3", "-c", code], env={"CHOS": "new"})
    out, err = chain.communicate()
    assert out.split() == [str(chain.pid), str(debian.pin(debian.generation("new")))], err


def test_the_base_is_not_affected(debian: Node) -> None:
    before = Path("/etc/os-release").read_text()
    debian.resident("old")
    assert Path("/etc/os-release").read_text() == before
    assert namespace("self") not in {debian.pin(debian.generation(name)) for name in ("old", "new")}
