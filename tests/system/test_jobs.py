"""chos-job-starter: the user's file, limits, and the record of each entry (chos.toml(5), `jobs` and `records`)."""

from __future__ import annotations

import os
import pwd
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import Node

DOTFILE = Path("/home/alice/.chos")
ENTRIES = Path("/var/log/chos/entries")
LINE = re.compile(
    r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ user=(\S+) uid=(\d+) environment=(\S+) generation=(\S+) "
    r"service=(\S+) job=(\S+) pid=(\d+)\n"
)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    DOTFILE.unlink(missing_ok=True)
    if os.path.lexists(ENTRIES):
        subprocess.run(["chattr", "-a", ENTRIES], check=False, capture_output=True)
        ENTRIES.unlink()


def prepare(node: Node, settings: str) -> Node:
    node.tree("one")
    node.configure("one:/os/one", jobs=settings)
    node.up()
    return node


def job(node: Node, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return node.run(["chos-job-starter", *command], env=env)


def entries() -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(line) for line in ENTRIES.read_text().splitlines(keepends=True)]
    return [match.groups() for match in found if match]


# --- the user's file ----------------------------------------------------------------------------------------------


def test_the_users_file_where_the_site_says_so(node: Node) -> None:
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    DOTFILE.write_text("one\n")
    result = job(node, "sh", "-c", ". /etc/os-release; echo $ID $CHOS; pwd; exit 3")
    assert (result.stdout, result.stderr, result.returncode) == ("one one\n/home/alice\n", "", 3)
    assert "ID=one" not in job(node, "cat", "/etc/os-release", CHOS="root").stdout, "$CHOS counts first"
    DOTFILE.unlink()
    assert "ID=one" not in job(node, "cat", "/etc/os-release").stdout, "no file, no environment"
    DOTFILE.write_text(" \n")
    assert "ID=one" not in job(node, "cat", "/etc/os-release").stdout


def test_it_is_not_read_where_nobody_said_so(node: Node) -> None:
    prepare(node, "[jobs]\n")
    DOTFILE.write_text("one\n")
    assert "ID=one" not in job(node, "cat", "/etc/os-release").stdout


def test_home_is_the_accounts(node: Node) -> None:
    """A grid's HOME is the job's own directory."""
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    DOTFILE.write_text("one\n")
    assert "ID=one" in job(node, "cat", "/etc/os-release", HOME="/tmp").stdout


def test_from_inside(node: Node) -> None:
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    DOTFILE.write_text("root\n")
    result = node.chos("one", "env", "-u", "CHOS", "chos-job-starter", "cat", "/etc/os-release")
    assert result.returncode == 0 and "ID=one" not in result.stdout, result.stderr


@pytest.mark.parametrize("content", ["nothing\n", "a/b\n", "x" * 300, "a\0b\n", "$(id)\n", "/etc/shadow\n"])
def test_a_file_that_names_nothing_runs_nothing(node: Node, content: str) -> None:
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    DOTFILE.write_text(content)
    result = job(node, "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "") and result.stderr.startswith("chos: ")


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "closed", "processes", "own"])
def test_what_is_no_file_of_the_users_runs_nothing(node: Node, kind: str) -> None:
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    try:
        if kind == "fifo":
            os.mkfifo(DOTFILE)
        elif kind == "directory":
            DOTFILE.mkdir()
        elif kind == "device":
            DOTFILE.symlink_to("/dev/zero")
        elif kind == "closed":
            DOTFILE.write_text("one\n")
            DOTFILE.chmod(0o600)
        elif kind == "own":  # the user's to read, but by way of /proc: whose directory that is depends on who reads
            DOTFILE.with_name("other").write_text("one\n")
            DOTFILE.symlink_to("/proc/self/cwd/other")
        else:  # what only chos's own capabilities could read
            DOTFILE.symlink_to(f"/proc/{os.getpid()}/environ")
        result = job(node, "echo", "ran")
        assert (result.returncode, result.stdout) == (125, "")
        assert ".chos: cannot be read" in result.stderr
        assert "PATH" not in result.stderr and "LANG" not in result.stderr
    finally:
        if DOTFILE.is_dir():
            DOTFILE.rmdir()


def test_an_account_without_a_home(node: Node) -> None:
    """Of nobody in /etc/passwd, and without $HOME, nobody knows what the file says."""
    prepare(node, '[jobs]\nuser_file = ".chos"\n')
    words = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env", "-u", "HOME"]
    result = node.run([*words, "chos-job-starter", "echo", "ran"], user="root")
    assert (result.returncode, result.stdout) == (125, "") and "cannot be read" in result.stderr


def which(node: Node, **env: str) -> dict[str, str]:
    text = node.run(["chos", "--which"], env=env).stdout
    return dict(line.split(None, 1) for line in text.splitlines())


def test_which_tells_what_a_job_gets(node: Node) -> None:
    node.tree("one")
    node.configure("one:/os/one\ndefault:/os/one\n", jobs='[jobs]\nuser_file = ".batch"\n')
    node.up()
    batch = Path("/home/alice/.batch")
    DOTFILE.write_text("one\n")
    assert which(node)["batch"] == "the base: nothing else was chosen", "the job starter has no default"
    try:
        batch.write_text("one\n")
        assert which(node)["batch"] == "one, from ~/.batch"
        batch.write_text("$\n")
        assert "no such environment" in which(node)["batch"]
    finally:
        batch.unlink()
    DOTFILE.unlink()
    DOTFILE.mkdir()
    try:
        assert node.run(["chos", "--which"]).returncode == 125
        assert "cannot be read" in which(node, CHOS="one")["login"]
    finally:
        DOTFILE.rmdir()


def test_the_generation_that_a_job_is_told(node: Node) -> None:
    """It never lies: jobs are told, a command's own variable is put right, or goes on the base."""
    prepare(node, "")
    tell = ["sh", "-c", "echo ${CHOS_GENERATION-none}"]
    assert job(node, *tell, CHOS="one").stdout == "one.1\n"
    assert node.chos("one", *tell).stdout == "none\n", "a command's variables are its own"
    assert node.chos("one", *tell, env={"CHOS_GENERATION": "two.7"}).stdout == "one.1\n"
    assert node.chos("root", *tell, env={"CHOS_GENERATION": "two.7"}).stdout == "none\n"


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chos", ["one", ""])
def test_limits(node: Node, chos: str) -> None:
    prepare(node, '[jobs]\nmemory = "2G"\nprocesses = 500\n')
    assert job(node, "sh", "-c", "ulimit -v; ulimit -Hv", CHOS=chos).stdout == "2097152\n2097152\n"
    text = job(node, "cat", "/proc/self/limits", CHOS=chos).stdout
    assert re.search(r"Max processes +500 +500 ", text)
    lower = node.run(["sh", "-c", "ulimit -v 1000000; exec chos-job-starter sh -c 'ulimit -v'"], env={"CHOS": chos})
    assert lower.stdout == "1000000\n", "never raised"


# --- records ------------------------------------------------------------------------------------------------------


def test_records_in_a_file(node: Node) -> None:
    prepare(node, f'[records]\nfile = "{ENTRIES}"\n')
    said_so = "not append-only" in node.up().stderr
    uid = str(pwd.getpwnam("alice").pw_uid)
    assert job(node, "true", CHOS="one", SGE_CELL="default", JOB_ID="17", SGE_TASK_ID="3").returncode == 0
    assert job(node, "true", CHOS="one", SGE_CELL="default", JOB_ID="18", SGE_TASK_ID="undefined").returncode == 0
    assert job(node, "true", CHOS="root", LSB_JOBID="5", LSB_JOBINDEX="0").returncode == 0
    assert job(node, "true", PBS_JOBID="9.server").returncode == 0
    assert job(node, "true").returncode == 0
    assert job(node, "true", CHOS="nothing").returncode == 125
    assert [entry[:6] for entry in entries()] == [
        ("alice", uid, "one", "one.1", "sge", "17.3"),
        ("alice", uid, "one", "one.1", "sge", "18"),
        ("alice", uid, "root", "-", "lsf", "5"),
        ("alice", uid, "-", "-", "pbs", "9.server"),
        ("alice", uid, "-", "-", "job", "-"),
    ]
    mode = ENTRIES.stat()
    assert (mode.st_uid, mode.st_mode & 0o777) == (0, 0o622)
    assert node.run(["cat", str(ENTRIES)]).returncode != 0, "nobody else's business"
    cut = node.run(["sh", "-c", f": >{ENTRIES}"])
    assert cut.returncode != 0 or said_so, "who can cut the file was told of"


def test_nobody_writes_a_second_line(node: Node) -> None:
    prepare(node, f'[records]\nfile = "{ENTRIES}"\n')
    forged = "1\ntime=2026-01-01T00:00:00Z user=root uid=0"
    assert job(node, "true", CHOS="one", PBS_JOBID=forged).returncode == 0
    lines = ENTRIES.read_text().splitlines()
    assert len(lines) == 1 and "job=1\\x0atime_2026-01-01T00:00:00Z_user_root" in lines[0]


def test_records_in_the_log(node: Node) -> None:
    prepare(node, "")
    path = Path("/dev/log")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        path.chmod(0o666)
        log.settimeout(10)
        try:
            assert job(node, "true", CHOS="one", PBS_JOBID="9").returncode == 0
            line = log.recv(4096).decode()
            assert re.fullmatch(
                r"<86>chos: user=alice uid=\d+ environment=one generation=one\.1 service=pbs job=9 pid=\d+", line
            )
            node.configure("one:/os/one", jobs="[records]\nsyslog = false\n")
            node.up()
            assert job(node, "true", CHOS="one").returncode == 0
            log.setblocking(False)
            with pytest.raises(BlockingIOError):
                log.recv(4096)
        finally:
            path.unlink()


def test_a_file_that_cannot_be_written_keeps_nobody_out(node: Node) -> None:
    prepare(node, f'[records]\nfile = "{ENTRIES}"\n')
    subprocess.run(["chattr", "-a", ENTRIES], check=False, capture_output=True)
    ENTRIES.unlink()
    ENTRIES.symlink_to("/home/alice/entries")
    result = job(node, "echo", "ran", CHOS="one")
    assert (result.stdout, result.stderr) == ("ran\n", "")
    assert not os.path.exists("/home/alice/entries")


@pytest.mark.parametrize("chos", ["one", ""])
def test_a_record_ends_nobody(node: Node, chos: str) -> None:
    """Beyond RLIMIT_FSIZE the kernel would answer with SIGXFSZ."""
    prepare(node, f'[records]\nfile = "{ENTRIES}"\n')
    result = node.run(["sh", "-c", "ulimit -f 0; exec chos-job-starter echo ran"], env={"CHOS": chos})
    assert (result.returncode, result.stdout) == (0, "ran\n"), result
    assert ENTRIES.read_text() == ""


def test_a_file_that_users_cannot_write_is_told(node: Node) -> None:
    prepare(node, f'[records]\nfile = "{ENTRIES}"\n')
    subprocess.run(["chattr", "-a", ENTRIES], check=False, capture_output=True)
    ENTRIES.chmod(0o600)
    assert "users' jobs leave no record" in node.up().stderr


def test_a_directory_is_made_only_where_nobody_else_decides(node: Node) -> None:
    node.tree("one")
    Path("/home/alice/way").symlink_to("/etc")
    try:
        node.configure("one:/os/one", jobs='[records]\nfile = "/home/alice/way/new/entries"\n')
        assert "entries are not recorded" in node.up().stderr
        assert not Path("/etc/new").exists()
    finally:
        Path("/home/alice/way").unlink()


@pytest.mark.parametrize(
    "refused", ["/home/alice/entries", "/tmp/no/such/entries", "/var/log/link", "/var/log/alices", "/dev/null"]
)
def test_a_file_that_is_refused_is_not_published(node: Node, refused: str) -> None:
    """Rule 33: sessions of root's would write in it all the same."""
    alice = pwd.getpwnam("alice").pw_uid
    Path("/var/log/alices").touch()
    os.chown("/var/log/alices", alice, alice)
    Path("/var/log/link").symlink_to("/var/log/alices")
    Path("/home/alice/entries").touch()
    try:
        node.tree("one")
        node.configure("one:/os/one", jobs=f'[jobs]\nmemory = "2G"\n[records]\nfile = "{refused}"\n')
        assert "entries are not recorded" in node.up().stderr
        published = Path("/run/chos/jobs").read_text()
        assert "file=" not in published and "memory=" in published
        assert job(node, "echo", "ran", CHOS="one").stdout == "ran\n"
        assert os.stat("/home/alice/entries").st_size == os.stat("/var/log/alices").st_size == 0
    finally:
        for path in ("/var/log/alices", "/var/log/link", "/home/alice/entries"):
            Path(path).unlink()


def test_settings_that_are_not_roots_are_not_obeyed(node: Node) -> None:
    prepare(node, '[jobs]\nmemory = "2G"\n')
    os.chown("/run/chos/jobs", pwd.getpwnam("alice").pw_uid, 0)
    result = job(node, "echo", "ran", CHOS="one")
    assert (result.returncode, result.stdout) == (125, "") and "must belong to root" in result.stderr
    node.up()
    Path("/run/chos/jobs").write_text("chos-jobs 2\nsyslog=1\n")
    result = job(node, "echo", "ran", CHOS="one")
    assert (result.returncode, result.stdout) == (125, "") and "damaged" in result.stderr
    Path("/run/chos/jobs").unlink()
    assert job(node, "echo", "ran", CHOS="one").stdout == "ran\n", "written before there were any"


def test_where_nothing_is_prepared(node: Node) -> None:
    assert job(node, "echo", "ran").stdout == "ran\n"
    node.configure("one:/os/one")
    assert job(node, "echo", "ran", CHOS="one").returncode == 125


def test_a_directory_that_others_write_in(node: Node, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    node.tree("one")
    node.configure("one:/os/one", jobs=f'[records]\nfile = "{tmp_path}/entries"\n')
    said = node.up().stderr
    assert "entries are not recorded" in said and not (tmp_path / "entries").exists()
