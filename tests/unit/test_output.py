"""Everything that chosctl prints leaves in one place, which escapes it (docs/security.md, rule 32)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chosns.cli import output

CHOSNS = Path(output.__file__).parents[1]
HOSTILE = "a\x1b[2J\x07\r\n\x7f\x9b1m\u202ee\udcff\tb"


def test_nothing_is_printed_elsewhere() -> None:
    for file in CHOSNS.rglob("*.py"):
        found = re.findall(r"\b(?:echo|secho|print|stdout\.write|stderr\.write)\(", file.read_text())
        assert not found or file == Path(output.__file__), file


def test_say(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(HOSTILE)
    output.say(HOSTILE, err=True)
    escaped = "a\\x1b[2J\\x07\\r\\n\\x7f\\x9b1m\\u202ee\\udcff\tb\n"
    assert capsys.readouterr() == (escaped, escaped)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("err", [False, True])
def test_what_the_terminal_has_no_character_for(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], encoding: str, err: bool
) -> None:
    """Escaped as well; it stopped the command, or reached an old terminal as control characters."""
    name, fd = ("stderr", 2) if err else ("stdout", 1)
    with open(fd, "w", encoding=encoding, closefd=False) as stream:
        monkeypatch.setattr(sys, name, stream)
        output.say("größe \u2603 \xdb", err=err)
        if not err:
            output.table(["größe"], [["\u2603 \xdb"]])
            monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
            output.table(["größe"], [["\u2603 \xdb"]])
    said = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(capfdbinary.readouterr()).decode(encoding))  # rich's own
    assert said.startswith("größe \u2603 \xdb".encode(encoding, "backslashreplace").decode(encoding))
    assert said.count("\n") == (1 if err else 5)
    assert all(char == "\n" or char.isprintable() for char in said)


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name"], [[HOSTILE]])
    said = capsys.readouterr().out
    assert said.count("\n") == 2 and all(char == "\n" or char.isprintable() for char in said)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({HOSTILE: [HOSTILE]})
    assert all(char == "\n" or " " <= char <= "~" for char in capsys.readouterr().out)


@pytest.mark.parametrize(
    "code",
    [
        "sys.argv = ['chosctl', 'up\\x1b[2J']",
        "sys.argv = ['chosctl', 'up', '--timeout', '\\x1b[2J']",
        "sys.argv = ['chosctl', 'install', '\\x1b[2J']",
        "sys.argv = ['chosctl', 'explain', '\\x1b[2J']",
        "import chosns.cli as c; c.chosctl.main = lambda **_: [][0:1] + {}['\\x1b[2J']",
        "import chosns.cli as c\nclass E(Exception): __str__ = lambda self: '\\x1b[2J'\n"
        "def main(**_): raise E\nc.chosctl.main = main",
    ],
)
def test_errors_of_every_kind(code: str) -> None:
    """Wrong usage, unknown names, and exceptions that nobody expected."""
    script = f"import sys; sys.path.insert(0, {str(CHOSNS.parent)!r})\n{code}\nfrom chosns.cli import main\nmain()\n"
    result = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=False)
    assert result.returncode != 0 and result.stderr
    assert b"\x1b" not in result.stdout + result.stderr
