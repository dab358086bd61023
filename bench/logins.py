"""What a login into an environment costs: a PAM session by itself, and `ssh HOST true`.

Both run with and without pam_chos.so, interleaved, as a user whose ~/.chos names the environment; nothing else differs.
Its tree is the node's own root, so the same shell and the same command run in both.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from report import Criterion, Report, Samples, Table, spread
from stand import Stand, run

# Two with nothing: they tell how much of a difference is the machine's.
_PLAIN, _AGAIN, _CHOS = "without", "the same again", "with pam_chos.so"
_SERVICES = {_PLAIN: "bench-plain", _AGAIN: "bench-again", _CHOS: "bench-chos"}
_STACK = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
_LINE = "auth optional pam_chos.so\nsession required pam_chos.so onerr=deny enter={moment}\n"
_SSHD = "/usr/sbin/sshd"


def measure(stand: Stand, report: Report) -> None:
    """See the module."""
    if not (stand.tools / "sessions").exists():
        report.tables.append(Table("Logins", ("",), [], ("not measured: pam_chos.so is not here (make build)",)))
        return
    _write_stacks("fork")
    Path("/home/bench/.chos").write_text("base\n")
    stand.up()
    _sessions(stand, report)
    if not (Path(_SSHD).exists() and shutil.which("ssh")):
        report.tables.append(Table("ssh login", ("",), [], ("not measured: needs OpenSSH's server and client",)))
        return
    _write_stacks("setcred")
    clients = _clients(stand)
    _same_place_but_for_chos(clients)
    _logins(stand, report, {label: [*client, "true"] for label, client in clients.items()})


def _write_stacks(moment: str) -> None:
    """With pam_chos.so entering at this moment."""
    for label, service in _SERVICES.items():
        line = _LINE.format(moment=moment) if label == _CHOS else ""
        Path("/etc/pam.d", service).write_text(_STACK + line)


def _sessions(stand: Stand, report: Report) -> None:
    rounds = str(stand.count(3000, 100))
    output = run(str(stand.tools / "sessions"), rounds, "bench", *_SERVICES.values())
    columns = [
        Samples(tuple(values))
        for values in zip(*([int(word) / 1000 for word in x.split()] for x in output.splitlines()))
    ]
    opened, closed = dict(zip(_SERVICES, columns[0::2])), dict(zip(_SERVICES, columns[1::2]))
    note = "In a new process for each: modules loaded, session opened, a process of its own; closed, modules unloaded."
    for what, times in (("opening", opened), ("closing", closed)):
        report.tables.append(_table(f"A PAM session by itself, {what}", times, (note,) if what == "closing" else ()))
    report.data["sessions"] = {
        "open": {label: samples.summary() for label, samples in opened.items()},
        "close": {label: samples.summary() for label, samples in closed.items()},
    }


def _logins(stand: Stand, report: Report, commands: dict[str, list[str]]) -> None:
    times = stand.time(commands, stand.count(300, 20), root=True)
    note = "A client and an sshd each: key exchange, session, `true` by the login shell. All else in the stack permits."
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


def _clients(stand: Stand) -> dict[str, list[str]]:
    """For each service a client with an sshd of its own, which takes the service's name from its own name.

    sshd delays every public key that is tried by a time that it has drawn, some milliseconds; so nobody is asked for
    one. It talks to its client through a pipe: nobody else can reach it.
    """
    directory = stand.tools / "ssh"
    directory.mkdir()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "host"))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    configuration = directory / "sshd"
    configuration.write_text(f"HostKey {directory}/host\nUsePAM yes\nPermitEmptyPasswords yes\n")
    for service in _SERVICES.values():
        (directory / service).symlink_to(_SSHD)
        (directory / f"{service}.client").write_text(
            f"ProxyCommand env -u CHOS {directory / service} -i -f {configuration}\n"
            "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nBatchMode yes\n"
        )
    return {
        label: ["/usr/bin/ssh", "-F", str(directory / f"{service}.client"), "bench@bench"]
        for label, service in _SERVICES.items()
    }


def _same_place_but_for_chos(commands: dict[str, list[str]]) -> None:
    """What is measured is what is meant."""
    here = os.readlink("/proc/self/ns/mnt")
    for label, command in commands.items():
        there = run(*command, "readlink /proc/self/ns/mnt").strip()
        assert there.startswith("mnt:") and (there != here) is (label == _CHOS), (label, there, here)
