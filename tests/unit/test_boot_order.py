"""What starts users' processes starts after the environments are there: the unit's and the init script's ordering."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
# Logins of every kind; and each batch system, cron and at by the names that distributions and vendors give them.
MUST_WAIT = {
    "systemd-user-sessions",
    "ssh",
    "sshd",
    "cron",
    "crond",
    "atd",
    "slurmd",
    "pbs",
    "pbs_mom",
    "gridengine-exec",
    "sge_execd",
    "sgeexecd",
    "condor",
    "lsfd",
    "globus-gatekeeper",
    "arc-arex",
}


def unit(key: str) -> list[str]:
    """The words behind a key of the unit, all its lines together."""
    text = (PACKAGING / "systemd/chos.service.in").read_text()
    assert "\\\n" not in text, "this reader knows no continued lines"
    return [word for line in re.findall(rf"^{key}=(.*)$", text, re.MULTILINE) for word in line.split()]


def script(key: str) -> list[str]:
    """The words behind a key of the init script's header."""
    header = (PACKAGING / "sysv/chos.in").read_text().partition("### BEGIN INIT INFO")[2].partition("### END")[0]
    return [word for line in re.findall(rf"^# {key}:(.*)$", header, re.MULTILINE) for word in line.split()]


def test_the_unit_comes_first() -> None:
    before = unit("Before")
    assert MUST_WAIT.issubset(name[: -len(".service")] for name in before)
    assert len(set(before)) == len(before) and all(name.endswith(".service") for name in before)


def test_the_unit_comes_after_what_environments_are_made_of() -> None:
    assert {"local-fs.target", "remote-fs.target", "autofs.service", "nss-user-lookup.target"} <= set(unit("After"))
    assert not set(unit("After")) & set(unit("Before"))
    # An ordering before what comes before every service would be a loop, which systemd breaks at a place of its choice.
    early = {"basic.target", "sockets.target", "sysinit.target", "ssh.socket", "sshd.socket"}
    assert not early & set(unit("Before"))


def test_the_init_script_comes_first() -> None:
    before = script("X-Start-Before")
    assert {f"{name}.service" for name in before} <= set(unit("Before")), "both say the same"
    assert MUST_WAIT - {"systemd-user-sessions"} <= set(before)
