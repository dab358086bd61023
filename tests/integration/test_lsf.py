"""LSF's JOB_STARTER, as openlava's daemons put it into a job file (lsf_harness). The queue's line is the one that
`chosctl install lsf --print` prints.

What a job asks the tests by is /etc/os-release: which system has read the command line, and which has executed it.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import worked
from conftest import BASE_ID, Node, Stacks, os_id
from lsf_harness import KEYWORD, Lsf, has_starter, queue_value, script

STARTER = Path("/usr/lib/chos/starters/lsf/job_starter")
SHOW = "cat /etc/os-release; pwd; exit 7"
ASK = "$(grep ^ID= /etc/os-release)"
FIRST_RELEASE = f'{STARTER} "{KEYWORD}"'


@pytest.fixture
def line() -> str:
    printed = subprocess.run(
        ["chosctl", "install", "lsf", "--print"], capture_output=True, text=True, check=True
    ).stdout
    return queue_value(printed.splitlines()[1])


@pytest.fixture
def lsf(two: Node, line: str) -> Iterator[Lsf]:
    queue = Lsf(two, line)
    yield queue
    subprocess.run(["rm", "-rf", "--one-file-system", str(queue.directory)], check=True)


def refused(done: subprocess.CompletedProcess[str], status: int = 125) -> None:
    assert (done.returncode, done.stdout) == (status, ""), done


def test_the_line(line: str) -> None:
    """What mbatchd reads of it is all of it; LSF knows no line longer than 512 characters; the page has the same."""
    assert line.endswith(";") and KEYWORD not in line and "#" not in line and len(line) < 512
    assert str(STARTER) in line and (worked.DOCS / "integrations/lsf.md").read_text().count(line) == 2


def test_first_release_let_the_base_read(two: Node) -> None:
    """Why the line is another one. What is still configured so goes on, and says in each job what is wrong."""
    queue = Lsf(two, FIRST_RELEASE)
    done = queue.run(f'echo "{ASK}"', CHOS="one")
    assert done.stdout == f"{BASE_ID}\n" and "chosctl install lsf" in done.stderr
    subprocess.run(["rm", "-rf", "--one-file-system", str(queue.directory)], check=True)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (f"echo {ASK}", "ID=one\n"),
        (f'echo "{ASK}"', "ID=one\n"),
        ("echo `grep ^ID= /etc/os-release`", "ID=one\n"),
        ("echo '$(x) \"' \"it's\" \\$HOME", "$(x) \" it's $HOME\n"),
        ('echo "x;grep ^ID= /etc/os-release;y"', "x;grep ^ID= /etc/os-release;y\n"),
        ('echo x";grep ^ID= /etc/os-release;"y', "x;grep ^ID= /etc/os-release;y\n"),
        ("true; grep ^ID= /etc/os-release", "ID=one\n"),
        ("true && grep ^ID= /etc/os-release || grep ^ID= /etc/os-release", "ID=one\n"),
        ("false || grep ^ID= /etc/os-release", "ID=one\n"),
        ("grep ^ID= /etc/os-release & wait", "ID=one\n"),
        ("true\ngrep ^ID= /etc/os-release\n", "ID=one\n"),
        ("grep ^ID= /etc/os-release | cat", "ID=one\n"),
        ("(cd /; grep ^ID= /etc/os-release)", "ID=one\n"),
        ("{ grep ^ID= /etc/os-release; }", "ID=one\n"),
        ("cat <<E\n" + ASK + "\nE\n", "ID=one\n"),
        ("cat <<'E'\n$(x)\nE\n", "$(x)\n"),
        ("for i in 1 2; do echo $i; done", "1\n2\n"),
        ("f() { grep ^ID= /etc/os-release; }; f", "ID=one\n"),
        ("if grep -q one /etc/os-release; then echo yes; fi", "yes\n"),
        ("case $(grep ^ID= /etc/os-release) in *one) echo yes;; esac", "yes\n"),
        ("# a comment only\ngrep ^ID= /etc/os-release", "ID=one\n"),
        ("\n\ngrep ^ID= /etc/os-release", "ID=one\n"),
        ("echo /etc/os-rel*", "/etc/os-release\n"),
        ("X=1 sh -c 'echo $X $# $0'", "1 0 sh\n"),
        ('echo $#; echo "$@" "$1"', "0\n\n"),
        ("grep ^ID= </etc/os-release", "ID=one\n"),
        ("exec grep ^ID= /etc/os-release", "ID=one\n"),
        ("printf '%s|' a\\ b \"c  d\"; echo", "a b|c  d|\n"),
        ("echo %USRCMD 100%", "%USRCMD 100%\n"),
        ("echo chos-inside", "chos-inside\n"),
        ("echo ünï ☃", "ünï ☃\n"),
        ("echo " + "x" * 100000, "x" * 100000 + "\n"),
    ],
    ids=lambda text: text[:40],
)
@pytest.mark.parametrize("base", ["sh", "bash"])
def test_all_of_the_command_line_is_inside(lsf: Lsf, command: str, answer: str, base: str) -> None:
    """Whatever the base's /bin/sh is: dash here, bash where LSF usually runs."""
    words, env = lsf.dispatch(lsf.bsub(command, env={"CHOS": "one"}))
    before = ["/bin/bash", "--posix"] if base == "bash" else []
    done = lsf.node.run([*before, *words], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, answer, "")


@pytest.mark.parametrize(
    ("command", "status"), [("sh -c 'exit 3'", 3), ("exit 7", 7), ("false", 1), ("kill -9 $$", -9), ("true", 0)]
)
def test_exit_status(lsf: Lsf, command: str, status: int) -> None:
    assert [lsf.run(command, CHOS=name).returncode for name in ("one", "")] == [status, status]


@pytest.mark.parametrize("interpreter", ["#!/bin/sh\n", "#! /bin/sh -e\n", ""])
def test_scripts(lsf: Lsf, interpreter: str) -> None:
    """bsub < FILE, with and without a first line; more than one argument of the kernel's could hold."""
    text = f"{interpreter}#BSUB -J name\n{'# padding' * 16000}\necho $# {ASK}\nif true; then\n  {SHOW}\nfi\n"
    done = lsf.run(script(text), CHOS="two")
    assert (done.returncode, os_id(done.stdout), done.stderr) == (7, "ID=two", "")
    assert done.stdout.startswith("0 ID=two\n")


def test_without_chos_as_without_us(lsf: Lsf, dotfile: object) -> None:
    """The same output, status, arguments and variables as in a queue without a starter."""
    plain = Lsf(lsf.node, "", last=lsf.last)
    for command in (SHOW, "env | grep -v ^_= | sort; echo $0 $#", "trap; ls /proc/self/fd | wc -l", "cat"):
        ours = lsf.execute(lsf.bsub(command), "given\n")
        theirs = plain.execute(plain.bsub(command), "given\n")
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert os_id(lsf.run(SHOW).stdout) == BASE_ID


def test_unknown_environment(lsf: Lsf) -> None:
    """Nothing of the job is executed: not its first command, not its next lines, not a script's."""
    for command in ("echo ran", "echo ran\necho ran\n", script("#!/bin/sh\necho ran\n"), "echo `echo ran >&2`"):
        done = lsf.run(command, CHOS="nowhere")
        refused(done)
        assert "nowhere: no such environment" in done.stderr and "ran\n" not in done.stderr


def test_standard_input(lsf: Lsf) -> None:
    done = lsf.run(f"cat; echo {ASK}", stdin="one\ntwo\n", CHOS="one")
    assert done.stdout == "one\ntwo\nID=one\n"
    assert lsf.run("read x; cat", stdin="one\ntwo\n", CHOS="one").stdout == "two\n"


def test_arrays(lsf: Lsf) -> None:
    """Each element has its index, and is begun again by itself."""
    for index in (1, 2):
        done = lsf.run(f"echo $LSB_JOBID $LSB_JOBINDEX {ASK}", index=index, CHOS="one")
        assert done.stdout == f"{lsf.last} {index} ID=one\n"


def test_on_a_terminal(lsf: Lsf) -> None:
    """bsub -Ip: the job's process is the session's leader, and stays it."""
    words, env = lsf.dispatch(
        lsf.bsub(f"test -t 0 && tty >/dev/null && echo {ASK} && read x && echo got $x", env={"CHOS": "one"})
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "-c", "setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", *words],
        env={**os.environ, **env, "HOME": "/home/alice"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    os.write(master, b"word\n")
    said = b""
    while b"got word" not in said and select.select([master], [], [], 20)[0]:
        try:
            said += os.read(master, 4096)
        except OSError:
            break
    assert process.wait(20) == 0 and b"ID=one" in said and b"got word" in said, said
    os.close(master)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL])
def test_signals(lsf: Lsf, number: signal.Signals) -> None:
    """bkill's reach the process that sbatchd has started: that is the job file's shell, inside. It waits, as LSF's."""
    words, env = lsf.dispatch(
        lsf.bsub("trap 'echo caught' TERM INT USR1; echo $$; read x; exit 9", env={"CHOS": "one"})
    )
    process = lsf.node.start(words, env=env)
    assert process.stdout and process.stdout.readline() == f"{process.pid}\n"
    process.send_signal(number)
    if number == signal.SIGKILL:
        assert process.wait(20) == -9
        return
    assert process.communicate("\n", timeout=20)[0] == "caught\n" and process.returncode == 9


def test_a_job_in_a_job(lsf: Lsf) -> None:
    """bsub sends what it finds: the inner job begins on the base's side, and goes where it asks to."""
    outer = lsf.run("env", CHOS="one")
    inherited = dict(entry.split("=", 1) for entry in outer.stdout.splitlines() if "=" in entry)
    for name, answer in (("two", "ID=two"), ("", BASE_ID), ("one", "ID=one")):
        sent = {**inherited, "CHOS": name, "SAVED": outer.stdout}
        sent = {key: value for key, value in sent.items() if key not in ("_", "PATH")}
        assert os_id(lsf.execute(lsf.bsub(SHOW, env=sent)).stdout) == answer
    refused(lsf.execute(lsf.bsub(SHOW, env={**inherited, "CHOS": "nowhere"})))


def test_markers_by_hand(lsf: Lsf) -> None:
    """No variable says that a job is inside already."""
    markers = ("CHOS_IN_JOB", "CHOS_INSIDE", "CHOS_LSF", "CHOS_JOB", "CHOS_ENVIRONMENT")
    done = lsf.run(SHOW, CHOS="one", **{name: value for name in markers for value in ("1", "12", "chos-inside")})
    assert os_id(done.stdout) == "ID=one"


def test_requeued_and_rerun(lsf: Lsf) -> None:
    """The same id and the same stored text a second time: the job file is written anew."""
    job = lsf.bsub(f"echo {ASK}; exit 55", env={"CHOS": "one"})
    for _ in range(2):
        done = lsf.execute(job)
        assert (done.returncode, done.stdout) == (55, "ID=one\n")
    assert lsf.execute(lsf.bsub(f"echo {ASK}", env={"CHOS": "two"})).stdout == "ID=two\n"


def test_a_file_that_is_begun_again_already_has_the_starter_once(lsf: Lsf) -> None:
    """A text that has the starter, such as a checkpointed job's, gets no second one and works as it is."""
    job = lsf.bsub(f"{lsf.starter} echo {ASK}", env={"CHOS": "one"})
    assert has_starter(job.stored, lsf.starter)
    assert lsf.execute(job).stdout == "ID=one\n"


def test_bmod(lsf: Lsf) -> None:
    """bmod -Z writes the queue's text as it is: there must be no %USRCMD in it."""
    job = lsf.bsub("echo old", env={"CHOS": "one"})
    job.modify(f"echo new {ASK}; exit 3", lsf.starter)
    done = lsf.execute(job)
    assert (done.returncode, done.stdout) == (3, "new ID=one\n")


def test_text_of_the_starter_elsewhere(lsf: Lsf) -> None:
    """The path alone, in the command or in a variable, does not make LSF leave out the starter."""
    for command, env in (
        (f"echo {STARTER} {ASK}", {}),
        (f"echo {ASK}", {"NOTE": f'{STARTER} "'}),
        (f"echo {ASK}", {"NOTE": f"exec {STARTER} --job-file"}),
    ):
        assert lsf.run(command, CHOS="one", **env).stdout.endswith("ID=one\n")


def test_all_of_the_starter_elsewhere(lsf: Lsf) -> None:
    """Who has the whole text in a variable gets no starter from LSF, which cannot be helped: the job is on the base.
    It can be seen: LSF has told the job that its queue has one, which jobs that were started by it are not told."""
    done = lsf.run(f"echo {ASK} $LSB_JOB_STARTER", CHOS="one", NOTE=lsf.starter)
    assert done.stdout == f"{BASE_ID} {lsf.starter}\n"
    assert lsf.run("echo $LSB_JOB_STARTER", CHOS="one").stdout == "\n"


def test_a_job_on_the_base_is_seen(lsf: Lsf) -> None:
    """While it runs, by `chosctl ps --missed`: one whose starter LSF has left out, and one in a queue without it."""
    plain = Lsf(lsf.node, "", last=lsf.last)
    jobs = [lsf.bsub("echo $$; read x", env={"CHOS": name, "NOTE": lsf.starter}) for name in ("one", "")]
    found = [(lsf, job) for job in jobs] + [(plain, plain.bsub("echo $$; read x", index=3, env={"CHOS": "two"}))]
    found.append((lsf, lsf.bsub("echo $$; read x", env={"CHOS": "two"})))
    for queue, job in found:
        words, env = queue.dispatch(job)
        process = lsf.node.start(words, env=env)
        assert process.stdout and process.stdout.readline() == f"{process.pid}\n"
    seen = json.loads(lsf.node.chosctl("ps", "--missed", "--json", check=False).stdout)
    wanted = [(str(jobs[0].id), "one"), (f"{found[2][1].id}.3", "two")]
    assert sorted((one["job"], one["environment"]) for one in seen) == sorted(wanted)
    assert {one["product"] for one in seen} == {"lsf"}


def test_login_shell(lsf: Lsf, dotfile: object) -> None:
    """-L drops the submitter's variables, CHOS too. What the login shell reads sets it again; so does ~/.chos."""
    job = lsf.bsub(f"echo {ASK}", env={"CHOS": "one"})
    assert lsf.login_shell(job).stdout == f"{BASE_ID}\n"
    profile = Path("/home/alice/.bash_profile")
    profile.write_text("export CHOS=two\n")
    try:
        assert lsf.login_shell(job).stdout == "ID=two\n"
    finally:
        profile.unlink()


def test_login_shell_with_a_dotfile(lsf: Lsf, dotfile: object) -> None:
    lsf.node.configure("one:/os/one\ntwo:/os/two", jobs='[jobs]\nuser_file = ".chos"\n')
    lsf.node.up()
    assert callable(dotfile)
    dotfile("alice", "two\n")
    assert lsf.login_shell(lsf.bsub(f"echo {ASK}", env={"CHOS": "one"})).stdout == "ID=two\n"


def test_pre_exec(lsf: Lsf) -> None:
    """-E is executed on the base, before any starter; `chos` in it goes where the job goes."""
    job = lsf.bsub("true", env={"CHOS": "one"})
    assert lsf.pre_exec(job, f"echo {ASK}").stdout == f"{BASE_ID}\n"
    assert lsf.pre_exec(job, "chos grep ^ID= /etc/os-release").stdout == "ID=one\n"


def test_file_transfer_is_done_once(lsf: Lsf) -> None:
    """The commands before the user's input are the base's, and have been executed when the file begins again."""
    job = lsf.bsub(f"echo {ASK}", env={"CHOS": "one"})
    words, env = lsf.dispatch(job, {"LSB_RCP1": "echo copied"})
    assert lsf.node.run(words, env=env).stdout == "copied\nID=one\n"


def test_habits_of_others(lsf: Lsf) -> None:
    """As other programs call bsub: Snakemake's quoting, Nextflow's trap and heredoc, dask's and batchtools' scripts on
    standard input, `./program` in the directory of submission, a hand-written job in a job."""
    here = Path("/home/alice/work dir")
    here.mkdir(exist_ok=True)
    program = here / "program"
    program.write_text(f'#!/usr/bin/env sh\necho {ASK} "$1"\n')
    program.chmod(0o755)
    commands = {
        "cd '/home/alice/work dir' && ./program 'a  b'": "ID=one a  b\n",
        'cd /home/alice/work\\ dir; ./program "{rule: [1, 2]}"': "ID=one {rule: [1, 2]}\n",
        'sh -c "cd \'/home/alice/work dir\'; ./program \\"x\\""': "ID=one x\n",
        f"set -e\ntrap 'echo end' EXIT\ncat >h <<-'E'\n\t{ASK}\n\tE\ncat h; rm h\n": f"{ASK}\nend\n",
        script(f"#!/usr/bin/env sh\n#BSUB -J dask\n#BSUB -n 1\nexport X='a b'\necho {ASK} $X\n"): "ID=one a b\n",
        f"\n#BSUB -q hpc\n#BSUB -W 1440\ncd /\necho {ASK}\n": "ID=one\n",
        f"(trap '' HUP; echo {ASK}) 2>&1 | tee /dev/null": "ID=one\n",
        f"X={ASK}; export X; env sh -c 'echo $X'": "ID=one\n",
        f'eval "echo {ASK}"': "ID=one\n",
    }
    try:
        for command, answer in commands.items():
            done = lsf.run(command, CHOS="one")
            assert (done.stdout, done.stderr) == (answer, ""), command
    finally:
        subprocess.run(["rm", "-r", str(here)], check=True)


@pytest.mark.parametrize(
    "command", ['echo ran; echo "x', "echo ran; echo 'x\necho ran", "echo ran; echo `x", "echo ran; fi"]
)
def test_a_command_line_without_an_end(lsf: Lsf, command: str) -> None:
    """A quotation mark too few, as in many a wrapper: nothing is executed anywhere, as far as the first line goes."""
    done = lsf.run(command, CHOS="one")
    refused(done, 2)


def test_syntax_that_the_base_does_not_know(lsf: Lsf) -> None:
    """The base's shell reads the first line to its end, and executes nothing of it: an error is an error there too."""
    done = lsf.run("echo ran |& cat; echo ran", CHOS="one")
    refused(done, 2)
    assert "yntax error" in done.stderr


@pytest.mark.parametrize("how", ["missing", "not executable", "not readable", "a directory"])
@pytest.mark.parametrize("name", ["one", ""])
def test_a_starter_that_cannot_be_run(lsf: Lsf, how: str, name: str) -> None:
    """No job runs: without the starter nobody knows which of them were to be on the base. A shell says why.
    Not even where the shell was told to go on after a failed exec."""
    kept = STARTER.with_name("kept")
    STARTER.rename(kept)
    try:
        if how == "a directory":
            STARTER.mkdir()
        elif how != "missing":
            STARTER.write_text(kept.read_text())
            STARTER.chmod(0o644 if how == "not executable" else 0o700)
        for before, more in (([], {}), (["/bin/bash", "--posix"], {"BASHOPTS": "execfail"})):
            words, env = lsf.dispatch(lsf.bsub("echo ran\necho ran\n", env={"CHOS": name}), more)
            done = lsf.node.run([*before, *words], env=env)
            assert done.returncode in (125, 126, 127) and done.stdout == "" and str(STARTER) in done.stderr, done
    finally:
        if STARTER.is_dir():
            STARTER.rmdir()
        kept.rename(STARTER)


def test_a_starter_that_is_replaced_while_jobs_run(lsf: Lsf) -> None:
    """By rename, as packages do: a job that has begun stays where it is, the next one has the new starter."""
    words, env = lsf.dispatch(lsf.bsub(f"echo begun; read x; echo {ASK}", env={"CHOS": "one"}))
    process = lsf.node.start(words, env=env)
    assert process.stdout and process.stdout.readline() == "begun\n"
    new = STARTER.with_name("new")
    new.write_text(STARTER.read_text())
    new.chmod(0o755)
    new.rename(STARTER)
    assert process.communicate("\n", timeout=20)[0] == "ID=one\n"
    assert lsf.run(f"echo {ASK}", CHOS="one").stdout == "ID=one\n"


def test_what_is_no_job_file(lsf: Lsf) -> None:
    """Where a daemon gives the text to /bin/sh -c, there is nothing to begin again: refused, nothing executed."""
    done = lsf.node.run(["/bin/sh", "-c", f"{lsf.starter} echo ran"], env={"CHOS": "one", "LSB_JOBID": "12"})
    refused(done)
    assert "is not LSF's job file" in done.stderr
    refused(lsf.node.run([str(STARTER), "--job-file"], env={"CHOS": "one"}))


def test_a_job_file_that_the_environment_lacks(lsf: Lsf) -> None:
    """Not visible inside (JOB_SPOOL_DIR in a place of the base only): it fails there, and nothing is on the base."""
    words, env = lsf.dispatch(lsf.bsub("echo ran", env={"CHOS": "one"}))
    hidden = Path("/usr/share/lsf-spool")
    hidden.mkdir()
    try:
        job = hidden / "job"
        job.write_bytes(Path(words[0]).read_bytes())
        job.chmod(0o755)
        done = lsf.node.run([str(job)], env=env)
        assert done.returncode in (2, 127) and done.stdout == "" and str(job) in done.stderr
    finally:
        subprocess.run(["rm", "-r", str(hidden)], check=True)


def test_lsrun(lsf: Lsf) -> None:
    """res executes the words of a task as they are. With LSF_JOB_STARTER it joins them for a shell of the base."""
    words = ["sh", "-c", f"true; echo {ASK}"]
    env = {"CHOS": "one"}
    assert lsf.node.run(["/usr/bin/chos", *words], env=env).stdout == "ID=one\n"
    joined = " ".join(["/usr/bin/chos-job-starter", *words])
    assert lsf.node.run(["sh", "-c", joined], env=env).stdout == f"{BASE_ID}\n", "why the page says: do not set it"


def test_a_queue_without_the_line(lsf: Lsf) -> None:
    assert Lsf(lsf.node, "").run(f"echo {ASK}", CHOS="one").stdout == f"{BASE_ID}\n"


def test_page(node: Node, stacks: Stacks) -> None:
    stacks.write("jobstarter", "")
    node.tree("el9")
    node.configure("el9:/os/el9")
    node.up()
    worked.run("lsf")
