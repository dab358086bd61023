"""What users and trees may make as long, as many or as odd as they like: rule 32, and the time that it takes root."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_tools import patched
from node import Node, wait_for

ESCAPES = "\x1b]0;evil\x07\x1b[2J\r\x9b1m\u202e"
# What a process of chosctl's has read and how much memory it took, on the last line of its standard error.
COUNT = """
import atexit, resource, sys
def tell():
    read = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())["rchar"]
    print(read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
atexit.register(tell)
"""


def counted(*arguments: str) -> tuple[subprocess.CompletedProcess[str], int, int]:
    """chosctl ARGUMENTS; how many bytes it read, and how many kilobytes of memory it took at most."""
    result = patched(COUNT, *arguments, timeout=120)
    read, memory = result.stderr.splitlines()[-1].split()
    return result, int(read), int(memory)


def harmless(text: str) -> None:
    assert all(char in "\n\t" or char.isprintable() for char in text), repr(text)


@contextlib.contextmanager
def mounted(node: Node, *arguments: str) -> Iterator[None]:
    node.mount(*arguments)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", arguments[-1]], check=True)


def test_mount_points_with_escape_sequences(node: Node) -> None:
    """Rule 32: up, check, status and explain name mount points, which whoever mounts there has chosen."""
    place = Path("/srv") / ESCAPES
    place.mkdir()
    node.tree("one")
    node.configure("one:/os/one\n")
    with mounted(node, "-t", "tmpfs", ESCAPES, str(place)):
        subprocess.run(["mount", "--make-private", place], check=True)
        said = node.up()
        assert "private on the base" in said.stderr and "evil" in said.stderr
        for command in (["up"], ["check"], ["status"], ["explain", "one"], ["ps"], ["list"], ["down"]):
            for result in (node.chosctl(*command, check=False), node.chosctl(*command, "--json", check=False)):
                harmless(result.stdout + result.stderr)
    place.rmdir()


ODD = ("-", " - tmpfs x rw", "a\tb", "a\nb", "a\rb", "a\\040b", "a#b", "\udcff", "a//deleted", "é" * 100)


def test_odd_mount_points_and_sources(node: Node) -> None:
    """What other programs stumbled over in mountinfo: a source that is empty or has blanks, a mount point that looks
    like the line's separator or like an escape, and one whose directory is gone."""
    top = Path("/srv/odd")
    node.tree("one")
    node.configure("one:/os/one\n")
    top.mkdir()
    with contextlib.ExitStack() as stack:
        for name in ODD:
            (top / name).mkdir(parents=True)
            for source in (name, "", "a - b c"):
                stack.enter_context(mounted(node, "-t", "tmpfs", source, str(top / name)))
        node.up()
        shell = node.resident("one")
        assert node.ask(shell, "ls -d /srv/odd/- /local/srv/odd/-") == "/local/srv/odd/-\n/srv/odd/-"
        for command in (["status", "--json"], ["ps", "--json"], ["check", "--json"], ["reload", "--json"]):
            result = node.chosctl(*command, check=False)
            assert "Traceback" not in result.stderr and json.loads(result.stdout) is not None, result
        node.up("--renew")
        node.leave(shell)
    shutil.rmtree(top)
    node.up("--renew")


def test_a_tree_whose_name_has_escape_sequences(node: Node) -> None:
    """Rule 32: what a tree calls itself is shown by list, what its shell says last by up and status."""
    tree = node.tree("one")
    (tree / "etc/os-release").write_text(f'PRETTY_NAME="evil {ESCAPES}"\n')
    node.tree("two")
    (Path("/os/two/bin/sh")).unlink()
    (Path("/os/two/bin/sh")).write_bytes(f"#!/bin/busybox ash\nprintf '{ESCAPES}'; exit 1\n".encode())
    (Path("/os/two/bin/sh")).chmod(0o755)
    node.configure("one:/os/one\ntwo:/os/two\n")
    for command in (["up"], ["list"], ["status"], ["list", "--json"], ["status", "--json"]):
        result = node.chosctl(*command, check=False)
        harmless(result.stdout + result.stderr)
    assert "evil" in node.chosctl("list").stdout


@pytest.fixture(params=["C", "de_DE.ISO-8859-1", "C.UTF-8"])
def locale(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Variables of a locale; that of many an old terminal is made here."""
    if "8859" in request.param:
        command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / request.param)]
        if not shutil.which("localedef") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("the locale cannot be made here: apt-get install locales")
    return {**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": request.param}


def test_whatever_the_locale(node: Node, locale: dict[str, str]) -> None:
    """Names are bytes, so the same files are meant. What the terminal has no character for is escaped, so that it gets
    no control character by it."""
    tree = node.tree("größe-\u2603-\xdb")
    (tree / "etc/os-release").write_text('PRETTY_NAME="Größe \u2603 \xdb"\n', encoding="utf-8")
    Path("/os/größe-\u2603-\xdb/srv").mkdir(exist_ok=True)
    node.configure("one:/os/größe-\u2603-\xdb\n", one='[environment.one]\ndescription = "Gr\u00f6\u00dfe \u2603"\n')
    encoding = {"C": "ascii", "C.UTF-8": "utf-8"}.get(locale["LC_ALL"], "iso-8859-1")
    for command in (
        "up",
        "up --renew",
        "list",
        "status",
        "ps",
        "check",
        "explain one",
        "list --json",
        "explain no-\u2603",
    ):
        done = subprocess.run(["chosctl", *command.split()], env=locale, capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode(encoding)
        assert "Traceback" not in said and "Unicode" not in said, said
        assert done.returncode == ("no-" in command), said
        assert all(char == "\n" or char.isprintable() for char in said), said
    assert node.chos("one", "cat", "/etc/os-release", check=True).stdout
    shown = subprocess.run(["chosctl", "explain", "one"], env=locale, capture_output=True, check=True).stdout
    name = "größe-\u2603-\xdb".encode(encoding, "backslashreplace")
    assert b"/os/" + name in shown


def test_very_long_command_lines(node: Node) -> None:
    """A user's processes may have megabytes of arguments: `ps` reads the beginning of each, `up` and `status` none."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    script = (
        "import subprocess, sys\n"
        "words = ['x' * 100000] * 18\n"
        "made = [subprocess.Popen(['chos', 'sh', '-c', 'read line', *words], stdin=subprocess.PIPE, cwd='/')"
        " for _ in range(20)]\n"
        "print('made', flush=True); sys.stdin.read()\n"
    )
    holder = node.start([sys.executable, "-c", script], env={"CHOS": "one"})
    assert holder.stdout and holder.stdout.readline() == "made\n"

    def residents() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(node.chosctl("ps", "--json").stdout)
        return found

    wait_for(lambda: sum("read line" in str(one["command"]) for one in residents()) == 20, "20 residents")
    _, less, _ = counted("--version")
    for command in ("ps", "status", "up"):
        result, read, memory = counted(command)
        assert result.returncode == 0
        assert read - less < 4_000_000 and memory < 100_000, (command, read, memory)
    commands = [str(one["command"]) for one in residents() if "read line" in str(one["command"])]
    assert all(text.startswith("sh -c read line xxx") and text.endswith("x …") for text in commands)
    assert max(map(len, commands)) < 5000


def test_very_many_mounts_in_users_namespaces(node: Node) -> None:
    """Who may make user namespaces may have 100,000 mounts in each: `up` and `ps` read the beginning of the list."""
    node.tree("one")
    node.configure("one:/os/one\n")
    node.up()
    with Path("/proc/sys/user/max_user_namespaces").open() as limit:
        if limit.read().strip() == "0":
            pytest.skip("users may make no namespaces here")
    # It doubles the mounts below a tmpfs of its own until there are 16,384.
    script = (
        "mount -t tmpfs many /tmp && mkdir /tmp/a /tmp/b && n=0 && "
        "mkdir /tmp/a/0 && mount -t tmpfs many /tmp/a/0 && "
        "while [ $n -lt 14 ]; do n=$((n+1)); mkdir -p /tmp/b/$n; mount --rbind /tmp/a /tmp/b/$n || break; "
        "mkdir -p /tmp/a/$n; mount --rbind /tmp/b/$n /tmp/a/$n || break; done; "
        "wc -l </proc/self/mountinfo; exec sleep 600"
    )
    holders = [node.start(["unshare", "-Urm", "sh", "-c", script]) for _ in range(3)]
    inside = node.resident("one")
    many = [int((holder.stdout.readline() if holder.stdout else "") or 0) for holder in holders]
    assert min(many) > 10_000, [many, holders[0].stderr.read() if min(many) == 0 and holders[0].stderr else ""]
    _, less, _ = counted("--version")
    for command in ("ps", "up", "status"):
        result, read, _ = counted(command)
        assert result.returncode == 0
        assert read - less < 3_000_000, (command, read)
    node.leave(inside)


@pytest.mark.parametrize("product", ["slurm", "lsf"])
def test_a_fifo_in_the_place_of_a_configuration(node: Node, product: str) -> None:
    """A file of another program may be anything: it is refused, and nothing waits for it."""
    conf = Path("/srv/slurm.conf" if product == "slurm" else "/srv/lsf.conf")
    os.mkfifo(conf)
    try:
        where = str(conf) if product == "slurm" else "/srv"
        variables = {"SLURM_CONF": where} if product == "slurm" else {"LSF_ENVDIR": where}
        result = subprocess.run(
            ["chosctl", "install", product, "--dry-run"],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **variables},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert result.returncode == 1 and "is not a regular file" in result.stderr, result
    finally:
        conf.unlink()
