"""docs/design.md says how many lines hold privilege; here that is compared with the code."""

from __future__ import annotations

import pytest

from tests.unit.privileged_lines import PAGE, ROOMS, ROOT, Room, code_lines, count, said

# How far a number may be off: a tenth, so that it need not be written anew with every change.
TOLERANCE = 0.1


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.name))
def test_the_page_tells_the_number(room: Room) -> None:
    lines, told = count(room), said(PAGE.read_text())[room.name]
    mend = "/usr/bin/python3 tests/unit/privileged_lines.py --write"
    assert abs(lines - told) <= TOLERANCE * lines, f"{room.name} has {lines} lines, the page says {told}: {mend}"


def test_every_room_is_told() -> None:
    assert list(said(PAGE.read_text())) == [room.name for room in ROOMS]


def test_every_file_counts_once() -> None:
    """No C file of these folders is forgotten, but those of the launcher that have no privilege."""
    counted = [
        path
        for room in ROOMS
        for path in {found for pattern in room.files for found in ROOT.glob(pattern)}
        if not str(path.relative_to(ROOT)).startswith(room.without or ("\0",))
    ]
    folders = ("libchos", "pam", "starters", "kmod")
    assert sorted(
        path for path in counted if ROOT / "launcher" not in path.parents and path.suffix in (".c", ".h")
    ) == sorted(path for folder in folders for path in (ROOT / folder).rglob("*.[ch]"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("int a;\n\n/* b\n * c */\nint d; /* e */\n", 2),
        ('    fail(e,\n        "a message "\n        "of two lines");\n', 1),
        ('    ROW(A, 125, "x", \\\n        "/* no comment", "y") \\\n', 1),
        ("char c = '\"'; /* \" */\nint d;\n", 2),
        ("#ifdef CHOS_FAULT\nint a;\n#endif\nint b;\n", 1),
        ("// a\nx();\n", 1),
    ],
)
def test_what_counts(text: str, lines: int) -> None:
    assert code_lines(text) == lines
