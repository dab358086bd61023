"""The registry's files, to the byte: docs/registry.md is what C reads by."""

from __future__ import annotations

import os
import re
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chosns.model import ESCAPED_MAX, NAME_PATTERN, Environment, LoginShell, Origin, Policy, escape_name
from chosns.registry.formats import acl, base_text, login_text, policy_text

ORIGIN = Origin("/etc/chos", 1)
LINES = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=["Cs"]))


def test_policy_of_a_plain_environment() -> None:
    env = Environment("el9", "/os/el9", ORIGIN)
    assert policy_text(env, "el9", "7", (52, 1)) == "chos-policy 1\nname=el9\ngeneration=7\nroot=52 1\nno_new_privs=0\n"


def test_policy_with_everything() -> None:
    policy = Policy(no_new_privs=True, linux32=True, uname26=True, nosuid=False, nodev=False, read_only=True)
    variables = (("LANG", "C.UTF-8"), ("A", " b = c "), ("E", ""))
    env = Environment("el9", "/os/el9", ORIGIN, policy=policy, variables=variables)
    assert policy_text(env, "%2Fauto%2Frh73", "12", (2**40, 2**60)) == (
        "chos-policy 1\nname=%2Fauto%2Frh73\ngeneration=12\nroot=1099511627776 1152921504606846976\nno_new_privs=1\n"
        "personality=linux32,uname26\nsetenv=LANG=C.UTF-8\nsetenv=A= b = c \nsetenv=E=\n"
    )


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (Policy(linux32=True), "linux32"),
        (Policy(uname26=True), "uname26"),
        (Policy(linux32=True, uname26=True), "linux32,uname26"),
        (Policy(), None),
    ],
)
def test_personality(policy: Policy, line: str | None) -> None:
    text = policy_text(Environment("a", "/a", ORIGIN, policy=policy), "a", "1", (1, 2))
    assert re.findall("^personality=(.*)$", text, re.MULTILINE) == ([line] if line else [])


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), LINES, max_size=5),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)
def test_policy_can_be_read_back(variables: dict[str, str], device: int, inode: int) -> None:
    """As C does it: lines at newlines only, keys up to the first `=`, blanks kept."""
    env = Environment("a", "/a", ORIGIN, variables=tuple(variables.items()))
    text = policy_text(env, "a", "1", (device, inode))
    assert text.endswith("\n")
    first, *lines = text[:-1].split("\n")
    assert first == "chos-policy 1"
    pairs = [line.split("=", 1) for line in lines]
    assert ["root", f"{device} {inode}"] in pairs
    found = [tuple(value.split("=", 1)) for key, value in pairs if key == "setenv"]
    assert found == list(variables.items())
    once = [key for key, _ in pairs if key != "setenv"]
    assert len(once) == len(set(once))


def test_login() -> None:
    assert login_text(LoginShell()) == "chos-login 1\nbashlogin=0\npath=1\n"
    login = LoginShell(keep=("CHOS", "HOME"), set_path=False, bashlogin=True)
    assert login_text(login) == "chos-login 1\nbashlogin=1\npath=0\nkeep=CHOS\nkeep=HOME\n"


def test_base() -> None:
    root = os.stat("/")
    namespace = int(re.findall(r"\d+", os.readlink("/proc/self/ns/mnt"))[0])
    assert base_text() == f"chos-base 1\nns={namespace}\nroot={root.st_dev} {root.st_ino}\n"


def test_acl_to_the_byte() -> None:
    assert acl([1000, 5]) == bytes.fromhex(
        "02000000"  # version
        "01000700ffffffff"  # user::rwx
        "04000000ffffffff"  # group::---
        "0800050005000000"  # group:5:r-x
        "08000500e8030000"  # group:1000:r-x
        "10000500ffffffff"  # mask::r-x
        "20000000ffffffff"  # other::---
    )


@given(st.lists(st.integers(0, 2**32 - 2), max_size=20))
def test_acl_grants_each_group_once_and_nobody_else(groups: list[int]) -> None:
    blob = acl(groups)
    entries = list(struct.iter_unpack("<HHI", blob[4:]))
    assert [gid for tag, _, gid in entries if tag == 0x08] == sorted(set(groups))
    assert {perm for tag, perm, _ in entries if tag == 0x08} <= {5}
    assert [perm for tag, perm, _ in entries if tag == 0x20] == [0]
    assert [tag for tag, _, _ in entries] == sorted(tag for tag, _, _ in entries)  # posix_acl_valid() wants this order


# escape_name


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("el9", "el9"),
        ("a.b_c-D", "a.b_c-D"),
        ("/", "%2F"),
        ("/auto/rh73", "%2Fauto%2Frh73"),
        ("/a b%", "%2Fa%20b%25"),
        ("/é", "%2F%C3%A9"),
        ("/\udcff", "%2F%FF"),
        ("x" * 64, "x" * 64),
    ],
)
def test_escaped_names(name: str, escaped: str) -> None:
    assert escape_name(name) == escaped


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "_a",
        "a/b",
        "a b",
        "a\n",
        "el9\n",
        "x" * 65,
        "é",
        "%2F",
        "/a\0",
        "/a\nb",
        "/" + "x" * 253,
        "/" + " " * 85,
        "../x",
    ],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="."):
        escape_name(name)


def test_the_longest_path() -> None:
    assert len(escape_name("/" + "x" * 252)) == ESCAPED_MAX == 255


ALIASES = st.from_regex(NAME_PATTERN, fullmatch=True) | LINES.map(lambda text: "/" + text)


def _escaped(name: str) -> str:
    try:
        return escape_name(name)
    except ValueError:
        assume(False)
        raise


@given(ALIASES, ALIASES)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (_escaped(one) == _escaped(other)) == (one == other)


@given(ALIASES)
def test_an_escaped_name_is_a_legal_file_name(name: str) -> None:
    escaped = _escaped(name)
    assert re.fullmatch(r"(?:[A-Za-z0-9._-]|%[0-9A-F]{2}){1,255}", escaped)
    assert len(escaped) <= ESCAPED_MAX
    assert escaped.startswith("%2F") == name.startswith("/")
    assert (escaped == name) == bool(NAME_PATTERN.fullmatch(name))
    assert escaped not in (".", "..")


@given(st.text(max_size=12))
def test_any_text_is_a_name_or_is_refused(name: str) -> None:
    try:
        escaped = escape_name(name)
    except ValueError:
        return
    assert NAME_PATTERN.fullmatch(escaped) or escaped.startswith("%2F")
