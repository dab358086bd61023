"""What people do in an environment: compile, commit, look around. And containers inside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from node import Node


@pytest.fixture
def trixie(node: Node) -> Node:
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    return node


@pytest.fixture
def bullseye(node: Node) -> Node:
    node.tree("old", like="bullseye")
    node.configure("old:/os/old\n")
    node.up()
    return node


def test_compile_and_run(trixie: Node) -> None:
    source = "#include <stdio.h>\n#include <gnu/libc-version.h>\nint main(void){puts(gnu_get_libc_version());return 7;}"
    trixie.chos("new", "gcc", "-x", "c", "-o", "/home/alice/hello", "-", stdin=source, check=True)
    result = trixie.chos("new", "./hello")
    assert (result.returncode, result.stdout) == (7, "2.41\n"), result.stderr


def test_git(trixie: Node) -> None:
    script = (
        "rm -rf repo && git init -q repo && cd repo && echo x >x && git add x && "
        "git -c user.name=A -c user.email=a@b commit -qm first && git log --format=%s && git fsck"
    )
    assert trixie.chos("new", "sh", "-c", script, check=True).stdout == "first\n"


def test_ssh_knows_its_version(trixie: Node) -> None:
    assert "OpenSSH_10" in trixie.chos("new", "ssh", "-V", check=True).stderr


def test_df_shows_the_bases_file_systems(trixie: Node) -> None:
    trixie.mount("-t", "tmpfs", "-o", "size=16m", "scratch", "/mnt")
    lines = trixie.chos("new", "df", "-P", "/mnt", "/tmp", "/home", check=True).stdout.splitlines()
    assert lines[1].split()[1::4] == ["16384", "/mnt"]
    assert len(lines) == 4
    whole = trixie.chos("new", "df", "-P")
    assert whole.returncode == 0 and whole.stderr == "" and " /mnt\n" in whole.stdout


def test_top_and_ps_and_free(trixie: Node) -> None:
    assert "load average" in trixie.chos("new", "top", "-b", "-n1", check=True).stdout
    assert "Mem:" in trixie.chos("new", "free", check=True).stdout
    assert "ps -e" in trixie.chos("new", "ps", "-eo", "args", check=True).stdout


@pytest.mark.parametrize(("like", "version"), [("trixie", "3.13"), ("bullseye", "3.9")])
def test_python_of_the_tree(node: Node, like: str, version: str) -> None:
    node.tree("it", like=like)
    node.configure("it:/os/it\n")
    node.up()
    code = "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"
    assert node.chos("it", "python3", "-c", code, check=True).stdout == f"{version} /usr\n"


def test_a_tree_whose_bin_is_no_link(bullseye: Node) -> None:
    shell = bullseye.resident("old")
    assert bullseye.ask(shell, "test -d /bin && test ! -L /bin && echo directory") == "directory"
    assert "bash" in bullseye.ask(shell, "ls /bin")
    assert bullseye.ask(shell, "ls /usr/bin/sh").endswith("No such file or directory")
    assert bullseye.ask(shell, "/bin/bash -c 'echo $BASH_VERSION'").startswith("5.1")


def test_a_tree_whose_bin_is_a_link(trixie: Node) -> None:
    shell = trixie.resident("new")
    assert trixie.ask(shell, "readlink /bin /lib64") == "usr/bin\nusr/lib64"
    assert trixie.ask(shell, "/bin/bash -c 'echo $BASH_VERSION'").startswith("5.2")
    assert trixie.ask(shell, "ls /lib64/ld-linux-x86-64.so.2") == "/lib64/ld-linux-x86-64.so.2"


def user_namespaces(node: Node) -> None:
    if node.run(["unshare", "-Ur", "true"]).returncode != 0:
        pytest.skip("users may not make user namespaces on this machine's base")


def test_bubblewrap_works_inside(trixie: Node) -> None:
    user_namespaces(trixie)
    result = trixie.chos(
        "new",
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--unshare-user",
        "cat",
        "/etc/os-release",
        check=True,
    )
    assert "VERSION_CODENAME=trixie" in result.stdout
    isolated = trixie.chos(
        "new",
        "bwrap",
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--tmpfs",
        "/work",
        "/usr/bin/sh",
        "-c",
        "echo y >/work/x && cat /work/x; cd /; echo *",
        check=True,
    )
    assert isolated.stdout == "y\nlib lib64 usr work\n"


def test_user_namespaces_work_inside(trixie: Node) -> None:
    user_namespaces(trixie)
    assert trixie.chos("new", "unshare", "-Ur", "id", "-u", check=True).stdout == "0\n"
    script = "mount -t tmpfs none /mnt && echo x >/mnt/only-inside && cat /mnt/only-inside"
    assert trixie.chos("new", "unshare", "-Urm", "sh", "-c", script, check=True).stdout == "x\n"
    assert not os.path.exists("/mnt/only-inside")


def test_chos_in_a_directory_of_the_base(node: Node) -> None:
    """It works there, and `up` and `check` say what is to be feared."""
    node.tree("one")
    node.configure("one:/os/one\n")
    assert "directory of the base" not in node.up().stderr
    Path("/srv/sw").mkdir(exist_ok=True)
    try:
        for name in ("chos", "chosctl"):
            shutil.copy2(f"/usr/bin/{name}", "/srv/sw", follow_symlinks=True)
        subprocess.run(["setcap", "cap_sys_admin,cap_sys_chroot,cap_sys_ptrace+ep", "/srv/sw/chos"], check=True)
        for arguments in (["up"], ["up"]):
            result = node.run(["/srv/sw/chosctl", *arguments], user="root", check=True)
            assert result.stderr.count("/srv/sw/chos is in a directory of the base") == 1, result
            assert "below /usr" in result.stderr
        result = node.run(["/srv/sw/chosctl", "check"], user="root")
        assert result.returncode == 1 and "/srv/sw/chos is in a directory of the base" in result.stdout, result
        back = ["/srv/sw/chos", "sh", "-c", "CHOS=root /srv/sw/chos readlink /proc/self/ns/mnt"]
        assert node.run(back, env={"CHOS": "one"}, check=True).stdout.strip() == os.readlink("/proc/self/ns/mnt")
    finally:
        shutil.rmtree("/srv/sw")
