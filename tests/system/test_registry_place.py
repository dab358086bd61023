"""Where the launcher finds the registry when the base's /run is not shown, and where it must not look for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from node import Node

NO_RUN = """
[tree]
top = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/var", "/opt"]
[base]
share = ["/proc", "/sys", "/tmp", "/home"]
devices = ["/dev"]
[etc]
links = ["passwd", "group"]
"""


def test_the_way_back_without_run(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n", one='[environment.one]\nbindmap = "norun"\n')
    Path("/etc/chos.d/bindmaps").mkdir(parents=True)
    Path("/etc/chos.d/bindmaps/norun.toml").write_text(NO_RUN)
    node.up()
    assert node.chos("one", "sh", "-c", "test -e /run/chos").returncode == 1
    inside = node.chos("one", "sh", "-c", "CHOS=two chos cat /etc/os-release; CHOS=root chos cat /etc/os-release")
    assert 'PRETTY_NAME="two"' in inside.stdout, inside
    assert inside.stdout.endswith(Path("/etc/os-release").read_text())


def test_a_registry_in_the_sites_own_local(node: Node) -> None:
    """Rule 3: there only a tmpfs counts, because FUSE could show a user's files as root's."""
    forged = Path("/local/run/chos")
    subprocess.run(["mkdir", "-p", f"{forged}/env", f"{forged}/gen/one.1"], check=True)
    try:
        (forged / "backend").symlink_to("ns")
        (forged / "env/one").symlink_to("../gen/one.1")
        (forged / "gen/one.1/policy").write_text("chos-policy 1\nname=one\ngeneration=1\nroot=1 1\nno_new_privs=0\n")
        refused = node.chos("one", "echo", "ran")
        assert (refused.returncode, refused.stdout) == (125, "")
        assert "no environment is prepared on this node" in refused.stderr
        node.mount("-t", "tmpfs", "forged", "/local/run")
        subprocess.run(["mkdir", "-p", f"{forged}/env"], check=True)
        (forged / "backend").symlink_to("ns")
        looked = node.chos("one", "echo", "ran")
        assert "no such environment" in looked.stderr, "a tmpfs, which only root can mount, is looked into"
    finally:
        subprocess.run(["umount", "/local/run"], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", "/local"], check=True)
