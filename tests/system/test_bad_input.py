"""Whatever is wrong gets a message that names the thing, the reason and the next step; and nothing is lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from node import REGISTRY, Node, mount_points
from silent import silent_file_system


@pytest.fixture
def up(node: Node) -> Node:
    """A node with one good environment."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    return node


def message(result: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """It failed so, printed nothing on standard output, and its message has these words."""
    assert (result.returncode, result.stdout) == (status, ""), result
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


# --- nothing there ------------------------------------------------------------------------------------------------


def test_no_configuration(node: Node) -> None:
    for command in ("up", "reload", "list", "status", "check"):
        message(node.chosctl(command, check=False), 1, "/etc/chos", "does not exist")


def test_an_empty_configuration(node: Node) -> None:
    node.configure("")
    result = node.up(check=False)
    assert result.returncode == 0 and "no environment" in result.stderr
    message(node.chos("one", "echo", "ran"), 125, "one", "no such environment")


def test_nothing_is_prepared(node: Node) -> None:
    message(node.chos("one", "echo", "ran"), 125, "no environment is prepared on this node", "chosctl up")
    node.configure("one:/os/one\n")
    message(node.chosctl("ps", check=False), 1, "no environment is prepared on this node", "chosctl up")
    assert "nothing is prepared" in node.chosctl("down").stderr
    message(node.chosctl("down", "one", check=False), 1, "no environment is prepared on this node")


def test_an_unknown_name(up: Node) -> None:
    message(up.chos("three", "echo", "ran"), 125, "three", "no such environment", "one")
    message(up.up("three", check=False), 1, "three", "is not in /etc/chos", "known environments: one")


# --- trees --------------------------------------------------------------------------------------------------------


def test_a_missing_tree(up: Node) -> None:
    up.configure("one:/os/one\ngone:/os/gone\n")
    result = up.up(check=False)
    assert result.returncode == 1
    for word in ("/os/gone", "does not exist", "mounted?"):
        assert word in result.stderr
    message(up.chos("gone", "echo", "ran"), 125, "gone", "could not be prepared", "/os/gone")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "no /bin/sh"),
        ("file", "not a directory"),
        ("no etc", "/etc is missing"),
        ("user's", "not to root"),
        ("writable", "writable by others"),
    ],
)
def test_a_tree_that_is_none(node: Node, kind: str, reason: str) -> None:
    tree = Path("/os/bad")
    if kind == "empty":
        tree.mkdir(parents=True)
    elif kind == "file":
        tree.parent.mkdir(exist_ok=True)
        tree.write_text("x")
    else:
        node.tree("bad")
    if kind == "no etc":
        os.rename("/os/bad/etc", "/os/bad/etc.kept")
    elif kind == "user's":
        subprocess.run(["chown", "alice", str(tree)], check=True)
    elif kind == "writable":
        tree.chmod(0o777)
    node.configure("bad:/os/bad\n")
    result = node.up(check=False)
    assert result.returncode == 1 and "/os/bad" in result.stderr and reason in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    message(node.chos("bad", "echo", "ran"), 125, "bad", "could not be prepared", reason)


def test_a_command_that_the_tree_lacks(up: Node) -> None:
    message(up.chos("one", "gcc", "-v"), 127, "gcc", "not found in this environment", "installed in the OS tree")


@pytest.mark.parametrize("kind", ["nothing", "file", "fifo", "link", "device", "nodev", "mode"])
def test_a_dev_that_is_none(up: Node, kind: str) -> None:
    """Whoever made it may mean root to open something else: no link is followed, and nothing is opened."""
    shutil.rmtree("/srv/dev", ignore_errors=True)
    Path("/srv/dev").mkdir()
    null = Path("/srv/dev/null")
    if kind == "file":
        null.touch()
    elif kind == "fifo":
        os.mkfifo(null)
    elif kind == "link":
        null.symlink_to("/local/dev/null")
    elif kind != "nothing":
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 8 if kind == "device" else 3))
        null.chmod(0o600 if kind == "mode" else 0o666)
    bind = f'source = "/srv/dev", target = "/dev", devices = {"false" if kind == "nodev" else "true"}'
    up.configure("one:/os/one\n", site=f"[environment.one]\nbind = [{{ {bind} }}]\n")
    result = up.up(check=False)
    assert result.returncode == 1 and "/dev/null cannot be used" in result.stderr and "{" not in result.stderr
    assert up.generation("one") == "one.1"
    subprocess.run(["rm", "-r", "/srv/dev"], check=True)


def test_a_shell_of_another_architecture(up: Node) -> None:
    Path("/os/one/bin/sh").unlink()
    Path("/os/one/bin/sh").write_bytes(b"\x7fELF" + bytes(60))
    Path("/os/one/bin/sh").chmod(0o755)
    result = up.up("--renew", check=False)
    assert "(status 127): /bin/sh: " in result.stderr and "{" not in result.stderr and "architecture" in result.stderr


def test_a_bind_in_the_place_of_the_launcher(up: Node) -> None:
    bind = '[environment.one]\n\nbind = [{ source = "/srv", target = "/usr/bin" }]\n'
    up.configure("one:/os/one\n", site=bind)
    result = up.up(check=False)
    assert result.returncode == 1 and "/usr/bin is the base's (/etc/chos.d/site.toml:3)" in result.stderr


# --- rights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["up", "down", "reload"])
def test_without_privilege(up: Node, command: str) -> None:
    message(up.chosctl(command, check=False, user="alice"), 1, f"chosctl {command}", "needs root", "sudo")
    assert up.chos("one", "true").returncode == 0


def test_no_new_privs_in_the_caller(up: Node) -> None:
    result = up.run(["setpriv", "--no-new-privs", "env", "CHOS=one", "chos", "echo", "ran"])
    message(result, 125, "no_new_privs", "run chos outside of that")


def test_a_launcher_without_capabilities(up: Node) -> None:
    up.mount("--bind", "/usr/bin", "/mnt")
    subprocess.run(["mount", "-o", "remount,bind,nosuid", "/mnt"], check=True)
    message(up.run(["/mnt/chos", "echo", "ran"], env={"CHOS": "one"}), 125, "capabilities", "nosuid", "setcap")


def test_in_a_users_own_namespace(up: Node) -> None:
    if up.run(["unshare", "-Ur", "true"]).returncode != 0:
        pytest.skip("users may not make user namespaces here")
    result = up.run(["unshare", "-Urm", "env", "CHOS=one", "chos", "echo", "ran"])
    assert (result.returncode, result.stdout) == (125, "")
    assert "container" in result.stderr


@pytest.mark.parametrize("command", ["up", "down"])
def test_root_without_rights(up: Node, command: str) -> None:
    """As in a container: root by name."""
    result = up.run(["setpriv", "--bounding-set", "-sys_admin", "chosctl", command], user="root")
    message(result, 1, "Operation not permitted", "outside of containers")
    assert "full?" not in result.stderr
    assert up.chos("one", "true").returncode == (0 if command == "up" else 125)


@pytest.mark.parametrize("command", ["up", "status", "list", "ps", "check", "explain one"])
def test_output_that_cannot_be_written(up: Node, command: str) -> None:
    """A full disk is said to be so; where there is no output at all, the work is done without."""
    for end, status, words in ((">/dev/full", 1, "No space left on device"), (">&-", 0, ""), ("<&- >&- 2>&-", 0, "")):
        result = up.run(["sh", "-c", f"chosctl {command} {end}"], user="root")
        assert (result.returncode, result.stdout) == (status, ""), (end, result)
        assert words in result.stderr and "Traceback" not in result.stderr and "/run full" not in result.stderr
        assert result.stderr.count("\n") == status, result.stderr


# --- where up may run ---------------------------------------------------------------------------------------------


def test_up_inside_an_environment(node: Node) -> None:
    """Of a tree that holds chosctl, or an administrator who forgot where he is."""
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    before = node.pin("new.1")
    # The base's Python with the base's libraries, moved into the environment when all that it needs is loaded.
    enter = (
        "import os, sys; fd = os.open('/run/chos/gen/new.1/ns', os.O_RDONLY); "
        "import click, psutil, ctypes, chosns.cli.lifecycle; "
        "libc = ctypes.CDLL(None, use_errno=True); assert libc.setns(fd, 0x20000) == 0; "
        "sys.argv = ['chosctl', 'up', '--renew']; chosns.cli.main()"
    )
    result = subprocess.run([*chosctl_python(), enter], capture_output=True, text=True, check=False)
    message(result, 1, "chosctl up", "inside an environment", "CHOS=root")
    assert node.pin(node.generation("new")) == before


def chosctl_python() -> list[str]:
    """How to run Python code that imports what the installed chosctl imports."""
    lines = Path("/usr/bin/chosctl").read_text().splitlines()
    paths = "; ".join(line for line in lines if line.startswith("sys.path"))
    return ["/usr/bin/python3", "-I", "-c", f"import sys; {paths}\nimport sys as _s\nexec(_s.argv[1])"]


@pytest.mark.parametrize("command", ["up", "down"])
def test_in_a_private_namespace(up: Node, command: str) -> None:
    result = up.run(["unshare", "-m", "chosctl", command], user="root")
    message(result, 1, f"chosctl {command}", "mount namespace of its own", "nsenter --target 1 --mount")
    assert up.chos("one", "true").returncode == 0


def test_the_hint_works(up: Node) -> None:
    hint = ["nsenter", "--target", "1", "--mount", "chosctl", "up", "--renew"]
    up.run(["unshare", "-m", *hint], user="root", check=True)
    assert up.generation("one") == "one.2"


def test_entering_from_a_private_namespace(up: Node) -> None:
    """A service with PrivateTmp sees no pins, but finds its way."""
    result = up.run(
        [
            "unshare",
            "-m",
            "setpriv",
            "--reuid",
            "alice",
            "--regid",
            "alice",
            "--init-groups",
            "env",
            "CHOS=one",
            "chos",
            "cat",
            "/etc/os-release",
        ],
        user="root",
        check=True,
    )
    assert 'PRETTY_NAME="one"' in result.stdout


@pytest.mark.parametrize("call", ["openat2", "fsopen", "mount_setattr"])
def test_a_kernel_that_is_too_old(up: Node, call: str) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=ENOSYS"]
    message(up.run([*inject, "chosctl", "up"], user="root"), 1, f"lacks {call}", "Linux 5.12")
    # Only the worker's: a filter that came with it.
    late = up.run([*inject[:-1], inject[-1] + ":when=2+", "chosctl", "up", "--renew"], user="root")
    assert late.returncode == 1 and "Linux 5.12" in late.stderr and "Traceback" not in late.stderr, late
    assert up.chos("one", "true").returncode == 0


# --- a full /run --------------------------------------------------------------------------------------------------


def test_a_full_registry(up: Node) -> None:
    fill = REGISTRY / "fill"
    with open(fill, "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    result = up.up("--renew", check=False)
    assert result.returncode == 1 and "No space left on device" in result.stderr and "df /run" in result.stderr, result
    assert "Traceback" not in result.stderr
    assert up.generation("one") == "one.1"
    assert up.chos("one", "cat", "/etc/os-release").returncode == 0, "the old one goes on"
    fill.unlink()
    up.up("--renew")
    assert up.generation("one") != "one.1" and up.chos("one", "true").returncode == 0
    assert len(os.listdir(REGISTRY / "gen")) == 1, "nothing half-made is left"


def test_a_full_run_before_the_first_up(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    Path("/run/chos.lock").unlink(missing_ok=True)
    if REGISTRY.exists():
        REGISTRY.rmdir()
    used = os.statvfs("/run").f_files - os.statvfs("/run").f_ffree
    subprocess.run(["mount", "-o", f"remount,nr_inodes={used}", "/run"], check=True)
    try:
        result = node.up(check=False)
        message(result, 1, "No space left on device", "/run")
    finally:
        subprocess.run(["mount", "-o", "remount,nr_inodes=100000", "/run"], check=True)
    node.up()
    assert node.chos("one", "true").returncode == 0


# --- a file system that does not answer ---------------------------------------------------------------------------


def test_a_tree_that_does_not_answer(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\nsilent:/os/silent\ntwo:/os/two\n")
    with silent_file_system(Path("/os/silent")):
        result = node.up("--timeout", "1", check=False)
        assert result.returncode == 1
        for word in ("silent", "no answer within 1 s", "server that does not answer"):
            assert word in result.stderr, result.stderr
        for name in ("one", "two"):
            assert node.chos(name, "true").returncode == 0, name
        message(node.chos("silent", "echo", "ran"), 125, "could not be prepared", "no answer")
        status = node.chosctl("status", check=False)
        assert status.returncode == 1 and "no answer" in status.stdout


def test_a_tree_that_falls_silent_keeps_its_environment(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    resident = node.resident("one")
    with silent_file_system(Path("/os/one")):
        assert node.up("--timeout", "1", check=False).returncode == 1
        assert node.generation("one") == "one.1"
        assert node.ask(resident, "cat /etc/os-release").startswith("NAME"), "it has the tree below, still"
        assert node.chos("one", "true").returncode == 0


def test_a_file_system_of_the_base_that_does_not_answer(node: Node) -> None:
    """A hung mount among the base's is bound like the others; nobody looks into it."""
    node.tree("one")
    node.configure("one:/os/one\n")
    with silent_file_system(Path("/srv/hung")):
        node.up("--timeout", "20")
        assert node.chos("one", "true").returncode == 0
        assert "/srv/hung" in node.chos("one", "cat", "/proc/self/mountinfo", check=True).stdout


# --- configuration ------------------------------------------------------------------------------------------------


def test_two_sections_for_one_environment(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n", a='[environment.one]\ngroups = ["alice"]\n', b="[environment.one]\n")
    result = node.up(check=False)
    assert result.returncode == 1
    assert "/etc/chos.d/a.toml:1" in result.stderr and "/etc/chos.d/b.toml:1" in result.stderr
    message(node.chos("one", "echo", "ran"), 125, "one", "could not be prepared")
    assert node.chos("two", "true").returncode == 0, "the other one is up"
    assert "b.toml:1" in node.chosctl("check", check=False).stdout


def test_the_same_name_twice_in_etc_chos(node: Node) -> None:
    """As in the original, the first match wins; the checker tells of the second."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\none:/os/two\n")
    node.up()
    assert 'PRETTY_NAME="one"' in node.chos("one", "cat", "/etc/os-release", check=True).stdout
    result = node.chosctl("check", check=False)
    assert result.returncode == 1 and "/etc/chos:3:" in result.stdout


def test_a_file_that_is_no_toml(up: Node) -> None:
    up.tree("two")
    up.configure("one:/os/one\ntwo:/os/two\n", broken='[environment.one]\ngroups = ["x"\n')
    result = up.up(check=False)
    assert result.returncode == 1 and "broken.toml:" in result.stderr
    assert up.chos("two", "true").returncode == 0


@pytest.mark.parametrize("how", ["another owner", "writable", "a directory above"])
def test_a_configuration_that_others_could_change(up: Node, how: str) -> None:
    before = up.pin("one.1")
    if how == "another owner":
        subprocess.run(["chown", "alice", "/etc/chos"], check=True)
    elif how == "writable":
        os.chmod("/etc/chos", 0o664)
    else:
        Path("/etc/chos.d").mkdir()
        (Path("/etc/chos.d") / "x.toml").write_text("[environment.one]\n")
        os.chmod("/etc/chos.d", 0o777)
    result = up.up("--renew", check=False)
    assert result.returncode == 1 and "/etc/chos" in result.stderr, result.stderr
    assert "ch" in result.stderr.split("/etc/chos", 1)[1]
    if how == "a directory above":
        assert "nobody can enter until this is mended" in result.stderr, "it may have restricted every environment"
        assert up.chos("one", "true").returncode == 125
        return
    assert up.pin("one.1") == before and up.chos("one", "true").returncode == 0, "what was there goes on"


def test_registry_files_that_are_damaged(up: Node) -> None:
    policy = REGISTRY / "gen/one.1/policy"
    policy.write_text(policy.read_text() + "nonsense=1\n")
    message(up.chos("one", "echo", "ran"), 125, "damaged", "chosctl up")
    up.up()
    assert up.chos("one", "true").returncode == 0, "the hint is true"


def test_a_pin_that_somebody_unmounted(up: Node) -> None:
    subprocess.run(["umount", f"{REGISTRY}/gen/one.1/ns"], check=True)
    message(up.chos("one", "echo", "ran"), 125, "prepared environment is gone", "chosctl up")
    up.up()
    assert up.chos("one", "true").returncode == 0


@pytest.mark.parametrize("what", ["file", "directory", "full directory", "loop"])
@pytest.mark.parametrize(
    "where",
    ["env/one", "env/root", "backend", "base", "login", "env", "failed/one", "lock", "stage"]
    + ["gen/one.1", "gen/one.1/ns", "gen/one.1/tree", "gen/one.1/policy", "gen/one.1/manifest.json", "gen/one.1/more"]
    + ["gen/one.7", "gen/one.1/ns/x"],
)
def test_something_else_in_the_place_of_it(up: Node, where: str, what: str) -> None:
    """Whatever a hand has put into the registry, nobody sees a traceback, and `up` writes it anew."""
    place = REGISTRY / where
    if where.startswith("gen/one.1"):
        subprocess.run(["umount", f"{REGISTRY}/gen/one.1/ns"], check=True)
    if place.parent.is_file():
        place.parent.unlink()
        place.parent.mkdir()
    subprocess.run(["rm", "-rf", str(place)], check=True)
    if what == "file":
        place.write_text("x\n")
    elif what == "loop":
        place.symlink_to("loop")
    else:
        place.mkdir()
    if what.startswith("full"):
        (place / "more").mkdir()
        (place / "more/file").write_text("x")
    for command in ("status", "list", "ps"):
        assert "Traceback" not in up.chosctl(command, check=False).stderr, command
    assert "Traceback" not in up.chos("one", "true").stderr
    result = up.up(check=False)
    assert result.returncode == 0, result.stderr
    assert up.chos("one", "cat", "/etc/os-release").returncode == 0
    up.chosctl("down")
    assert not REGISTRY.exists()


def test_a_failure_that_cannot_be_read(up: Node) -> None:
    """It may be there: so the name is not told as one that nobody knows, for which a host may go on to a default."""
    (REGISTRY / "failed/nobody").symlink_to("nobody")
    said = up.chos("nobody", "true")
    assert said.returncode == 125 and "failed (" in said.stderr and "no such environment" not in said.stderr
    assert "no such environment" in up.chos("another", "true").stderr


def test_down_with_something_else_in_a_generation(up: Node) -> None:
    (REGISTRY / "gen/one.1/directory").mkdir()
    (REGISTRY / "gen/one.1/directory/file").write_text("x")
    (REGISTRY / "env/two").write_text("x")
    up.chosctl("down")
    assert not REGISTRY.exists()


def test_interrupting_up(up: Node) -> None:
    """Ctrl-C while a tree does not answer: a message, and what was there goes on."""
    up.configure("one:/os/one\nsilent:/os/silent\n")
    with silent_file_system(Path("/os/silent")):
        process = up.start(["chosctl", "up"], user="root")
        assert process.stdout and "one" in process.stdout.readline()
        process.send_signal(2)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert up.chos("one", "true").returncode == 0
    assert not [point for point in mount_points() if "/run/chos/stage" in point]
