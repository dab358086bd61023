"""LSF's way from `bsub` to a job's first process, as openlava 4 (LSF 4's open descendant) does it: the same text, order
and environment. What the daemons do not do (escape, quote) is not done here either.

bsub stores one text: each variable as NAME='VALUE'; export NAME, then the command line as it is. mbatchd puts the
queue's starter into it, unless it believes that it is there. sbatchd writes the part behind the variables to
~/.lsbatch/NUMBER.JOBID and executes that as the user. `bmod -Z` rewrites the stored text.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemons import Node

TRAPS = "$LSB_TRAPSIGS\n$LSB_RCP1\n$LSB_RCP2\n$LSB_RCP3\n"
BEGIN = "# LSBATCH: User input\n"
WAIT = "\nExitStat=$?\nwait\n# LSBATCH: End user input\ntrue\n"
EXIT = 'exit `expr $? "|" $ExitStat`\n'
KEYWORD = "%USRCMD"
SCRIPT = "\n$LSB_JOBFILENAME.shell"
# What bsub does not send, and what a batch job does not get.
NOT_SENT = (
    "LSB_JOBID",
    "LSB_JOBNAME",
    "LSB_JOBFILENAME",
    "LSB_TRAPSIGS",
    "LSB_JOB_STARTER",
    "HOME",
    "PWD",
    "USER",
    "TERM",
)


def queue_value(line: str) -> str:
    """What mbatchd reads of a line of lsb.queues: a # outside of double quotation marks begins a comment."""
    kept, quoted = "", False
    for letter in line:
        if letter == "#" and not quoted:
            break
        quoted ^= letter == '"'
        kept += " " if letter.isspace() else letter
    return kept.partition("=")[2].strip()


def script(text: str) -> str:
    """`bsub < FILE` where the file's first line names an interpreter; without one its lines are the command."""
    if not text.startswith("#!"):
        return text
    end = "_USER_\\SCRIPT_"
    return f'cat <<"{end}" >$LSB_JOBFILENAME.shell\n{text}{end}\nchmod u+x $LSB_JOBFILENAME.shell{SCRIPT}'


def has_starter(stored: str, starter: str) -> bool:
    """Whether mbatchd believes that the starter has been put in already: it looks for the text, wherever it is."""
    head, keyword, tail = starter.partition(KEYWORD)
    if keyword and not head and not tail.strip():
        return False
    return head in stored and tail.lstrip() in stored


def with_starter(stored: str, starter: str) -> str:
    if not starter or has_starter(stored, starter):
        return stored
    head, keyword, tail = starter.partition(KEYWORD)
    at = stored.index("\n", stored.index(BEGIN)) + 1
    end = stored.index(WAIT, at - 1)
    found = stored.find(SCRIPT, at - 1)
    if found >= 0:
        at = found + 1
        end = stored.index("\n", at)
    return stored[:at] + head + ("" if keyword else " ") + stored[at:end] + tail + stored[end:]


@dataclass
class Job:
    """A job in mbatchd's hands. `stored` stays the same when it is requeued."""

    id: int
    stored: str
    command: str
    env: dict[str, str]
    index: int = 0

    def modify(self, command: str, starter: str) -> None:
        """bmod -Z: the queue's text as it is, %USRCMD and all, a blank, and the new command."""
        head, tail = self.stored.split(BEGIN)
        self.stored = f"{head}{BEGIN}{starter} {command}{WAIT}{tail.split(WAIT)[1]}"


@dataclass
class Lsf:
    """A queue with a starter, on a node."""

    node: Node
    starter: str
    user: str = "alice"
    last: int = 11
    jobs: list[Job] = field(default_factory=list)

    def bsub(self, command: str, index: int = 0, env: Mapping[str, str] | None = None) -> Job:
        sent = {name: value for name, value in (env or {}).items() if name not in NOT_SENT}
        lines = "".join(f"{name}='{value}'; export {name}\n" for name, value in sent.items())
        self.last += 1
        stored = f"#! /bin/sh\n\n{lines}{TRAPS}{BEGIN}{command}{WAIT}{EXIT}"
        job = Job(self.last, stored, command, sent, index)
        self.jobs.append(job)
        return job

    @property
    def directory(self) -> Path:
        return Path(pwd.getpwnam(self.user).pw_dir) / ".lsbatch"

    def dispatch(self, job: Job, env: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
        """The job file, as sbatchd leaves it: what it executes and in which environment."""
        account = pwd.getpwnam(self.user)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        path = self.directory / f"1700000000.{job.id}"
        text = with_starter(job.stored, self.starter)
        path.write_text("#! /bin/sh\n\n" + text[text.index(TRAPS) :])
        path.chmod(0o700)
        for made in (self.directory, path):
            os.chown(made, account.pw_uid, account.pw_gid)
        given = {
            **job.env,
            "LSB_JOBID": str(job.id),
            "LSB_JOBINDEX": str(job.index),
            "LSB_JOBFILENAME": str(path),
            "LSB_TRAPSIGS": "trap # 15 10 12 2 1",
            "LSB_QUEUE": "normal",
            **(env or {}),
        }
        if self.starter:
            given["LSB_JOB_STARTER"] = self.starter
        return [str(path)], given

    def run(
        self, command: str, *, stdin: str | None = None, index: int = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """bsub, and what the job printed."""
        return self.execute(self.bsub(command, index, env), stdin)

    def execute(self, job: Job, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        words, env = self.dispatch(job)
        more: dict[str, Any] = {} if stdin is None else {"stdin": stdin}
        return self.node.run(words, env=env, **more)

    def login_shell(self, job: Job, shell: str = "/bin/bash") -> subprocess.CompletedProcess[str]:
        """bsub -L: a login shell reads its commands, which call the job file. The submitter's variables are dropped,
        but for those in whose text (name or value) one of a few names occurs."""
        words, env = self.dispatch(job)
        kept = {name: value for name, value in env.items() if name not in job.env or "LOGNAME" in f"{name}={value}"}
        return self.node.run(["/bin/sh", "-c", f'exec "{shell}" -l'], env=kept, stdin=f"exec {words[0]}\n")

    def pre_exec(self, job: Job, command: str) -> subprocess.CompletedProcess[str]:
        """bsub -E: before the job file, as the user, with the job's variables."""
        return self.node.run(["/bin/sh", "-c", command], env=self.dispatch(job)[1])
