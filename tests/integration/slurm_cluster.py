"""A Slurm cluster of this one node: real munged, slurmctld and slurmd on the loopback address.

Everything that it writes is in a directory of its own, but the spool directory, which is where a site has it. Nothing
is started but by `Slurm.start`, and `Slurm.stop` ends just that.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPOOL = Path("/var/spool/slurmd-test")
PLUGIN = Path("/usr/lib/chos/spank_chos.so")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")
LIMIT = 90
LASTING = "lasting"  # name of a job that runs beside the tests

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=node(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={top}/munge/socket
CredType=cred/munge
StateSaveLocation={top}/state
SlurmdSpoolDir={spool}
SlurmctldPidFile={top}/slurmctld.pid
SlurmdPidFile={top}/slurmd.pid
SlurmctldLogFile={top}/slurmctld.log
SlurmdLogFile={top}/slurmd.log
SlurmdParameters=config_overrides
PlugStackConfig={top}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5
MaxArraySize=2000
MaxJobCount=5000
PropagateResourceLimits=NONE
ReturnToService=2
MpiDefault=none
InactiveLimit=0
KillWait=1
MinJobAge=2000
NodeName=node NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000
PartitionName=test Nodes=node Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
"""


def missing() -> str:
    """What hinders a cluster here; empty where nothing does."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (tools/deps batch)"
    return "" if PLUGIN.exists() else f"{PLUGIN} was not built: slurm/spank.h is missing (tools/deps batch)"


class Slurm:
    """The cluster, its files and its clients' commands."""

    def __init__(self, top: Path, cpus: int = 16, spool: Path = SPOOL) -> None:
        self.top, self.cpus, self.spool = top, cpus, spool
        self.conf = top / "slurm.conf"
        self.plugstack = top / "plugstack.conf"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, plugin: str = "required") -> None:
        """All three daemons; the node is idle afterwards."""
        for name, mode in (("", 0o755), ("state", 0o755), ("munge", 0o755), ("jobs", 0o1777)):
            (self.top / name).mkdir(parents=True, exist_ok=True)
            (self.top / name).chmod(mode)
        self.spool.mkdir(parents=True, exist_ok=True)
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            ports = first.getsockname()[1], second.getsockname()[1]
        self.conf.write_text(
            CONFIGURATION.format(controller=ports[0], daemon=ports[1], top=self.top, spool=self.spool, cpus=self.cpus)
        )
        # Named: what it would find out for itself is fatal where both versions are mounted. Nothing here uses it.
        (self.top / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        self.set_plugin(plugin)
        self._start_munge()
        self._daemon("slurmctld", "/usr/sbin/slurmctld", "-D", "-c", "-f", str(self.conf))
        self.start_slurmd()

    def start_slurmd(self, wrapper: tuple[str, ...] = ()) -> None:
        """The node's daemon, by itself; it is idle afterwards."""
        self._daemon("slurmd", *wrapper, "/usr/sbin/slurmd", "-D", "-N", "node", "-f", str(self.conf))
        self.wait(lambda: self.state() == "idle", "the node to be idle")

    def _start_munge(self) -> None:
        directory, account = self.top / "munge", pwd.getpwnam("munge")
        (directory / "key").write_bytes(os.urandom(128))
        (directory / "key").chmod(0o400)
        for path in (directory, directory / "key"):
            os.chown(path, account.pw_uid, account.pw_gid)
        options = [f"--{name}-file={directory}/{name}" for name in ("key", "pid", "log", "seed")]
        command = ["munged", "--foreground", "--force", f"--socket={directory}/socket", "--num-threads=2", *options]
        self._daemon("munged", "setpriv", "--reuid=munge", "--regid=munge", "--init-groups", *command)
        self.wait((directory / "socket").exists, "munged")

    def _daemon(self, name: str, *command: str) -> None:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": str(self.conf)}
        self.daemons[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.top / f"{name}.err").open("wb"),
            env=environment,
            cwd="/",
        )

    def set_plugin(self, kind: str, options: str = "") -> None:
        """plugstack.conf: `required`, `optional`, or empty for none. What submits and what runs reads it each time."""
        self.plugstack.write_text(f"{kind} {PLUGIN} {options}\n" if kind else "")

    def stop_daemon(self, name: str) -> None:
        """By its process id."""
        process = self.daemons.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self, user: str = "alice") -> None:
        """Everything; what was running on the node is cancelled first."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.client("scancel", "--state=PENDING", f"--user={user}")
            self.client("scancel", "--signal=KILL", "--full", f"--user={user}")
            self.emptied(but="")
        for name in list(self.daemons)[::-1]:
            self.stop_daemon(name)
        shutil.rmtree(self.spool, ignore_errors=True)

    def client(
        self, *command: str, user: str = "root", env: dict[str, str] | None = None, cwd: str = "/", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """A client's command as a user with a clean environment; a hang is an error."""
        return subprocess.run(
            command,
            **identity(user),
            env=self.environment(user, env),
            cwd=cwd,
            text=True,
            capture_output=True,
            timeout=LIMIT,
            check=False,
            **({"stdin": subprocess.DEVNULL} if "input" not in more else {}),
            **more,
        )

    def environment(self, user: str, more: dict[str, str] | None = None) -> dict[str, str]:
        account = pwd.getpwnam(user)
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": account.pw_dir,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "SLURM_CONF": str(self.conf),
            **(more or {}),
        }

    def srun(self, *arguments: str, user: str = "alice", **more: Any) -> subprocess.CompletedProcess[str]:
        """srun ARGUMENTS, on one task and one CPU where they do not say otherwise."""
        return self.client("srun", "--quiet", *arguments, user=user, **more)

    def sbatch(self, script: str, *arguments: str, user: str = "alice", **more: Any) -> str:
        """Submit a script given as text; the job's number."""
        done = self.client(
            "sbatch", "--parsable", "--output=job-%j", *arguments, user=user, input=f"#!/bin/sh\n{script}\n",
            **{"cwd": str(self.top / "jobs"), **more},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def batch(self, script: str, *arguments: str, **more: Any) -> str:
        """What a batch script writes, once it has ended."""
        return self.output(self.sbatch(script, *arguments, **more))

    def output(self, job: str) -> str:
        """What a job has written, once it has ended."""
        self.ended(job)
        return (self.top / "jobs" / f"job-{job}").read_text()

    def show(self, job: str) -> dict[str, str]:
        """What scontrol says of a job."""
        text = self.client("scontrol", "--oneliner", "show", "job", job).stdout
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def ended(self, job: str) -> dict[str, str]:
        """Wait for the end of a job; what scontrol says of it."""

        def done() -> dict[str, str] | None:
            shown = self.show(job)
            state = shown.get("JobState", "")
            return None if state in ("", "PENDING", "RUNNING", "COMPLETING", "CONFIGURING") else shown

        return self.wait(done, f"the end of job {job}")

    def emptied(self, but: str = LASTING, limit: float = LIMIT) -> None:
        """Wait until there are no jobs, but those of this name."""
        command = ("squeue", "--noheader", "--format=%j")
        self.wait(lambda: {*self.client(*command).stdout.split()} <= {but}, "the queue to be empty", limit)

    def state(self) -> str:
        """Of the node."""
        return self.client("sinfo", "--noheader", "--nodes=node", "--format=%t").stdout.strip()

    def wait(self, check: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
        """The first true answer of `check`; fails with the daemons' last words."""
        deadline = time.monotonic() + limit
        while not (answer := check()):
            if time.monotonic() > deadline:
                logs = [(self.top / name).read_text()[-1500:] for name in ("slurmctld.log", "slurmd.log", "munged.err")]
                raise AssertionError(f"waited in vain for {what}\n" + "\n".join(logs))
            time.sleep(0.05)
        return answer


def identity(user: str) -> dict[str, Any]:
    """What subprocess needs to be a user."""
    if user == "root":
        return {}
    account = pwd.getpwnam(user)
    return {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": os.getgrouplist(user, account.pw_gid),
    }
