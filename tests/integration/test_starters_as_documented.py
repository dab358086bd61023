"""Starters for products that cannot be had here, each called exactly as its product documents: words, standard input,
uid, variables, working directory. The names of the tests say whose documents.

TORQUE 6: "Node manager configuration", start_exec.c. HTCondor: USER_JOB_WRAPPER in the Manual.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import worked
from conftest import BASE_ID, Node, Stacks, os_id

STARTERS = Path("/usr/lib/chos/starters")
SHOW = "cat /etc/os-release; pwd; exit 7"


def check(done: subprocess.CompletedProcess[str], name: str, cwd: str = "/home/alice", status: int = 7) -> None:
    assert (done.returncode, os_id(done.stdout), done.stderr) == (status, name, ""), done
    assert cwd in done.stdout.splitlines()


def refused(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "nowhere: no such environment" in done.stderr


# --- TORQUE, not privileged; the other is in test_pam_job_starter.py ------------------------------------------------


@pytest.mark.parametrize("starter", ["chos-job-starter", "pam_job_starter"])
def test_as_torque_6_documents(two: Node, starter: str) -> None:
    """$job_starter gets the shell, already as the user; on standard input is the script's path, or the script."""
    script = Path("/var/spool/torque/mom_priv/jobs/1.SC")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"{SHOW}\n")
    script.chmod(0o755)
    env = {"PBS_JOBID": "1.server", "PBS_ENVIRONMENT": "PBS_BATCH", "CHOS": "one"}
    try:
        for stdin in (f"{script}\n", f"exec {script} an argument\n", script.read_text()):
            check(two.run([f"/usr/bin/{starter}", "/bin/sh"], env=env, stdin=stdin), "ID=one")
        refused(two.run([f"/usr/bin/{starter}", "/bin/sh"], env={**env, "CHOS": "nowhere"}, stdin="echo ran\n"))
        # start_process: a task of the TM interface
        check(two.run([f"/usr/bin/{starter}", "sh", "-c", SHOW], env={**env, "CHOS": "two"}), "ID=two")
    finally:
        subprocess.run(["rm", "-r", "/var/spool/torque"], check=True)


# --- HTCondor -------------------------------------------------------------------------------------------------------


def test_as_htcondor_documents(two: Node, dotfile: Any) -> None:
    """The job's path and its arguments, in its scratch directory, as the user; CHOS from the submit file."""
    scratch = Path("/tmp/condor/dir_1")
    scratch.mkdir(parents=True)
    scratch.chmod(0o777)
    job = scratch / "condor_exec.exe"
    job.write_text(f'#!/bin/sh\necho "$# $2"\n{SHOW}\n')
    job.chmod(0o755)
    ad = scratch / ".job.ad"
    ad.write_text('Args = "a b"\nClusterId = 17\nProcId = 4\nOwner = "alice"\n')
    env = {
        "_CONDOR_SCRATCH_DIR": str(scratch),
        "_CONDOR_JOB_AD": str(ad),
        "_CONDOR_WRAPPER_ERROR_FILE": "/tmp/condor/error",
    }
    wrapper = [str(STARTERS / "htcondor/job_wrapper"), str(job), "a", "b  c"]
    entries = Path("/var/log/chos/entries")
    two.configure("one:/os/one\ntwo:/os/two", records=f'[records]\nsyslog = false\nfile = "{entries}"\n')
    two.up()
    try:
        done = two.run(wrapper, cwd=str(scratch), env={**env, "CHOS": "one"})
        check(done, "ID=one", str(scratch))
        assert done.stdout.startswith("2 b  c\n")
        check(two.run(wrapper, cwd=str(scratch), env=env), BASE_ID, str(scratch))
        refused(two.run(wrapper, cwd=str(scratch), env={**env, "CHOS": "nowhere"}))
        lines = entries.read_text().splitlines()
        assert len(lines) == 2 and all(" service=htcondor job=17.4 " in line for line in lines), lines
    finally:
        subprocess.run(["rm", "-r", "/tmp/condor"], check=True)
        subprocess.run(["chattr", "-a", entries], check=False, capture_output=True)
        entries.unlink(missing_ok=True)


def test_htcondor_without_chos_job_starter(two: Node) -> None:
    """The wrapper does not run the job on the base."""
    program, aside = Path("/usr/bin/chos-job-starter"), Path("/usr/bin/aside")
    wrapper = [str(STARTERS / "htcondor/job_wrapper"), "/bin/echo", "ran"]
    mode = program.stat().st_mode
    program.chmod(0o644)
    try:
        done = two.run(wrapper, env={"CHOS": "one"})
        assert (done.returncode, done.stdout) == (126, ""), done
    finally:
        program.chmod(mode)
    program.rename(aside)
    try:
        done = two.run(wrapper, env={"CHOS": "one"})
        assert (done.returncode, done.stdout) == (127, ""), done
    finally:
        aside.rename(program)


def test_htcondor_replaces_itself(two: Node) -> None:
    """The wrapper has to exec: the job is the process that HTCondor started."""
    process = two.start([str(STARTERS / "htcondor/job_wrapper"), "/bin/sh", "-c", "echo $$"], env={"CHOS": "one"})
    assert process.stdout and process.stdout.readline() == f"{process.pid}\n"
    assert process.wait(20) == 0


@pytest.mark.parametrize("page", ["torque", "openpbs", "htcondor"])
def test_the_part_of_the_pages_that_can_be_run(node: Node, stacks: Stacks, page: str) -> None:
    stacks.write("jobstarter", "")
    node.tree("el9")
    node.configure("el9:/os/el9")
    node.up()
    worked.run(page)
