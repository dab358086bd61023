"""ARC's computing element on this node: A-REX with its REST interface and the batch system `fork`."""

from __future__ import annotations

import contextlib
import pwd
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import free_port, run, wait_for
from grid_ca import GRIDMAP, SECURITY, Authority

START = Path("/usr/share/arc/arc-arex-start")
CONFIGURATION = Path("/etc/arc.conf")
STARTERS = Path("/usr/lib/chos/starters/arc")
CONTROL = Path("/var/spool/arc/jobstatus")
SESSIONS = Path("/var/spool/arc/sessiondir")
_LIMIT = 60
_RTE = ("arcctl", "rte")
_CONF = f"""[common]
hostname = localhost
x509_host_key = {SECURITY}/hostkey.pem
x509_host_cert = {SECURITY}/hostcert.pem
x509_cert_dir = {SECURITY}/certificates
[authgroup:users]
file = {SECURITY}/subjects
[mapping]
map_with_file = users {GRIDMAP}
[lrms]
lrms = fork
[arex]
controldir = {CONTROL}
sessiondir = {SESSIONS}
wakeupperiod = 1
[arex/ws]
wsurl = https://localhost:PORT/arex
[arex/ws/jobs]
allowaccess = users
[infosys]
[infosys/glue2]
[infosys/cluster]
[queue:fork]
"""


class Arex:
    """A running A-REX, and clients that reach it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"https://localhost:{port}/arex"

    def submit(self, user: str, xrsl: str) -> str:
        """Submit a job; its number."""
        home = pwd.getpwnam(user).pw_dir
        command = ["runuser", "-u", user, "--", "arcsub", "-T", "arcrest", "-C", self.endpoint, "-e", xrsl]
        done = run(command, env={"HOME": home, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        found = re.search(r"jobid: \S+/(\S+)", done.stdout)
        assert found, done
        return found.group(1)

    def said(self, job: str) -> str:
        """What a job printed in its session directory, and then its errors. Its script notes when it has ended."""
        wait_for(lambda: "exitcode=" in _text(SESSIONS / f"{job}.diag") + _text(CONTROL / f"job.{job}.diag"), job)
        return _text(SESSIONS / job / "out") + _text(SESSIONS / job / "err")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(directory: Path, *users: str) -> Iterator[Arex]:
    """A-REX for these users. ENV/CHOS is there for those who ask for it. `directory` gets the authority's files."""
    if not START.exists():
        pytest.skip("ARC is not installed (tools/deps batch)")
    Authority(directory, *users)
    subjects = re.findall(r'".*"', GRIDMAP.read_text())
    (SECURITY / "subjects").write_text("\n".join(subjects) + "\n")
    port = free_port()
    CONFIGURATION.write_text(_CONF.replace("PORT", str(port)))
    for place in (CONTROL, SESSIONS, Path("/var/log/arc")):
        place.mkdir(parents=True, exist_ok=True)
    # Before the start: what it does not advertise is not matched, and it looks once a minute. On request, not for all.
    for command in (["chosctl", "install", "arc"], [*_RTE, "undefault", "ENV/CHOS"], [*_RTE, "enable", "ENV/CHOS"]):
        done = run(command)
        assert done.returncode == 0, done
    # Else its start script makes some of its own, of 4096 bits, in the background.
    group = ["-pkeyopt", "group:ffdhe2048", "-out", str(CONTROL / "dhparam.pem")]
    subprocess.run(["openssl", "genpkey", "-genparam", "-algorithm", "DH", *group], check=True)
    # In the foreground, so that they are children that can be ended.
    daemons = [_start([str(START), "-f"]), _start([str(START.with_name("arc-arex-ws-start")), "-f"])]
    try:
        wait_for(lambda: _listens(port) and (CONTROL / "info.xml").exists(), "A-REX")
        yield Arex(port)
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(_LIMIT)
        run(["chosctl", "install", "arc", "--undo"])
