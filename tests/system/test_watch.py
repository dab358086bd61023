"""`chosctl watch` and the repair of `chosctl up`, against users who move directories, automounters, and damage.

docs/security.md, rules 27 and 34. What is restricted, and what becomes of it, is in test_trust.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attack_tools import patched, patched_command
from automounter import automount
from node import Node, mount_points, wait_for
from test_trust import LATER, evil, flags_at, mounted_later

__all__ = ["automount"]

MANIFEST = Path("/run/chos/gen/one.1/manifest.json")
IDENTITY = """
import os, sys
def identity():
    status = os.stat("/")
    return status.st_dev, status.st_ino
def inside():
    return os.stat("/proc/self/ns/mnt").st_ino != own
base, own = identity(), os.stat("/proc/self/ns/mnt").st_ino
def look(event, arguments):
    if event in ("open", "import") and arguments[0] not in ("/", "self/mountinfo") and identity() != base:
        os.write(2, f"{event} {arguments[0]} inside\\n".encode())
        os._exit(3)
sys.addaudithook(look)
"""


def holds(process: subprocess.Popen[str], pin: int) -> bool:
    """Whether it has a generation's pin open, and so restricts there without delay."""
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it opens and closes others meanwhile
            if os.readlink(link) == f"mnt:[{pin}]":
                return True
    return False


def restricted(name: str, place: str = str(LATER)) -> bool:
    return {"nosuid", "nodev"} <= flags_at(name, place)


# --- users who move directories -------------------------------------------------------------------------------------


def test_a_directory_that_is_renamed_meanwhile(node: Node) -> None:
    """A user moves the directory above a mount point, and puts a link there: the flags land nowhere else.

    /srv/user/a/dev is a file system that came later. When it is about to be restricted, a is a link, by which the same
    path leads to /dev. Without devices nobody inside could write to /dev/null any more.
    """
    bind = '[[environment.evil.bind]]\nsource = "/dev"\ntarget = "/srv/devices"\ndevices = true\n'
    Path("/srv/devices").mkdir(parents=True, exist_ok=True)
    evil(node, bind)
    resident = node.resident("evil")
    place = Path("/srv/user/a/dev")
    place.mkdir(parents=True)
    node.mount("-t", "tmpfs", "later", str(place))
    code = """
import os
from chosns.mounts import repair
from chosns.system import syscalls
def tops(mountinfo, wanted, flag, real=repair.tops):
    found = real(mountinfo, wanted, flag)
    if flag == syscalls.MOUNT_ATTR_NODEV and not os.path.islink("/srv/user/a"):
        os.rename("/srv/user/a", "/srv/user/b")
        os.symlink("../..", "/srv/user/a")
    return found
repair.tops = tops
"""
    result = patched(code, "up")
    assert os.path.islink("/srv/user/a"), result
    assert node.ask(resident, "echo x >/dev/null && echo written") == "written"
    assert restricted("evil", "/srv/user/b/dev"), "it is found where it is now"
    assert result.returncode == 0, result


SPOTS = """
import os, sys
sys.path.insert(0, {library!r})
from chosns.system import mountflags, syscalls
from chosns.system.mountinfo import read_mounts
os.chdir({directory!r})
mount = next(mount for mount in read_mounts() if mount.target == os.getcwd() + "/a/m")
root = os.open("/", os.O_PATH)
{change}
mountflags.restrict(root, mount, syscalls.MOUNT_ATTR_NOSUID)
print(*("nosuid" in mount.flags for mount in read_mounts() if mount.target.startswith(os.getcwd() + "/")))
assert len(os.listdir("/proc/self/fd")) == 5, "nothing is kept open"  # 0, 1, 2, root, and the listing's own
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("pass", "True False"),
        ("os.rename('a', 'c'); os.rename('b', 'a')", "False False"),
        ("os.rename('a', 'c'); os.symlink('b', 'a')", "False False"),
        ("os.rename('a', 'c'); os.makedirs('a/m')", "False False"),
        ("os.rename('a', 'c'); os.mkdir('a'); os.symlink('../b/m', 'a/m')", "False False"),
        ("os.rename('a', 'c')", "False False"),
        ("os.rename('a', 'c'); open('a', 'w').close()", "False False"),
        ("syscalls.umount('a/m')", "False"),
        ("syscalls.mount('over', 'a/m', 0, 'tmpfs')", "False False False"),
    ],
)
def test_flags_land_on_one_mount_or_none(tmp_path: Path, change: str, expected: str) -> None:
    """Whatever is at its path by now: another mount, a link to one, a plain directory, a file, or one more on it."""
    for name in ("a/m", "b/m"):
        (tmp_path / name).mkdir(parents=True)
    start = f'mount -t tmpfs one {tmp_path}/a/m && mount -t tmpfs two {tmp_path}/b/m && exec {sys.executable} -c "$0"'
    library = str(Path(__file__).parents[2])
    script = SPOTS.format(library=library, directory=str(tmp_path), change=change)
    command = ["unshare", "--mount", "sh", "-c", start, script]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.stdout == expected + "\n", result


MOVED = """
import os, sys
sys.path.insert(0, {library!r})
from chosns.system import mountflags, syscalls
from chosns.system.mountinfo import read_mounts
os.chdir({directory!r})
mount = next(mount for mount in read_mounts() if mount.target == os.getcwd() + "/a/m")
def mount_setattr(*arguments, real=syscalls.mount_setattr, **more):
    os.rename("a", "c")
    os.rename("b", "a")
    real(*arguments, **more)
syscalls.mount_setattr = mount_setattr
mountflags.restrict(os.open("/", os.O_PATH), mount, syscalls.MOUNT_ATTR_NOSUID)
print(*sorted(mount.target[-3:] for mount in read_mounts() if "nosuid" in mount.flags and os.getcwd() in mount.target))
"""


def test_a_mount_that_moves_between_the_look_and_the_change(tmp_path: Path) -> None:
    """What has been looked at is changed, wherever it is by then."""
    for name in ("a/m", "b/m"):
        (tmp_path / name).mkdir(parents=True)
    start = f'mount -t tmpfs one {tmp_path}/a/m && mount -t tmpfs two {tmp_path}/b/m && exec {sys.executable} -c "$0"'
    script = MOVED.format(library=str(Path(__file__).parents[2]), directory=str(tmp_path))
    command = ["unshare", "--mount", "sh", "-c", start, script]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.stdout == "c/m\n", result


# --- automounters and servers that do not answer ------------------------------------------------------------------


ASKING = """
import os, sys
sys.path.insert(0, {library!r})
from chosns.system import syscalls
syscalls.mount_setattr(syscalls.AT_FDCWD, "/auto-direct", set_=syscalls.MOUNT_ATTR_NOSUID)
syscalls.mount_setattr(syscalls.AT_FDCWD, "/auto-direct", set_=syscalls.MOUNT_ATTR_NODEV, recursive=True)
os.close(syscalls.open_tree(syscalls.AT_FDCWD, "/auto-direct", syscalls.OPEN_TREE_CLONE))
os.close(syscalls.open_tree(syscalls.AT_FDCWD, "/auto-direct", 0))
"""


def test_no_call_asks_an_automounter(node: Node, automount: Callable[..., None]) -> None:
    """None of those on paths that somebody else chose."""
    automount(direct=True)
    script = ASKING.format(library=str(Path(__file__).parents[2]))
    node.run([sys.executable, "-I", "-c", script], user="root", check=True)
    assert mount_points().count("/auto-direct") == 1, "only the automounter's own"


def test_a_direct_map_is_not_mounted_by_a_repair(node: Node, automount: Callable[..., None]) -> None:
    """Its mount point lacks nosuid as all else that comes later. Setting that asks no automounter, which may wait for a
    server for ever."""
    Path("/auto-direct").mkdir(exist_ok=True)
    evil(node)
    automount(direct=True)
    result = node.up()
    assert mount_points().count("/auto-direct") == 1, "only the automounter's own"
    assert "restricted inside now" in result.stderr and "/auto-direct" in result.stderr
    assert "mounted since" not in node.up().stderr, "nothing is left to do"


def test_a_direct_map_is_not_mounted_by_up(node: Node, automount: Callable[..., None]) -> None:
    """Where it is there before, and so among what is shown inside."""
    automount(direct=True)
    evil(node)
    assert mount_points().count("/auto-direct") == 1, "only the automounter's own"
    assert node.chos("evil", "cat", "/auto-direct/colour", check=True).stdout == "red\n"


def test_a_direct_map_is_not_mounted_by_watch(node: Node, automount: Callable[..., None]) -> None:
    """Neither when it comes nor each time that something else comes: it would never expire."""
    Path("/auto-direct").mkdir(exist_ok=True)
    evil(node)
    watcher = node.start(["chosctl", "watch"], user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    automount(direct=True)
    wait_for(lambda: restricted("evil", "/auto-direct"), "watch to restrict the automounter's")
    mounted_later(node)
    wait_for(lambda: restricted("evil"), "watch to restrict what came later")
    assert mount_points().count("/auto-direct") == 1, "only the automounter's own"
    assert Path("/auto-direct/colour").read_text() == "red\n", "for everybody else it works"
    wait_for(lambda: restricted("evil", "/auto-direct"), "watch to restrict what was mounted there")


# --- root stays on the base -----------------------------------------------------------------------------------------


def test_root_stays_on_the_base_while_it_watches(node: Node, tmp_path: Path) -> None:
    """Rule 27: whatever Python or libc may want to open or load meanwhile is the base's, not the tree's."""
    evil(node)
    mounted_later(node)
    seen = tmp_path / "seen"
    code = f"""{IDENTITY}
from chosns.system import syscalls
def mount_setattr(*arguments, real=syscalls.mount_setattr, **more):
    if inside() and os.getpid() == watcher:
        with open({str(seen)!r}, "a") as file:
            file.write("base " if identity() == base else "tree ")
    return real(*arguments, **more)
syscalls.mount_setattr = mount_setattr
watcher = os.getpid()
"""
    watcher = node.start(patched_command(code, "watch"), user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    subprocess.run(["umount", str(LATER)], check=True)
    wait_for(lambda: seen.exists() or watcher.poll() is not None, "watch to set flags")
    assert watcher.poll() is None, watcher.communicate()
    assert set(seen.read_text().split()) == {"base"}


@pytest.mark.parametrize("step", ["mount_setattr", "setns"])
def test_what_python_says_of_a_mistake_comes_from_the_base(node: Node, step: str) -> None:
    """An exception that nobody expected, right after entering: to print it, Python loads modules, and its source."""
    evil(node)
    mounted_later(node)
    code = f"""{IDENTITY}
from chosns.system import syscalls
watcher = os.getpid()
def failing(*arguments, real=syscalls.{step}, **more):
    result = real(*arguments, **more)
    if inside() and os.getpid() == watcher:
        1 // 0
    return result
syscalls.{step} = failing
"""
    watcher = node.start(patched_command(code, "watch"), user="root")
    if step == "mount_setattr":
        wait_for(lambda: holds(watcher, node.pin("evil.1")) or watcher.poll() is not None, "watch to begin")
        subprocess.run(["umount", str(LATER)], check=True)
    output, errors = watcher.communicate(timeout=60)
    assert watcher.returncode == 1, (output, errors)
    assert "ZeroDivisionError" in errors and "inside\n" not in errors


# --- it goes on -------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(node: Node) -> Iterator[Callable[[], None]]:
    """A function that starts somebody who mounts and unmounts all the time."""
    started: list[subprocess.Popen[str]] = []
    place = Path("/mnt/busy")

    def start() -> None:
        place.mkdir(parents=True, exist_ok=True)
        loop = f"while :; do mount -t tmpfs busy {place}; sleep 0.2; umount {place}; sleep 0.2; done"
        started.append(node.start(["sh", "-c", loop], user="root"))

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_somebody_mounts_all_the_time(node: Node, busy: Callable[[], None]) -> None:
    """There is never a quiet second; what `up` has prepared meanwhile is watched all the same."""
    watcher = node.start(["chosctl", "watch"], user="root")
    busy()
    evil(node)
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to learn of the new generation")


def test_a_registry_that_is_damaged_for_a_while(node: Node) -> None:
    """It is told once, and the watch goes on when it is mended."""
    evil(node)
    watcher = node.start(["chosctl", "watch"], user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    registry = Path("/run/chos")
    mode = registry.stat().st_mode & 0o7777
    registry.chmod(0o777)
    mounted_later(node)
    assert watcher.stdout
    assert "is not root's alone" in watcher.stdout.readline()
    registry.chmod(mode)
    node.mount("-t", "tmpfs", "again", str(LATER))
    wait_for(lambda: restricted("evil"), "watch to restrict what came later")
    assert watcher.poll() is None


# --- what cannot be looked at -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "gone"), [("ENOENT", True), ("EINVAL", True), ("EIO", False), ("EPERM", False), ("ENFILE", False)]
)
def test_only_what_is_gone_counts_as_retired(node: Node, code: str, gone: bool) -> None:
    """A generation that cannot be looked at for another reason may be wider than its plan: that is told."""
    node.tree("one")
    evil(node, more="one:/os/one\n")
    mounted_later(node)
    failing = f"""
import errno, os
from chosns.mounts import repair
def enter(self, generation, real=repair.Visitor.enter):
    if generation == "one.1":
        raise OSError(errno.{code}, os.strerror(errno.{code}))
    return real(self, generation)
repair.Visitor.enter = enter
"""
    result = patched(failing, "up")
    assert restricted("evil"), "the others are looked at"
    assert result.returncode == (0 if gone else 1), result
    assert ("one.1" in result.stderr) == (not gone), result
    if not gone:
        assert "what was mounted since may give rights in it" in result.stderr


DAMAGE = [None, 7, ["Bind"], [None], {"Bind": 1}, [{"target": "/x", "flags": 7}], [{"target": 7, "flags": []}]]


@pytest.mark.parametrize("operations", DAMAGE, ids=str)
def test_a_damaged_manifest(node: Node, operations: object) -> None:
    """It is named, and nothing is guessed from it; the others are looked at, restricted and watched."""
    node.tree("one")
    evil(node, more="one:/os/one\n")
    manifest = json.loads(MANIFEST.read_text())
    manifest["plan"]["operations"] = operations
    MANIFEST.write_text(json.dumps(manifest))
    mounted_later(node)
    watcher = node.start(["chosctl", "watch"], user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    assert restricted("evil")
    assert watcher.stdout
    lines = watcher.stdout.readline() + watcher.stdout.readline()
    assert "one.1" in lines and "manifest" in lines, lines
    before = len(os.listdir(f"/proc/{watcher.pid}/fd"))
    for _ in range(3):
        node.mount("-t", "tmpfs", "again", str(LATER))
        wait_for(lambda: restricted("evil"), "watch to restrict the next")
    result = node.chosctl("check", check=False)
    assert "one.1" in result.stdout, result
    planned = node.up("--dry-run", "evil", check=False)
    assert "one.1" in planned.stderr and "manifest" in planned.stderr, planned
    result = node.up("evil", check=False)
    assert result.returncode == 1 and "one.1" in result.stderr and "manifest" in result.stderr, result
    assert watcher.poll() is None
    wait_for(lambda: len(os.listdir(f"/proc/{watcher.pid}/fd")) <= before, "watch to let go of what it had opened")


# --- what others have met: systemd, autofs, util-linux, duf, containerd ---------------------------------------------


NAMES = ["-", "a b", "a\tb", "a\nb", "a\rb", "a\\040b", "#a", "a//deleted", "\x85", "\udcff", "é"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_parsers_stumble_over(node: Node, name: str) -> None:
    """Of mount points and of what is mounted, which may be nothing: then mountinfo has an empty field."""
    evil(node)
    place = LATER / name
    place.mkdir(parents=True)
    sources = ("-", "", name)
    for source in sources:
        on_base(f"syscalls.mount({source!r}, {str(place)!r}, 0, 'tmpfs')")
    try:
        result = node.up()
        assert "restricted inside now" in result.stderr
        assert not json.loads(node.chosctl("status", "--json").stdout)["without_nosuid"]
        assert "mounted since" not in node.up().stderr
    finally:
        for _ in sources:
            on_base(f"syscalls.umount({str(place)!r})")


def on_base(code: str) -> None:
    """mount(8) and umount(8) would change the names."""
    library = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", f"from chosns.system import syscalls; {code}"], cwd=library, check=True)


def test_a_storm_and_what_comes_after_it(node: Node) -> None:
    """systemd's limit for events made it miss what came after many. The last one counts as the first."""
    evil(node)
    watcher = node.start(["chosctl", "watch"], user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    LATER.mkdir(exist_ok=True)
    storm = f"for i in $(seq 100); do mount -t tmpfs storm {LATER}; umount {LATER} || umount -l {LATER}; done"
    subprocess.run(["sh", "-c", storm], check=True)
    mounted_later(node)
    wait_for(lambda: restricted("evil"), "watch to restrict what came after the storm")
    assert watcher.poll() is None


def test_what_is_mounted_under_another(node: Node) -> None:
    """As systemd does it, with MOVE_MOUNT_BENEATH: it comes to light when the other goes."""
    evil(node)
    LATER.mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "nosuid,nodev", "over", str(LATER))
    script = f"""
import os
from chosns.system import syscalls
mount = syscalls.new_mount("tmpfs", {{}}, 0)
syscalls.move_mount(mount, os.open({str(LATER)!r}, os.O_PATH), "", beneath=True)
"""
    library = str(Path(__file__).parents[2])
    if subprocess.run([sys.executable, "-c", script], cwd=library, check=False).returncode:
        pytest.skip("this kernel mounts nothing under another mount: Linux 6.5")
    node.up()
    subprocess.run(["umount", str(LATER)], check=True)
    assert {"nosuid", "nodev"} <= flags_at("evil", str(LATER))


def test_watch_keeps_nothing_mounted(node: Node, automount: Callable[..., None], tmp_path: Path) -> None:
    """What it holds is the generation's: the base unmounts what came before or later, and automount can end."""
    Path("/auto-direct").mkdir(exist_ok=True)
    before = Path("/srv/before")
    before.mkdir(parents=True)
    node.mount("-t", "tmpfs", "before", str(before))
    evil(node)
    watcher = node.start(["chosctl", "watch"], user="root")
    wait_for(lambda: holds(watcher, node.pin("evil.1")), "watch to begin")
    automount(direct=True)
    mounted_later(node)
    wait_for(lambda: restricted("evil") and restricted("evil", "/auto-direct"), "watch to restrict what came")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    wait_for(lambda: not {"/auto", "/auto-direct"} & set(mount_points()), "automount to unmount what is its own")
    for place in (LATER, before):  # a child that looks closely may have it open for a moment
        wait_for(lambda: not subprocess.run(["umount", str(place)], check=False).returncode, f"{place} to be unmounted")  # noqa: B023
    assert watcher.poll() is None
