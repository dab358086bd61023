"""Jobs of a real Globus GRAM5 gatekeeper: on the node itself (fork), and handed on to a real Grid Engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import gatekeeper
import gridengine
import pytest
import worked
from daemons import BASE_ID, Node, os_id, run, wait_for
from gatekeeper import Gatekeeper, Job
from gridengine import COMMON, GridEngine

SHOW = "cat /etc/os-release; pwd; id -un; echo CHOS=$CHOS OTHER=$OTHER"
ONE, TWO = "(environment=(CHOS one))", "(environment=(CHOS two))"


def shell(line: str, more: str = "") -> str:
    """The description of a job that runs a line of shell."""
    quoted = line.replace('"', '""')
    return f'&(executable=/bin/sh)(arguments="-c" "{quoted}"){more}'


@pytest.fixture(scope="module")
def globus(users: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatekeeper]:
    """A gatekeeper, whose job manager for `fork` is adapted; `plain` is Globus's own."""
    with gatekeeper.running(tmp_path_factory.mktemp("authority"), "alice", "bob") as running:
        gatekeeper.add_service("plain", "fork")
        gatekeeper.adapt("fork")
        yield running


def check(said: str, name: str, chos: str | None = None, user: str = "alice") -> None:
    """What SHOW said in a job's environment; `base` is none."""
    wanted = BASE_ID if name == "base" else f"ID={name}"
    variable = chos if chos is not None else "" if name == "base" else name
    assert os_id(said) == wanted, said
    assert said.splitlines()[-3:] == [f"/home/{user}", user, f"CHOS={variable} OTHER="], said


def test_a_job_manager_without_the_adapter(globus: Gatekeeper, two: Node, dotfile: Callable[..., Path]) -> None:
    """Globus's own fork.pm: ~/.chos is read by nobody, and that is not seen; CHOS is a variable like others, and is.

    First: a job manager goes on for a while, and has variables of the jobs that it has started.
    """
    line = "cat /etc/os-release; chosctl ps --missed --pid $$; echo missed=$?"
    dotfile("alice", "one")
    said = globus.job("alice", shell(line), "plain")
    assert os_id(said) == BASE_ID and "missed=0" in said, said
    said = globus.job("alice", shell(line, ONE), "plain")
    assert os_id(said) == BASE_ID and "missed=3" in said, said


def test_the_file_is_read_for_each_job(globus: Gatekeeper, two: Node, dotfile: Callable[..., Path]) -> None:
    """One job manager does all of a user's jobs: each follows the file, and without it there is no choice left."""
    check(globus.job("alice", shell(SHOW)), "base")
    dotfile("alice", "one\n")
    check(globus.job("alice", shell(SHOW)), "one")
    dotfile("alice", "  two # of old\nthree\n")
    check(globus.job("alice", shell(SHOW)), "two")
    dotfile("bob", "one")
    check(globus.job("bob", shell(SHOW)), "one", user="bob")
    dotfile("alice", None)
    check(globus.job("alice", shell(SHOW)), "base")


def test_a_job_that_names_its_environment(globus: Gatekeeper, two: Node, dotfile: Callable[..., Path]) -> None:
    """It counts more than the file, for that job; Globus's own adapter would leave the variables to the next."""
    other = "(environment=(CHOS two)(OTHER thing))"
    assert globus.job("alice", shell("echo $OTHER", other), "plain") == "thing\n"
    assert globus.job("alice", shell("echo $OTHER"), "plain") == "thing\n", "Globus has mended its fork.pm"

    assert globus.job("alice", shell("echo $OTHER; exec grep ^ID= /etc/os-release", other)) == "thing\nID=two\n"
    check(globus.job("alice", shell(SHOW)), "base")
    dotfile("alice", "one")
    check(globus.job("alice", shell(SHOW, TWO)), "two")
    check(globus.job("alice", shell(SHOW)), "one")
    check(globus.job("alice", shell(SHOW, "(environment=(CHOS root))")), "base", chos="root")


def test_nothing_runs_where_it_should_not(
    globus: Gatekeeper, two: Node, dotfile: Callable[..., Path], tmp_path: Path
) -> None:
    """The reason is in the job's errors, or is why it was not taken."""
    ran = Path("/home/alice/ran")
    touch = shell(f"echo ran >{ran}")
    dotfile("alice", "nothing\n")
    assert "chos: nothing: no such environment on this node" in globus.job("alice", touch)
    path = dotfile("alice", None)
    os.mkfifo(path, 0o644)
    assert "Details: chos: ~/.chos is not a regular file" in globus.job("alice", touch)
    path.unlink()
    path.symlink_to("/etc/shadow")
    assert "Details: chos: ~/.chos cannot be read: Permission denied" in globus.job("alice", touch)
    dotfile("alice", "$(id)\n")
    assert "Details: chos: ~/.chos does not begin with the name of" in globus.job("alice", touch)
    dotfile("alice", "x" * 5000)
    assert "chos: xxx" in globus.job("alice", touch)
    assert not ran.exists()


def test_programs(globus: Gatekeeper, two: Node) -> None:
    """One that is in the OS tree only, one that is nowhere, one beside the job's files, several at once."""
    only = Path("/os/one/usr/bin/only-there")
    only.write_text('#!/bin/sh\nfor word; do echo "<$word>"; done; cat\n')
    only.chmod(0o755)
    node_file = Path("/home/alice/input")
    node_file.write_text("input\n")
    hard = '(arguments="a b" "it\'s" "" "x;y,z=$HOME\\\\")(stdin=/home/alice/input)'
    try:
        said = globus.job("alice", f"&(executable=/usr/bin/only-there){hard}{ONE}")
        assert said == "<a b>\n<it's>\n<>\n<x;y,z=$HOME\\\\>\ninput\n"
        assert "chos: /usr/bin/only-there: " in globus.job("alice", f"&(executable=/usr/bin/only-there){TWO}")
        assert "the executable does not exist" in globus.job("alice", "&(executable=/usr/bin/only-there)")
        beside = Path("/home/alice/beside")
        shutil.copy(only, beside)
        assert globus.job("alice", f"&(executable=beside)(arguments=x){ONE}") == "<x>\n"
        beside.unlink()
        several = shell("grep ^ID= /etc/os-release", f"(count=3)(jobtype=multiple){ONE}")
        job = globus.submit("alice", several, "fork")
        wait_for(lambda: job.said() == "ID=one\n" * 3, "what Globus merges when it looks at the job")
    finally:
        node_file.unlink()


def test_condors_monitor_stays(globus: Gatekeeper, two: Node, dotfile: Callable[..., Path]) -> None:
    """It reads the job manager's files on the base, and fork.pm starts its helper only where it recognises it."""
    dotfile("alice", "one")
    monitor = Path("/home/alice/monitor")
    monitor.write_text("#!/bin/sh\n# a part of grid_manager_monitor_agent\nexec grep ^ID= /etc/os-release\n")
    monitor.chmod(0o755)
    try:
        assert globus.job("alice", f"&(executable={monitor})") == f"{BASE_ID}\n"
    finally:
        monitor.unlink()


def test_cancelled(globus: Gatekeeper, two: Node) -> None:
    """The job is the process that Globus knows."""
    job = globus.submit("alice", shell("echo $$; exec sleep 1000", ONE), "fork")
    process = Path("/proc") / wait_for(lambda: job.output.exists() and job.output.read_text().strip(), "the job")
    assert os.stat(process / "ns/mnt").st_ino == two.pin("one.1")
    assert globus.globusrun("alice", "-k", job.contact).returncode == 0
    wait_for(lambda: not process.exists(), "its end")


def test_limits_and_records(globus: Gatekeeper, two: Node) -> None:
    """What chos.toml says of jobs holds for those without an environment, too."""
    entries = Path("/var/log/chos-globus")
    two.configure("one:/os/one", jobs=f'[jobs]\nprocesses = 77\n[records]\nsyslog = false\nfile = "{entries}"\n')
    two.up()
    for user, more in (("alice", ONE), ("bob", "")):
        limit = globus.job(user, shell("grep processes /proc/self/limits", more))
        assert limit.split()[2:4] == ["77", "77"], limit
    first, second = entries.read_text().splitlines()
    assert " user=alice " in first and " environment=one generation=one.1 service=globus job=https://" in first
    assert " user=bob " in second and " environment=- generation=- service=globus job=https://" in second
    subprocess.run(["chattr", "-a", entries], check=False, capture_output=True)
    entries.unlink()


@pytest.mark.parametrize("mode", [0o644, None])
def test_chos_job_starter_cannot_be_run(
    globus: Gatekeeper, two: Node, dotfile: Callable[..., Path], mode: int | None
) -> None:
    """Globus looks at the program that it is to start, and refuses the job."""
    program, aside = Path("/usr/bin/chos-job-starter"), Path("/usr/bin/aside")
    target = program.resolve()
    kept = target.stat().st_mode
    dotfile("alice", "one")
    target.chmod(mode) if mode else program.rename(aside)
    try:
        said = globus.job("alice", shell(SHOW))
    finally:
        target.chmod(kept) if mode else aside.rename(program)
    assert ("do not allow execution" if mode else "the executable does not exist") in said, said
    assert "ID=" not in said


@pytest.fixture(scope="module")
def cell(globus: Gatekeeper) -> Iterator[GridEngine]:
    """Grid Engine behind the gatekeeper: `sge` is adapted, `sgeplain` has Globus's own adapter."""
    with gridengine.running() as cell:
        cell.queue(starter_method="/usr/lib/chos/starters/sge/starter_method")
        (COMMON / "sge_request").write_text("-v CHOS\n")
        gatekeeper.add_service("sgeplain", "sge")
        gatekeeper.add_service("sge", "sge")
        gatekeeper.adapt("sge")
        yield cell
        (COMMON / "sge_request").unlink()


def with_bash(tree: Path) -> None:
    """The script that sge.pm writes is one for bash."""
    (tree / "bin/bash").unlink(missing_ok=True)
    (tree / "bin/bash").write_text('#!/bin/sh\nexec /bin/sh "$@"\n')
    (tree / "bin/bash").chmod(0o755)


def test_grid_engine(globus: Gatekeeper, cell: GridEngine, node: Node, dotfile: Callable[..., Path]) -> None:
    """Globus asks Grid Engine for news every ten seconds, so all jobs are on their way at once."""
    with_bash(node.tree("one"))
    with_bash(node.tree("two"))
    node.configure("one:/os/one\ntwo:/os/two\n")
    maps = Path("/etc/chos.d/bindmaps")
    maps.mkdir(parents=True)
    (maps / "default.toml").write_text('extends = "default"\n[base]\nshare = ["/var/lib/gridengine"]\n')
    node.up()

    def submit(manager: str, name: str | None, more: str = "") -> Job:
        """Submit with this ~/.chos; the file may change when the job has been handed on."""
        dotfile("alice", name)
        job = globus.submit("alice", shell(SHOW, more), manager)
        assert not job.refused
        return job

    plain = [submit("sgeplain", "one"), submit("sgeplain", None)]
    wanted = {"none": "base", "one": "one", "named": "two", "two": "two", "none again": "base", "named only": "one"}
    jobs = {
        "none": submit("sge", None),
        "one": submit("sge", "one"),
        "named": submit("sge", "one", TWO),
        "two": submit("sge", "two", "(emailonabort=no)"),  # that only sge.rvf allows
        "unknown": submit("sge", "nothing"),
        "none again": submit("sge", None),
        "named only": submit("sge", None, ONE),
    }
    wait_for(lambda: not cell.command("qstat", "-u", "alice"), "Grid Engine's jobs")
    for label, name in wanted.items():
        check(jobs[label].said(), name)
    unknown = jobs["unknown"]
    assert unknown.output.read_text() == ""
    assert "chos: nothing: no such environment on this node" in unknown.errors.read_text()
    check(plain[0].output.read_text(), "one")
    assert os_id(plain[1].said()) == "ID=one", "Globus has mended its sge.pm: it forgets the file of an earlier job"


def test_the_page(globus: Gatekeeper, node: Node) -> None:
    """Last: it installs the adapter anew, and takes it away."""
    node.tree("el9")
    node.configure("el9:/os/el9")
    node.up()
    assert run(["chosctl", "install", "globus", "--undo"]).returncode == 0
    os.environ["GATEKEEPER"] = globus.contact
    worked.run("globus")
