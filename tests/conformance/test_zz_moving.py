"""From one backend to the other, on one node, while jobs run."""

from __future__ import annotations

import os
import subprocess

import pytest
from node import Node, wait_for
from rows import row

SECTION = "Both at once"
TELL = "sh -c 'grep ^ID= /etc/os-release'"


@row("a job in each goes on while the node's default changes, there and back", section=SECTION)
def test_moving(node: Node, changed: Node, backend: str) -> None:
    if backend != "kmod":
        pytest.skip("needs the module as well; the run of kmod proves it for both")
    old = changed.resident("one")
    changed.up("--backend=kmod,ns", check=False)
    assert "backend kmod (the node's default)" in entered(changed)
    moved = changed.up("--backend=ns,kmod", check=False)
    if "this kernel lacks" in moved.stderr:
        changed.leave(old)
        pytest.skip("needs ns as well, and that a newer kernel")
    assert "backend ns (the node's default)" in entered(changed)
    new = changed.resident("one")
    from_old = changed.ask(old, "CHOS=two chos --backend=ns -v grep ^ID= /etc/os-release")
    from_new = changed.ask(new, "CHOS=two chos --backend=kmod -v grep ^ID= /etc/os-release")
    assert "ID=two" in from_old and "backend ns" in from_old, from_old
    assert "ID=two" in from_new and "backend kmod" in from_new, from_new

    listed = {line.split()[0] for line in changed.chosctl("ps").stdout.splitlines()}
    assert {str(old.pid), str(new.pid)} <= listed, "who is where"
    changed.up("--backend=ns", check=False)
    refused = changed.chos("one", "--backend=kmod", "true")
    assert refused.returncode == 125, refused
    for job in (old, new):
        assert changed.ask(job, TELL) == "ID=one"
    assert changed.ask(old, "CHOS=two chos grep ^ID= /etc/os-release") == "ID=two", "the old job goes on, by ns"
    assert os.path.isdir("/sys/module/chos"), "the module stays for the old job"

    changed.leave(old)
    wait_for(lambda: not unloaded(changed), "the module goes after the last job")
    assert changed.ask(new, TELL) == "ID=one"
    changed.up("--backend=kmod,ns", check=False)
    assert "backend kmod (the node's default)" in entered(changed), "and back"
    assert changed.ask(new, TELL) == "ID=one"
    changed.leave(new)


def entered(node: Node) -> str:
    """What chos says of the way in, to who does not choose."""
    return node.chos("one", "-v", "true", check=True).stderr


def unloaded(node: Node) -> str:
    """Nothing, once the next `up` has taken the module away."""
    node.up("--backend=ns", check=False)
    return subprocess.run(
        "grep -s chosfs /proc/mounts; ls -d /sys/module/chos /chos", shell=True, capture_output=True, text=True
    ).stdout
