"""chos(1): names, exit statuses, and what of a process stays as it was."""

from __future__ import annotations

import os
from pathlib import Path

from node import Node, wait_for
from rows import row
from site_of_old import os_id

CHOS, KEPT, TREE = "chos(1)", "What a process keeps", "Children"
TELL = "grep ^ID= /etc/os-release"


@row("a name leads there, and back: A, B, A, the base, from everywhere", section=CHOS)
def test_there_and_back(node: Node) -> None:
    script = (
        f"{TELL}; CHOS=two chos sh -c '{TELL}; CHOS=one chos sh -c \"{TELL}; CHOS=one chos {TELL};"
        f" CHOS=root chos {TELL}\"; {TELL}'; {TELL}"
    )
    base = os_id(Path("/etc/os-release").read_text())
    lines = node.chos("one", "sh", "-c", script, check=True).stdout.replace("ID=", "").split()
    assert lines == ["one", "two", "one", "one", base, "two", "one"]


@row("`CHOS` is not set, or empty: an error, 125", section=CHOS)
def test_unset(node: Node) -> None:
    for value in (None, ""):
        result = node.chos(value, "echo", "ran")
        assert (result.returncode, result.stdout) == (125, "") and "CHOS" in result.stderr


@row("exit status: the command's own; 126 not executable, 127 not there, 125 chos failed", section=CHOS)
def test_status(node: Node) -> None:
    for status in (0, 7, 125, 255):
        assert node.chos("one", "sh", "-c", f"exit {status}").returncode == status
    assert node.chos("one", "/etc/os-release").returncode == 126
    assert node.chos("one", "no-such-command").returncode == 127
    assert node.chos("nothing", "true").returncode == 125
    assert node.chos("one", "sh", "-c", "kill -9 $$").returncode == -9


@row("`-v` says what was entered and how; `--backend=` chooses how", section=CHOS)
def test_verbose(node: Node, backend: str) -> None:
    told = node.chos("one", f"--backend={backend}", "-v", "true", check=True)
    assert told.stdout == "" and f"backend {backend} (asked for)" in told.stderr
    assert f"backend {backend} (the node's default)" in node.chos("one", "-v", "true", check=True).stderr


@row("a backend that the node does not have is refused", section=CHOS)
def test_another_backend(node: Node, backend: str) -> None:
    other = "ns" if backend == "kmod" else "kmod"
    result = node.chos("one", f"--backend={other}", "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "") and other in result.stderr


@row("`--which` says what would be entered, from inside too", section=CHOS)
def test_which(node: Node, backend: str) -> None:
    for command in (["--which"], ["env", "CHOS=one", "chos", "--which"]):
        rows = node.chos("one", *command, check=True).stdout
        fields = dict(line.split(None, 1) for line in rows.splitlines())
        assert (fields["name"], fields["tree"], fields["backend"]) == ("one", "/os/one", backend)


@row("`--version` prints the version of chos", section=CHOS)
def test_version(node: Node) -> None:
    assert node.run(["chos", "--version"], check=True).stdout.startswith("chos ")


@row("`--version` also prints the module's version", section=CHOS, but={"ns": "there is no module"})
def test_version_of_the_module(node: Node) -> None:
    assert "kernel module: chos " in node.run(["chos", "--version"], check=True).stdout


# --- what a process keeps -------------------------------------------------------------------------------------------


@row("user, groups and capabilities; root stays root", section=KEPT)
def test_identity(node: Node) -> None:
    for user in ("alice", "root"):
        tell = "id -u; id -g; id -G; grep -E '^(Cap|Groups)' /proc/self/status"
        plain = node.run(["sh", "-c", tell], user=user, check=True).stdout
        assert node.chos("one", "sh", "-c", tell, user=user, check=True).stdout == plain


@row("process number and parent: chos becomes the command", section=KEPT)
def test_exec(node: Node) -> None:
    job = node.start(["chos", "sh", "-c", "echo $$ $PPID"], env={"CHOS": "one"})
    assert job.communicate()[0].split() == [str(job.pid), str(os.getpid())]


@row("the working directory, if it is the base's", section=KEPT)
def test_directory(node: Node) -> None:
    for place in ("/", "/tmp", "/home/alice", "/srv", "/proc/1"):
        assert node.chos("one", "/bin/pwd", cwd=place, check=True).stdout == f"{place}\n"


@row("if the working directory does not exist inside: `/`, and a message", section=KEPT)
def test_lost_directory(node: Node) -> None:
    Path("/opt/only-base").mkdir(exist_ok=True)
    result = node.chos("one", "/bin/pwd", cwd="/opt/only-base")
    assert (result.returncode, result.stdout) == (0, "/\n") and "going to /" in result.stderr


@row("umask, limits, priority, signals that are ignored, open files", section=KEPT)
def test_attributes(node: Node) -> None:
    tell = "umask; ulimit -a; grep -E '^Sig(Ign|Blk)' /proc/self/status; cut -d' ' -f19 /proc/self/stat; cat <&9"
    script = "umask 037; ulimit -n 99; ulimit -c 0; trap '' USR1; renice -n 5 $$ >/dev/null; exec 9</tmp/ninth; exec "
    Path("/tmp/ninth").write_text("ninth\n")
    busybox = "/os/one/bin/busybox"  # the same shell on both sides
    plain = node.run(["sh", "-c", f'{script} {busybox} sh -c "$0"', tell], check=True).stdout
    inside = node.run(["sh", "-c", f'CHOS=one; export CHOS; {script} chos sh -c "$0"', tell], check=True).stdout
    assert "ninth" in plain and inside == plain


# --- children -------------------------------------------------------------------------------------------------------


@row("children of children are inside too", section=TREE)
def test_children(node: Node) -> None:
    script = f"sh -c \"sh -c '{TELL}'; ({TELL})\" | cat"
    assert node.chos("one", "sh", "-c", script, check=True).stdout == "ID=one\nID=one\n"


@row("also when the parent has ended, or started them in a session of their own", section=TREE)
def test_orphans(node: Node) -> None:
    parent = node.resident("one")
    seen = Path("/tmp/orphan-saw")
    seen.unlink(missing_ok=True)
    tell = f"sh -c '{TELL}' >{seen}.new; mv {seen}.new {seen}"
    Path("/tmp/orphan.sh").write_text(f"while [ -d /proc/$1 ]; do sleep 0.05; done; {tell}\n")
    node.ask(parent, "(setsid sh /tmp/orphan.sh $$ >/dev/null 2>&1 </dev/null &)")
    node.leave(parent)
    wait_for(seen.exists, "the orphan has told")
    assert seen.read_text() == "ID=one\n"


@row("also when a thread that is not the first executes a program", section=TREE)
def test_thread_exec(node: Node) -> None:
    script = f"probe thread-exec sh -c '{TELL}; {TELL}'"
    assert node.chos("one", "sh", "-c", script, check=True).stdout == "ID=one\nID=one\n"


@row("they stay inside when it is prepared again, and when it is taken away", section=TREE)
def test_they_stay(node: Node, changed: Node) -> None:
    job = changed.resident("one")
    Path("/etc/chos").write_text("%SHELLS\none:/os/two\n")
    changed.up()
    assert changed.ask(job, f"{TELL}; sh -c '{TELL}'") == "ID=one\nID=one"
    assert "ID=two" in changed.chos("one", "cat", "/etc/os-release", check=True).stdout
    changed.chosctl("down")
    assert changed.chos("one", "true").returncode == 125
    assert changed.ask(job, f"{TELL}; ls /home").startswith("ID=one\nalice")
    changed.leave(job)


@row("`chosctl ps` shows which process is where; `chosctl status` counts them", section=TREE)
def test_ps(node: Node) -> None:
    job = node.resident("one")
    lines = [line.split() for line in node.chosctl("ps").stdout.splitlines()]
    assert [line[1:3] for line in lines if line[0] == str(job.pid)] == [["alice", "first"]], lines
    node.leave(job)
