"""Jobs of a real A-REX (batch system: fork) through the runtime environment ENV/CHOS; and the shapes of other ones."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import arex
import pytest
import worked
from arex import STARTERS, Arex
from daemons import BASE_ID, Node, os_id

RTE = STARTERS / "ENV" / "CHOS"
PROGRAM = "/opt/there/show"
SHOW = "cat /etc/os-release; id -un; echo CHOS=$CHOS; exit 3"


@pytest.fixture(scope="module")
def arc(users: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arex]:
    """A-REX for the whole module: it takes long to start."""
    with arex.running(tmp_path_factory.mktemp("authority"), "alice", "bob") as running:
        yield running


def job(line: str, chos: str = "", rte: str = '(runtimeenvironment="ENV/CHOS")') -> str:
    """The description of a job that runs a line of shell, with CHOS among its variables."""
    variable = f'(environment=("CHOS" "{chos}"))' if chos else ""
    return f'&(executable="/bin/sh")(arguments="-c" "{line}")(stdout="out")(stderr="err"){rte}{variable}'


# In the other language, a runtime environment may have arguments.
ARGUMENT = f"""<?xml version="1.0"?>
<ActivityDescription xmlns="http://www.eu-emi.eu/es/2010/12/adl">
<Application>
<Executable><Path>/bin/sh</Path><Argument>-c</Argument><Argument>{SHOW}</Argument></Executable>
<Output>out</Output><Error>err</Error>
</Application>
<Resources><RuntimeEnvironment><Name>ENV/CHOS</Name><Option>two</Option></RuntimeEnvironment></Resources>
</ActivityDescription>
"""


def check(said: str, name: str, user: str = "alice") -> None:
    """What SHOW said in a job's environment; `base` is none."""
    assert os_id(said) == (BASE_ID if name == "base" else f"ID={name}"), said
    assert said.splitlines()[-2:] == [user, f"CHOS={'' if name == 'base' else name}"], said


def test_jobs(arc: Arex, two: Node, dotfile: Callable[..., Path]) -> None:
    """All of A-REX's way: submitted over HTTPS, started by its submit-fork-job. ~/.chos is read when the job starts."""
    only = Path(f"/os/two{PROGRAM}")
    only.parent.mkdir(parents=True)
    only.write_text("#!/opt/there/cat\n")
    only.chmod(0o755)
    only.with_name("cat").symlink_to("/bin/cat")
    dotfile("alice", "\n one\n")
    jobs = {
        "file": arc.submit("alice", job(SHOW)),
        "argument": arc.submit("alice", ARGUMENT),
        "variable": arc.submit("alice", job(SHOW, "two")),
        "not asked for": arc.submit("alice", job(SHOW, rte="")),
        "nobody": arc.submit("bob", job(SHOW)),
        "unknown": arc.submit("alice", job(SHOW, "nothing")),
        "program": arc.submit("alice", job("", "two").replace('"/bin/sh")(arguments="-c" "")', f'"{PROGRAM}")')),
        "directory": arc.submit("alice", job("pwd; echo $HOME")),
    }
    said = {label: arc.said(number) for label, number in jobs.items()}
    check(said["file"], "one")
    check(said["argument"], "two")
    check(said["variable"], "two")
    check(said["not asked for"], "base")
    check(said["nobody"], "base", "bob")
    assert said["unknown"].startswith("chos: nothing: no such environment on this node"), said["unknown"]
    assert said["program"] == only.read_text(), "neither it nor its interpreter is on the base"
    assert said["directory"].splitlines()[:2] == [str(arex.SESSIONS / jobs["directory"])] * 2


def in_shape(
    user: str, *words: str, parameters: str = "", shell: str = "/bin/sh", variables: str = ""
) -> subprocess.CompletedProcess[str]:
    """What A-REX's submit scripts make of it: stage 0 where they run, stages 1 and 2 in the job's script."""
    given = " ".join(words)
    text = f"""{parameters}
sourcewithargs() {{ script=$1; shift; . "$script"; }}
joboption_arg_0=/bin/sh
joboption_args=' "/bin/sh" "-c" "cat /etc/os-release; echo CHOS=$CHOS HOME=$HOME"'
sourcewithargs {RTE} 0 {given} || exit 50
RTE_function_0 () {{
{parameters}
{RTE.read_text()}
}}
{variables}
RUNTIME_JOB_STDERR=$(mktemp)
trap 'cat "$RUNTIME_JOB_STDERR" >&2; rm "$RUNTIME_JOB_STDERR"' EXIT
HOME=/tmp; export HOME
RTE_function_0 1 {given} || exit 51
[ -f "$joboption_arg_0" ] || exit 52
eval "$joboption_args"
status=$?
RTE_function_0 2 {given} || exit 53
exit $status
"""
    account = pwd.getpwnam(user)
    # Without the shell's own start-up files, as a batch system's script.
    return subprocess.run(
        [shell, "-c", text],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        timeout=60,
        cwd="/tmp",
        check=False,
    )


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_order_in_the_shape_of_a_job_script_without_arex(two: Node, dotfile: Callable[..., Path], shell: str) -> None:
    """Its argument, the job's $CHOS, the file, the site's parameter, nothing; HOME is not the home directory."""
    default = "CHOS_DEFAULT=two"

    def name(*words: str, parameters: str = "", variables: str = "") -> str:
        done = in_shape("alice", *words, parameters=parameters, variables=variables, shell=shell)
        assert done.returncode == 0 and "HOME=/tmp" in done.stdout, done
        return os_id(done.stdout)

    assert name() == BASE_ID
    assert name(parameters=default) == "ID=two"
    dotfile("alice", "one")
    assert name(parameters=default) == "ID=one"
    assert name(parameters=default, variables="export CHOS=root") == BASE_ID
    assert name('"two"', variables="export CHOS=one") == "ID=two"


def test_bad_files_in_the_shape_of_a_job_script_without_arex(two: Node, dotfile: Callable[..., Path]) -> None:
    """The job does not run, and its own errors say why."""
    path = dotfile("alice", None)
    os.mkfifo(path, 0o644)
    fifo = in_shape("alice")
    path.unlink()
    path.symlink_to("/etc/shadow")
    secret = in_shape("alice")
    for done in (fifo, secret):
        assert (done.returncode, done.stdout) == (51, "")
        assert done.stderr == "chos: /home/alice/.chos is no regular file, or cannot be read\n"
    dotfile("alice", "$(id) `id`\n")
    done = in_shape("alice")
    assert (done.returncode, done.stdout) == (125, "") and "chos: $(id): " in done.stderr
    dotfile("alice", "x" * 100_000)
    assert in_shape("alice").returncode == 125


def test_the_page(arc: Arex, node: Node) -> None:
    """Last: it makes ENV/CHOS the default."""
    node.tree("el9")
    node.configure("el9:/os/el9")
    node.up()
    os.environ["AREX"] = arc.endpoint
    worked.run("arc")


MISSED = "cat /etc/os-release; chosctl ps --missed; true"


def test_chos_job_starter_cannot_be_run(arc: Arex, two: Node) -> None:
    program = Path("/usr/bin/chos-job-starter").resolve()
    kept = program.stat().st_mode
    program.chmod(0o644)
    try:
        said = arc.said(arc.submit("alice", job(SHOW, "one")))
        assert "/usr/bin/chos-job-starter" in said and "Permission denied" in said and "ID=" not in said, said
    finally:
        program.chmod(kept)


def test_a_job_without_the_runtime_environment(arc: Arex, two: Node) -> None:
    """CHOS is a variable like others then, and the job on the base. With it, what A-REX puts around it is none."""
    said = arc.said(arc.submit("alice", job(MISSED, "one", rte="")))
    assert os_id(said) == BASE_ID and " one " in said.partition("ASKED FOR")[2], said
    said = arc.said(arc.submit("alice", job(MISSED, "two")))
    assert os_id(said) == "ID=two" and "ASKED FOR" not in said, said
