"""Job starters: each job in the environment that it was submitted for, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from node import Node
from rows import row
from site_of_old import os_id

SECTION = "Job starters"
BASE = os_id(Path("/etc/os-release").read_text())
ENTRIES = Path("/var/log/chos/entries")


@row("`chos-job-starter CMD`: with `$CHOS`, the command runs there", section=SECTION)
def test_with_chos(node: Node) -> None:
    result = node.run(["chos-job-starter", "sh", "-c", "cat /etc/os-release; exit 3"], env={"CHOS": "one"})
    assert (os_id(result.stdout), result.returncode) == ("one", 3)


@row("without, or with an empty one, on the base", section=SECTION)
def test_without(node: Node) -> None:
    for env in ({}, {"CHOS": ""}):
        assert os_id(node.run(["chos-job-starter", "cat", "/etc/os-release"], env=env, check=True).stdout) == BASE


@row("the same under the name `job_starter`", section=SECTION)
def test_old_name(node: Node) -> None:
    link = Path("/usr/local/bin/job_starter")
    link.unlink(missing_ok=True)
    link.symlink_to("/usr/bin/chos")
    result = node.run(["job_starter", "cat", "/etc/os-release"], env={"CHOS": "one"})
    link.unlink()
    assert os_id(result.stdout) == "one"


@row("an environment that cannot be entered: 125, and the job does not run on the base", section=SECTION)
def test_never_on_the_base(node: Node) -> None:
    result = node.run(["chos-job-starter", "echo", "ran"], env={"CHOS": "nothing"})
    assert (result.returncode, result.stdout) == (125, "") and "nothing" in result.stderr


@row("it works inside an environment, too", section=SECTION)
def test_inside(node: Node) -> None:
    command = ["env", "CHOS=two", "chos-job-starter", "cat", "/etc/os-release"]
    assert os_id(node.chos("one", *command, check=True).stdout) == "two"


@row("`[jobs] user_file`: a job without `$CHOS` takes the name from the user's file", section=SECTION)
def test_user_file(node: Node, dotfile: Callable[[str], None]) -> None:
    dotfile("one\n")
    assert os_id(node.run(["chos-job-starter", "cat", "/etc/os-release"], check=True).stdout) == "one"


@row("also a job that begins in an environment; it stays there if the file names none", section=SECTION)
def test_user_file_inside(node: Node, dotfile: Callable[[str], None]) -> None:
    command = ["env", "-u", "CHOS", "chos-job-starter", "cat", "/etc/os-release"]
    assert os_id(node.chos("one", *command, check=True).stdout) == "one"
    dotfile("two\n")
    assert os_id(node.chos("one", *command, check=True).stdout) == "two"


@row("`[jobs] memory` and `processes` are limits of each job", section=SECTION)
def test_limits(node: Node) -> None:
    tell = "grep -E '^Max (address space|processes)' /proc/self/limits"
    result = node.run(["chos-job-starter", "sh", "-c", tell], env={"CHOS": "one"}, check=True)
    assert re.findall(r"\d+", result.stdout) == [str(700)] * 2 + [str(2 << 30)] * 2


@row("`[records]`: a line for each entry, with user, environment, generation and job", section=SECTION)
def test_records(node: Node) -> None:
    before = len(ENTRIES.read_text().splitlines()) if ENTRIES.exists() else 0
    env = {"CHOS": "one", "SLURM_JOB_ID": "4711"}
    job = node.start(["chos-job-starter", "true"], env=env)
    assert job.wait(timeout=60) == 0
    (line,) = ENTRIES.read_text().splitlines()[before:]
    generation = node.generation("first")
    entry = f"environment=one generation={re.escape(generation)} service=slurm job=4711 pid={job.pid}"
    assert re.search(rf"user=alice uid=[0-9]+ {entry}", line), line
