"""/etc/chos: the format, row by row of docs, and any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config.allowlist import AllowedLine, AllowList, parse_allow_list
from chosns.model import NAME_PATTERN, Origin, Severity, escape_name

FILE = "/etc/chos"


def parse(*lines: str) -> AllowList:
    return parse_allow_list("\n".join(("%SHELLS", *lines, "")), FILE)


def pairs(allowed: AllowList) -> list[tuple[str, str]]:
    return [(entry.alias, entry.path) for entry in allowed.entries]


def said(allowed: AllowList) -> list[tuple[int, str, str]]:
    return [(p.origin.line, p.severity.value, p.message) for p in allowed.problems]


def test_the_original_sample() -> None:
    text = (
        "#\n# rh73:/auto/redhat73\n%SHELLS\n\nlocal:/\n  # more\n/auto/rh73:/auto/rh73\n\n%ENV\nHOME:x\n%SHELLS\nb:/b\n"
    )
    allowed = parse_allow_list(text, FILE)
    assert allowed.entries == (
        AllowedLine("local", "/", Origin(FILE, 5)),
        AllowedLine("/auto/rh73", "/auto/rh73", Origin(FILE, 7)),
        AllowedLine("b", "/b", Origin(FILE, 12)),
    )
    assert allowed.problems == ()


def test_first_match_wins_and_says_which() -> None:
    allowed = parse("el9:/os/a", "el9:/os/b")
    assert pairs(allowed) == [("el9", "/os/a")]
    assert said(allowed) == [(3, "warning", '"el9" again; the first wins, line 2')]


def test_first_match_wins_even_when_refused() -> None:
    allowed = parse("el9:relative", "el9:/os/b")
    assert pairs(allowed) == []
    assert allowed.refused == ("el9",)
    assert allowed.problems[0].environment == "el9"


def test_line_without_colon_is_a_warning() -> None:
    allowed = parse("nonsense", "el9:/os/el9")
    assert pairs(allowed) == [("el9", "/os/el9")]
    assert said(allowed) == [(2, "warning", 'no colon in "nonsense", skipped')]
    assert "alias:path" in allowed.problems[0].hint


@pytest.mark.parametrize("line", ["el9:/os/el9 ", "el9:/os/el9\t", " el9:/os/el9", "el9: /os/el9", "el9 :/os/el9"])
def test_white_space_is_stripped_with_a_warning(line: str) -> None:
    allowed = parse(line)
    assert pairs(allowed) == [("el9", "/os/el9")]
    assert [p.severity for p in allowed.problems] == [Severity.WARNING]


def test_carriage_returns_are_no_matter() -> None:
    assert parse_allow_list("%SHELLS\r\nel9:/os/el9\r\n", FILE).problems == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("el9:os/el9", 'path "os/el9" is not an absolute path'),
        ("el9:", 'path "" is not an absolute path'),
        ("el9:/os/../el9", 'path "/os/../el9" contains ".."'),
        ("el9:/os/\x07", 'path "/os/\\x07" contains control characters'),
        ("/a/../b:/os/el9", 'alias "/a/../b" contains ".."'),
        ("-el9:/os/el9", '"-el9" is not a legal name'),
        (".el9:/os/el9", '".el9" is not a legal name'),
        ("e l:/os/el9", '"e l" is not a legal name'),
        (":/os/el9", '"" is not a legal name'),
        ("é:/os/el9", '"é" is not a legal name'),
        ("a" * 65 + ":/x", f'"{"a" * 65}" is not a legal name'),
        ("/" + "%" * 100 + ":/x", "path alias is longer than 255 bytes when escaped"),
        ("/:/os/el9", 'the alias "/" always means the base'),
    ],
)
def test_errors(line: str, message: str) -> None:
    allowed = parse(line)
    assert pairs(allowed) == []
    assert said(allowed) == [(2, "error", message)]


def test_longest_names() -> None:
    fits = "/" + "a" * 252
    assert pairs(parse("a" * 64 + ":/x", f"{fits}:/y")) == [("a" * 64, "/x"), (fits, "/y")]
    assert pairs(parse(f"{fits}a:/y")) == []


def test_paths_are_normalised() -> None:
    assert pairs(parse("a://os//el9/./", "b:/.", "c://")) == [("a", "/os/el9"), ("b", "/"), ("c", "/")]


@pytest.mark.parametrize(
    ("text", "severity", "message"),
    [
        ("", "error", "has no section %SHELLS, so it allows nothing"),
        ("%SHELLS\n# none\n", "warning", "section %SHELLS is empty"),
        ("el9:/x\n%SHELLS\na:/a\n", "warning", '"el9:/x" stands before %SHELLS, ignored'),
        ("%SHELL\n%SHELLS\na:/a\n", "warning", 'unknown section "%SHELL"'),
        ("%SHELLS\na:/a # new\n", "warning", 'the path is "/a # new", the remark included'),
        ("%SHELLS\nroot:/a\n", "warning", '"root" leads to an OS tree; users expect it to lead back to the base'),
    ],
)
def test_doubts(text: str, severity: str, message: str) -> None:
    assert [(p.severity.value, p.message) for p in parse_allow_list(text, FILE).problems] == [(severity, message)]


def test_the_section_as_the_last_line() -> None:
    """An error, as a missing section is: somebody added the line in the wrong place, and `up` shall say so."""
    problems = parse_allow_list("el9:/os/el9\n%SHELLS\n", FILE).problems
    assert [(p.severity.value, p.message) for p in problems] == [
        ("warning", '"el9:/os/el9" stands before %SHELLS, ignored'),
        ("error", "every line stands before %SHELLS, so the file allows nothing"),
    ]
    assert problems[1].origin.line == 1


def test_other_sections_are_ignored() -> None:
    assert parse_allow_list("%OTHER\na:/a\n%SHELLS\nb:/b\n%BEH\nc:/c\n", FILE).problems == ()


LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["%SHELLS", "%ENV", "#", "a:/a", "a:/b", "/p:/q", ":", "::", "x:y:z", "/:/", "root:/", "a:/ b"]
        ),
    ),
    max_size=15,
).map("\n".join)


@given(st.one_of(st.text(), LINES, st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_any_text_is_judged_and_what_is_accepted_is_legal(text: str) -> None:
    allowed = parse_allow_list(text, FILE)
    aliases = [entry.alias for entry in allowed.entries]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(allowed.refused)
    for entry in allowed.entries:
        escaped = escape_name(entry.alias)
        assert NAME_PATTERN.fullmatch(escaped) or escaped.startswith("%2F")
        assert len(escaped) <= 255 and "/" not in escaped
        assert entry.path.startswith("/") and ".." not in entry.path.split("/")
        assert entry.alias in text.split("\n")[entry.origin.line - 1]
    for problem in allowed.problems:
        assert 0 <= problem.origin.line <= text.count("\n") + 1
        assert problem.message.isprintable() or not text.isprintable()
        problem.message.encode()


NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)
PATHS = st.lists(st.from_regex(r"[A-Za-z0-9_.+-]{1,8}", fullmatch=True), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join("x" if part in (".", "..") else part for part in parts)
)


def printed(entries: tuple[AllowedLine, ...]) -> str:
    """The text that `parse_allow_list` reads as these entries."""
    return "%SHELLS\n" + "".join(f"{entry.alias}:{entry.path}\n" for entry in entries)


@given(st.dictionaries(st.one_of(NAMES, PATHS), st.one_of(PATHS, st.just("/")), min_size=1))
def test_what_is_printed_is_read_again(entries: dict[str, str]) -> None:
    wanted = tuple(AllowedLine(alias, path, Origin(FILE, n)) for n, (alias, path) in enumerate(entries.items(), 2))
    allowed = parse_allow_list(printed(wanted), FILE)
    assert allowed.entries == wanted
    assert all(problem.severity is Severity.WARNING for problem in allowed.problems)
