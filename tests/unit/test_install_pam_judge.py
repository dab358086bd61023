"""What `install pam` and `check` say of stacks that have our lines, and of sshd's ChrootDirectory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from chosns.doctor.pam import stacks_with_problems
from chosns.errors import ChosError
from chosns.integrate.model import ChangeList, FileEdit, Machine, Request
from chosns.integrate.pam import Pam
from chosns.integrate.pam_judge import AT_SETCRED, exposed, judge, needs_auth_line
from chosns.integrate.sshd_jails import Jail, jails

REPO = Path(__file__).resolve().parents[2]
AUTH = "-auth [default=ignore] pam_chos.so"
OLD = "session required pam_chos.so"
PLAIN = "auth required pam_unix.so\nsession required pam_unix.so\n"


def findings(service: str, **stacks: str) -> list[str]:
    return [str(finding) for finding in judge(service, stacks.get)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A root directory with stacks of sshd, cron and su, and a module of this architecture."""
    for directory in ("etc/pam.d", "etc/ssh/sshd_config.d", "usr/lib64/security"):
        (tmp_path / directory).mkdir(parents=True)
    for service in ("sshd", "cron", "su"):
        (tmp_path / "etc/pam.d" / service).write_text(PLAIN)
    with open("/proc/self/exe", "rb") as program:
        head = program.read(20)
    for name in ("pam_unix.so", "pam_chos.so"):
        (tmp_path / "usr/lib64/security" / name).write_bytes(head)
    for directory, _, _ in os.walk(tmp_path):
        os.chmod(directory, 0o755)
    return Machine(str(tmp_path), (os.getuid(), 0))


def write(machine: Machine, path: str, text: str) -> Path:
    file = Path(machine.root, path)
    file.write_text(text)
    return file


def planned(machine: Machine, *services: str, options: Sequence[str] = ()) -> ChangeList:
    return Pam().plan(machine, Request(services=services, options=tuple(options)))


def lines(plan: ChangeList) -> dict[str, tuple[str, ...]]:
    return {os.path.basename(edit.path): edit.lines for edit in plan.changes if isinstance(edit, FileEdit)}


# --- which services need what --------------------------------------------------------------------------------------


def test_the_same_services_as_in_the_module() -> None:
    table = (REPO / "pam/options.c").read_text()
    assert set(re.findall(r'\{"([\w-]+)", AT_SETCRED\}', table)) == set(AT_SETCRED)


def test_what_is_said_of_a_service_counts() -> None:
    assert needs_auth_line("sshd", ()) and not needs_auth_line("su", ())
    assert not needs_auth_line("sshd", ("enter=fork",)) and not needs_auth_line("sshd", ("debug", "enter=no"))
    assert needs_auth_line("my-host", ("enter=setcred", "debug"))


def test_both_lines(machine: Machine) -> None:
    made = lines(planned(machine, "sshd", "cron", "su"))
    assert made["sshd"][1] == made["cron"][1] == AUTH
    assert [len(made[service]) for service in ("sshd", "cron", "su")] == [3, 3, 2]
    assert all(edit[-1].startswith("-session [") for edit in made.values())
    assert AUTH not in lines(planned(machine, "sshd", options=["enter=no"]))["sshd"]


def test_an_older_installation_gets_the_auth_line(machine: Machine) -> None:
    for service in ("sshd", "su"):
        write(machine, f"etc/pam.d/{service}", f"{PLAIN}{OLD}\n")
    plan = planned(machine, "sshd", "su")
    assert lines(plan) == {"sshd": (AUTH,)}
    assert plan.present == ("/etc/pam.d/su:3",)
    write(machine, "etc/pam.d/sshd", f"{PLAIN}{OLD}\n{AUTH}\n")
    assert not planned(machine, "sshd", "su").changes


# --- the rest of the stack -----------------------------------------------------------------------------------------


def test_nothing_to_say() -> None:
    assert findings("sshd", sshd=PLAIN) == []
    assert findings("su", su=f"{PLAIN}{OLD}\n") == []
    assert findings("sshd", sshd=f"{PLAIN}{AUTH}\n{OLD}\n") == []


def test_what_acts_after_our_lines() -> None:
    text = f"{AUTH}\n{PLAIN}{OLD}\nsession include more\n"
    found = findings("sshd", sshd=text, more="session optional pam_exec.so /bin/true\n")
    assert found[0].startswith("more:1: pam_exec.so comes after pam_chos.so in sshd")
    assert found[1].startswith("sshd:2: pam_unix.so sets credentials after pam_chos.so: as root, and inside")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("auth sufficient pam_one.so", True),
        ("auth [success=done default=ignore] pam_one.so", True),
        ("auth [success=2 default=ignore] pam_one.so", True),
        ("auth [success=1 default=ignore] pam_one.so", False),
        ("auth required pam_one.so", False),
        ("auth substack inner", False),
        ("auth include inner", True),
    ],
)
def test_auth_lines_that_end_early(line: str, named: bool) -> None:
    """A jump over one line reaches ours, and a substack ends alone."""
    text = f"{line}\nauth required pam_permit.so\n{AUTH}\n{OLD}\n"
    found = findings("sshd", sshd=text, inner="auth sufficient pam_one.so\n")
    assert [bool("may end the auth lines" in one) for one in found] == [True] * named


def test_an_older_installation_is_named(machine: Machine) -> None:
    write(machine, "etc/pam.d/sshd", f"{PLAIN}{OLD}\n")
    (problem,) = stacks_with_problems(machine)
    assert "stay on the base" in problem.message and "chosctl install pam --service sshd" in problem.hint
    write(machine, "etc/pam.d/sshd", f"{PLAIN}{AUTH}\n{OLD}\n")
    assert list(stacks_with_problems(machine)) == []


# --- ChrootDirectory -----------------------------------------------------------------------------------------------

SSHD_CONFIG = """
Include /etc/ssh/sshd_config.d/*.conf
ChrootDirectory none
Match Group sftp,"upload" Address 10.0.0.0/8
    chrootdirectory="/srv/%u"
Match User=carl
    ChrootDirectory /srv/carl # his
Match all
    X11Forwarding no
"""


def read_jails(files: dict[str, str]) -> list[Jail]:
    return jails(files.get, lambda directory: [os.path.basename(f) for f in files if os.path.dirname(f) == directory])


def test_jails() -> None:
    found = read_jails(
        {
            "/etc/ssh/sshd_config": SSHD_CONFIG,
            "/etc/ssh/sshd_config.d/a.conf": "Match User x*\nChrootDirectory /x\n",
            "/etc/ssh/sshd_config.d/b.txt": "ChrootDirectory /y\n",
        }
    )
    assert [jail.place for jail in found] == [
        "/etc/ssh/sshd_config.d/a.conf:2",
        "/etc/ssh/sshd_config:5",
        "/etc/ssh/sshd_config:7",
    ]
    assert [jail.condition for jail in found] == ["", "user ingroup sftp:upload", "user in carl"]
    assert read_jails({"/etc/ssh/sshd_config": "ChrootDirectory /z\n"})[0].condition == ""


def test_a_configuration_that_includes_itself() -> None:
    assert read_jails({"/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config\nChrootDirectory /z\n"})


def test_who_is_in_a_jail_is_left_out(machine: Machine) -> None:
    config = "Match Group sftp\nChrootDirectory /srv\nMatch User carl,dora\nChrootDirectory /home\n"
    write(machine, "etc/ssh/sshd_config", config)
    plan = planned(machine, "sshd")
    assert lines(plan)["sshd"][2:4] == (
        "session [success=2 default=ignore] pam_succeed_if.so quiet user ingroup sftp",
        "session [success=1 default=ignore] pam_succeed_if.so quiet user in carl:dora",
    )
    assert [note.split(":")[1] for note in plan.notes] == ["2", "4"]
    (change,) = plan.changes
    write(machine, "etc/pam.d/sshd", change.after or "")
    assert list(stacks_with_problems(machine)) == []
    assert not planned(machine, "sshd").changes
    write(machine, "etc/ssh/sshd_config", config + "Match User eve\nChrootDirectory /home\n")
    (problem,) = stacks_with_problems(machine)
    assert "pam_succeed_if.so quiet user in eve" in problem.hint
    with pytest.raises(ChosError, match="looked up in the OS tree"):
        planned(machine, "sshd")


@pytest.mark.parametrize("config", ["ChrootDirectory /srv\n", "Match User *,!root\nChrootDirectory /srv\n"])
def test_who_is_in_a_jail_cannot_be_said(machine: Machine, config: str) -> None:
    """Refused, with a way out; the administrator's own line is taken; other services are not touched by it."""
    write(machine, "etc/ssh/sshd_config", config)
    with pytest.raises(ChosError, match="looked up in the OS tree") as error:
        planned(machine, "sshd", "su")
    assert "--service su" in error.value.hint and error.value.object.startswith("/etc/ssh/sshd_config:")
    assert lines(planned(machine, "su"))
    skip = "session [success=1 default=ignore] pam_listfile.so item=user sense=allow file=/etc/jailed onerr=fail"
    write(machine, "etc/pam.d/sshd", f"{PLAIN}{skip}\n")
    assert lines(planned(machine, "sshd"))


def test_a_jump_that_is_too_short() -> None:
    jail = Jail("config:1", users=("carl",))
    stack = (
        "session [success={} default=ignore] pam_succeed_if.so quiet user in carl\nsession required pam_x.so\n" + OLD
    )
    assert exposed([jail], "sshd", {"sshd": stack.format(1)}.get) == [jail]
    assert exposed([jail], "sshd", {"sshd": stack.format(2)}.get) == []
    other = stack.format(2).replace("in carl", "in carla")
    assert exposed([jail], "sshd", {"sshd": other}.get) == [jail]


# --- what a stack includes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "writable", "link out", "directory", "directory writable"])
@pytest.mark.parametrize("where", ["auth include part", "@include part", "session include sub"])
def test_unsafe_includes(machine: Machine, kind: str, where: str) -> None:
    """Root's sessions would be tried with them: refused before that, however deep they are, without waiting for one."""
    write(machine, "etc/pam.d/su", f"{PLAIN}{where}\n")
    write(machine, "etc/pam.d/sub", "session include part\n")
    part = Path(machine.root, "etc/pam.d/part")
    if kind == "fifo":
        os.mkfifo(part)
    elif kind == "directory":
        part.mkdir()
    elif kind == "link out":
        place = Path(machine.root, "tmp")
        place.mkdir()
        place.chmod(0o1777)
        (place / "part").write_text("session required pam_permit.so\n")
        part.symlink_to("/tmp/part")
    else:
        part.write_text("session required pam_permit.so\n")
        if kind == "writable":
            part.chmod(0o666)
        elif kind == "directory writable":
            part.parent.chmod(0o777)
    with pytest.raises(ChosError):
        planned(machine, "su")


def test_a_link_of_authselects_is_included(machine: Machine) -> None:
    write(machine, "etc/pam.d/su", f"{PLAIN}auth include part\n")
    Path(machine.root, "etc/authselect").mkdir(mode=0o755)
    write(machine, "etc/authselect/part", "auth required pam_unix.so\n")
    Path(machine.root, "etc/pam.d/part").symlink_to("/etc/authselect/part")
    assert lines(planned(machine, "su"))
