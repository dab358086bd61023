"""OS trees of every shape, and bases of every shape; nothing is ever written into a tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from node import Node, tree_path

BASE_DIRECTORIES = ("/proc/self", "/sys/kernel", "/dev/null", "/home/alice", "/local/etc", "/chos/bin")


def alive(node: Node, name: str) -> None:
    """The environment is a place where one can work."""
    shell = node.resident(name)
    assert node.ask(shell, "id -un") == "alice"
    for path in BASE_DIRECTORIES:
        assert node.ask(shell, f"test -e {path} && echo there") == "there", path
    assert node.ask(shell, "echo x >/home/alice/file && cat /local/home/alice/file") == "x"
    assert node.ask(shell, "chos true && env CHOS=root chos true && echo back") == "back"
    node.leave(shell)


def fingerprint(tree: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file of a tree that would tell of a write."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(tree):
        for name in [*names, *files, "."]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode) and status.st_size < 1_000_000:
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            found[path] = (
                status.st_ino,
                status.st_mode,
                status.st_uid,
                status.st_nlink,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                content,
            )
    return found


@pytest.mark.parametrize("like", ["tiny", "bullseye", "trixie"])
def test_nothing_is_written_into_a_tree(node: Node, like: str) -> None:
    tree = node.tree("one", like=like)
    node.configure(
        "one:/os/one\n",
        site="""
        [environment.one]
        [[environment.one.bind]]
        source = "/srv"
        target = "/opt/site/software"
        [[environment.one.bind]]
        source = "/etc/hostname"
        target = "/usr/share/node-name"
        """,
    )
    before = fingerprint(tree)
    assert len(before) > 100
    node.up()
    assert fingerprint(tree) == before, "up"
    alive(node, "one")
    shell = node.resident("one")
    node.ask(shell, "ls -R /etc /var >/dev/null; cat /usr/share/node-name; ls /opt/site/software; chos --which")
    node.up("--renew")
    assert fingerprint(tree) == before, "use"
    node.leave(shell)
    node.chosctl("down")
    assert fingerprint(tree) == before, "down"


def test_a_merged_tree(node: Node) -> None:
    """Where /bin, /sbin and /lib are links into /usr."""
    tree = node.tree("one")
    for name in ("bin", "sbin", "lib"):
        for entry in (tree / name).iterdir():
            target = tree / "usr" / name / entry.name
            if not os.path.lexists(target):
                entry.rename(target)
        shutil.rmtree(tree / name)
        (tree / name).symlink_to(f"usr/{name}")
    for link in (tree / "usr/bin", tree / "usr/sbin"):
        for entry in link.iterdir():
            if entry.is_symlink() and os.readlink(entry) == "/bin/busybox" and entry.name == "busybox":
                entry.unlink()
    node.configure("one:/os/one\n")
    node.up()
    alive(node, "one")
    assert node.chos("one", "readlink", "/bin", check=True).stdout == "usr/bin\n"


def test_absolute_links_at_the_top(node: Node) -> None:
    """/bin -> /usr/bin, as some images have it: it means the tree's /usr/bin."""
    tree = node.tree("one")
    shutil.rmtree(tree / "usr/bin")
    (tree / "bin").rename(tree / "usr/bin")
    (tree / "bin").symlink_to("/usr/bin")
    node.configure("one:/os/one\n")
    node.up()
    alive(node, "one")


def test_lib64_is_the_trees(node: Node) -> None:
    tree = node.tree("one")
    (tree / "lib64").mkdir()
    (tree / "lib64/loader").write_text("the tree's\n")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    assert node.chos("one", "cat", "/lib64/loader", check=True).stdout == "the tree's\n"
    assert node.chos("two", "ls", "/lib64").returncode != 0, "a tree without one does not get the base's libraries"
    alive(node, "two")


@pytest.mark.parametrize(
    "lacking", ["opt", "var", "sbin", "lib", "home", "usr/local", "var/tmp", "proc dev sys tmp run"]
)
def test_a_tree_that_lacks_directories(node: Node, lacking: str) -> None:
    tree = node.tree("one")
    for name in lacking.split():
        shutil.rmtree(tree / name)
    before = fingerprint(tree)
    node.configure("one:/os/one\n")
    node.up()
    alive(node, "one")
    assert fingerprint(tree) == before


def test_a_tree_of_almost_nothing(node: Node) -> None:
    """/bin, /etc and /usr, as for a single program."""
    tree = Path("/os/small")
    for name in ("bin", "etc"):
        (tree / name).mkdir(parents=True)
    shutil.copy2(tree_path("tiny") / "bin/busybox", tree / "bin/busybox")
    for name in ("sh", "id", "test", "cat", "echo", "env", "true"):
        (tree / "bin" / name).symlink_to("busybox")
    node.configure("small:/os/small\n")
    node.up()
    alive(node, "small")
    assert node.chos("small", "sh", "-c", "echo /usr/bin/*", check=True).stdout.split() == [
        "/usr/bin/chos",
        "/usr/bin/chos-job-starter",
    ]


def test_further_top_level_entries_of_the_tree(node: Node) -> None:
    tree = node.tree("one")
    (tree / "nix/store").mkdir(parents=True)
    (tree / "nix/store/x").write_text("nix\n")
    (tree / "sw").symlink_to("nix/store")
    node.configure("one:/os/one\n")
    node.up()
    assert node.chos("one", "cat", "/nix/store/x", "/sw/x", check=True).stdout == "nix\nnix\n"


def test_links_at_the_top_of_the_base(node: Node) -> None:
    """Sites move directories and leave links: they mean inside what they mean on the base."""
    made = []
    Path("/srv/data").mkdir(exist_ok=True)
    (Path("/srv/data") / "file").write_text("data\n")
    Path("/usr/share/site").mkdir(exist_ok=True)
    (Path("/usr/share/site") / "file").write_text("site\n")
    Path("/var/lib/scratch").mkdir(exist_ok=True)
    (Path("/var/lib/scratch") / "file").write_text("scratch\n")
    try:
        for name, to in (
            ("/data", "/srv/data"),
            ("/data2", "srv/data"),
            ("/site", "/usr/share/site"),
            ("/chain", "/data"),
            ("/scratch", "var/lib/scratch"),
            ("/nowhere", "/not/there"),
            ("/loop", "/loop"),
        ):
            os.symlink(to, name)
            made.append(name)
        node.tree("one")
        node.configure("one:/os/one\n")
        node.up()
        for path, text in (
            ("/data", "data"),
            ("/data2", "data"),
            ("/chain", "data"),
            ("/site", "site"),
            ("/scratch", "scratch"),
        ):
            assert node.chos("one", "cat", f"{path}/file", check=True).stdout == text + "\n", path
        alive(node, "one")
        shell = node.resident("one")
        subprocess.run(["mount", "-t", "tmpfs", "none", "/srv/data"], check=True)
        Path("/srv/data/later").write_text("later\n")
        assert node.ask(shell, "cat /data/later /chain/later") == "later\nlater"
        subprocess.run(["umount", "/srv/data"], check=True)
    finally:
        for name in made:
            os.unlink(name)


def test_home_as_a_link(node: Node) -> None:
    """/home -> /export/home on the base."""
    move = "mkdir -p /export; cp -a /home /export/home; rm -r /home; ln -s /export/home /home"
    subprocess.run(["sh", "-ec", move], check=True)
    try:
        node.tree("one")
        node.configure("one:/os/one\n")
        node.up()
        alive(node, "one")
        assert node.chos("one", "pwd", cwd="/home/alice", check=True).stdout == "/export/home/alice\n"
    finally:
        subprocess.run(["sh", "-ec", "rm /home; cp -a /export/home /home; rm -r /export"], check=True)


def test_a_file_at_the_top_of_the_base(node: Node) -> None:
    Path("/site-version").write_text("2026a\n")
    try:
        node.tree("one")
        node.configure("one:/os/one\n")
        node.up()
        assert node.chos("one", "cat", "/site-version", check=True).stdout == "2026a\n"
    finally:
        os.unlink("/site-version")


def test_a_read_only_bind(node: Node) -> None:
    node.tree("one")
    node.mount("--bind", "/os/one", "/os/one")
    subprocess.run(["mount", "-o", "remount,bind,ro", "/os/one"], check=True)
    node.configure("one:/os/one\n")
    node.up()
    alive(node, "one")
    denied = node.chos("one", "touch", "/usr/x", user="root")
    assert denied.returncode != 0 and "Read-only" in denied.stderr


def test_a_squashfs_image(node: Node, tmp_path: Path) -> None:
    if not shutil.which("mksquashfs"):
        pytest.skip("no mksquashfs: apt-get install squashfs-tools")
    image = tmp_path / "tree.squashfs"
    subprocess.run(["mksquashfs", str(tree_path("tiny")), str(image), "-quiet", "-no-progress"], check=True)
    Path("/os/image").mkdir()
    mounted = subprocess.run(
        ["mount", "-o", "loop,ro", "-t", "squashfs", str(image), "/os/image"],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"squashfs images cannot be mounted here: {mounted.stderr.strip()}")
    try:
        node.configure("image:/os/image\n", image='[environment.image.policy]\ntrust = "site"\n')
        node.up()
        alive(node, "image")
        assert node.chos("image", "cat", "/etc/passwd", check=True).stdout == Path("/etc/passwd").read_text()
    finally:
        node.chosctl("down")
        subprocess.run(["umount", "-d", "/os/image"], check=True)


def test_a_tree_below_chos_has_one_path_inside_and_out(node: Node) -> None:
    """/chos/trees/sl6 names the same thing in both worlds."""
    Path("/chos/trees").mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(tree_path("tiny"), "/chos/trees/sl6", symlinks=True)
        node.configure("sl6:/chos/trees/sl6\n")
        node.up()
        alive(node, "sl6")
        inside = node.chos("sl6", "cat", "/chos/trees/sl6/etc/os-release", check=True).stdout
        assert inside == Path("/chos/trees/sl6/etc/os-release").read_text()
    finally:
        shutil.rmtree("/chos")


def test_a_tree_reached_by_a_link(node: Node) -> None:
    node.tree("v1")
    Path("/os/current").symlink_to("v1")
    node.configure("one:/os/current\n")
    node.up()
    alive(node, "one")


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory", "no /usr/bin", "no /usr"])
def test_the_launcher_is_there_whatever_the_tree_holds(node: Node, kind: str) -> None:
    tree = node.tree("one")
    other = node.tree("two")
    place = tree / "usr/bin/chos"
    if kind == "file":
        place.write_text("#!/bin/sh\necho the wrong one\n")
        place.chmod(0o755)
        (tree / "usr/bin/chos-job-starter").write_text("wrong too\n")
    elif kind == "link":
        place.symlink_to("/bin/busybox")
        (tree / "usr/bin/chos-job-starter").symlink_to("/bin/busybox")
    elif kind == "dangling link":
        place.symlink_to("/not/there")
    elif kind == "directory":
        (place / "x").mkdir(parents=True)
    else:
        shutil.rmtree(tree / kind.split("/", 1)[1])
    before = fingerprint(tree)
    assert other.is_dir()
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    alive(node, "one")
    script = (
        "echo $CHOS; env CHOS=two /usr/bin/chos sh -c \"echo \\$CHOS; env CHOS=one chos sh -c 'echo \\$CHOS; "
        'env CHOS=two chos-job-starter sh -c \\"echo \\\\\\$CHOS\\"\'"'
    )
    assert node.chos("one", "sh", "-c", script, check=True).stdout.split() == ["one", "two", "one", "two"]
    assert fingerprint(tree) == before


def test_var_of_the_base_below_var_of_the_tree(node: Node) -> None:
    """Spool, logs and large temporary files are the base's; the rest of /var is the tree's."""
    tree = node.tree("one")
    (tree / "var/lib/packages").mkdir(parents=True)
    shutil.rmtree(tree / "var/log")
    (tree / "var/run").rmdir()
    (tree / "var/run").symlink_to("../run")
    Path("/var/spool/batch").mkdir(exist_ok=True)
    Path("/var/spool/batch/script").write_text("job\n")
    Path("/run/test-socket").write_text("s\n")
    node.configure("one:/os/one\n")
    node.up()
    shell = node.resident("one")
    assert node.ask(shell, "cat /var/spool/batch/script") == "job"
    assert node.ask(shell, "ls /var/lib") != ""
    assert node.ask(shell, "test -d /var/lib/packages && echo tree") == "tree"
    assert node.ask(shell, "cat /var/run/test-socket") == "s"
    assert node.ask(shell, "echo big >/var/tmp/alice-file; ls -d /var/log") == "/var/log"
    assert Path("/var/tmp/alice-file").read_text() == "big\n"
    os.unlink("/var/tmp/alice-file")
