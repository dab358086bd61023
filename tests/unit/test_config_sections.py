"""/etc/chos.d/*.toml: what is understood, and what is said about the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config.sections import Section, SectionFile, Unread, parse_sections
from chosns.model import ExtraBind, Origin, Policy

FILE = "/etc/chos.d/a.toml"

WHOLE = """\
[environment.el9]
description = "Enterprise Linux 9"
bindmap = "cluster"
groups = ["users", "atlas"]

[environment.el9.policy]
nosuid = false
nodev = false
read_only = true
no_new_privs = true
personality = ["linux32", "uname26"]

[environment.el9.env]
LANG = "C.UTF-8"
_X1 = ""

[[environment.el9.bind]]
source = "/scratch/local"

[[environment.el9.bind]]
source = "/opt/vendor"
target = "/opt/v"
read_only = true
optional = true
devices = true
"""


def said(file: SectionFile) -> list[tuple[int, str, str]]:
    assert all(problem.severity.value == "error" for problem in file.problems)
    return [(p.origin.line, p.message, p.hint) for p in file.problems]


def test_the_whole_format() -> None:
    file = parse_sections(WHOLE, FILE)
    assert file.problems == () and file.unread is None
    assert file.sections == (
        Section(
            name="el9",
            origin=Origin(FILE, 1),
            description="Enterprise Linux 9",
            bindmap="cluster",
            bindmap_origin=Origin(FILE, 3),
            groups=("users", "atlas"),
            policy=Policy(False, False, True, True, True, True),
            binds=(
                ExtraBind("/scratch/local", "/scratch/local", origin=Origin(FILE, 17)),
                ExtraBind("/opt/vendor", "/opt/v", True, True, True, Origin(FILE, 20)),
            ),
            variables=(("LANG", "C.UTF-8"), ("_X1", "")),
        ),
    )


def test_an_empty_section_is_all_defaults() -> None:
    (section,) = parse_sections("[environment.el9]\n", FILE).sections
    assert section == Section("el9", Origin(FILE, 1), bindmap_origin=Origin(FILE, 1))
    assert section.policy == Policy() and section.policy.nosuid and section.policy.nodev


def test_personality_as_a_word() -> None:
    (section,) = parse_sections('[environment.a.policy]\npersonality = "uname26"\n', FILE).sections
    assert section.policy == Policy(uname26=True)


@pytest.mark.parametrize(
    ("body", "line", "message", "hint"),
    [
        ('group = ["x"]', 2, 'unknown key "group" in [environment.el9]', 'did you mean "groups"?'),
        ('tree = "/os/el9"', 2, 'unknown key "tree" in [environment.el9]', "NAME:TREE"),
        ("2.policy.nodev = true", 2, 'unknown key "2" in [environment.el9]', '[environment."el9.2"]'),
        ("xyzzy = 1", 2, 'unknown key "xyzzy" in [environment.el9]', "known: description, bindmap"),
        ("groups = []", 2, "groups is empty", "leave it out to admit everyone"),
        ('groups = "users"', 2, "groups must be an array, not a string", ""),
        ('groups = [\n"a",\n1]', 4, "groups must hold strings, not a number", ""),
        ('groups = ["a",\n"b:c"]', 3, '"b:c" is not the name of a group', ""),
        ("description = 1", 2, "description must be a string, not a number", ""),
        ('description = "a\\nb"', 2, "description must not contain control characters", "one line"),
        ('bindmap = "../x"', 2, '"../x" is not the name of a bind map', "not the file"),
        ("policy = 1", 2, "policy must be a table, not a number", ""),
        ("policy.nosuid = 1", 2, "nosuid must be true or false, not a number", ""),
        ("policy.read-only = true", 2, 'unknown key "read-only" in [environment.el9.policy]', '"read_only"?'),
        ('policy.personality = "linux23"', 2, 'unknown personality "linux23"', 'did you mean "linux32"?'),
        ('policy.personality = ["linux32", 2]', 2, "personality must hold strings, not a number", ""),
        ("policy.personality = 2", 2, "personality must be a string, not a number", ""),
        ("env.LANG = 1", 2, "LANG must be a string", "write LANG"),
        ('env.1X = "a"', 2, '"1X" is not the name of a variable', "letters"),
        ('env.CHOS = "a"', 2, "CHOS is set by chos itself", "remove"),
        ('env.A = "a\\u0000"', 2, "A must not contain a newline or NUL", "one line"),
        ('env.A = """a\nb"""', 2, "A must not contain a newline or NUL", "one line"),
        (f'env.A = "{"x" * 8000}"', 2, "the variables are longer than 7167 bytes", "profile"),
        ("\n".join(f'env.A{n} = ""' for n in range(33)), 2, "33 variables; at most 32 can be set", "profile"),
        ("bind = 1", 2, "bind must be an array, not a number", ""),
        ("bind = [1]", 2, "[[environment.el9.bind]] must be a table, not a number", ""),
        ("bind = [{}]", 2, "[[environment.el9.bind]] has no source", "say what to show"),
        ('bind = [{ source = "/" }]', 2, 'source "/" is the root itself', "/local"),
        ('bind = [{ source = "x" }]', 2, 'source "x" is not an absolute path', "in full"),
        ('bind = [{ source = "/a/../b" }]', 2, 'source "/a/../b" contains ".."', "in full"),
        ('bind = [{ source = "/a/" }]', 2, 'source "/a/" is not in its shortest form, "/a"', "in full"),
        ('bind = [{ source = "/a", target = "/b//c" }]', 2, '"/b//c" is not in its shortest form, "/b/c"', ""),
        ('bind = [{ source = "/a", target = "/" }]', 2, 'target "/" is the root itself', "another place"),
        ('bind = [{ source = "/local" }]', 2, 'target "/local" is at or below /local', "another place"),
        ('bind = [{ source = "/a", target = "/proc/x" }]', 2, 'target "/proc/x" is at or below /proc', ""),
        ('bind = [{ source = "/a", target = "/chos" }]', 2, 'target "/chos" is at or below /chos', ""),
        ('bind = [{ source = "/a", target = "/run/chos" }]', 2, 'target "/run/chos" is at or below /run/chos', ""),
        ('bind = [{ source = "/a", target = "/run" }]', 2, 'target "/run" is above /run/chos', "another place"),
        ('bind = [\n{ source = "/a" },\n{ source = "/a" }]', 4, f'target "/a" again; first in {FILE}:3', "remove"),
        ('bind = [{ source = "/a", readonly = true }]', 2, 'unknown key "readonly"', '"read_only"?'),
        ('bind = [{ source = "/a", optional = "yes" }]', 2, "optional must be true or false, not a string", ""),
        ("bind = [{ source = 2026-01-01 }]", 2, "source must be a string, not a date or time", ""),
    ],
)
def test_errors(body: str, line: int, message: str, hint: str) -> None:
    file = parse_sections(f"[environment.el9]\n{body}\n", FILE)
    found = said(file)
    assert any(at == line and message in text and hint in advice for at, text, advice in found), found
    assert {problem.environment for problem in file.problems} == {"el9"}
    assert [section.name for section in file.sections] == ["el9"]


@pytest.mark.parametrize("target", ["/local2/x", "/chosen", "/process", "/localhost"])
def test_prefixes_are_compared_by_component(target: str) -> None:
    text = f'[[environment.el9.bind]]\nsource = "/a"\ntarget = "{target}"\n'
    file = parse_sections(text, FILE)
    assert file.problems == () and file.sections[0].binds[0].target == target


def test_every_mistake_is_found_at_once() -> None:
    text = "[environment.el9]\na1 = 1\n[environment.el8]\npolicy = 2\n[[environment.el8.bind]]\n[other]\n"
    file = parse_sections(text, FILE)
    assert sorted((p.origin.line, p.environment) for p in file.problems) == [
        (2, "el9"),
        (4, "el8"),
        (5, "el8"),
        (6, ""),
    ]


def test_root_is_no_environment() -> None:
    assert said(parse_sections("[environment.root]\n", FILE))[0][:2] == (1, '"root" is the base and has no settings')


def test_a_section_that_is_no_table() -> None:
    file = parse_sections("[environment]\nel9 = 1\n", FILE)
    assert said(file)[0][:2] == (2, "[environment.el9] must be a table, not a number")
    assert file.problems[0].environment == "el9"


def test_syntax_error_remembers_what_it_may_be_about() -> None:
    file = parse_sections('[environment.el9]\ngroups = ["a"\n[environment.x]\n', FILE)
    assert file.sections == () and len(file.problems) == 1 and file.problems[0].origin.line in (2, 3)
    assert file.unread and file.unread.may_concern(("el9",)) and not file.unread.may_concern(("el8",))


@pytest.mark.parametrize(
    ("text", "names", "may"),
    [
        ("", ("a",), True),
        ("[environment.el9.policy]", ("el9",), True),
        ("[environment.el9.policy]", ("el", "9"), False),
        ("[environment.el9-x]", ("el9",), False),
        ("['/auto/rh73']", ("x", "/auto/rh73"), True),
        ('["\\u0065l9"]', ("el9",), True),
        ("[environment.el8]", ("el9",), False),
    ],
)
def test_may_concern(text: str, names: tuple[str, ...], may: bool) -> None:
    assert Unread("f", text).may_concern(names) is may


@pytest.mark.parametrize(
    ("text", "names", "must"),
    [
        ("[environment.el9]\n[enviroment.el8]\n", ("el9",), False),
        ("[environment.el9]\n[enviroment.el8]\n", ("el8",), True),
        ("[[environment]]\nname = 'el8'\n", ("el8",), True),
        ("[x]\na = [1, {b = 'el8'}]\n", ("el8",), True),
        ("[x.el9.2]\n", ("el9.2",), True),
    ],
)
def test_the_part_that_is_not_understood(text: str, names: tuple[str, ...], must: bool) -> None:
    unread = parse_sections(text, FILE).unread
    assert unread and unread.fault == "is not understood"
    assert unread.must_concern(names) is must and unread.may_concern(names)


def test_names_that_an_unquoted_dot_may_mean() -> None:
    (section,) = parse_sections('[environment.a.b.c]\ngroups = ["x"]\n', FILE).sections
    assert section.strays == ("a.b", "a.b.c", "a.b.c.groups")


TABLES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.sampled_from(["/a", "/", "/proc", "linux32"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["environment", "el9", "bind", "policy", "env", "groups", "source", "target", "personality"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return str(value).lower()


@given(st.one_of(st.text(), TABLES.map(lambda value: f"[environment]\nel9={write(value)}")))
def test_nothing_raises_and_what_has_no_error_is_safe(text: str) -> None:
    file = parse_sections(text, FILE)
    if file.problems:
        return
    for section in file.sections:
        for bind in section.binds:
            assert bind.target.startswith("/") and bind.target.split("/")[1] not in ("", "local", "proc", "chos")
        assert len(section.variables) <= 32
        assert not any("\0" in value or "\n" in value for _, value in section.variables)
