"""OpenPBS and PBS Professional: what pbs_mom, the server and qmgr do, imitated; see pbs_mom.py.

The same was tried once with OpenPBS 23.06 itself. That cannot be had here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BASE_ID, Node, os_id
from pbs_mom import QMGR, STARTER, Event, Job, hook

SHOW = "cat /etc/os-release; pwd; exit 7"
STATE = Path("/tmp/qmgr.json")


@pytest.fixture
def profile() -> Iterator[None]:
    """A ~/.profile that says so when it is read."""
    path = Path("/home/alice/.profile")
    kept = path.read_bytes() if path.exists() else None
    path.write_text("export LOGIN=yes\n")
    yield
    path.unlink() if kept is None else path.write_bytes(kept)


# --- jobs ---------------------------------------------------------------------------------------------------------


def check(done: subprocess.CompletedProcess[str], name: str) -> None:
    assert (done.returncode, os_id(done.stdout), done.stderr) == (7, name, ""), done
    assert "/home/alice" in done.stdout.splitlines()


def refused(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "nowhere: no such environment" in done.stderr


def test_a_job(two: Node) -> None:
    check(Job(two, SHOW, env={"CHOS": "one"}).run(), "ID=one")
    check(Job(two, SHOW).run(), BASE_ID)
    refused(Job(two, SHOW, env={"CHOS": "nowhere"}).run())


def test_a_job_that_is_a_program(two: Node) -> None:
    """qsub -- PROGRAM: its arguments arrive, and no shell reads anything before."""
    words = ("/bin/sh", "-c", f'echo "$0 $1"; {SHOW}', "-l", "a  b")
    done = Job(two, executable=words, env={"CHOS": "two"}).run()
    check(done, "ID=two")
    assert done.stdout.startswith("-l a  b\n")


def test_a_task(two: Node) -> None:
    """start_process: of the TM interface, and pbsdsh."""
    event = hook(Event("/bin/sh", ["sh", "-c", SHOW], {"CHOS": "one"}))
    check(two.run(event.argv, env=event.env), "ID=one")


@pytest.mark.usefixtures("profile")
def test_a_jobs_shell_is_a_login_shell(two: Node) -> None:
    """With and without an environment, as without CHOS: pbs_mom passes the hook no arguments at all."""
    script = "echo ${LOGIN:-no}\n"
    for job in (Job(two, script, hooked=False), Job(two, script), Job(two, script, env={"CHOS": "one"})):
        assert job.run().stdout == "yes\n", job
    assert Job(two, executable=("/bin/sh", "-c", script), env={"CHOS": "one"}).run().stdout == "no\n"
    assert hook(Event("/bin/sh", ["-sh"], {})).argv[1:] == ["/bin/sh", "-l"], "what other releases pass"


@pytest.mark.parametrize(
    ("program", "dashed"),
    [
        *((shell, True) for shell in ("/bin/sh", "/bin/bash", "/usr/bin/ksh93", "/opt/bin/bash-5.2", "/bin/zsh")),
        *((shell, False) for shell in ("/bin/csh", "/bin/tcsh", "/usr/bin/python3", "/usr/bin/perl", "/opt/a/wash")),
    ],
)
def test_what_knows_that_it_is_a_login_shell(program: str, dashed: bool) -> None:
    """csh takes no -l beside other words; to perl -l is something else, and to python (qsub -S) nothing at all."""
    assert hook(Event(program, [], {})).argv[2:] == (["-l"] if dashed else [])


def test_a_node_without_chos(two: Node) -> None:
    """A job that asked for an environment does not run without one; the others do, as login shells."""
    text = STARTER.read_text().replace("/usr/bin/chos-job-starter", "/usr/bin/missing")
    done = Job(two, "echo ran\n", env={"CHOS": "one"}, text=text).run()
    assert (done.returncode, done.stdout) == (-1, "") and "has no /usr/bin/missing" in done.stderr
    check(Job(two, SHOW, text=text).run(), BASE_ID)
    event = hook(Event("/bin/sh", [], {}), text)
    assert (event.progname, event.argv) == ("/bin/sh", [])


def test_the_starter_is_not_executable(two: Node) -> None:
    starter = Path("/usr/bin/chos-job-starter")
    mode = starter.stat().st_mode
    starter.chmod(0o644)
    try:
        done = Job(two, "echo ran\n", env={"CHOS": "one"}).run()
        assert (done.returncode, done.stdout) == (-1, ""), done
    finally:
        starter.chmod(mode)


CLIENT = """int of_the_base(void); int puts(const char *);
int main(void) { return puts("3.server") < 0 || of_the_base(); }"""


def test_a_stand_in_for_a_client_that_the_tree_has_no_libraries_for(two: Node) -> None:
    """Not PBS's own qstat: a program below /opt/pbs that needs a library of the base's.

    Inside it cannot be loaded where it is shown; by way of the base it runs, from a job as well.
    """
    place = Path("/opt/pbs/bin")
    place.mkdir(parents=True)
    library = Path("/usr/lib/libof_the_base.so")
    try:
        compile_ = ["cc", "-x", "c", "-", "-o"]
        source = "int of_the_base(void); int of_the_base(void) { return 0; }"
        subprocess.run([*compile_, library, "-shared", "-fPIC"], input=source, text=True, check=True)
        subprocess.run([*compile_, place / "qstat", "-lof_the_base"], input=CLIENT, text=True, check=True)
        inside = Job(two, "/local/opt/pbs/bin/qstat\n", env={"CHOS": "one"}).run()
        assert inside.returncode == 127, inside
        done = Job(two, "CHOS=root chos /opt/pbs/bin/qstat\n", env={"CHOS": "one"}).run()
        assert (done.returncode, done.stdout, done.stderr) == (0, "3.server\n", "")
    finally:
        library.unlink(missing_ok=True)
        subprocess.run(["rm", "-r", "--one-file-system", "/opt/pbs"], check=True)


# --- chosctl install ----------------------------------------------------------------------------------------------


@pytest.fixture
def qmgr() -> Iterator[Path]:
    """PBS's commands in the usual directory of programs."""
    path = Path("/usr/local/bin/qmgr")
    path.write_text(QMGR)
    path.chmod(0o755)
    yield path
    for file in (path, STATE, *Path("/tmp").glob("qmgr-*")):
        file.unlink(missing_ok=True)


def install(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["chosctl", "install", "openpbs", *words],
        text=True,
        capture_output=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **env},
        timeout=60,
    )


def hooks() -> dict[str, dict[str, str | None]]:
    found = json.loads(STATE.read_text())
    assert isinstance(found, dict)
    return found


def ask(line: str) -> None:
    subprocess.run(["/usr/local/bin/qmgr", "-c", line], check=True)


@pytest.mark.usefixtures("qmgr")
def test_install_on_a_server_without_the_hook() -> None:
    """ "hook not found" is what the server says."""
    done = install()
    assert done.returncode == 0, done
    one = hooks()["chos_launch"]
    assert (one["event"], one["enabled"]) == ("execjob_launch", "true") and "import pbs" in str(one["script"])
    assert "already installed" in install().stdout
    assert install("--undo").returncode == 0
    assert hooks() == {}


@pytest.mark.usefixtures("qmgr")
@pytest.mark.parametrize("event", ["execjob_launch", "queuejob"])
def test_a_hook_without_a_script(event: str) -> None:
    """Created, but never imported: it is finished, and goes with what undo takes back."""
    ask(f"create hook chos_launch event={event}")
    assert install().returncode == 0
    one = hooks()["chos_launch"]
    assert one["event"] == "execjob_launch" and "import pbs" in str(one["script"])
    assert install("--undo").returncode == 0
    assert hooks() == {}


@pytest.mark.usefixtures("qmgr")
def test_undo_of_a_hook_that_has_lost_its_script() -> None:
    """As an installation that was killed between the two commands leaves it."""
    assert install().returncode == 0
    ask("delete hook chos_launch")
    ask("create hook chos_launch event=execjob_launch")
    done = install("--undo")
    assert done.returncode == 0 and hooks() == {}, done


@pytest.mark.usefixtures("qmgr")
def test_an_import_that_fails_leaves_no_hook() -> None:
    Path("/tmp/qmgr-broken").touch()
    done = install()
    assert done.returncode == 1 and "Failed to compile script" in done.stderr, done
    assert hooks() == {}


@pytest.mark.usefixtures("qmgr")
def test_a_hook_that_the_server_is_still_deleting() -> None:
    """It goes once every node has said so; until then its name is taken."""
    Path("/tmp/qmgr-pending").touch()
    done = install()
    assert done.returncode == 1 and "is pending delete" in done.stderr and "try again then" in done.stderr, done


@pytest.mark.usefixtures("qmgr")
def test_a_server_that_refuses_is_no_hook_without_a_script() -> None:
    assert install().returncode == 0
    Path("/tmp/qmgr-nobody").touch()
    for words in ((), ("--undo",)):
        done = install(*words)
        assert (
            done.returncode == 1
            and "Unauthorized Request" in done.stderr + done.stdout
            or "unauthorized" in done.stderr
        )
    Path("/tmp/qmgr-nobody").unlink()
    assert install("--undo").returncode == 0


def test_where_pbs_conf_says_that_pbs_is(qmgr: Path) -> None:
    """PBS_EXEC of /etc/pbs.conf, or of the file that PBS_CONF_FILE names; the environment counts first."""
    place, conf, other = Path("/opt/site-pbs/bin"), Path("/etc/pbs.conf"), Path("/etc/other-pbs.conf")
    place.mkdir(parents=True)
    qmgr.rename(place / "qmgr")
    try:
        done = install()
        assert done.returncode == 1 and "/opt/pbs/bin" in done.stderr, done
        conf.write_text("# PBS_EXEC=/none\nPBS_SERVER=head\nPBS_EXEC=/opt/site-pbs\nPBS_HOME=/site/pbs\n")
        done = install()
        assert done.returncode == 0 and "PBS_HOME is /site/pbs" in done.stdout + done.stderr, done
        assert install(PBS_EXEC="/nowhere").returncode == 1
        assert install("--undo").returncode == 0
        conf.unlink()
        other.write_text(' PBS_EXEC="/opt/site-pbs"\n')
        Path("/tmp/qmgr-conf").write_text(str(other))
        done = install(PBS_CONF_FILE=str(other))
        assert done.returncode == 0 and "PBS_HOME" not in done.stdout + done.stderr, done
        assert install("--undo", PBS_CONF_FILE=str(other)).returncode == 0
    finally:
        for file in (conf, other):
            file.unlink(missing_ok=True)
        subprocess.run(["rm", "-r", "--one-file-system", "/opt/site-pbs"], check=True)
