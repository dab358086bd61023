"""Whom sshd locks into a ChrootDirectory: as `sshd -T` itself says it, whichever way its configuration is written."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chosns.integrate.sshd_jails import Jail, jails

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
USERS = ("daemon", "bin", "games")  # with groups of their own names
ALL = set(USERS)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the user nobody can look into: where root asks sshd, it wants to be installed."""
    directory = Path(tempfile.mkdtemp(prefix="jails-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def said_by_sshd(place: Path, user: str) -> str:
    """The ChrootDirectory of a user; empty for none. Skips where there is no sshd."""
    if not SSHD:
        pytest.skip("no sshd: apt-get install openssh-server")
    nobody = 65534 if os.geteuid() == 0 else os.geteuid()
    key = place / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        os.chown(key, nobody, -1)
    asked = f"user={user},host=a.example,addr=10.0.0.1,laddr=10.0.0.2,lport=22"
    command = [SSHD, "-T", "-f", str(place / "sshd_config"), "-h", str(key), "-C", asked]
    done = subprocess.run(command, user=nobody, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = re.findall(r"^chrootdirectory (.*)$", done.stdout, re.MULTILINE)
    return "" if found.lower() == "none" else found


def covers(jail: Jail, user: str) -> bool:
    """Whether it is for this user, as far as names say."""
    if jail.users:
        return user in jail.users
    member = {group.gr_name for group in grp.getgrall() if user in group.gr_mem}
    return not jail.groups or bool({*member, grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name} & set(jail.groups))


def write(place: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("PLACE", str(place)).encode())


def names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def text_of(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError:
        return None


JAIL = "ChrootDirectory /x\n"
LINES = {
    # --- the keyword
    "plain": (JAIL, ALL),
    "none": ("ChrootDirectory none\n", set()),
    "None": ("ChrootDirectory None\n", set()),
    "capitals": ("CHROOTDIRECTORY /x\n", ALL),
    "quoted keyword": ('"ChrootDirectory" /x\n', ALL),
    "quoted keyword, no space": ('"ChrootDirectory"/x\n', ALL),
    "quotes within the keyword": ('Chroot"Directory" /x\n', ALL),
    "equals sign": ("ChrootDirectory=/x\n", ALL),
    "equals sign with spaces": ("ChrootDirectory = /x\n", ALL),
    "equals sign before the keyword": ("= ChrootDirectory /x\n", ALL),
    "indented": ("\t  ChrootDirectory\t/x\n", ALL),
    "of Windows": ("ChrootDirectory /x\r\n", ALL),
    "form feed": ("ChrootDirectory /x\f\n", ALL),
    "no newline": ("ChrootDirectory /x", ALL),
    "line separators of Unicode": ("Banner /a\u2028b\x0bc\x85d\nChrootDirectory /x\n", ALL),
    "comment": ("#ChrootDirectory /x\n  # ChrootDirectory /x\n", set()),
    "a quote that does not end": ('"ChrootDirectory /x\n', set()),
    # --- the value
    "quoted": ('ChrootDirectory "/x y"\n', ALL),
    "single quotes": ("ChrootDirectory '/x y'\n", ALL),
    "quoted none": ('ChrootDirectory "none"\n', set()),
    "none in pieces": ("ChrootDirectory n\"on\"'e'\n", set()),
    "escaped": ("ChrootDirectory /x\\ y\n", ALL),
    "a comment behind it": ("ChrootDirectory /x # all\n", ALL),
    "none with a comment": ("ChrootDirectory none # nobody\n", set()),
    "a sign that begins no comment": ("ChrootDirectory none#\n", ALL),
    # --- Match
    "user": (f"Match User daemon\n{JAIL}", {"daemon"}),
    "users": (f"Match User daemon,bin\n  {JAIL}", {"daemon", "bin"}),
    "case": (f"match uSER daemon\n{JAIL}", {"daemon"}),
    "case of a name": (f"Match User Daemon\n{JAIL}", set()),
    "group": (f"Match Group games\n{JAIL}", {"games"}),
    "user with equals sign": (f"Match User=bin\n{JAIL}", {"bin"}),
    "user with equals sign and spaces": (f"Match User = bin\n{JAIL}", {"bin"}),
    "quoted criterion": (f'Match "User" bin\n{JAIL}', {"bin"}),
    "quoted names": (f'Match User "bin,daemon"\n{JAIL}', {"bin", "daemon"}),
    "half quoted names": (f'Match User bin,"daemon"\n{JAIL}', {"bin", "daemon"}),
    "quoted names and another": (f'Match User "bin" Address 10.0.0.0/8\n{JAIL}', {"bin"}),
    "match with equals sign": (f"Match=User bin\n{JAIL}", {"bin"}),
    "quoted match": (f'"Match" User bin\n{JAIL}', {"bin"}),
    "all": (f"Match User bin\nX11Forwarding no\nMatch all\n{JAIL}", ALL),
    "all with a comment": (f"Match all # everybody\n{JAIL}", ALL),
    "a comment": (f"Match User bin # and no others\n{JAIL}", {"bin"}),
    "address and user": (f"Match Address 10.0.0.0/8 User bin\n{JAIL}", {"bin"}),
    "address": (f"Match Address 10.0.0.0/8\n{JAIL}", ALL),
    "local port and group": (f"Match LocalPort 22 Group bin\n{JAIL}", {"bin"}),
    "two blocks": (f"Match User bin\n{JAIL}Match User games\n{JAIL}", {"bin", "games"}),
    "of Windows, with Match": (f"Match User bin\r\n{JAIL}", {"bin"}),
}


@pytest.mark.parametrize(("text", "expected"), LINES.values(), ids=LINES)
def test_as_sshd_says(place: Path, text: str, expected: set[str]) -> None:
    write(place, {"sshd_config": text})
    assert {user for user in USERS if said_by_sshd(place, user)} == expected
    found = jails(text_of, names, str(place / "sshd_config"))
    assert {user for user in USERS if any(covers(jail, user) for jail in found)} == expected


FILES = {
    "one": ("Include PLACE/a.conf\n", {"a.conf": JAIL}, ALL),
    "two on a line": ("Include PLACE/a.conf PLACE/b.conf\n", {"a.conf": "", "b.conf": JAIL}, ALL),
    "quoted": ('"Include" "PLACE/a.conf"\n', {"a.conf": JAIL}, ALL),
    "quoted with a space": ('include="PLACE/a b/*"\n', {"a b/x": JAIL}, ALL),
    "escaped space": ("Include PLACE/a\\ b/*.conf\n", {"a b/x.conf": JAIL}, ALL),
    "pattern": ("Include PLACE/*.conf\n", {"a.conf": JAIL}, ALL),
    "pattern in a directory": ("Include PLACE/*/sshd.conf\n", {"x/sshd.conf": JAIL}, ALL),
    "patterns in all parts": ("Include PLACE/[a-c]?/*.d/*.conf\n", {"bx/y.d/z.conf": JAIL}, ALL),
    "another set": ("Include PLACE/[!a-c]*.conf\n", {"a.conf": JAIL, "d.conf": "Match User bin\n" + JAIL}, {"bin"}),
    "a caret": ("Include PLACE/[^a]*.conf\n", {"a.conf": JAIL}, ALL),
    "a bracket in a set": ("Include PLACE/[]x].conf\n", {"].conf": JAIL}, ALL),
    "a bracket that is none": ("Include PLACE/[a.conf\n", {"[a.conf": JAIL}, ALL),
    "an escaped star": ("Include 'PLACE/\\*.conf'\n", {"a.conf": JAIL, "b.conf": ""}, set()),
    "hidden": ("Include PLACE/*\n", {".a.conf": JAIL, "sub/.b": ""}, set()),
    "hidden and meant": ("Include PLACE/.*.conf\n", {".a.conf": JAIL}, ALL),
    "nothing there": ("Include PLACE/none/*.conf\n", {}, set()),
    "within Match": ("Match User bin\nInclude PLACE/a.conf\n", {"a.conf": JAIL}, {"bin"}),
    "Match ends with its file": ("Include PLACE/a.conf\n" + JAIL, {"a.conf": "Match User bin\n"}, ALL),
    "deep": ("Include PLACE/a.conf\n", {"a.conf": "Include PLACE/b.conf\n", "b.conf": JAIL}, ALL),
}


@pytest.mark.parametrize(("text", "files", "expected"), FILES.values(), ids=FILES)
def test_included_as_sshd_does(place: Path, text: str, files: dict[str, str], expected: set[str]) -> None:
    if text.endswith("PLACE/*\n"):
        place = place / "below"  # sshd's own configuration and key are no part of it
        place.mkdir(mode=0o755)
        text = text.replace("PLACE", "PLACE/conf")
        files = {f"conf/{name}": content for name, content in files.items() if "/" not in name}
    write(place, {"sshd_config": text, **files})
    assert {user for user in USERS if said_by_sshd(place, user)} == expected
    found = jails(text_of, names, str(place / "sshd_config"))
    assert {user for user in USERS if any(covers(jail, user) for jail in found)} == expected


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("User bin", "user in bin"),
        ("Group bin,games", "user ingroup bin:games"),
        ("User b*", ""),
        ("User !bin,*", ""),
        ('Group "domain users"', ""),  # would be two words for pam_succeed_if
        ("User bin,[x]", ""),
        ("Address 10.0.0.0/8", ""),
        ("invalid-user", ""),
    ],
)
def test_the_words_of_pam_succeed_if(condition: str, words: str) -> None:
    (jail,) = jails({"/c": f"Match {condition}\n{JAIL}"}.get, lambda _: [], "/c")
    assert jail.condition == words


def test_where_sshd_looks_for_what_is_relative() -> None:
    files = {"/etc/ssh/sshd_config": "Include sshd_config.d/*.conf\n", "/etc/ssh/sshd_config.d/a.conf": JAIL}
    found = jails(files.get, lambda directory: ["a.conf"] if directory == "/etc/ssh/sshd_config.d" else [])
    assert [jail.place for jail in found] == ["/etc/ssh/sshd_config.d/a.conf:1"]
