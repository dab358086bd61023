"""Jobs of a real Grid Engine, through its starter_method, in the environment that their user chose."""

from __future__ import annotations

import concurrent.futures
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gridengine
import pytest
import worked
from conftest import BASE_ID, LIMIT, Node, os_id, wait_for
from gridengine import GridEngine

STARTER = "/usr/lib/chos/starters/sge/starter_method"
HOME = Path("/home/alice")
SHOW = "#!/bin/sh\ncat /etc/os-release; pwd; echo CHOS=$CHOS task=$SGE_TASK_ID; exit 7\n"
ENVIRONMENT = """pe_name par
slots 99
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


@pytest.fixture(scope="module")
def grid(users: None) -> Iterator[GridEngine]:
    """A cell with the starter in its queue, and a parallel environment."""
    with gridengine.running() as cell:
        Path("/tmp/par").write_text(ENVIRONMENT)
        cell.command("qconf", "-Ap", "/tmp/par", check=False)
        cell.queue(starter_method=STARTER, pe_list="par")
        yield cell


class Alice:
    """What alice types on the node; her files are in a directory of its own."""

    def __init__(self, node: Node, cell: GridEngine, directory: Path) -> None:
        self.node, self.cell, self.directory = node, cell, directory

    def file(self, name: str, text: str) -> str:
        """A script of hers."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def types(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self.node.run(list(words), cwd=str(self.directory), env={**self.cell.environment, **(env or {})})

    def batch(self, *words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        """qsub, waited for: exit status, output and errors of the job."""
        number = len(list(self.directory.glob("*.out")))
        out, err = (self.directory / f"{number}.{kind}" for kind in ("out", "err"))
        out.touch()
        os.chown(out, self.directory.stat().st_uid, -1)
        done = self.types("qsub", "-sync", "y", "-cwd", "-o", str(out), "-e", str(err), *words, env=env)
        assert "exited with exit code" in done.stdout + done.stderr, done
        return done.returncode, out.read_text(), err.read_text() if err.exists() else ""


@pytest.fixture
def alice(two: Node, grid: GridEngine) -> Iterator[Alice]:
    account = pwd.getpwnam("alice")
    directory = HOME / "jobs"
    directory.mkdir()
    os.chown(directory, account.pw_uid, account.pw_gid)
    yield Alice(two, grid, directory)
    subprocess.run(["rm", "-r", str(directory)], check=True)
    assert grid.ready(), "no job puts the queue into an error state"


def check(done: tuple[int, str, str], name: str, task: str = "undefined") -> None:
    status, out, err = done
    assert os_id(out) == f"ID={name}", done
    assert out.splitlines()[-2:] == [str(HOME / "jobs"), f"CHOS={name} task={task}"], done
    assert (status, err) == (7, "")


def test_where_the_name_may_be_said(alice: Alice) -> None:
    """-v, -V, a line of the script, the site's sge_request; working directory, output files, exit status."""
    script = alice.file("show", SHOW)
    check(alice.batch("-v", "CHOS=one", script), "one")
    check(alice.batch("-v", "CHOS", script, env={"CHOS": "two"}), "two")
    check(alice.batch("-V", script, env={"CHOS": "two"}), "two")
    check(alice.batch(alice.file("line", SHOW.replace("cat", "#$ -v CHOS=one\ncat", 1))), "one")
    request = gridengine.COMMON / "sge_request"
    request.write_text("-v CHOS\n")
    try:
        check(alice.batch(script, env={"CHOS": "two"}), "two")
    finally:
        request.unlink()
    status, out, _ = alice.batch(script)
    assert (status, os_id(out)) == (7, BASE_ID)
    status, out, _ = alice.batch(script, env={"CHOS": "two"})
    assert (status, os_id(out)) == (7, BASE_ID), "Grid Engine passes no variable on by itself"


def test_binary(alice: Alice) -> None:
    status, out, err = alice.batch("-b", "y", "-v", "CHOS=one", "cat", "/etc/os-release")
    assert (status, os_id(out), err) == (0, "ID=one", "")


def test_array(alice: Alice) -> None:
    """Tasks are moved each by itself."""
    script = alice.file("show", SHOW.replace("exit 7", "exit 0"))
    done = alice.types("qsub", "-sync", "y", "-t", "1-4", "-cwd", "-o", "$TASK_ID.task", "-v", "CHOS=two", script)
    assert done.returncode == 0, done
    for task in "1234":
        text = (alice.directory / f"{task}.task").read_text()
        assert os_id(text) == "ID=two"
        assert text.splitlines()[-1] == f"CHOS=two task={task}"


def test_parallel(alice: Alice) -> None:
    """Each task that a parallel job starts by qrsh -inherit goes through the starter, too; CHOS has to be given to it.

    qrsh itself runs inside, so it has to be visible there: the base's, at /local.
    """
    alice.node.tree("deb", like="trixie")
    alice.node.configure("one:/os/one\ndeb:/os/deb")
    alice.node.up()
    inherit = "/local/usr/bin/qrsh -inherit"
    if not (Path("/os/deb/usr/bin/qrsh")).exists():
        inherit = "env CHOS=root chos qrsh -inherit"
    script = alice.file(
        "parallel",
        f"#!/bin/sh\nread host slots rest <$PE_HOSTFILE\necho slots=$slots\ncat /etc/os-release\n"
        f"{inherit} -v CHOS=one $host cat /etc/os-release\n"
        f"{inherit} $host 'cat /etc/os-release; exit 5'\necho status=$?\n",
    )
    status, out, err = alice.batch("-pe", "par", "2", "-v", "CHOS=deb", script)
    ids = [line for line in out.splitlines() if re.match("ID=|slots=|status=", line)]
    assert ids == ["slots=2", "ID=debian", "ID=one", BASE_ID, "status=5"], (out, err)
    assert status == 0


def test_qrsh(alice: Alice) -> None:
    """A command, a command line in one word, standard input, exit status."""
    for words in (["cat", "/etc/os-release"], ["cat /etc/os-release; exit 0"]):
        done = alice.types("qrsh", "-v", "CHOS=one", *words)
        assert (done.returncode, os_id(done.stdout), done.stderr) == (0, "ID=one", "")
    done = alice.types("qrsh", "-v", "CHOS=one", "sh -c 'exit 9'")
    assert done.returncode == 9
    done = alice.node.run(
        ["qrsh", "-v", "CHOS=two", "cat; cat /etc/os-release"], env=alice.cell.environment, stdin="typed\n"
    )
    assert done.stdout.startswith("typed\n") and os_id(done.stdout) == "ID=two"


def test_unknown_environment(alice: Alice) -> None:
    """The job fails with the reason in its own errors, and no other job suffers."""
    script = alice.file("show", SHOW)
    status, out, err = alice.batch("-v", "CHOS=nowhere", script)
    assert (status, out) == (125, "")
    assert "nowhere: no such environment" in err and "known here: " in err
    done = alice.types("qrsh", "-v", "CHOS=nowhere", "cat", "/etc/os-release")
    assert (done.returncode, done.stdout) == (125, "")
    assert "nowhere: no such environment" in done.stderr
    assert alice.cell.ready()
    assert "Eqw" not in alice.cell.command("qstat", "-u", "*")
    check(alice.batch("-v", "CHOS=one", script), "one")


def test_signals(alice: Alice) -> None:
    """Suspended and resumed; warned by -notify, and ended with all its processes."""
    alice.cell.queue(notify="0:0:2")
    script = alice.file(
        "long",
        "#!/bin/sh\ntrap '' USR1\ntrap 'echo warned >warned' USR2\necho $$ >pid\nwhile :; do sleep 0.1; done\n",
    )
    submitted = alice.types("qsub", "-terse", "-notify", "-cwd", "-v", "CHOS=one", script)
    job, file = submitted.stdout.strip(), alice.directory / "pid"
    wait_for(lambda: file.exists() and file.read_text().strip(), "the job")
    pid = int(file.read_text())
    assert os.readlink(f"/proc/{pid}/exe").endswith("/busybox"), "inside"

    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    alice.types("qmod", "-sj", job)
    wait_for(lambda: state() == "T", "the job is suspended")
    alice.types("qmod", "-usj", job)
    wait_for(lambda: state() == "S", "the job is resumed")
    alice.types("qdel", job)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the job's processes are gone")
    assert (alice.directory / "warned").read_text() == "warned\n"


def test_users_file_and_records(alice: Alice, dotfile: object) -> None:
    """[jobs] user_file: who says nothing gets ~/.chos. Each job, and each task, has its record."""
    assert callable(dotfile)
    dotfile("alice", "two\n")
    entries = Path("/var/log/chos/entries")
    alice.node.configure(
        "one:/os/one\ntwo:/os/two\n",
        jobs=f'[jobs]\nuser_file = ".chos"\n[records]\nsyslog = false\nfile = "{entries}"\n',
    )
    alice.node.up()
    script = alice.file("show", "#!/bin/sh\ncat /etc/os-release; echo CHOS=$CHOS job=$JOB_ID\n")
    try:
        seen = []
        for words, name in (([], "two"), (["-v", "CHOS=one"], "one"), (["-t", "3"], "two")):
            _, out, _ = alice.batch(*words, script)
            assert os_id(out) == f"ID={name}"
            job = out.splitlines()[-1].partition("job=")[2] + (".3" if words == ["-t", "3"] else "")
            seen.append(f"environment={name} generation={name}.1 service=sge job={job}")
        lines = entries.read_text().splitlines()
        assert [line[line.index("environment") : line.index(" pid")] for line in lines] == seen
        assert all(" user=alice " in line for line in lines)
    finally:
        subprocess.run(["chattr", "-a", entries], check=False, capture_output=True)
        entries.unlink(missing_ok=True)


# --- the same as without a starter ----------------------------------------------------------------------------------

WHERE = 'echo 0=${0##*/} n=$# args="$*" flags=$- login=$LOGIN BASH=${BASH_VERSION:+yes} in=$(cat)\nexit 3\n'
BINARY = [
    ["-b", "y", "echo", "a  b", "$LOGNAME", "*"],
    ["-b", "y", "-shell", "n", "echo", "a  b", "$LOGNAME", "*"],
    ["-b", "y", "./plain", "a  b", "c"],
    ["-b", "y", "./missing"],
]
SCRIPTS = [
    ["plain", "a b", "$LOGNAME"],
    ["-S", "/bin/bash", "plain", "a b"],
    ["marked"],
    ["-S", "/bin/bash", "marked", "x y"],
]
LINES = [["echo", "a  b", "$LOGNAME", "*"], ["echo x; pwd"], ["sh", "-c", "echo $# $*", "x", "y"], ["./missing"]]


@pytest.mark.parametrize("mode", ["unix_behavior", "posix_compliant", "script_from_stdin"])
def test_as_without_a_starter(alice: Alice, mode: str) -> None:
    """Shells, login shells, expansion of arguments, exit status: what users see is what they see on the base."""
    alice.node.tree("deb", like="trixie")
    alice.node.configure("deb:/os/deb")
    alice.node.up()
    alice.cell.queue(shell_start_mode=mode)
    alice.cell.change("-sq all.q", "-Aq", {"qname": "plain.q", "starter_method": "NONE"})
    alice.file("plain", WHERE)
    alice.file("marked", f"#!/bin/bash\n{WHERE}")
    profile = HOME / ".profile"
    before = profile.read_bytes() if profile.exists() else None
    profile.write_text("LOGIN=yes; export LOGIN\n")

    def batch(number: int, queue: str, words: list[str]) -> tuple[int, str]:
        out = alice.directory / f"{number}.{queue}"
        chos = ["-v", "CHOS=deb"] if queue == "all.q" else []
        done = alice.types("qsub", "-sync", "y", "-cwd", "-j", "y", "-o", str(out), "-q", queue, *chos, *words)
        return done.returncode, out.read_text()

    def qrsh(queue: str, words: list[str]) -> tuple[int, str]:
        chos = ["-v", "CHOS=deb"] if queue == "all.q" else []
        done = alice.types("qrsh", "-cwd", "-q", queue, *chos, *words)
        return done.returncode, done.stdout

    # Grid Engine itself gives a binary to a shell as its input in this mode.
    cases = SCRIPTS + (BINARY if mode != "script_from_stdin" else [])
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [
                [pool.submit(batch, number, queue, words) for queue in ("all.q", "plain.q")]
                for number, words in enumerate(cases)
            ]
            commands = [[pool.submit(qrsh, queue, words) for queue in ("all.q", "plain.q")] for words in LINES]
            for words, (ours, theirs) in zip(cases + LINES, jobs + commands):
                mine, plain = (future.result(LIMIT) for future in (ours, theirs))
                assert mine[0] == plain[0], (words, mine, plain)
                assert normal(mine[1]) == normal(plain[1]), (words, mine, plain)
    finally:
        wait_for(lambda: gone(alice.cell, "plain.q"), "its last job")
        alice.cell.queue(shell_start_mode="unix_behavior")
        profile.unlink() if before is None else profile.write_bytes(before)


def gone(cell: GridEngine, queue: str) -> bool:
    cell.command("qconf", "-dq", queue, check=False)
    return queue not in cell.command("qconf", "-sql").split()


def normal(text: str) -> str:
    """Without what may differ: files that appear meanwhile, a job's number, a dash, who says that a file is missing."""
    text = re.sub(r" [0-9]+\.[a-z]+\.q", "", text)
    text = re.sub(r"^0=(-|[0-9]+)", "0=", text, flags=re.MULTILINE)
    return "missing" if "missing" in text and "a  b" not in text and "marked" not in text else text


def test_the_worked_example(node: Node, grid: GridEngine) -> None:
    """docs/integrations/sge.md."""
    node.tree("el9")
    node.configure("el9:/os/el9")
    node.up()
    grid.queue(starter_method="NONE")
    try:
        worked.run("sge")
    finally:
        (gridengine.COMMON / "sge_request").unlink(missing_ok=True)
        grid.queue(starter_method=STARTER)


# --- the starter is missing, or passed by -----------------------------------------------------------------------------

MISSED = "#!/bin/sh\ncat /etc/os-release; chosctl ps --missed --pid $$ >seen; echo missed=$?\n"
COPY = Path("/usr/local/lib/chos-starter-copy")


@pytest.fixture
def copied(grid: GridEngine) -> Iterator[Path]:
    """The queue has a copy of the starter, which a test may spoil."""
    shutil.copy(STARTER, COPY)
    grid.queue(starter_method=str(COPY))
    yield COPY
    COPY.unlink(missing_ok=True)
    grid.queue(starter_method=STARTER)


def waits_in_error(alice: Alice, script: str) -> None:
    """Grid Engine starts nothing, and keeps the job in its queue as Eqw."""
    number = alice.types("qsub", "-terse", "-cwd", "-j", "y", "-o", "out", "-v", "CHOS=one", script).stdout.strip()

    def state() -> str:
        lines = [line.split() for line in alice.cell.command("qstat", "-u", "*").splitlines()]
        return next((words[4] for words in lines if words and words[0] == number), "gone")

    assert number.isdigit()
    wait_for(lambda: state() in ("Eqw", "gone"), "the job's error")
    assert state() == "Eqw"
    alice.cell.command("qdel", number)
    wait_for(lambda: state() == "gone", "the job's end")
    assert not (alice.directory / "out").exists() or not (alice.directory / "out").read_text()


def test_a_starter_that_cannot_be_run(alice: Alice, copied: Path) -> None:
    """Nothing runs on the base."""
    script = alice.file("missed", MISSED)
    copied.chmod(0o644)
    waits_in_error(alice, script)
    copied.chmod(0o711)
    status, out, err = alice.batch("-v", "CHOS=one", script)
    assert (status, out) == (2, "") and "Permission denied" in err, "not readable: its shell cannot"
    copied.unlink()
    waits_in_error(alice, script)


def test_a_starter_that_is_replaced(alice: Alice, copied: Path) -> None:
    new = copied.with_suffix(".new")
    shutil.copy(copied, new)
    new.rename(copied)
    status, out, err = alice.batch("-v", "CHOS=one", alice.file("missed", MISSED))
    assert (status, os_id(out), err) == (0, "ID=one", "") and "missed=0" in out


@pytest.mark.parametrize(("mode", "status"), [(0o644, 126), (None, 127)])
def test_chos_job_starter_cannot_be_run(alice: Alice, mode: int | None, status: int) -> None:
    program, aside = Path("/usr/bin/chos-job-starter"), Path("/usr/bin/aside")
    kept = program.stat().st_mode
    program.chmod(mode) if mode else program.rename(aside)
    try:
        done = alice.batch("-v", "CHOS=one", alice.file("missed", MISSED))
        assert done[:2] == (status, "") and "chos-job-starter" in done[2], done
    finally:
        program.chmod(kept) if mode else aside.rename(program)


def test_a_queue_without_a_starter(alice: Alice) -> None:
    """The job runs on the base, and does well: only chosctl sees it, for the user in the job, and for root."""
    script = alice.file("missed", MISSED)
    alice.cell.queue(starter_method="NONE")
    try:
        for words in ((script,), ("-b", "y", "/bin/sh", script), ("-b", "y", "-shell", "n", "/bin/sh", script)):
            status, out, err = alice.batch("-v", "CHOS=one", *words)
            assert (status, os_id(out), err) == (0, BASE_ID, "") and "missed=3" in out, (words, out)
            assert re.search(r"alice +sge [0-9]+ +one ", (alice.directory / "seen").read_text())
        status, out, _ = alice.batch(script)
        assert "missed=0" in out, "it asked for nothing"
    finally:
        alice.cell.queue(starter_method=STARTER)
    for words in (("-b", "y", "/bin/sh", script), ("-b", "y", "-shell", "n", "/bin/sh", script)):
        status, out, err = alice.batch("-v", "CHOS=one", *words)
        assert (status, os_id(out), err) == (0, "ID=one", "") and "missed=0" in out, words
