"""What a login into an environment costs: a PAM session by itself, and `ssh true` over the loopback address.

Both run with and without pam_chos.so, interleaved, as a user whose ~/.chos names the environment; nothing else differs.
Its tree is the node's own root, so the same shell and the same command run in both.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from report import Criterion, Report, Samples, Table, spread
from stand import Stand, run

# Two with nothing: they tell how much of a difference is the machine's.
_PLAIN, _AGAIN, _CHOS = "without", "the same again", "with pam_chos.so"
_SERVICES = {_PLAIN: "bench-plain", _AGAIN: "bench-again", _CHOS: "bench-chos"}
_STACK = "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
_LINE = "session required pam_chos.so onerr=deny\n"
_HOME = Path("/home/bench")
_SSHD = "/usr/sbin/sshd"
_PATIENCE = 20


def measure(stand: Stand, report: Report) -> None:
    """See the module."""
    if not (stand.tools / "sessions").exists():
        report.tables.append(Table("Logins", ("",), [], ("not measured: pam_chos.so is not here (make build)",)))
        return
    for label, service in _SERVICES.items():
        Path("/etc/pam.d", service).write_text(_STACK + (_LINE if label == _CHOS else ""))
    (_HOME / ".chos").write_text("base\n")
    stand.up()
    _sessions(stand, report)
    if not (Path(_SSHD).exists() and shutil.which("ssh")):
        report.tables.append(Table("ssh login", ("",), [], ("not measured: needs OpenSSH's server and client",)))
        return
    with _daemons(stand) as ports:
        commands = {label: _client(stand, port) for label, port in ports.items()}
        _same_place_but_for_chos(commands)
        _logins(stand, report, {label: [*command, "true"] for label, command in commands.items()})


def _sessions(stand: Stand, report: Report) -> None:
    rounds = "100" if stand.quick else "3000"
    output = run(str(stand.tools / "sessions"), rounds, "bench", *_SERVICES.values())
    columns = [
        Samples(tuple(values))
        for values in zip(*([int(word) / 1000 for word in x.split()] for x in output.splitlines()))
    ]
    opened, closed = dict(zip(_SERVICES, columns[0::2])), dict(zip(_SERVICES, columns[1::2]))
    note = "In a new process for each: modules are loaded, the session is opened; it is closed, modules are unloaded."
    for what, times in (("opening", opened), ("closing", closed)):
        report.tables.append(_table(f"A PAM session by itself, {what}", times, (note,) if what == "closing" else ()))
    report.data["sessions"] = {
        "open": {label: samples.summary() for label, samples in opened.items()},
        "close": {label: samples.summary() for label, samples in closed.items()},
    }


def _logins(stand: Stand, report: Report, commands: dict[str, list[str]]) -> None:
    times = stand.time(commands, 10 if stand.quick else 400)
    note = (
        "One connection each: key exchange, session, `true` by the login shell. What else is in the stack permits all."
    )
    report.tables.append(_table("ssh login", times, (note,)))
    report.criteria.append(Criterion("added to an ssh login", times[_CHOS].added(times[_PLAIN]) / 1000, 1, " ms"))
    report.data["ssh"] = {label: samples.summary() for label, samples in times.items()}


def _table(title: str, times: dict[str, Samples], notes: tuple[str, ...]) -> Table:
    base = times[_PLAIN]
    rows = [
        (
            label,
            f"{samples.median:.1f}",
            spread(samples),
            "" if samples is base else f"{samples.added(base):+.1f}",
            str(len(samples.values)),
        )
        for label, samples in times.items()
    ]
    return Table(title, ("", "µs", "quartiles", "added", "samples"), rows, notes)


@contextlib.contextmanager
def _daemons(stand: Stand) -> Iterator[dict[str, int]]:
    """An sshd for each service, and its port. It takes the service's name from its own."""
    directory = stand.tools / "ssh"
    directory.mkdir()
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    os.chown(directory / "user", stand.uid, -1)
    (directory / "client").write_text(
        f"IdentityFile {directory}/user\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
        "LogLevel ERROR\nBatchMode yes\n"
    )
    run("usermod", "-p", "*", "bench")  # an account that is locked is refused
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    running: list[subprocess.Popen[bytes]] = []
    ports: dict[str, int] = {}
    try:
        for label, service in _SERVICES.items():
            program = directory / service
            program.symlink_to(_SSHD)
            ports[label] = port = _free_port()
            (directory / f"{service}.conf").write_text(
                f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\n"
                f"AuthorizedKeysFile {directory}/user.pub\n"
                "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nStrictModes no\nPidFile none\n"
            )
            command = [str(program), "-D", "-f", str(directory / f"{service}.conf")]
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"))
            _await(port)
        yield ports
    finally:
        for daemon in running:
            daemon.terminate()
            daemon.wait()


def _client(stand: Stand, port: int) -> list[str]:
    return ["/usr/bin/ssh", "-F", str(stand.tools / "ssh/client"), "-p", str(port), "bench@127.0.0.1"]


def _same_place_but_for_chos(commands: dict[str, list[str]]) -> None:
    """What is measured is what is meant."""
    here = os.readlink("/proc/self/ns/mnt")
    for label, command in commands.items():
        there = run(*command, "readlink /proc/self/ns/mnt").strip()
        assert there.startswith("mnt:") and (there != here) is (label == _CHOS), (label, there, here)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise SystemExit("bench: sshd does not listen")
        time.sleep(0.02)
