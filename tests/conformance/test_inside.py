"""What a process in an environment sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from automounter import automount
from node import Node, mount_points, wait_for
from rows import row

__all__ = ["automount"]

SEEN, BASE, LIMITS = "What is seen", "The base's, live", "What the administrator can ask for"
IN_TREE = "the tree is seen as on its file system"


@row("`/bin /etc /lib /sbin /usr /opt /var` are the tree's", section=SEEN)
def test_of_the_tree(node: Node) -> None:
    for name in ("bin", "etc", "lib", "sbin", "usr", "opt", "var"):
        mark = Path("/os/one") / name / "mark-of-one"
        mark.write_text("one\n")
        assert node.chos("one", "cat", f"/{name}/mark-of-one", check=True).stdout == "one\n", name
        assert not Path(f"/{name}/mark-of-one").exists()


@row("every other directory of the base's root is the base's", section=SEEN)
def test_of_the_base(node: Node) -> None:
    for name in ("home", "tmp", "proc", "dev", "sys", "run", "srv", "mnt", "os"):
        here = os.stat(f"/{name}")
        there = node.chos("one", "stat", "-c", "%d %i", f"/{name}", check=True).stdout.split()
        assert name in ("dev", "run") or there == [str(here.st_dev), str(here.st_ino)], name
    assert node.chos("one", "cat", "/proc/sys/kernel/hostname", check=True).stdout == "node\n"
    Path("/srv/written").unlink(missing_ok=True)
    node.chos("one", "sh", "-c", "echo x >/srv/written", user="root", check=True)
    assert Path("/srv/written").read_text() == "x\n"


@row("`/local` is the base's root, with all that is mounted in it", section=SEEN)
def test_local(node: Node) -> None:
    assert node.chos("one", "cat", "/local/etc/os-release", check=True).stdout == Path("/etc/os-release").read_text()
    tmp = os.stat("/tmp")
    seen = node.chos("one", "stat", "-c", "%d %i", "/local/tmp", check=True).stdout.split()
    assert seen == [str(tmp.st_dev), str(tmp.st_ino)]


@row("`/chos` leads to `/`, so that `/chos/os/X` is the tree X", section=SEEN)
def test_chos_inside(node: Node) -> None:
    assert node.chos("one", "readlink", "/chos", check=True).stdout == "/\n"
    tree = os.stat("/os/two")
    seen = node.chos("one", "stat", "-c", "%d %i", "/chos/os/two", check=True).stdout.split()
    assert seen == [str(tree.st_dev), str(tree.st_ino)]


@row(
    "`/chos/os/X` is the same on the base",
    section=SEEN,
    but={"ns": "the base has no /chos: an environment is a mount namespace; use /os/X, which is the same everywhere"},
)
def test_chos_on_the_base(node: Node) -> None:
    assert Path("/chos/os/two/etc/os-release").exists()
    assert Path("/chos/os/two/etc/os-release").read_text() == Path("/os/two/etc/os-release").read_text()


@row("processes of the base and of other environments are seen, and get signals", section=SEEN)
def test_processes(node: Node) -> None:
    job = node.start(["sleep", "600"])
    script = f"grep -q sleep /proc/{job.pid}/cmdline && kill {job.pid}"
    assert node.chos("one", "sh", "-c", script).returncode == 0
    assert job.wait(timeout=60) == -15


@row("the tree is not written to, and may be on a read-only file system", section=SEEN)
def test_a_read_only_tree(changed: Node) -> None:
    before = subprocess.run("ls -lR --full-time /os/two", shell=True, capture_output=True, check=True).stdout
    changed.mount("--bind", "/os/two", "/os/two")
    changed.mount("-o", "remount,bind,ro", "/os/two")
    try:
        changed.up("--renew", check=False)
        assert "ID=two" in changed.chos("two", "cat", "/etc/os-release", check=True).stdout
    finally:
        wait_for(lambda: subprocess.run(["umount", "/os/two"], check=False).returncode == 0, "/os/two is free")
    after = subprocess.run("ls -lR --full-time /os/two", shell=True, capture_output=True, check=True).stdout
    assert before == after


# --- the base's, live -----------------------------------------------------------------------------------------------


@row("what is mounted on the base later appears in running jobs, and goes with its unmount", section=BASE)
def test_live_mounts(node: Node) -> None:
    Path("/srv/later").mkdir(exist_ok=True)
    job = node.resident("one")
    subprocess.run(["mount", "-t", "tmpfs", "later", "/srv/later"], check=True)
    try:
        Path("/srv/later/file").write_text("there\n")
        assert node.ask(job, "cat /srv/later/file; cat /local/srv/later/file") == "there\nthere"
    finally:
        subprocess.run(["umount", "/srv/later"], check=True)
    assert "No such file" in node.ask(job, "cat /srv/later/file")
    assert "later" not in node.ask(job, "grep srv/later /proc/mounts")
    node.leave(job)


@row("so does what an automounter mounts, as soon as a process inside accesses it", section=BASE)
def test_automounted(changed: Node, automount: Callable[[], None]) -> None:
    changed.up(check=False)
    before = changed.resident("one")
    automount()
    assert "/auto/red" not in mount_points()
    assert changed.ask(before, "cat /auto/red/colour") == "red"
    assert "/auto/red" in mount_points(), "mounted on the base, for everybody"
    Path("/auto/blue/colour").read_text()
    assert changed.ask(before, "cat /auto/blue/colour /local/auto/blue/colour") == "blue\nblue"
    assert changed.chos("two", "cat", "colour", cwd="/auto/green", check=True).stdout == "green\n"
    changed.leave(before)


@row("an account made on the base is known in running jobs at once (the tree has links into /local)", section=BASE)
def test_accounts(node: Node) -> None:
    job = node.resident("one")
    subprocess.run(["useradd", "-u", "4321", "newcomer"], check=True)
    try:
        assert node.ask(job, "id -u newcomer") == "4321"
    finally:
        subprocess.run(["userdel", "newcomer"], check=True)
    assert "unknown user" in node.ask(job, "id -u newcomer")
    node.leave(job)


@row(
    "so are accounts in a tree without such links",
    section=BASE,
    but={
        "kmod": "/etc is the tree's, unchanged: put links into /local in the tree; `chosctl up` names the missing ones"
    },
)
def test_accounts_without_links(changed: Node) -> None:
    Path("/etc/chos").write_text("%SHELLS\nplain:/os/plain\n")
    changed.up()
    assert changed.chos("plain", "id", "-un", check=True).stdout == "alice\n"


# --- what the administrator can ask for -----------------------------------------------------------------------------


def settings(node: Node, text: str) -> subprocess.CompletedProcess[str]:
    """The table of the environment `one`, and its only line."""
    Path("/etc/chos").write_text("%SHELLS\none:/os/one\n")
    Path("/etc/chos.d/one.toml").write_text(f"[environment.one]\n{text}")
    try:
        return node.up(check=False)
    finally:
        os.unlink("/etc/chos.d/one.toml")


@row("variables and personality", section=LIMITS)
def test_policy(changed: Node) -> None:
    told = settings(changed, 'policy = { personality = "linux32" }\nenv = { SITE = "x y" }\n')
    assert told.returncode == 0, told
    seen = changed.chos("one", "sh", "-c", "cat /proc/self/personality; echo $SITE", check=True).stdout.split("\n")
    assert seen[:2] == ["00000008", "x y"]


@row("`no_new_privs`, for good: also after leaving", section=LIMITS)
def test_no_new_privs(changed: Node) -> None:
    told = settings(changed, "policy = { no_new_privs = true }\n")
    assert told.returncode == 0, told
    seen = changed.chos("one", "grep", "NoNewPrivs", "/proc/self/status", check=True).stdout
    assert seen == "NoNewPrivs:\t1\n"
    leave = "CHOS=root /usr/bin/chos /usr/bin/grep NoNewPrivs /proc/self/status"
    assert changed.chos("one", "/bin/sh", "-c", leave).stdout in ("", seen)


@row(
    "an environment for some groups",
    section=LIMITS,
    but={"kmod": "the mode of the tree's directory decides: `chosctl up` refuses a tree that everybody may read"},
)
def test_groups(changed: Node) -> None:
    told = settings(changed, 'groups = ["bob"]\n')
    assert told.returncode == 0, told
    assert changed.chos("one", "true", user="bob").returncode == 0
    assert changed.chos("one", "true", user="alice").returncode == 125


@row("an environment for some groups whose tree is closed to others", section=LIMITS)
def test_groups_of_a_closed_tree(changed: Node) -> None:
    subprocess.run("chgrp bob /os/one; chmod 0750 /os/one", shell=True, check=True)
    try:
        told = settings(changed, 'groups = ["bob"]\n')
        assert told.returncode == 0, told
        assert changed.chos("one", "true", user="bob").returncode == 0
        assert changed.chos("one", "true", user="alice").returncode == 125
    finally:
        subprocess.run("chgrp root /os/one; chmod 0755 /os/one", shell=True, check=True)


@row("a tree that users see read-only", section=LIMITS, but={"kmod": IN_TREE + "; mount it read-only"})
def test_read_only(changed: Node) -> None:
    told = settings(changed, "policy = { read_only = true }\n")
    assert told.returncode == 0, told
    result = changed.chos("one", "sh", "-c", "echo x >/usr/written", user="root")
    assert result.returncode != 0 and "Read-only" in result.stderr


@row("`[[bind]]`: a directory of the base at any place", section=LIMITS, but={"kmod": "there is one /chos for all"})
def test_bind(changed: Node) -> None:
    Path("/srv/shown").mkdir(exist_ok=True)
    Path("/srv/shown/file").write_text("shown\n")
    told = settings(changed, '[[environment.one.bind]]\nsource = "/srv/shown"\ntarget = "/opt/shown"\n')
    assert told.returncode == 0, told
    assert changed.chos("one", "cat", "/opt/shown/file").stdout == "shown\n"


@row("set-uid programs of the base give no rights inside, by whatever path they are reached", section=LIMITS)
def test_no_set_uid_of_the_base(node: Node) -> None:
    program = Path("/usr/local/bin/probe-set-uid")
    program.write_bytes(Path("/os/one/bin/probe").read_bytes())
    program.chmod(0o4755)
    try:
        assert node.run([str(program), "ids"]).stdout != "1001 1001\n", "it does on the base"
        ids = node.chos("one", "id", "-u", check=True).stdout.strip()
        script = "exec 9</usr/local/bin/probe-set-uid; CHOS=one exec /usr/bin/chos /proc/self/fd/9 ids"
        assert node.run(["/bin/sh", "-c", script]).stdout == f"{ids} {ids}\n"
    finally:
        program.unlink()


@row("set-uid programs of a tree give no rights", section=LIMITS)
def test_no_set_uid(node: Node) -> None:
    program = Path("/os/one/bin/probe-set-uid")
    program.write_bytes(Path("/os/one/bin/probe").read_bytes())
    program.chmod(0o4755)
    assert node.run([str(program), "ids"]).stdout != "1001 1001\n", "it does on the base"
    ids = node.chos("one", "id", "-u", check=True).stdout.strip()
    assert node.chos("one", "probe-set-uid", "ids", check=True).stdout == f"{ids} {ids}\n"


@row(
    "rootless containers start inside",
    section=LIMITS,
    but={"kmod": "/chos is a chroot, and the kernel makes no user namespace for a process in a chroot"},
)
def test_user_namespaces(node: Node) -> None:
    assert node.chos("one", "probe", "userns").stdout == "made\n"
