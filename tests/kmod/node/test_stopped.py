"""A launcher that was stopped while it entered by way of the module looks again, too: rule 29."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from attack_tools import build_launcher
from node import REGISTRY, REPO, Node
from stops import FAULTY, Launch

# In the order of events; the last two are after the write to setchos.
STEPS = ("link", "generation", "kmod", "policy", "again")
WHERE = "grep ^ID= /etc/os-release; grep NoNewPrivs /proc/self/status"


@pytest.fixture(scope="module", autouse=True)
def faulty() -> None:
    """The launcher built so that it stops at a step: the build's own, because compiling takes a minute in a guest."""
    built = REPO / "build/launcher/chos-fault"
    if not built.exists():
        build_launcher(FAULTY, "-DCHOS_FAULT")
        return
    shutil.copy(built, FAULTY)
    subprocess.run(["setcap", "cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep", FAULTY], check=True)


def prepared(node: Node) -> None:
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\n")
    node.up("--backend=kmod")


def closed(node: Node) -> None:
    (REGISTRY / "gen/one.1").chmod(0o700)


def taken_down(node: Node) -> None:
    node.chosctl("down", "one")


def renewed(node: Node) -> None:
    node.up("--renew")
    node.up("--renew")


def moved(node: Node) -> None:
    node.configure("one:/os/one\ntwo:/os/two\nalias:/os/two\n")
    node.up()


def replaced(node: Node) -> None:
    """The module is told to forget the first tree."""
    node.configure("two:/os/two\nalias:/os/two\n")
    node.up()


def tightened(node: Node) -> None:
    policy = REGISTRY / "gen/one.1/policy"
    policy.write_text(policy.read_text().replace("no_new_privs=0", "no_new_privs=1"))


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (closed, "has not allowed you"),
        (taken_down, ""),  # the module does not know the tree, or the name is gone
        (renewed, ["ID=one", "01"]),  # the module may set no_new_privs itself
        (moved, ["ID=two", "01"]),
        (replaced, ["ID=two", "01"]),
        (tightened, ["ID=one", "1"]),
    ],
)
def test_what_has_changed_counts(node: Node, change: Callable[[Node], None], result: str | list[str]) -> None:
    """Closed: nothing is executed. Else it is as for a launcher that begins now."""
    prepared(node)
    steps = STEPS[:-1] if change is tightened else STEPS  # there the policy has been read
    waiting = [Launch(step, "alias", command=WHERE) for step in steps]
    change(node)
    for launch in waiting:
        if isinstance(result, str):
            launch.refused(result)
        else:
            said = launch.end()
            first, _, flag = said.stdout.split()
            assert first == result[0] and flag in result[1], said
