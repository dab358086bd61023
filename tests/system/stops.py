"""Launchers that stop at a named step of entering, for tests of what happens to them meanwhile: rule 29."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from attack_tools import Marker, clean

FAULTY, FAULTY_SUID = "/usr/bin/chos-fault", "/usr/bin/chos-fault-suid"  # built with -DCHOS_FAULT
ALICE = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups"]


def stopped(process: subprocess.Popen[str]) -> bool:
    """Wait until it stops, or ends."""
    info = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return info is not None and info.si_code == os.CLD_STOPPED


class Launch:
    """A launcher that has stopped at a step. Its command says where it is and whether it may gain rights."""

    def __init__(
        self,
        step: str,
        name: str = "one",
        program: str = FAULTY,
        wrapper: Sequence[str] = (),
        cwd: str = "/",
        command: str = "stat -L -c %i /proc/self/ns/mnt; grep NoNewPrivs /proc/self/status",
    ) -> None:
        self.marker = Marker()
        self.what = (step, program, *wrapper)
        say = f"{self.marker.command[2]}; {command}"
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*wrapper, *ALICE, program, "/bin/sh", "-c", say],
            env={"CHOS": name, "CHOS_STOP": step, "PATH": "/usr/bin:/bin"},
            cwd=cwd,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        assert stopped(self.process), f"it did not stop: {self.what} {self.process.communicate()}"

    def go_on(self) -> bool:
        """Let it go on; whether it stopped once more."""
        os.kill(self.process.pid, signal.SIGCONT)
        return stopped(self.process)

    def end(self) -> subprocess.CompletedProcess[str]:
        """Let it go on until it ends, however often it comes by its step."""
        while self.process.returncode is None and self.go_on():
            pass
        if self.process.returncode is None:
            self.output = self.process.communicate()
        return subprocess.CompletedProcess(self.what, self.process.returncode, *self.output)

    def refused(self, *words: str) -> None:
        """Nothing was executed, and chos said why."""
        self.marker.refused(self.end(), *words)

    def entered(self, namespace: int, *, no_new_privs: bool = False) -> None:
        """Its command ran, there and so."""
        result = self.end()
        assert self.marker.ran and result.returncode == 0, result
        clean(result.stderr)
        assert result.stdout.split() == [str(namespace), "NoNewPrivs:", str(int(no_new_privs))], result
