"""The line index: every key of a document is found on the line on which it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config.tomldoc import Document, parse_toml
from chosns.config.tomlindex import LineIndex
from chosns.model import Problem

TEXT = '''# [environment.no]
top = 1
dotted.key = 2

[environment.el9]   # [not.this]
description = """
[environment.fake]
key = 1
"""
groups = [
  "a",  # "x"
  # "comment",
  "b", "c",
]
policy = { nosuid = true,  nodev = false, personality = ["linux32"] }

[[environment.el9.bind]]
source = "/a"

[[ environment . el9 . "bind" ]]
source = '/b#'
nested = [[1, 2],
 [3]]

[environment."el9.2"]
bindmap = 'x'
[environment."\\u0065\\u006c8".policy]
"nosuid" = 1979-05-27 07:32:00
nodev = 1.5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("dotted",), 3),
        (("dotted", "key"), 3),
        (("environment",), 5),
        (("environment", "el9"), 5),
        (("environment", "el9", "description"), 6),
        (("environment", "el9", "groups"), 10),
        (("environment", "el9", "groups", 0), 11),
        (("environment", "el9", "groups", 1), 13),
        (("environment", "el9", "groups", 2), 13),
        (("environment", "el9", "policy", "nodev"), 15),
        (("environment", "el9", "policy", "personality", 0), 15),
        (("environment", "el9", "bind", 0), 17),
        (("environment", "el9", "bind", 0, "source"), 18),
        (("environment", "el9", "bind", 1), 20),
        (("environment", "el9", "bind", 1, "source"), 21),
        (("environment", "el9", "bind", 1, "nested", 1), 23),
        (("environment", "el9.2"), 25),
        (("environment", "el9.2", "bindmap"), 26),
        (("environment", "el8"), 27),
        (("environment", "el8", "policy", "nosuid"), 28),
        (("environment", "el8", "policy", "nodev"), 29),
        (("environment", "el8", "unheard", "of"), 27),
        (("environment", "fake"), 5),
        (("key",), 1),
        ((), 1),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int) -> None:
    assert isinstance(parse_toml(TEXT, "f"), Document)
    assert LineIndex(TEXT).line(*path) == line


def test_inline_array_of_tables() -> None:
    index = LineIndex('a = [\n { x = 1 },\n { x = 2, y = [\n  "p",\n  "q" ] },\n]\nb = 1\n')
    assert [index.line("a", 0, "x"), index.line("a", 1), index.line("a", 1, "y", 1), index.line("b")] == [2, 3, 5, 7]


def test_tables_below_arrays_of_tables() -> None:
    index = LineIndex("[[a]]\n[a.b]\nx = 1\n[[a]]\n[[a.c]]\n[a.b]\nx = 2\n")
    assert [index.line("a", 0, "b", "x"), index.line("a", 1, "b", "x"), index.line("a", 1, "c", 0)] == [3, 7, 5]


def test_header_after_its_children() -> None:
    index = LineIndex("[a.b.c]\nx = 1\n[a.b]\ny = 1\n")
    assert [index.line("a", "b"), index.line("a", "b", "c"), index.line("a")] == [3, 1, 1]


@given(st.one_of(st.text(), st.text(alphabet="ab=.,[]{}\"'\\\n# ")))
def test_no_text_disturbs_it(text: str) -> None:
    index = LineIndex(text)
    assert 1 <= index.line("a", "b", 0) <= text.count("\n") + 1


KEYS = st.text(alphabet="abc.- é", min_size=1, max_size=5)
VALUES = st.recursive(
    st.one_of(st.integers(-9, 9), st.booleans(), st.text(alphabet="a[]{},=#.", max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def write(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {write(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(write(item) for item in value) + "\n]" if value else "[]"
    return str(value).lower() if isinstance(value, (bool, int)) else f'"{value}"'


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=4))
def test_it_agrees_with_where_things_were_written(tables: dict[str, dict[str, object]]) -> None:
    text = ""
    wanted: dict[tuple[str, ...], int] = {}
    for name, table in tables.items():
        wanted[(name,)] = text.count("\n") + 1
        text += f'["{name}"]\n'
        for key, value in table.items():
            wanted[(name, key)] = text.count("\n") + 1
            text += f'"{key}" = {write(value)}\n'
    document = parse_toml(text, "f")
    assert isinstance(document, Document) and document.data == tables
    assert {path: document.index.line(*path) for path in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \n", 2),
        ("a = [1,\n2\n", 3),
        ("a = 1\na = 2\n", 2),
        ("x = '\udc80'\n", 1),
        ("\ny = \udcff", 2),
        ("[", 1),
    ],
)
def test_syntax_errors_have_lines(text: str, line: int) -> None:
    problem = parse_toml(text, "f")
    assert isinstance(problem, Problem)
    assert abs(problem.origin.line - line) <= (1 if "[1" in text else 0)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 10_000])
def test_monsters_are_problems(text: str) -> None:
    assert isinstance(parse_toml(text, "f"), Problem)


@given(st.text())
def test_any_text_is_a_document_or_a_problem(text: str) -> None:
    assert isinstance(parse_toml(text, "f"), (Document, Problem))
