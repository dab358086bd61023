"""The builder dies, or is disturbed, at every point: rules 20 and 21 of docs/security.md.

Whatever happens, the generation that was there goes on working, nothing half-made is seen, the next `up` clears.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from attack_tools import Marker, one, patched, refuse, spawn
from node import REGISTRY, Node, mount_points

MANY = 400  # more fault points than there are
SECRET = '[environment.two]\ngroups = ["bob"]\n'


@pytest.fixture
def both(node: Node) -> Node:
    """Two environments configured, one of them for bob alone; nothing prepared."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\nalias:/os/one\ntwo:/os/two\n", two=SECRET)
    return node


def pinned(generation: Path) -> bool:
    """Whether a namespace is mounted there."""
    return str(generation / "ns") in mount_points()


def builders() -> list[int]:
    """Processes in other mount namespaces than this one: workers and shells that were left behind."""
    own = os.stat("/proc/self/ns/mnt").st_ino
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            zombie = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
            if not zombie and os.stat(f"/proc/{entry}/ns/mnt").st_ino != own:
                found.append(int(entry))
        except OSError:
            continue
    return found


def wait_for_builders() -> None:
    """Whoever works for a builder that was killed ends at once."""
    for _ in range(100):
        if not builders():
            return
        time.sleep(0.02)
    raise AssertionError([Path(f"/proc/{pid}/cmdline").read_text() for pid in builders()])


def nothing_half_made() -> None:
    """Every name leads to something whole; what is not published is closed to all but root."""
    if not REGISTRY.joinpath("env").is_dir():
        return
    live = set()
    for link in REGISTRY.joinpath("env").iterdir():
        if link.name.startswith("."):
            continue  # the next name, not yet renamed: no legal name begins with a dot
        target = os.readlink(link)
        if target.startswith("../gen/"):
            generation = REGISTRY / "gen" / target[len("../gen/") :]
            live.add(generation.name)
            assert pinned(generation), target
            assert json.loads((generation / "manifest.json").read_text())["fingerprint"]
            assert (generation / "policy").read_text().startswith("chos-policy 1\n")
    for generation in REGISTRY.joinpath("gen").iterdir():
        mode = generation.stat().st_mode & 0o7777
        assert generation.stat().st_uid == 0
        assert not mode & 0o022, oct(mode)
        # One that is being retired loses its name and its pin first: there is nothing left in it to enter.
        if pinned(generation) and not (generation / "manifest.json").exists():
            assert mode == 0o700, (generation, oct(mode))
        if generation.name.startswith("two."):
            assert not mode & 0o005, oct(mode)
    for point in mount_points():
        assert not point.startswith("/run/chos/stage"), "mounts of the new root are seen on the base"


def enters(node: Node) -> None:
    """Both environments can be entered by those who may, and by nobody else."""
    assert "ID=one" in node.chos("one", "cat", "/etc/os-release", check=True).stdout
    assert "ID=one" in node.chos("alias", "cat", "/etc/os-release", check=True).stdout
    assert "ID=two" in node.chos("two", "cat", "/etc/os-release", check=True, user="bob").stdout
    refuse("two", "not allowed", user="alice")


def leaves(node: Node) -> None:
    """Whoever is inside finds back to the base."""
    for way in ("root", "/"):
        found = node.chos("one", "sh", "-c", f"CHOS={way} chos readlink /proc/self/ns/mnt", check=True).stdout
        assert found.strip() == os.readlink("/proc/self/ns/mnt")


def cleared() -> None:
    """Nothing but what is published is left."""
    published = {
        os.readlink(link)[len("../gen/") :]
        for link in REGISTRY.joinpath("env").iterdir()
        if "gen/" in os.readlink(link)
    }
    assert {path.name for path in REGISTRY.joinpath("gen").iterdir()} == published
    assert len([point for point in mount_points() if point.startswith("/run/chos/")]) == len(published)
    assert not list(REGISTRY.rglob(".*"))


@pytest.mark.parametrize("who", ["", "worker:"])
def test_killed_at_every_point_of_a_renewal(both: Node, who: str) -> None:
    """Rule 20: `up --renew`, or its worker, dies at its N-th operation, for every N; what was there works on."""
    both.up()
    for number in range(1, MANY):
        result = both.run(["chosctl", "up", "--renew"], user="root", env={"CHOS_FAULT_KILL": f"{who}{number}"})
        wait_for_builders()
        nothing_half_made()
        enters(both)
        if result.returncode == 0:
            break
        assert result.returncode == (1 if who else -signal.SIGKILL), result
        if who:
            assert "killed by signal 9" in result.stderr
            cleared()
        if number % 4 == 0:
            both.up()
            cleared()
    assert 20 < number < MANY - 1
    both.up()
    cleared()
    enters(both)


@pytest.mark.parametrize("who", ["", "worker:"])
def test_killed_at_every_point_of_the_first_up(both: Node, who: str) -> None:
    """Rule 20: the same from nothing: a user gets an environment, or a message, and never the base."""
    for number in range(1, MANY):
        result = both.run(["chosctl", "up"], user="root", env={"CHOS_FAULT_KILL": f"{who}{number}"})
        wait_for_builders()
        nothing_half_made()
        marker = Marker()
        entered = spawn(
            ["/usr/bin/chos", "/bin/sh", "-c", f"grep -q ID=one /etc/os-release && echo ran >{marker.path}"],
            env={"CHOS": "one"},
        )
        if entered.returncode == 0:
            leaves(both)
            if list(REGISTRY.glob("gen/two.*")):  # the next one was begun: all names of the first are there
                both.chos("alias", "true", check=True)
        else:
            marker.refused(entered)
        refuse("two", user="alice")
        if result.returncode == 0:
            break
        assert result.returncode == (1 if who else -signal.SIGKILL), result
        if number % 3 == 0:
            both.up()
            cleared()
            enters(both)
        both.chosctl("down")
        assert not REGISTRY.exists()
    assert 20 < number < MANY - 1
    enters(both)


def test_killed_at_every_point_of_down(both: Node) -> None:
    """Rule 20: `down` dies at its N-th operation: each name still works or is gone, and the next `down` finishes."""
    for number in range(1, MANY):
        both.up()
        result = both.run(["chosctl", "down"], user="root", env={"CHOS_FAULT_KILL": str(number)})
        nothing_half_made()
        if result.returncode == 0:
            break
        both.run(["chosctl", "down"], user="root", check=True)
        assert not [point for point in mount_points() if point.startswith("/run/chos")]
    assert 2 < number < MANY - 1


def test_killed_at_any_time(both: Node) -> None:
    """Rule 20: the same with a clock instead of counted points."""
    both.up()
    chance = random.Random(20)
    for _ in range(25):
        builder = subprocess.Popen(["chosctl", "up", "--renew"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.05, 0.45))
        builder.kill()
        builder.wait()
        wait_for_builders()
        nothing_half_made()
        enters(both)
    both.up()
    cleared()


def test_killed_while_the_trees_shell_runs(both: Node) -> None:
    """Rule 20: the shell that tries the tree, as nobody, ends with the builder too."""
    shell = Path("/os/one/bin/sh")
    shell.unlink()
    shell.write_text("#!/bin/busybox ash\nexec /bin/busybox sleep 33\n")
    shell.chmod(0o755)
    builder = subprocess.Popen(["chosctl", "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        time.sleep(0.02)
        if any(b"33" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in builders()):
            break
    else:
        raise AssertionError("the shell did not run")
    builder.kill()
    builder.wait()
    wait_for_builders()


def test_a_cleaner_of_run(node: Node) -> None:
    """Rule 20: whatever a cleaner takes away, nothing is executed in the wrong place, and `up` mends it."""
    one(node)
    paths = [
        Path(line)
        for line in subprocess.check_output(["find", str(REGISTRY), "-xdev", "-mindepth", "1"], text=True).splitlines()
    ]
    assert len(paths) > 10
    for path in paths:
        path = Path(str(path).replace("one.1", node.generation("one")))
        if not path.is_symlink() and not path.exists():
            continue
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=False, capture_output=True)
        marker = Marker()
        result = spawn(
            ["/usr/bin/chos", "/bin/sh", "-c", f"grep -q ID=one /etc/os-release && echo ran >{marker.path}"],
            env={"CHOS": "one"},
        )
        if result.returncode != 0:
            marker.refused(result)
        node.up()
        assert node.chos("one", "true").returncode == 0, f"after losing {path}: {node.chos('one', 'true').stderr}"


def test_damage_is_mended_by_up(node: Node) -> None:
    """Rules 9 and 20: what the launcher refuses as damaged, `up` writes anew, as the message says."""
    one(node)
    for damage in (
        "echo nosuchkey=1 >>$gen/policy",
        "sed -i 's/^root=.*/root=1 2/' $gen/policy",
        "chmod 777 $gen",
        "chown alice $gen",
        ":>$gen/policy",
        "umount $gen/ns",
        "umount $gen/ns; mount --bind /proc/self/ns/uts $gen/ns",
    ):
        gen = REGISTRY / "gen" / node.generation("one")
        subprocess.run(
            ["/bin/bash", "-ec", damage], env={"gen": str(gen), "PATH": "/usr/bin:/bin:/usr/sbin"}, check=True
        )
        refuse("one")
        node.up()
        assert node.chos("one", "true").returncode == 0, damage


def test_a_full_run(node: Node) -> None:
    """Rule 20: with /run/chos full, `up` says so, the old generation works, and later all is well again."""
    one(node)
    with (REGISTRY / "filler").open("wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
    result = node.up("--renew", check=False)
    assert result.returncode != 0
    assert "No space left" in result.stdout + result.stderr
    nothing_half_made()
    assert node.chos("one", "true").returncode == 0
    (REGISTRY / "filler").unlink()
    node.up("--renew")
    assert node.chos("one", "true").returncode == 0
    cleared()


REFUSING = """
import atexit, errno, json, os
from chosns.registry.writer import RegistryWriter as Registry
real, left, cpus = Registry.pin, [{times}], []
atexit.register(lambda: print("\\n" + json.dumps(cpus)))
def pin(self, generation, pid):
    cpus.append(sorted(os.sched_getaffinity(pid)))
    if left[0]:
        left[0] -= 1
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), "pin")
    return real(self, generation, pid)
Registry.pin = pin
"""


def tried(result: subprocess.CompletedProcess[str]) -> list[list[int]]:
    """On which CPUs the worker might run, each time that its namespace was to be pinned."""
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_the_pin_is_refused_for_a_while(node: Node) -> None:
    """Rule 21: a spurious EINVAL is met by trying again on other CPUs."""
    one(node)
    result = patched(REFUSING.format(times=1), "up", "--renew")
    assert result.returncode == 0, result
    cpus = sorted(os.sched_getaffinity(0))
    attempts = tried(result)  # more than two where this kernel has the fault itself
    assert len(attempts) > 1 and attempts == [cpus, *([cpu] for cpu in cpus)][: len(attempts)]
    assert node.generation("one") != "one.1"
    assert node.chos("one", "true").returncode == 0
    cleared()


def test_the_pin_is_always_refused(node: Node) -> None:
    """Rule 21: when no CPU helps, the error says what it is; the old generation stays and nothing is left over."""
    one(node)
    result = patched(REFUSING.format(times=9999), "up", "--renew")
    assert result.returncode == 1, result
    assert "refuses to pin" in result.stderr
    assert "6.18" in result.stderr
    cpus = sorted(os.sched_getaffinity(0))
    assert tried(result) == [cpus, *([cpu] for cpu in cpus)]
    assert node.generation("one") == "one.1"
    assert node.chos("one", "true").returncode == 0
    cleared()
