"""The base's file systems inside: there, live, and only in that direction."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from attack_tools import one, patched
from node import Node, mount_points

SITE = Path("/srv/mounts")


def mountinfo(pid: int) -> list[tuple[str, list[str], list[str]]]:
    """(where, per-mount options, propagation) of each mount that a process sees."""
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        found.append((fields[4], fields[5].split(","), fields[6 : fields.index("-")]))
    return found


@pytest.fixture
def site() -> Path:
    SITE.mkdir(exist_ok=True)
    return SITE


def add(first: int, last: int) -> None:
    """Mount file systems SITE/first … SITE/last on the base, each with a file that says which it is."""
    subprocess.run(
        [
            "sh",
            "-ec",
            f"""
        for i in $(seq {first} {last}); do
            mkdir -p {SITE}/$i; mount -t tmpfs -o mode=755 fs$i {SITE}/$i; echo $i >{SITE}/$i/number
        done""",
        ],
        check=True,
    )


def seen(node: Node, resident: subprocess.Popen[str]) -> list[int]:
    return sorted(int(word) for word in node.ask(resident, f"cat {SITE}/*/number").split())


def test_two_hundred_before_and_fifty_after(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    add(1, 200)
    node.up()
    early = node.resident("one")
    assert seen(node, early) == list(range(1, 201))
    add(201, 250)
    assert seen(node, early) == list(range(1, 251)), "mounted later, and seen by who was already inside"
    late = node.resident("one", user="bob")
    assert seen(node, late) == list(range(1, 251))
    inside = {where for where, _, _ in mountinfo(early.pid)}
    assert {f"{SITE}/{number}" for number in range(1, 251)} <= inside


def test_an_unmount_on_the_base_is_one_inside(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    add(1, 4)
    node.up()
    resident = node.resident("one")
    add(5, 6)
    subprocess.run(["umount", f"{SITE}/2", f"{SITE}/6"], check=True)
    inside = {where for where, _, _ in mountinfo(resident.pid)}
    for number in (2, 6):
        assert f"{SITE}/{number}" not in inside
        assert f"/local{SITE}/{number}" not in inside
        assert node.ask(resident, f"ls {SITE}/{number}") == ""
    assert f"{SITE}/5" in inside
    # Nothing inside holds the file system: its device can be mounted elsewhere, or be gone.
    subprocess.run(["umount", f"{SITE}/1"], check=True)
    assert f"{SITE}/1" not in {where for where, _, _ in mountinfo(resident.pid)}


def test_a_job_that_uses_a_file_system_holds_it(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    add(1, 1)
    node.up()
    resident = node.resident("one")
    node.ask(resident, f"cd {SITE}/1")
    busy = subprocess.run(["umount", f"{SITE}/1"], capture_output=True, text=True, check=False)
    assert busy.returncode != 0 and "busy" in busy.stderr
    node.ask(resident, "cd /")
    subprocess.run(["umount", f"{SITE}/1"], check=True)


def test_a_new_directory_of_the_base_is_there_at_once(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    resident = node.resident("one")
    (SITE / "made-later").mkdir()
    assert "made-later" in node.ask(resident, f"ls {SITE}")
    (SITE / "made-later").rmdir()


def test_nothing_mounted_inside_shows_on_the_base_or_elsewhere(node: Node, site: Path) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    add(1, 1)
    node.up()
    one, two = node.resident("one"), node.resident("two")
    (SITE / "inside").mkdir(exist_ok=True)
    base, other = mount_points(), mountinfo(two.pid)
    for place in (SITE / "inside", SITE / "1", "/home", "/usr/share", "/tmp", "/local/srv"):
        subprocess.run(["nsenter", "-t", str(one.pid), "-m", "mount", "-t", "tmpfs", "none", str(place)], check=True)
        assert str(place) in {where for where, _, _ in mountinfo(one.pid)}, "the mount was really made"
        assert mount_points() == base, place
        assert mountinfo(two.pid) == other, place


def test_no_unmount_inside_reaches_the_base(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    add(1, 1)
    node.up()
    one = node.resident("one")
    base = mount_points()
    subprocess.run(["nsenter", "-t", str(one.pid), "-m", "umount", f"{SITE}/1"], check=True)
    assert f"{SITE}/1" not in {where for where, _, _ in mountinfo(one.pid)}
    assert mount_points() == base


def test_propagation_and_flags_of_every_mount(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    add(1, 3)
    node.up()
    resident = node.resident("one")
    mounts = mountinfo(resident.pid)
    assert not [mount for mount in mounts if any(tag.startswith("shared:") for tag in mount[2])]
    table = {where: (options, tags) for where, options, tags in mounts}
    for where in ("/srv", f"{SITE}/1", "/tmp", "/run", "/proc", "/dev", "/local"):
        assert any(tag.startswith("master:") for tag in table[where][1]), f"{where} does not follow the base"
    with_privilege = {where for where, options, _ in mounts if "nosuid" not in options}
    assert with_privilege == {"/usr/bin/chos"}, "the launcher's mount is the only one that gives privilege"
    with_devices = {where for where, options, _ in mounts if "nodev" not in options}
    assert with_devices, "devices must work in /dev"
    assert {where for where in with_devices if not (where + "/").startswith(("/dev/", "/local/dev/"))} == set()
    assert "ro" in table["/usr/bin/chos"][0] and "ro" in table["/etc"][0]
    assert node.ask(resident, "echo x >/dev/null && head -c 4 /dev/zero | wc -c") == "4"


def test_pins_are_not_carried_along(node: Node) -> None:
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    node.up("--renew")
    for name in ("one", "two"):
        resident = node.resident(name)
        places = [where for where, _, _ in mountinfo(resident.pid)]
        assert not [where for where in places if where.endswith("/ns")], places
        copied = subprocess.run(["mount", "--rbind", "/run", "/mnt"], check=False)
        assert copied.returncode == 0
        assert not [where for where in mount_points() if where.startswith("/mnt/chos")]
        subprocess.run(["umount", "-R", "/mnt"], check=True)


def test_a_private_base_is_made_shared_and_said(node: Node, site: Path) -> None:
    node.tree("one")
    node.configure("one:/os/one\n")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    try:
        assert "those too that were private on purpose" in node.up().stderr
        resident = node.resident("one")
        add(1, 1)
        assert seen(node, resident) == [1]
        assert "private" not in node.up().stderr
    finally:
        subprocess.run(["mount", "--make-rshared", "/"], check=True)


def test_a_private_mount_of_a_shared_base(node: Node) -> None:
    """It is dead inside: that is said."""
    node.tree("one")
    node.configure("one:/os/one\n")
    assert "private" not in node.up().stderr
    Path("/srv/private").mkdir(exist_ok=True)
    node.mount("-t", "tmpfs", "none", "/srv/private")
    subprocess.run(["mount", "--make-private", "/srv/private"], check=True)
    for _ in range(2):
        up = node.up()
        assert "note: /srv/private: private on the base" in up.stderr and "/run/chos" not in up.stderr
    assert json.loads(node.chosctl("status", "--json").stdout)["private_mounts"] == ["/srv/private"]
    subprocess.run(["mount", "--make-shared", "/srv/private"], check=True)
    assert "private" not in node.up("--renew").stderr
    Path("/srv/private/later").mkdir()
    node.mount("-t", "tmpfs", "none", "/srv/private/later")
    Path("/srv/private/later/it").touch()
    assert node.chos("one", "ls", "/srv/private/later", check=True).stdout == "it\n"


READ_ONLY = '[[environment.one.bind]]\nsource = "/srv"\ntarget = "/mnt"\nread_only = true\n'
COMING = f"""
for i in $(seq 1 400); do
    mkdir -p {SITE}/$i; mount -t tmpfs -o size=4k fs$i {SITE}/$i
    [ $((i % 3)) != 0 ] || umount {SITE}/$((i - 1))
done
"""


@pytest.mark.parametrize("bind", ["", READ_ONLY])
def test_what_comes_and_goes_while_it_is_built(node: Node, site: Path, bind: str) -> None:
    """Whatever the moment, every generation has all mounts of the base, and none that is gone there."""
    node.tree("one")
    node.configure("one:/os/one\n", one="[environment.one]\n" + bind)
    node.up()
    mounter = subprocess.Popen(["sh", "-ec", COMING])
    residents = []
    while mounter.poll() is None:
        node.up("--renew")
        residents.append(node.resident("one"))
    assert mounter.returncode == 0 and len(residents) > 3
    wanted = sorted(point[len("/srv/") :] for point in mount_points() if point.startswith("/srv/"))
    assert len(wanted) == 267
    for resident in residents:
        inside = [where for where, _, _ in mountinfo(resident.pid)]
        for place in ("/srv/", "/local/srv/", *(["/mnt/"] if bind else [])):
            found = sorted(where[len(place) :] for where in inside if where.startswith(place))
            assert found == wanted, f"{place} of {os.readlink(f'/proc/{resident.pid}/ns/mnt')}"


MEANWHILE = """
import ctypes, os, chosns.mounts.execute as execute, chosns.mounts.verify as verify
libc = ctypes.CDLL(None)
def on_the_base(what):
    pid = os.fork()
    if pid == 0:
        os._exit(bool(libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0x20000) or what()))
    assert os.waitpid(pid, 0)[1] == 0
def come(place):
    os.makedirs(place, exist_ok=True)
    return libc.mount(b"late", place.encode(), b"tmpfs", 0, b"size=4k")
"""


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_comes_between_copying_and_attaching(node: Node, site: Path, times: int) -> None:
    """It is missed, which is noticed: built again, or said."""
    one(node, one=READ_ONLY)
    missed = f"""
copy = execute.Executor._detached_copy
def detached_copy(self, bind):
    try:
        return copy(self, bind)
    finally:
        places = [f"{SITE}/{{number}}" for number in range({times})]
        places = [place for place in places if not os.path.ismount(place)]
        if bind.target == "/mnt" and places:
            on_the_base(lambda: come(places[0]))
execute.Executor._detached_copy = detached_copy
"""
    result = patched(MEANWHILE + missed, "up", "--renew")
    assert result.returncode == (0 if times < 3 else 1), result
    if times < 3:
        inside = node.chos("one", "cat", "/proc/self/mountinfo", check=True).stdout
        assert all(f" /mnt/mounts/{number} " in inside for number in range(times))
    else:
        assert "came or went on the base" in result.stderr and "/mnt/mounts/2" in result.stderr
        assert node.generation("one") == "one.1"


def test_what_goes_while_it_is_compared(node: Node, site: Path) -> None:
    """A mount that came with fewer restrictions, and is gone before it gets them, is no failure."""
    one(node)
    gone = f"""
run, read = execute.Executor.run, verify.read_mounts
def run_and_come(self):
    run(self)
    on_the_base(lambda: come("{SITE}/late"))
def read_and_go():
    found = read()
    on_the_base(lambda: libc.umount2(b"{SITE}/late", 0) and False)
    return found
execute.Executor.run, verify.read_mounts = run_and_come, read_and_go
"""
    result = patched(MEANWHILE + gone, "up", "--renew")
    assert result.returncode == 0, result
    assert f"{SITE}/late" not in node.chos("one", "cat", "/proc/self/mountinfo", check=True).stdout
