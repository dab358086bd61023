"""pbs_mom of OpenPBS 23.06 as far as a hook of execjob_launch meets it, and qmgr with its server's words.

Written after src/resmom/start_exec.c (finish_exec, start_process) and src/server/hook_func.c of openpbs: a job's shell
goes to the hook without arguments, and gets its name with a dash afterwards, where none came back; the shell reads the
name of the job's file from its standard input; a program that is named itself (qsub -- PROGRAM) keeps its arguments.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

from daemons import Node

STARTER = Path("/usr/lib/chos/starters/pbs/chos_launch.py")
JOBS = Path("/var/spool/pbs/mom_priv/jobs")

QMGR = '''#!/usr/bin/python3
"""Stands for OpenPBS's qmgr: one server's hooks, in a file."""
import json, os, re, sys
path = "/tmp/qmgr.json"
hooks = json.load(open(path)) if os.path.exists(path) else {}
command = sys.argv[2]
verb, name = re.match(r"(\\w+) hook (\\w+)", command).groups()
def fails(text):
    sys.exit(f"qmgr obj={name} svr=default: {text}\\nqmgr: hook error returned from server")
if os.path.exists("/tmp/qmgr-conf") and os.environ.get("PBS_CONF_FILE") != open("/tmp/qmgr-conf").read():
    sys.exit("qmgr: cannot connect to server  (errno=15010)")
if os.path.exists("/tmp/qmgr-nobody"):
    sys.exit(f"qmgr obj={name} svr=default: Unauthorized Request\\nqmgr: unauthorized request")
if verb == "create":
    if os.path.exists("/tmp/qmgr-pending"):
        fails(f"hook name '{name}' is pending delete, try another name")
    if name in hooks:
        fails(f"hook name '{name}' already registered, try another name")
    hooks[name] = {"event": command.partition("event=")[2], "enabled": "true", "script": None}
elif name not in hooks:
    fails("hook not found" if verb == "list" else f"{name} does not exist!")
elif verb == "delete":
    del hooks[name]
elif verb == "set":
    hooks[name].update(pair.split("=") for pair in command.split(None, 3)[3].split(","))
elif verb == "import":
    if os.path.exists("/tmp/qmgr-broken"):
        fails("Failed to compile script")
    hooks[name]["script"] = open(command.split()[-1]).read()
elif verb == "export":
    if hooks[name]["script"] is None:
        fails(f"open /var/spool/pbs/server_priv/hooks/{name}.PY failed: No such file or directory")
    print(hooks[name]["script"])
else:
    print("Hook " + name)
    for key, value in {"type": "site", "enabled": hooks[name]["enabled"], "event": hooks[name]["event"],
                       "user": "pbsadmin", "alarm": "30", "order": "1", "debug": "false"}.items():
        print(f"    {key} = {value}")
json.dump(hooks, open(path, "w"))
'''


@dataclass
class Event:
    """pbs.event() of an execjob_launch hook: what it may read and change, and its two ends."""

    progname: str
    argv: list[str]
    env: dict[str, str]
    message: str | None = None

    def accept(self) -> None:
        raise SystemExit

    def reject(self, message: str) -> None:
        self.message = message
        raise SystemExit


def hook(event: Event, text: str | None = None) -> Event:
    """pbs_mom runs the hook's text, with the module `pbs`. An exception would be a rejection."""
    module = types.ModuleType("pbs")
    module.event = lambda: event  # type: ignore[attr-defined]
    sys.modules["pbs"] = module
    try:
        exec(compile(text or STARTER.read_text(), "chos_launch", "exec"), {"__name__": "__main__"})
        raise AssertionError("the hook neither accepts nor rejects")
    except SystemExit:
        pass
    finally:
        del sys.modules["pbs"]
    return event


@dataclass
class Job:
    """A batch job of alice's. `executable`: qsub -- PROGRAM ARGUMENTS; `hooked`: whether this node has the hook."""

    node: Node
    script: str = ""
    shell: str = "/bin/sh"
    env: dict[str, str] = field(default_factory=dict)
    executable: tuple[str, ...] = ()
    text: str | None = None
    hooked: bool = True
    id: str = "3.server"

    def run(self) -> subprocess.CompletedProcess[str]:
        """finish_exec. A rejected job has no process: status -1, the message as its errors."""
        env = {"PBS_JOBID": self.id, "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_QUEUE": "workq", **self.env}
        event = Event(self.executable[0] if self.executable else self.shell, list(self.executable), env)
        if self.hooked:
            hook(event, self.text)
        if event.message is not None:
            return subprocess.CompletedProcess([], -1, "", event.message)
        # set_credential: it is not asked to where the job names its program
        argv = event.argv or [f"-{os.path.basename(event.progname)}"]
        file = JOBS / f"{self.id}.SC"
        JOBS.mkdir(parents=True, exist_ok=True)
        file.write_text(self.script)
        file.chmod(0o700)
        os.chown(file, pwd.getpwnam("alice").pw_uid, pwd.getpwnam("alice").pw_gid)
        try:
            command = ["/bin/bash", "-c", 'name=$1 program=$2; shift 2; exec -a "$name" "$program" "$@"', "mom"]
            return self.node.run([*command, argv[0], event.progname, *argv[1:]], env=env, stdin=f"{file}\n")
        finally:
            file.unlink()
