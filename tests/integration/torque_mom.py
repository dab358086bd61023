"""What pbs_mom of TORQUE 6 does when it starts a job, and what its server answers; after start_exec.c
(TMomFinalizeChild), prolog.c (run_pelog), mom_req_quejob.c and qstat.c. The product itself cannot be had by the tests.

- The job's file (.JB), with all its variables, and its script are there before anything runs.
- A prologue that does not exist is no failure. It is run as root, in mom_priv, with the job's output as its own.
- Then pbs_mom makes PBS_O_ROOTDIR its root directory, goes on as root where the starter is privileged, and executes it
  there. Where that fails it goes on to the shell, with the rights that it has.
- `qalter` changes the variables of a job that runs, when it changes a resource as well: then the server sends all of it
  to pbs_mom (req_modify.c). A task that the job starts through TM goes by them, and no prologue is run for it.
- `qstat -f` shows Variable_List to the job's owner, managers and operators only. It breaks lines in mid-word.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

HOME = Path("/var/spool/torque")
PRIV = HOME / "mom_priv"
JOBS = PRIV / "jobs"
SERVER = HOME / "server"
QSTAT = Path("/opt/torque/bin/qstat")
LIMIT = 60
WIDTH = 79

_QSTAT = r"""#!/usr/bin/python3
import os, sys
if sys.argv[1:2] != ["-f"] or len(sys.argv) != 3:
    sys.exit("usage")
os.chdir("/var/spool/torque/server")
if os.path.exists("down"):
    sys.exit("qstat: cannot connect to server")
if not os.path.exists(sys.argv[2]):
    sys.exit(f"qstat: Unknown Job Id Error {sys.argv[2]}")
hidden = not os.path.exists("manager")
print(f"Job Id: {sys.argv[2]}")
for attribute in open(sys.argv[2], newline="").read().split("\0"):
    name, _, value = attribute.partition("=")
    if hidden and name == "Variable_List":
        continue
    text = f"    {name} = "
    for character in value:
        if len(text.rpartition("\n")[2].expandtabs()) >= WIDTH:
            text += "\n\t"
        text += character
    print(text)
print()
""".replace("WIDTH", str(WIDTH))


class PbsMom:
    """One pbs_mom with its server. Its configuration is read once, as it starts."""

    def __init__(self, manager: bool = True) -> None:
        JOBS.mkdir(parents=True)
        SERVER.mkdir()
        QSTAT.parent.mkdir(parents=True, exist_ok=True)
        QSTAT.write_text(_QSTAT)
        QSTAT.chmod(0o755)
        self.config = PRIV / "config"
        self.config.write_text("$logevent 255\n")
        self.manager(manager)
        self.log: list[str] = []
        self.starter = ""
        self.privileged = False

    def manager(self, yes: bool) -> None:
        """Whether root on this node is a manager or operator of the server."""
        path = SERVER / "manager"
        path.touch() if yes else path.unlink(missing_ok=True)

    def read_config(self) -> None:
        """As it starts: a starter that is not there is passed over with a line in the log."""
        self.starter, self.privileged = "", False
        for line in self.config.read_text().splitlines():
            words = line.split()
            if words[:1] == ["$job_starter"]:
                if os.path.exists(words[1]):
                    self.starter = words[1]
                else:
                    self.log.append(f"jobstarter: {words[1]} does not exist")
            elif words[:1] == ["$job_starter_run_privileged"]:
                self.privileged = words[1] == "true"

    def submit(
        self, text: str, variables: Mapping[str, str] | None = None, user: str = "alice", job: str = "1.server"
    ) -> Job:
        return Job(self, job, user, text, dict(variables or {}))

    def remove(self) -> None:
        shutil.rmtree(HOME)
        QSTAT.unlink()


def kill_session(session: int) -> None:
    """kill_task, for qdel: SIGKILL to every process of the session, and to those that it has as ancestors.

    The order is /proc's. The youngest first is the worst: who would close something has gone before it can.
    """
    for pid in sorted((int(path.name) for path in Path("/proc").glob("[0-9]*")), reverse=True):
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session or session in _ancestors(pid):
                os.kill(pid, signal.SIGKILL)


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.add(pid)
    return found


class Job:
    """A job that the server has sent to this pbs_mom."""

    def __init__(self, mom: PbsMom, job: str, user: str, text: str, variables: dict[str, str]) -> None:
        self.mom, self.id = mom, job
        self.account = pwd.getpwnam(user)
        # qsub's own come first.
        self.variables = {"PBS_O_HOME": self.account.pw_dir, "PBS_O_LOGNAME": user, **variables}
        self.script = JOBS / f"{job}.SC"
        self.script.write_text(text)
        self.script.chmod(0o700)
        os.chown(self.script, self.account.pw_uid, self.account.pw_gid)
        self.file = JOBS / f"{job}.JB"
        listed = ",".join(f"{name}={value}" for name, value in self.variables.items())
        self.file.write_bytes(b"\x01\0\0\2" + f"Variable_List\0{listed}\0".encode() + b"\xff\0")
        self.tell_server(listed)

    def tell_server(self, listed: str, **attributes: str) -> None:
        """What the server says of it; `qalter -v` changes this, and not what pbs_mom has."""
        told = {"Job_Name": "STDIN", "Job_Owner": "alice@node", **attributes, "Variable_List": listed, "etime": "now"}
        (SERVER / self.id).write_text("\0".join(f"{name}={value}" for name, value in told.items()))

    def prologue(self, name: str = "prologue") -> int:
        """run_pelog: its status; 0 where there is none, -1 where pbs_mom will not run it."""
        path = PRIV / name
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return 0
        own = status.st_uid == 0 and stat.S_ISREG(status.st_mode)
        if not own or status.st_mode & 0o500 != 0o500 or status.st_mode & 0o022:
            return -1
        words = [str(path), self.id, self.account.pw_name, "users", "STDIN", "walltime=01:00:00", "batch", ""]
        null, env = subprocess.DEVNULL, {"MOAB_USER": "x"}
        done = subprocess.run(words, cwd=PRIV, stdin=null, capture_output=True, text=True, timeout=LIMIT, env=env)
        self.said = done.stdout + done.stderr
        return done.returncode

    def run(self, how: str = "script", shell: str = "") -> subprocess.CompletedProcess[str] | None:
        """The whole of it; None: the prologue has refused the job.

        :param how: what standard input is: the `script`, or /dev/null with the script's path as an argument (`argv`,
            --enable-shell-use-argv).
        :param shell: qsub -S.
        """
        if self.prologue() != 0:
            return None
        process = self.start(how, shell)
        out, err = process.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, how: str = "script", shell: str = "") -> subprocess.Popen[str]:
        """What comes after the prologue."""
        shell = shell or self.account.pw_shell
        words = [str(self.script)] if how == "argv" else []
        fall_back = (shell, [f"-{os.path.basename(shell)}", *words])
        return self._execute((self.mom.starter, [self.mom.starter, shell, *words]), fall_back, how)

    def task(self, *words: str) -> subprocess.Popen[str]:
        """pbsdsh, from within the job: no prologue."""
        return self._execute((self.mom.starter, [self.mom.starter, *words]), (words[0], list(words)), "task")

    def _execute(self, first: tuple[str, list[str]], second: tuple[str, list[str]], how: str) -> subprocess.Popen[str]:
        shell = self.account.pw_shell
        env = {
            **self.variables,
            "PATH": "/usr/bin:/bin",
            "HOME": self.account.pw_dir,
            "LOGNAME": self.account.pw_name,
            "SHELL": shell,
            "PBS_JOBID": self.id,
            "PBS_ENVIRONMENT": "PBS_BATCH",
        }

        def become_the_job() -> None:
            try:
                os.setsid()
                if root := self.variables.get("PBS_O_ROOTDIR"):
                    os.chroot(root)
                if not (self.mom.starter and self.mom.privileged):
                    os.initgroups(self.account.pw_name, self.account.pw_gid)
                    os.setgid(self.account.pw_gid)
                    os.setuid(self.account.pw_uid)
                os.chdir(self.variables.get("PBS_O_INITDIR", self.account.pw_dir))
                for program, argv in (first, second):
                    if program:
                        try:
                            os.execve(program, argv, env)
                        except OSError:
                            continue
            finally:
                os._exit(254)

        with (self.script if how == "script" else Path(os.devnull)).open() as stdin:
            return subprocess.Popen(
                ["pbs_mom"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=become_the_job,
            )
