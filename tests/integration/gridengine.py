"""Grid Engine on this node: a master, an execution daemon and a queue `all.q`, on ports of their own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import LIMIT, free_port, run

COMMON = Path("/var/lib/gridengine/default/common")
SERVICES = Path("/etc/services")
_QUEUE = {
    "qname": "all.q",
    "hostlist": "node",
    "pe_list": "NONE",
    "load_thresholds": "NONE",
    "slots": "8",
    "shell_start_mode": "unix_behavior",
}
# Jobs are not to wait for the scheduler's next turn.
_SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}


class GridEngine:
    """A running cell. `environment` is what its commands need."""

    environment = {"SGE_ROOT": str(COMMON.parents[1]), "SGE_CELL": COMMON.parent.name}

    def command(self, *words: str, check: bool = True) -> str:
        """Run one of its commands as root; what it prints."""
        done = run(list(words), env={**os.environ, **self.environment})
        assert not check or done.returncode == 0, done
        return done.stdout

    def change(self, show: str, modify: str, changes: dict[str, str]) -> None:
        """Load what `qconf SHOW` prints, with these settings, by `qconf MODIFY FILE`."""
        text = self.command("qconf", *show.split())
        for key, value in changes.items():
            text = re.sub(rf"^{key}\s.*$", f"{key} {value}", text, flags=re.MULTILINE)
        path = Path("/tmp/qconf")
        path.write_text(text)
        self.command("qconf", modify, str(path))

    def queue(self, **changes: str) -> None:
        """Change settings of the queue."""
        self.change("-sq all.q", "-Mq", changes)

    def fresh(self) -> None:
        """One queue, without a starter: what earlier tests on this node have set is gone."""
        for name in self.command("qconf", "-sql").split():
            if name != "all.q":
                self.command("qconf", "-dq", name)
        self.queue(starter_method="NONE")

    def ready(self) -> bool:
        """Whether the queue takes jobs: its line then ends with the architecture, and has no state."""
        words = [line.split() for line in self.command("qstat", "-f").splitlines() if line.startswith("all.q@")]
        return len(words) == 1 and len(words[0]) == 5 and words[0][3] != "-NA-"


def _wait(what: str, check: Callable[[], object]) -> None:
    """Like wait_for, but each look costs a process, and may fail while the daemons start."""
    deadline = time.monotonic() + LIMIT
    while True:
        with contextlib.suppress(AssertionError):
            if check():
                return
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)


def _prepare() -> None:
    """Ports that are free, since the network is the machine's; this node is the master."""
    text = re.sub(r"^sge[-_](qmaster|execd)\s.*\n", "", SERVICES.read_text(), flags=re.MULTILINE)
    SERVICES.write_text(text + "".join(f"sge_{name} {free_port()}/tcp\n" for name in ("qmaster", "execd")))
    (COMMON / "act_qmaster").write_text("node\n")
    (COMMON / "host_aliases").write_text("node localhost\n")


def _configure(cell: GridEngine) -> None:
    """Only once a node: a cell that was ended and is started again knows it all."""
    if "node" not in cell.command("qconf", "-ss", check=False).split():
        cell.command("qconf", "-as", "node")
        cell.change("-ssconf", "-Msconf", _SCHEDULER)
        cell.change("-sq", "-Aq", _QUEUE)


@contextlib.contextmanager
def running() -> Iterator[GridEngine]:
    """Start the cell that the packages made, and end it. For a throwaway node, which is called `node`."""
    if not COMMON.is_dir():
        pytest.skip("Grid Engine is not installed (tools/deps batch)")
    _prepare()
    cell = GridEngine()
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> None:
        # SGE_ND: in the foreground, as a child that can be ended by its process id.
        environment = {**os.environ, **cell.environment, "SGE_ND": "1"}
        with Path(f"/tmp/{name}.log").open("wb") as log:
            command = [f"/usr/sbin/{name}"]
            daemons.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    try:
        start("sge_qmaster")
        _wait("the master of Grid Engine", lambda: cell.command("qconf", "-sh"))
        start("sge_execd")
        _wait("the execution daemon of Grid Engine", lambda: "node" in cell.command("qconf", "-sel").split())
        _configure(cell)
        _wait("a queue of Grid Engine", cell.ready)
        yield cell
    finally:
        for daemon in reversed(daemons):
            daemon.kill()  # they take nine seconds to end otherwise, and nothing is lost
        for daemon in daemons:
            daemon.wait(LIMIT)
