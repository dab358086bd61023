"""How a tree is trusted, and what set-uid programs of the base can do to those who look at them from inside: rule 34.

The attack: the base's `su` is run by a user inside, with the loader of the tree. Where the mount that it lies on
honours set-uid bits, that loader runs as root. The tree's loader here says who it is, and does nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attack_tools import build_launcher, clean, compiled, patched, spawn
from automounter import EXPORT, automount
from node import Node, install, wait_for
from silent import silent_file_system

__all__ = ["automount"]

# In the place of the tree's dynamic loader. The kernel starts it for each dynamic program, with the ids of that.
LOADER = """
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    printf("loader %d %d %d\\n", (int)getuid(), (int)geteuid(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    return 0;
}
"""
LATER = Path("/srv/later")
FOREIGN = '[environment.evil.policy]\ntrust = "foreign"\n'


def interpreter() -> str:
    """The dynamic loader that the base's `su` asks for."""
    headers = subprocess.run(["readelf", "-l", "/usr/bin/su"], text=True, capture_output=True, check=True).stdout
    return headers.partition("interpreter: ")[2].partition("]")[0]


def hostile(tree: Path) -> None:
    """Give a tree such a loader."""
    loader = tree / interpreter().lstrip("/")
    loader.parent.mkdir(parents=True, exist_ok=True)
    loader.unlink(missing_ok=True)
    shutil.copy(compiled("loader", LOADER), loader)
    loader.chmod(0o755)


def evil(node: Node, settings: str = "", more: str = "") -> None:
    """A node with an environment `evil` that has a hostile tree, prepared; and others."""
    hostile(node.tree("evil"))
    node.configure("evil:/os/evil\n" + more, **({"evil": settings} if settings else {}))
    node.up()


def copy_of_su(directory: Path) -> Path:
    """A set-uid program of the base, on another file system."""
    directory.mkdir(parents=True, exist_ok=True)
    copy = directory / "su"
    shutil.copy("/usr/bin/su", copy)
    os.chown(copy, 0, 0)
    copy.chmod(0o4755)
    return copy


def mounted_later(node: Node, options: str = "mode=0755") -> Path:
    """A file system that comes to the base after `up`, with such a program."""
    LATER.mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", options, "later", str(LATER))
    return copy_of_su(LATER)


def runs_as(name: str, program: Path | str) -> list[int]:
    """Who the tree's loader was: uid, euid and no_new_privs."""
    result = spawn(["/usr/bin/chos", str(program), "--version"], env={"CHOS": name})
    assert result.stdout.startswith("loader "), result
    return [int(word) for word in result.stdout.split()[1:]]


def alice() -> int:
    return int(spawn(["id", "-u"]).stdout)


# --- foreign ------------------------------------------------------------------------------------------------------


def test_a_foreign_tree_never_runs_as_root(node: Node) -> None:
    """Not on what came later, not on a second tree that came later, at no time; without any repair."""
    evil(node, FOREIGN)
    places = [mounted_later(node)]
    Path("/os/two").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "mode=0755", "two", "/os/two")
    places.append(copy_of_su(Path("/os/two/usr/bin")))
    for place in places:
        assert os.stat(place).st_mode & 0o4000
        assert runs_as("evil", place) == [alice(), alice(), 1]


def test_from_a_foreign_tree_nobody_goes_on(node: Node) -> None:
    """Neither to another environment, nor back, nor to a command of the base; it is said why, and what to do."""
    node.tree("two")
    evil(node, FOREIGN, "two:/os/two\n")
    for name in ("two", "root", "evil"):
        stuck = node.chos("evil", "env", f"CHOS={name}", "chos", "/bin/echo", "ran")
        assert (stuck.returncode, stuck.stdout) == (125, ""), name
        clean(stuck.stderr)
        for words in ("its OS tree is foreign", "cannot go from here to another environment or back", 'trust = "site"'):
            assert words in stuck.stderr, stuck.stderr
        assert "start a new one, with another name in CHOS" in stuck.stderr
    told = node.chos("evil", "env", "CHOS=two", "chos", "--which", check=True).stdout
    assert "refused     no_new_privs is set in this environment (its OS tree is foreign" in told
    assert "refused" not in node.chos("two", "env", "CHOS=evil", "chos", "--which", check=True).stdout
    assert node.chos("two", "env", "CHOS=evil", "chos", "true").returncode == 0, "into it, from a tree of the site"


def test_no_new_privs_on_the_base_is_told_otherwise(node: Node) -> None:
    """It is not an environment that keeps this process."""
    evil(node)
    stuck = node.run(["setpriv", "--no-new-privs", "env", "CHOS=evil", "chos", "/bin/echo", "ran"])
    assert (stuck.returncode, stuck.stdout) == (125, "")
    assert "setpriv" in stuck.stderr and "foreign" not in stuck.stderr


def test_a_contradiction(node: Node) -> None:
    """It is told with its line, and nothing is prepared."""
    node.tree("one")
    node.configure("one:/os/one\n", one='[environment.one.policy]\ntrust = "foreign"\nno_new_privs = false\n')
    problem = '/etc/chos.d/one.toml:3: no_new_privs = false contradicts trust = "foreign"'
    assert problem in node.chosctl("check", check=False).stdout
    assert node.up(check=False).returncode == 1
    assert node.chos("one", "true").returncode == 125


def test_trust_is_explained(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    settings = '[environment.one.policy]\ntrust = "foreign"\n[environment.two]\n'
    node.configure("one:/os/one\ntwo:/os/two\n", site=settings)
    assert "# trust foreign: no_new_privs is set" in node.chosctl("explain", "one").stdout
    assert "# trust site\n" in node.chosctl("explain", "two").stdout
    assert json.loads(node.chosctl("explain", "--json", "one").stdout)["trust"] == "foreign"


@pytest.fixture
def image(node: Node, tmp_path: Path) -> None:
    """/os/one is a tree that is mounted from a file; skips where that cannot be."""
    node.tree("one")
    file = tmp_path / "tree.img"
    if not shutil.which("mksquashfs"):
        pytest.skip("no mksquashfs: apt-get install squashfs-tools")
    subprocess.run(["mksquashfs", "/os/one", str(file), "-quiet", "-no-progress"], check=True)
    shutil.rmtree("/os/one")
    Path("/os/one").mkdir()
    if subprocess.run(["mount", "-o", "loop,ro", str(file), "/os/one"], capture_output=True, check=False).returncode:
        pytest.skip("images cannot be mounted here")


def said(trust: str) -> None:
    """What /etc/chos.d says of the environment one; nothing where `trust` is empty."""
    Path("/etc/chos.d").mkdir(exist_ok=True)
    line = f'trust = "{trust}"\n' if trust else ""
    Path("/etc/chos.d/one.toml").write_text(f"[environment.one.policy]\n{line}")


@pytest.mark.usefixtures("image")
def test_an_image_is_foreign(node: Node) -> None:
    """Where nobody says otherwise; that is told until somebody says either."""
    node.configure("one:/os/one\n")
    told = "its OS tree is an image (squashfs) without a manifest, so it is foreign"
    assert told in node.up().stderr
    assert told in node.chosctl("check", check=False).stdout
    assert "# trust foreign" in node.chosctl("explain", "one").stdout
    status = "grep NoNewPrivs /proc/self/status"
    assert node.chos("one", "sh", "-c", status, check=True).stdout == "NoNewPrivs:\t1\n"
    assert "unchanged" in node.up().stdout
    for trust, expected in (("foreign", 1), ("site", 0)):
        said(trust)
        assert told not in node.up().stderr
        assert told not in node.chosctl("check", check=False).stdout
        assert node.chos("one", "sh", "-c", status, check=True).stdout == f"NoNewPrivs:\t{expected}\n"


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(("before", "stays"), [("site", False), ("foreign", True), ("", True)])
def test_trust_that_was_taken_back_from_an_image(node: Node, before: str, stays: bool) -> None:
    """Where the configuration says nothing an image is foreign, also when the image is away and cannot be looked at."""
    node.configure("one:/os/one\n")
    said(before)
    node.up()
    subprocess.run(["umount", "-l", "/os/one"], check=True)
    said("")
    result = node.up(check=False)
    assert result.returncode == 1
    assert ("nobody can enter until this is mended" in result.stderr) is not stays
    assert stays or "no_new_privs is demanded now" in result.stderr
    assert node.chos("one", "true").returncode == (0 if stays else 125)


def test_a_directory_that_is_trusted_without_a_word(node: Node) -> None:
    """To say nothing takes nothing away from it."""
    node.tree("one")
    node.configure("one:/os/one\n")
    said("site")
    node.up()
    os.rename("/os/one", "/os/away")
    said("")
    assert node.up(check=False).returncode == 1
    assert node.chos("one", "true").returncode == 0


def test_what_becomes_foreign_is_closed_at_once(node: Node) -> None:
    """Also where no new generation can be made: the old one has no no_new_privs."""
    evil(node)
    program = mounted_later(node)
    os.rename("/os/evil", "/os/away")
    Path("/etc/chos.d").mkdir(exist_ok=True)
    Path("/etc/chos.d/evil.toml").write_text(FOREIGN)
    result = node.up(check=False)
    assert result.returncode == 1 and "nobody can enter until this is mended" in result.stderr
    assert node.chos("evil", "true").returncode == 125
    os.rename("/os/away", "/os/evil")
    node.up()
    assert runs_as("evil", program) == [alice(), alice(), 1]


# --- site ---------------------------------------------------------------------------------------------------------


def flags_at(name: str, target: str) -> set[str]:
    """Flags of the uppermost mount at a place inside, as alice reads them there."""
    text = spawn(["/usr/bin/chos", "/bin/busybox", "cat", "/proc/self/mountinfo"], env={"CHOS": name}).stdout
    found = [line.split(" ")[5] for line in text.splitlines() if line.split(" ")[4] == target]
    return set(found[-1].split(",")) if found else set()


def base_mounts() -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /run/chos" not in line]


def resident_runs(node: Node, resident: subprocess.Popen[str], program: Path) -> list[int]:
    return [int(word) for word in node.ask(resident, f"{program} --version").split()[1:]]


def test_what_came_later_is_void_after_up_in_every_generation(node: Node) -> None:
    """In new, current and retired ones, also for those who are inside; at every place. The base keeps its flags."""
    evil(node)
    old = node.resident("evil")
    node.up("--renew")
    current = node.resident("evil")
    program = mounted_later(node)
    below = mounted_below(node)
    assert runs_as("evil", program) == [alice(), 0, 0], "the hole, as long as nobody runs `up`"
    assert resident_runs(node, old, program) == [alice(), 0, 0]
    before = base_mounts()
    result = node.up()
    assert "unchanged" in result.stdout and "mounted since, and restricted inside now: /srv/later" in result.stderr
    assert base_mounts() == before
    node.up("--renew")
    for place in (program, below, Path("/local") / program.relative_to("/")):
        for resident in (old, current):
            assert resident_runs(node, resident, place) == [alice(), alice(), 0], place
        assert runs_as("evil", place) == [alice(), alice(), 0], place
    assert {"nosuid", "nodev"} <= flags_at("evil", "/srv/later") and "ro" not in flags_at("evil", "/srv/later")
    assert "mounted since" not in node.up().stderr, "nothing is left to do"
    assert spawn([str(program), "--version"]).returncode == 0, "on the base it works as ever"


def mounted_below(node: Node) -> Path:
    """One more, below the other."""
    below = LATER / "below"
    below.mkdir()
    node.mount("-t", "tmpfs", "-o", "mode=0755", "below", str(below))
    return copy_of_su(below)


def test_the_launcher_keeps_its_rights_and_devices_work(node: Node) -> None:
    """The repair takes away what came later, and nothing else."""
    node.tree("two")
    evil(node, '[[environment.evil.bind]]\nsource = "/dev"\ntarget = "/opt/devices"\ndevices = true\n', "two:/os/two\n")
    resident = node.resident("evil")
    mounted_later(node)
    Path("/dev/later").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "mode=0755", "devices", "/dev/later")
    os.mknod("/dev/later/null", 0o20666, os.makedev(1, 3))
    os.chmod("/dev/later/null", 0o666)
    copy_of_su(Path("/dev/later"))
    node.up()
    for place in ("/dev", "/local/dev", "/opt/devices"):
        assert node.ask(resident, f"echo x >{place}/later/null && echo written") == "written", place
        assert resident_runs(node, resident, Path(place) / "later/su") == [alice(), alice(), 0], place
    assert node.ask(resident, "echo x >/dev/null && echo written") == "written"
    assert node.ask(resident, "env CHOS=two chos env CHOS=root chos echo back") == "back"


def test_what_lies_under_another_mount(node: Node) -> None:
    """It has no path as long as it is covered, and is void when it comes to light."""
    evil(node)
    program = mounted_later(node)
    node.mount("-t", "tmpfs", "-o", "nosuid,nodev", "over", str(LATER))
    node.up()
    subprocess.run(["umount", str(LATER)], check=True)
    assert runs_as("evil", program) == [alice(), alice(), 0]


def test_a_second_tree_that_is_mounted_later(node: Node) -> None:
    """The other tree's set-uid programs, with the loader of this one."""
    evil(node)
    other = node.tree("two", "bullseye") / "bin/su"
    assert runs_as("evil", other) == [alice(), 0, 0]
    node.configure("evil:/os/evil\ntwo:/os/two\n")
    node.up("two")
    assert runs_as("evil", other) == [alice(), alice(), 0]


def test_an_automount_map_that_is_mounted_again(node: Node, automount: Callable[[], None]) -> None:
    """Each time that it is, it comes without nosuid; `up` makes that void, a foreign tree has it void always."""
    hostile(node.tree("strict"))
    hostile(node.tree("evil"))
    node.configure("evil:/os/evil\nstrict:/os/strict\n", strict=FOREIGN.replace("evil", "strict"))
    automount()
    node.up()
    copy_of_su(EXPORT / "red")
    program = Path("/auto/red/su")
    for _ in range(2):
        assert runs_as("strict", program) == [alice(), alice(), 1]
        assert runs_as("evil", program) == [alice(), 0, 0]
        node.up()
        assert runs_as("evil", program) == [alice(), alice(), 0]
        subprocess.run(["umount", "/auto/red"], check=True)  # as if it had expired


def test_a_captured_workstation(node: Node) -> None:
    """A tree with `NOPASSWD: ALL` in its sudoers, as many a desktop has it, and a later file system with a sudo."""
    if not shutil.which("sudo"):
        pytest.skip("no sudo: apt-get install sudo")
    tree = node.tree("captured")
    plugins = [str(path) for path in Path("/usr/libexec/sudo").glob("*.so") if path.is_file()]
    modules = [str(next(Path("/lib").glob("*/security/pam_permit.so")))]
    for program in ("/usr/bin/sudo", "/usr/bin/id", *plugins, *modules):
        install(program, tree)
    (tree / "etc/sudoers").write_text("ALL ALL=(ALL) NOPASSWD: ALL\n")
    (tree / "etc/sudoers").chmod(0o440)
    (tree / "etc/pam.d").mkdir(exist_ok=True)
    for service in ("sudo", "other"):
        rules = [f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session")]
        (tree / "etc/pam.d" / service).write_text("".join(rules))
    settings = '[environment.captured.policy]\ntrust = "{}"\n'
    node.configure("captured:/os/captured\n", site=settings.format("site"))
    node.up()
    LATER.mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "mode=0755", "later", str(LATER))
    sudo = LATER / "sudo"
    shutil.copy("/usr/bin/sudo", sudo)
    sudo.chmod(0o4755)
    command = (str(sudo), "-n", "/usr/bin/id", "-u")
    became = node.chos("captured", *command)
    assert became.stdout == "0\n", ("root, without any ill will", became)
    node.configure("captured:/os/captured\n", site=settings.format("foreign"))
    node.up()
    refused = node.chos("captured", *command)
    assert (refused.returncode, refused.stdout) == (1, "") and "no new privileges" in refused.stderr, refused
    node.configure("captured:/os/captured\n", site=settings.format("site"))
    node.up()
    refused = node.chos("captured", *command)
    assert (refused.returncode, refused.stdout) == (1, ""), refused


def test_a_file_system_that_does_not_answer(node: Node) -> None:
    """Its flags are set all the same, and nobody waits for it; nor is what comes below it out of reach."""
    evil(node)
    with silent_file_system(LATER, reads=True):
        result = node.up()
        assert "restricted inside now: /srv/later" in result.stderr
        assert {"nosuid", "nodev"} <= flags_at("evil", "/srv/later") & flags_at("evil", "/local/srv/later")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("repair.restrict = lambda *_, **__: None", "evil.1: /srv/later cannot be restricted as planned"),
        ("repair._look = lambda *_: 1 // 0", "what was mounted since may give rights inside"),
        ("repair._mend = lambda *_, **__: 1 // 0", "what was mounted since may give rights in it"),
    ],
)
def test_what_cannot_be_restricted_is_told(node: Node, code: str, words: str) -> None:
    """And the exit status says so; environments are prepared all the same."""
    evil(node)
    mounted_later(node)
    result = patched(f"from chosns.mounts import repair; {code}", "up")
    assert (result.returncode, "unchanged" in result.stdout) == (1, True), result
    assert words in result.stderr


def test_root_stays_on_the_base_while_it_repairs(node: Node, launcher: Path) -> None:
    """Rule 27: whatever Python or libc may want to open meanwhile is the base's, not the tree's."""
    evil(node)
    old = node.resident("evil")
    mounted_later(node)
    upgrade(launcher, "next")
    code = """
import os
from chosns.mounts import repair
def identity():
    status = os.stat("/")
    return status.st_dev, status.st_ino
base, own = identity(), os.stat("/proc/self/ns/mnt").st_ino
for name in ("read_all", "restrict", "_exchange"):
    def looked(*arguments, real=getattr(repair, name), **more):
        assert os.stat("/proc/self/ns/mnt").st_ino != own
        assert identity() == base
        return real(*arguments, **more)
    setattr(repair, name, looked)
"""
    result = patched(code, "up")
    assert result.returncode == 0, result
    assert "restricted inside now: /srv/later" in result.stderr and "is also in evil.1" in result.stderr
    assert node.ask(old, "chos --version") == "chos next"


# --- chosctl watch ------------------------------------------------------------------------------------------------


def test_watch_restricts_what_comes(node: Node) -> None:
    """Each time; also where it was there before all else, and while an `up` waits for a tree that does not answer."""
    watcher = node.start(["chosctl", "watch"], user="root")
    evil(node)
    mounted_later(node)
    wait_for(lambda: {"nosuid", "nodev"} <= flags_at("evil", "/srv/later"), "watch to restrict the first")
    with silent_file_system(Path("/os/silent")):
        node.configure("evil:/os/evil\nsilent:/os/silent\n")
        waiting = node.start(["chosctl", "up", "--timeout", "100"], user="root")
        assert waiting.stdout and waiting.stdout.readline().startswith("evil "), "it comes to the other now"
        node.mount("-t", "tmpfs", "-o", "mode=0755", "again", str(LATER))
        program = copy_of_su(LATER)
        wait_for(lambda: runs_as("evil", program) == [alice(), alice(), 0], "watch to restrict the second")
        assert waiting.poll() is None
        waiting.kill()
        waiting.wait()
    pin = f"mnt:[{node.pin('evil.1')}]"

    def held() -> bool:
        for link in Path(f"/proc/{watcher.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it opens and closes others meanwhile
                if os.readlink(link) == pin:
                    return True
        return False

    assert held()
    node.chosctl("down")
    wait_for(lambda: not held(), "watch to let go of what is retired")
    assert watcher.poll() is None and watcher.stdout
    watcher.terminate()
    assert "restricted inside now: /srv/later" in watcher.stdout.read()


def test_watch_needs_root(node: Node) -> None:
    result = node.chosctl("watch", user="alice", check=False)
    assert result.returncode == 1 and "needs root" in result.stderr


# --- it is told ---------------------------------------------------------------------------------------------------


def told(node: Node) -> tuple[list[dict[str, Any]], int]:
    """What `check` says about file systems, and its exit status."""
    result = node.chosctl("check", "--json", check=False)
    return [found for found in json.loads(result.stdout) if "nosuid" in found["message"]], result.returncode


def test_check_and_status_name_what_can_be_reached(node: Node) -> None:
    """By the base's name, once, with where and what to do; until `up` has made it void. Not where it is void anyway."""
    hostile(node.tree("strict"))
    evil(node, FOREIGN.replace("evil", "strict"), "strict:/os/strict\n")
    assert told(node) == ([], 0)
    node.resident("evil")
    node.up("--renew")
    mounted_later(node)
    (found,), status = told(node)
    assert (found["file"], found["severity"], status) == ("/srv/later", "warning", 1)
    assert "is without nosuid in evil.1, evil.2 (tmpfs)" in found["message"]
    assert "`chosctl up` restricts it inside" in found["hint"] and 'trust = "foreign"' in found["hint"]
    state = json.loads(node.chosctl("status", "--json").stdout)
    expected = {"place": "/srv/later", "fstype": "tmpfs", "generations": ["evil.1", "evil.2"], "automount": False}
    assert state["without_nosuid"] == [expected] and state["healthy"]
    assert "set-uid programs of /srv/later work inside" in node.chosctl("status").stderr
    assert json.loads(node.chosctl("status", "--json", user="alice").stdout)["without_nosuid"] is None
    node.up()
    assert told(node) == ([], 0)
    assert json.loads(node.chosctl("status", "--json").stdout)["without_nosuid"] == []


def test_a_long_list_is_cut(node: Node) -> None:
    evil(node)
    for number in range(14):
        place = LATER / str(number)
        place.mkdir(parents=True, exist_ok=True)
        node.mount("-t", "tmpfs", "later", str(place))
    lines = node.chosctl("check", check=False).stdout.splitlines()
    assert len(lines) == 11 and lines[-1] == "and 4 more file systems without nosuid: --json has all"
    assert len(told(node)[0]) == 14
    assert "and 9 more work inside" in node.chosctl("status").stderr


def test_automounters_are_named(node: Node, automount: Callable[[], None]) -> None:
    """As a note, which is no mistake; not where all that is mounted there has nosuid."""
    evil(node)
    automount()
    node.up()
    (found,), status = told(node)
    assert (found["file"], found["severity"], status) == ("/auto", "note", 0)
    assert "may come without nosuid into evil.1" in found["message"]
    assert "1 environment, no problem found" in node.chosctl("check").stdout
    assert Path("/auto/green/colour").read_text() == "green\n"
    subprocess.run(["mount", "-o", "remount,bind,nosuid,nodev", "/auto/green"], check=True)
    node.up()
    assert told(node) == ([], 0)


# --- the launcher in old generations ------------------------------------------------------------------------------


@pytest.fixture
def launcher() -> Iterator[Path]:
    """The installed launcher; put right again afterwards."""
    path = Path("/usr/bin/chos")
    kept = path.with_name("chos.kept")
    os.link(path, kept)
    yield path
    os.rename(kept, path)


def upgrade(path: Path, version: str) -> None:
    """Install another launcher in the place of this one, as packages do: by rename."""
    new = path.with_name("chos.new")
    build_launcher(str(new), "-UCHOS_VERSION", f'-DCHOS_VERSION="{version}"')
    os.rename(new, path)


def test_an_upgraded_launcher_reaches_old_generations(node: Node, launcher: Path) -> None:
    """Without a moment in which there is none; who holds the old one gets no rights by it any more."""
    node.tree("two")
    evil(node, more="two:/os/two\n")
    old = node.resident("evil")
    node.ask(old, f"exec 9<{launcher}")
    assert node.ask(old, "env CHOS=two /proc/self/fd/9 echo there") == "there"
    upgrade(launcher, "next")
    assert "next" not in node.ask(old, "chos --version")
    loop = f"while {launcher} --version >/dev/null; do :; done; echo missed"
    running = node.start(["chos", "sh", "-c", loop], env={"CHOS": "two"})
    result = node.up()
    assert "the launcher that is installed now is also in evil.1" in result.stderr
    assert node.ask(old, "chos --version") == "chos next"
    assert node.ask(old, "env CHOS=two chos env CHOS=root chos echo back") == "back"
    assert {"ro", "nodev"} <= (inside := flags_at("two", str(launcher))) and "nosuid" not in inside
    assert running.poll() is None, "there was a launcher all the time"
    running.kill()
    assert "has lost its capabilities" in node.ask(old, "env CHOS=two /proc/self/fd/9 echo there")
    upgrade(launcher, "after")
    node.up()
    assert node.ask(old, "chos --version") == "chos after"
    assert "the launcher" not in node.up().stderr


def test_an_upgraded_launcher_before_linux_6_5(node: Node, launcher: Path) -> None:
    """Where the kernel can mount nothing under another mount."""
    evil(node)
    old = node.resident("evil")
    upgrade(launcher, "next")
    result = patched("from chosns.system import syscalls; syscalls.MOVE_MOUNT_BENEATH = 1 << 30", "up")
    assert result.returncode == 0, result
    assert node.ask(old, "chos --version && env CHOS=root chos echo back") == "chos next\nback"


def test_an_exchange_that_was_interrupted(node: Node, launcher: Path) -> None:
    """Killed when the old one is over the new one, or when there is none (before Linux 6.5): the next `up` goes on."""
    evil(node)
    old = node.resident("evil")
    code = "import os; from chosns.mounts import repair; from chosns.system import syscalls; {}"
    for version, at in (
        ("next", "syscalls.umount_open = lambda _: os._exit(9)"),
        (
            "after",
            "syscalls.MOVE_MOUNT_BENEATH = 1 << 30; real = syscalls.umount_open;"
            " syscalls.umount_open = lambda fd: (real(fd), os._exit(9))",
        ),
    ):
        upgrade(launcher, version)
        assert patched(code.format(at), "up").returncode == 1
        assert f"chos {version}" not in node.ask(old, "chos --version")
        assert "evil.1" in node.up().stderr
        assert node.ask(old, "chos --version && env CHOS=root chos echo back") == f"chos {version}\nback"


def test_a_launcher_that_does_not_work_goes_nowhere(node: Node, launcher: Path) -> None:
    """One without capabilities would keep everybody where they are."""
    evil(node)
    old = node.resident("evil")
    upgrade(launcher, "next")
    subprocess.run(["setcap", "-r", str(launcher)], check=True)
    node.up()
    assert node.ask(old, "env CHOS=root chos echo back") == "back"
