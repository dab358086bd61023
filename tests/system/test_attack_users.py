"""Attacks by users on each other's environments, and on root's configuration and start: rules 22, 23 and 24."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_tools import Marker, clean, inside, one, refuse, spawn
from node import REGISTRY, REPO, Node

sys.path.insert(0, str(REPO))
SECRET = '[environment.two]\ngroups = ["secret", "bob"]\n'


@pytest.fixture
def closed(node: Node) -> Iterator[Node]:
    """`one` for everyone, `two` for the groups secret (empty) and bob."""
    subprocess.run(["groupadd", "-f", "secret"], check=True)
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n", two=SECRET)
    node.up()
    yield node


def test_who_is_not_in_the_group(closed: Node) -> None:
    """Rule 23: alice can neither enter nor look into it, by name, path, generation, or by the kernel's own doors."""
    for name in ("two", "/os/two"):
        refuse(name, "not allowed")
    for name in ("two.1", "../gen/two.1", "gen/two.1", "%2Fos%2Ftwo", "/run/chos/gen/two.1"):
        refuse(name)
    look = (
        "ls /run/chos/gen/two.1; cat /run/chos/gen/two.1/policy; cat /run/chos/gen/two.1/tree;"
        " cat /run/chos/gen/two.1/ns;"
        " nsenter --mount=/run/chos/gen/two.1/ns id; stat /run/chos/gen/two.1/ns; ls /local/run/chos/gen/two.1"
    )
    for program in ([], ["/usr/bin/chos"]):
        assert spawn([*program, "/bin/sh", "-c", look], env={"CHOS": "one"}).stdout == ""
    assert spawn(["/usr/bin/chos", "--which"], env={"CHOS": "two"}).returncode != 0
    assert "two" not in spawn(["chosctl", "list", "--names"]).stdout
    assert closed.chos("two", "true", user="bob").returncode == 0


def test_groups_are_the_kernels_to_judge(closed: Node) -> None:
    """Rule 23: membership counts when the process has it: not by the name of the user, and as soon as it is given."""
    probe = ["/usr/bin/chos", "/bin/cat", "/etc/os-release"]
    as_bob_without = ["setpriv", "--reuid", "bob", "--regid", "alice", "--clear-groups", *probe]
    assert spawn(as_bob_without, user="root", env={"CHOS": "two"}).returncode == 125
    as_alice_with = ["setpriv", "--reuid", "alice", "--regid", "alice", "--groups", "secret", *probe]
    assert "ID=two" in spawn(as_alice_with, user="root", env={"CHOS": "two"}).stdout


def test_nobody_enters_through_a_process(closed: Node) -> None:
    """Rule 23: /proc/PID/ns/mnt and /proc/PID/root of somebody who is inside lead nobody in."""
    theirs = subprocess.Popen(
        ["setpriv", "--reuid", "bob", "--regid", "bob", "--init-groups", "/usr/bin/chos", "/bin/sleep", "600"],
        env={"CHOS": "two", "PATH": "/bin"},
        cwd="/",
    )
    own = subprocess.Popen(
        ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", "/usr/bin/chos", "/bin/sleep", "600"],
        env={"CHOS": "one", "PATH": "/bin"},
        cwd="/",
    )
    try:
        inside(closed, "two.1", theirs, "sleep")
        inside(closed, "one.1", own, "sleep")
        for process, name in ((theirs, "two"), (own, "one")):
            assert f"ID={name}" in Path(f"/proc/{process.pid}/root/etc/os-release").read_text(), "root sees it"
        for pid in (theirs.pid, own.pid):
            attempts = (
                f"nsenter --mount=/proc/{pid}/ns/mnt cat /etc/os-release;"
                f" nsenter --target {pid} --mount cat /etc/os-release;"
                f" unshare -Ur nsenter --mount=/proc/{pid}/ns/mnt cat /etc/os-release"
            )
            assert "ID=" not in spawn(["/bin/sh", "-c", attempts]).stdout
        assert "ID=" not in spawn(["cat", f"/proc/{theirs.pid}/root/etc/os-release"]).stdout
        assert theirs.poll() is None and own.poll() is None, "there was nobody to enter through"
    finally:
        for process in (theirs, own):
            process.kill()
            process.wait()


def test_the_registry_belongs_to_root_alone(closed: Node) -> None:
    """Rules 3 and 23: no user can change, lock or fill anything in the registry, from outside or inside."""
    del closed
    for folder, folders, files in os.walk(REGISTRY):
        for name in [*folders, *files, "."]:
            status = os.lstat(os.path.join(folder, name))
            assert status.st_uid == 0
            assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o022, (folder, name)
    attempts = (
        "for d in $(find /run/chos /local/run/chos -type d 2>/dev/null); do touch $d/x && echo $d; done 2>/dev/null;"
        " cat /run/chos/lock && echo lock;"
        " ln -sf /etc /run/chos/env/three && echo env; rm -f /run/chos/env/one && echo rm"
    )
    for program in ([], ["/usr/bin/chos"]):
        written = spawn([*program, "/bin/sh", "-c", attempts], env={"CHOS": "one"}).stdout
        assert "/run/chos" not in written
        assert not {"lock", "env", "rm"} & set(written.split()), written
        assert Path("/run/chos/env/one").is_symlink()
        assert not os.path.lexists("/run/chos/env/three")


def test_prefixes_are_compared_by_component() -> None:
    """Rule 24: /scratch does not cover /scratch2, however it is written."""
    from chosns.system.paths import is_below

    assert is_below("/scratch/a", "/scratch")
    assert is_below("/scratch", "/scratch/")
    for path in ("/scratch2", "/scratch2/a", "/scratch.old", "/scratc", "/", "/a/scratch"):
        assert not is_below(path, "/scratch")


def test_prefixes_when_leaving(node: Node) -> None:
    """Rule 24: /localx inside is not taken for /local when the working directory is mapped on the way back."""
    Path("/localx/tmp").mkdir(parents=True, exist_ok=True)
    one(node)
    script = "cd /localx/tmp && CHOS=root exec chos pwd"
    assert spawn(["/usr/bin/chos", "/bin/sh", "-c", script], env={"CHOS": "one"}).stdout == "/localx/tmp\n"
    script = "cd /local/tmp && CHOS=root exec chos pwd"
    assert spawn(["/usr/bin/chos", "/bin/sh", "-c", script], env={"CHOS": "one"}).stdout == "/tmp\n"


CONFIG = {
    "/etc/chos is alice's": "chown alice /etc/chos",
    "/etc/chos is writable": "chmod 666 /etc/chos",
    "/etc/chos is group-writable": "chmod 664 /etc/chos",
    "/etc/chos is a link to alice's": "mv /etc/chos /home/alice/chos; ln -s /home/alice/chos /etc/chos",
    "/etc/chos is a link below alice's": "mkdir -p /home/alice/d; chown root /home/alice/d;"
    " mv /etc/chos /home/alice/d; ln -s /home/alice/d/chos /etc/chos",
    "/etc/chos is a FIFO": "rm /etc/chos; mkfifo /etc/chos",
    "/etc/chos is a device": "rm /etc/chos; mknod /etc/chos c 1 5",
    "/etc/chos is endless": "rm /etc/chos; truncate -s 2G /etc/chos",
    "/etc/chos is a directory": "rm /etc/chos; mkdir /etc/chos",
    "/etc is group-writable": "chmod g+w /etc",
    "/etc is alice's": "chown alice /etc",
}


@pytest.mark.parametrize("what", CONFIG)
def test_configuration_that_others_can_change(node: Node, what: str) -> None:
    """Rule 22: such a configuration is refused at once, nothing is prepared from it, what was prepared goes on."""
    node.tree("one")
    node.tree("evil")
    node.configure("one:/os/one\n")
    node.up()
    node.configure("evil:/os/evil\none:/os/evil\n")
    subprocess.run(["/bin/sh", "-ec", CONFIG[what]], check=True)
    result = node.up(check=False)
    subprocess.run(
        ["/bin/sh", "-c", "chown root /etc; chmod 755 /etc; rm -rf /etc/chos /home/alice/chos /home/alice/d"],
        check=True,
    )
    assert result.returncode != 0, result
    assert "Traceback" not in result.stderr
    clean(result.stderr.replace("—", "-"))
    assert not (REGISTRY / "env/evil").exists()
    assert "ID=evil" not in node.chos("one", "cat", "/etc/os-release").stdout


@pytest.mark.parametrize(
    "change",
    [
        "chown alice /etc/chos.d",
        "chmod 777 /etc/chos.d",
        "chown alice /etc/chos.d/two.toml",
        "chmod o+w /etc/chos.d/two.toml",
        "rm /etc/chos.d/two.toml; mkfifo /etc/chos.d/two.toml",
        "mv /etc/chos.d/two.toml /home/alice/two.toml; ln -s /home/alice/two.toml /etc/chos.d/",
    ],
)
def test_a_restriction_is_never_lost(closed: Node, change: str) -> None:
    """Rules 22 and 23: where the file that closes an environment cannot be trusted, it does not become open to all."""
    subprocess.run(["/bin/sh", "-ec", change], check=True)
    result = closed.up("--renew", check=False)
    subprocess.run(["rm", "-rf", "/home/alice/two.toml"], check=True)
    assert result.returncode != 0
    refuse("two")


@pytest.mark.parametrize(
    ("file", "text", "closed"),
    [
        ("two.toml", '[enviroment.two]\ngroups = ["secret"]\n', {"two"}),
        ("two.toml", '[enviroment.twoo]\ngroups = ["secret"]\n', {"one", "two"}),
        ("two.toml", '[environment.twoo]\ngroups = ["secret"]\n', {"two"}),
        ("two.toml", '[environment.far]\ngroups = ["secret"]\n', set()),
        ("two.tml", SECRET, set()),
    ],
)
def test_a_misspelt_restriction(node: Node, file: str, text: str, closed: set[str]) -> None:
    """Rules 22 and 23: a restriction that was spelt wrong opens nothing, or is said aloud."""
    for name in ("one", "two"):
        node.tree(name)
    node.configure("one:/os/one\ntwo:/os/two\n")
    Path("/etc/chos.d").mkdir()
    (Path("/etc/chos.d") / file).write_text(text)
    result = node.up(check=False)
    status = json.loads(node.chosctl("status", "--json", check=False).stdout)
    for name in ("one", "two"):
        assert (spawn(["/usr/bin/chos", "/bin/true"], env={"CHOS": name}).returncode != 0) == (name in closed), name
    assert file in result.stderr
    if file.endswith(".toml"):
        assert result.returncode == 1 and not status["healthy"] and status["problems"] >= 1
    assert node.chosctl("check", check=False).returncode == 1


def test_login_settings_that_others_can_change(node: Node) -> None:
    """Rule 22: `up` is refused and nothing changes; `check` shows that and everything else."""
    one(node)
    node.configure("one:/os/one\ntwo:/os/two\n", a="x = 1\n")
    Path("/etc/chos.conf").write_text("%ENV\nLD_PRELOAD\n")
    Path("/etc/chos.conf").chmod(0o666)
    result = node.up(check=False)
    assert result.returncode == 1 and "/etc/chos.conf: is writable by others" in result.stderr, result
    assert not (REGISTRY / "env/two").exists() and "LD_PRELOAD" not in (REGISTRY / "login").read_text()
    checked = node.chosctl("check", check=False)
    assert checked.returncode == 1 and "/etc/chos.conf" in checked.stdout and "a.toml:1" in checked.stdout


EVIL = """
import os
open("/tmp/evil-ran", "a").write(__name__)
"""


def test_a_hostile_start_of_the_builder(node: Node) -> None:
    """Rule 22: variables, working directory, search path and limits of root's shell change nothing."""
    node.tree("one")
    node.configure("one:/os/one\n")
    evil = Path("/tmp/evil")
    (evil / "chosns").mkdir(parents=True, exist_ok=True)
    for name in (
        "sitecustomize",
        "usercustomize",
        "click",
        "psutil",
        "os",
        "json",
        "rich",
        "chosns/__init__",
        "tomllib",
        "tomli",
    ):
        (evil / f"{name}.py").write_text(EVIL)
    for name in ("mount", "umount", "sh", "python3", "setcap", "modprobe", "nsenter", "unshare", "getent"):
        (evil / name).write_text("#!/bin/sh\necho $0 >>/tmp/evil-ran\n")
        (evil / name).chmod(0o755)
    Path("/tmp/evil-ran").unlink(missing_ok=True)
    hostile = {
        "PYTHONPATH": str(evil),
        "PYTHONHOME": str(evil),
        "PYTHONSTARTUP": f"{evil}/click.py",
        "PYTHONINSPECT": "",
        "PYTHONPYCACHEPREFIX": str(evil),
        "PYTHONUSERBASE": str(evil),
        "HOME": str(evil),
        "PATH": str(evil),
        "TMPDIR": "/nonexistent",
        "IFS": "/",
        "LANG": "xx_XX",
        "LC_ALL": "tr_TR.ISO-8859-9",
        "LOCPATH": str(evil),
        "ENV": f"{evil}/sh",
        "BASH_ENV": f"{evil}/sh",
        "XDG_CONFIG_HOME": str(evil),
        "CHOS_FAULT_KILL": "nonsense",
        "CHOS": "one",
        "COLUMNS": "1",
        "TERM": "\x1b[2J",
        "SHELL": f"{evil}/sh",
        "LIBMOUNT_FSTAB": str(evil),
    }
    for mask in ("000", "077", "777"):
        result = spawn(
            ["/bin/sh", "-c", f"umask {mask}; exec /usr/bin/chosctl up --renew"],
            user="root",
            cwd=str(evil),
            env={**hostile, "IFS": " "},
        )
        assert result.returncode == 0, result
        assert not Path("/tmp/evil-ran").exists(), Path("/tmp/evil-ran").read_text()
        for folder, folders, files in os.walk(REGISTRY):
            for name in [*folders, *files]:
                status = os.lstat(os.path.join(folder, name))
                assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o022, (mask, folder, name)
        assert node.chos("one", "true").returncode == 0, mask
        for top in ("/", "/etc", "/usr"):
            listed = spawn(["/usr/bin/chos", "/bin/ls", top], env={"CHOS": "one"})
            assert listed.returncode == 0, (mask, listed)
    result = spawn(["/bin/sh", "-c", "ulimit -f 0; exec /usr/bin/chosctl up --renew"], user="root")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert node.chos("one", "true").returncode == 0


def test_users_cannot_use_the_builder(node: Node) -> None:
    """Rule 22: up and down are root's, however they are asked for; nothing has changed afterwards."""
    one(node)
    before = sorted(str(path) for path in REGISTRY.rglob("*"))
    for command in (["up"], ["up", "--renew"], ["down"], ["reload"]):
        for wrapper in ([], ["unshare", "-Ur"], ["unshare", "-Urm"]):
            result = spawn([*wrapper, "/usr/bin/chosctl", *command])
            # In a user namespace the registry seems to be nobody's, so `down` finds nothing to do there.
            assert result.returncode != 0 or (wrapper and command == ["down"]), (wrapper, command, result)
            assert "Traceback" not in result.stderr
    assert sorted(str(path) for path in REGISTRY.rglob("*")) == before
    assert node.chos("one", "true").returncode == 0


def test_hostile_processes_in_ps(node: Node) -> None:
    """Rule 10: what users call their processes reaches root's terminal escaped."""
    one(node)
    title = "\x1b[2J\x1b]0;owned\x07\n\rroot"
    process = subprocess.Popen(
        [
            "setpriv",
            "--reuid",
            "alice",
            "--regid",
            "alice",
            "--init-groups",
            "/usr/bin/chos",
            "/bin/sh",
            "-c",
            "sleep 600; :",
            title,
        ],
        env={"CHOS": "one", "PATH": "/bin"},
        cwd="/",
    )
    try:
        inside(node, "one.1", process, "sh")
        for options in ([], ["--json"]):
            result = node.chosctl("ps", *options)
            assert "owned" in result.stdout
            assert not [char for char in result.stdout if not char.isprintable() and char != "\n"]
            assert not [line for line in result.stdout.splitlines() if line.startswith("root")]
    finally:
        process.kill()
        process.wait()


def test_a_marker_proves_something(node: Node) -> None:
    """The marker of these attacks does appear where a command runs."""
    one(node)
    marker = Marker()
    assert spawn(["/usr/bin/chos", *marker.command], env={"CHOS": "one"}).returncode == 0
    assert marker.ran
