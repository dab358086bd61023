"""How a tree is trusted, and what set-uid programs of the base can do to those who look at them from inside: rule 34.

The attack: the base's `su` is run by a user inside, with the loader of the tree. Where the mount that it lies on
honours set-uid bits, that loader runs as root. The tree's loader here says who it is, and does nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from attack_tools import clean, compiled, spawn
from node import Node

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


def evil(node: Node, settings: str = "", more: str = "") -> None:
    """A node with an environment `evil` whose tree has a loader of its own, prepared; and others."""
    tree = node.tree("evil")
    loader = tree / interpreter().lstrip("/")
    loader.parent.mkdir(parents=True, exist_ok=True)
    loader.unlink(missing_ok=True)
    shutil.copy(compiled("loader", LOADER), loader)
    loader.chmod(0o755)
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
        for words in ("its OS tree is foreign", "nobody gets into another environment or back", 'trust = "site"'):
            assert words in stuck.stderr, stuck.stderr
        assert "begin on the base, with another name in CHOS" in stuck.stderr
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


def test_an_image_is_foreign(node: Node, tmp_path: Path) -> None:
    """Where nobody says otherwise; that is told until somebody says either."""
    node.tree("one")
    image = tmp_path / "tree.img"
    if not shutil.which("mksquashfs"):
        pytest.skip("no mksquashfs: apt-get install squashfs-tools")
    subprocess.run(["mksquashfs", "/os/one", str(image), "-quiet", "-no-progress"], check=True)
    shutil.rmtree("/os/one")
    Path("/os/one").mkdir()
    if subprocess.run(["mount", "-o", "loop,ro", str(image), "/os/one"], capture_output=True, check=False).returncode:
        pytest.skip("images cannot be mounted here")
    node.configure("one:/os/one\n")
    told = "its OS tree is an image (squashfs) without a manifest, so it is foreign"
    assert told in node.up().stderr
    assert told in node.chosctl("check", check=False).stdout
    assert "# trust foreign" in node.chosctl("explain", "one").stdout
    status = "grep NoNewPrivs /proc/self/status"
    assert node.chos("one", "sh", "-c", status, check=True).stdout == "NoNewPrivs:\t1\n"
    assert "unchanged" in node.up().stdout
    for trust, expected in (("foreign", 1), ("site", 0)):
        Path("/etc/chos.d").mkdir(exist_ok=True)
        Path("/etc/chos.d/one.toml").write_text(f'[environment.one.policy]\ntrust = "{trust}"\n')
        assert told not in node.up().stderr
        assert told not in node.chosctl("check", check=False).stdout
        assert node.chos("one", "sh", "-c", status, check=True).stdout == f"NoNewPrivs:\t{expected}\n"


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
