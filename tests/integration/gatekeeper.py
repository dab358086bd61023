"""Globus GRAM5 on this node: a gatekeeper on a port of its own, and users who may submit jobs to it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import free_port, run, wait_for
from grid_ca import Authority

PROGRAM = Path("/usr/sbin/globus-gatekeeper")
SERVICES = Path("/etc/grid-services")
_LOG = Path("/var/log/globus")
_AUDIT = Path("/var/lib/globus/gram-audit")
# As Globus's own packages globus-gram-job-manager-LRM-setup-poll have it.
_SERVICE = (
    "stderr_log,local_cred - /usr/sbin/globus-job-manager globus-job-manager "
    "-conf /etc/globus/globus-gram-job-manager.conf -type {}\n"
)


@dataclasses.dataclass
class Job:
    """A job that was submitted. `refused`: what globusrun said of one that was not taken."""

    user: str
    contact: str
    output: Path
    errors: Path
    refused: str = ""

    def said(self) -> str:
        """What it printed, and then its errors."""
        return self.output.read_text() + self.errors.read_text()

    def runs(self) -> bool:
        """Whether any process of this node may still write what it says."""
        files = {str(self.output), str(self.errors)}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(link) in files:
                    return True
        return False


class Gatekeeper:
    """A running gatekeeper, and clients that reach it."""

    def __init__(self, port: int) -> None:
        self.contact = f"localhost:{port}"
        self._jobs = 0

    def globusrun(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": pwd.getpwnam(user).pw_dir, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        return run(["runuser", "-u", user, "--", "globusrun", *words], env=environment)

    def submit(self, user: str, rsl: str, manager: str) -> Job:
        """Submit a job, and wait until the job manager has handed it on."""
        self._jobs += 1
        output, errors = (Path(pwd.getpwnam(user).pw_dir) / f"job.{self._jobs}.{kind}" for kind in ("out", "err"))
        files = f"(stdout={output})(stderr={errors})"
        done = self.globusrun(user, "-b", "-r", f"{self.contact}/jobmanager-{manager}", rsl + files)
        contact = next((line for line in done.stdout.splitlines() if line.startswith("https://")), "")
        return Job(user, contact, output, errors, done.stdout + done.stderr if done.returncode else "")

    def job(self, user: str, rsl: str, manager: str = "fork") -> str:
        """Run a job on this node that prints something; what it said, or why it was refused.

        Globus looks every ten seconds only whether it has ended, and does not tell its exit status.
        """
        job = self.submit(user, rsl, manager)
        if job.refused:
            return job.refused
        wait_for(lambda: job.errors.exists() and job.said() and not job.runs(), f"a job's end: {rsl}")
        return job.said()


def add_service(name: str, lrm: str) -> None:
    """A job manager, as jobmanager-NAME."""
    available = SERVICES / "available" / f"jobmanager-{name}-poll"
    available.parent.mkdir(parents=True, exist_ok=True)
    available.write_text(_SERVICE.format(lrm))
    done = run(["globus-gatekeeper-admin", "-e", available.name, "-n", f"jobmanager-{name}"])
    assert done.returncode == 0, done


def adapt(lrm: str) -> None:
    """Give a job manager its adapter, as an administrator does."""
    done = run(["chosctl", "install", "globus", "--service", f"jobmanager-{lrm}-poll"])
    assert done.returncode == 0, done


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end_job_managers() -> None:
    """They outlive the gatekeeper. This node's only: it sees no other processes."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text().startswith("globus-job-mana"):
                os.kill(int(entry.name), signal.SIGKILL)


@contextlib.contextmanager
def running(directory: Path, *users: str) -> Iterator[Gatekeeper]:
    """A gatekeeper for these users, with Globus's own adapter for `fork`. `directory` gets the authority's files."""
    if not PROGRAM.exists():
        pytest.skip("Globus is not installed (tools/deps batch)")
    Authority(directory, *users)
    for place in (_LOG, _AUDIT):
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o1777)
    add_service("fork", "fork")
    port = free_port()
    command = [str(PROGRAM), "-f", "-p", str(port), "-l", str(_LOG / "gatekeeper.log"), "-pidfile", "/run/gatekeeper"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), "the gatekeeper")
        yield Gatekeeper(port)
    finally:
        process.terminate()
        process.wait(20)
        run(["chosctl", "install", "globus", "--undo"])
        _end_job_managers()
