"""On which line of a TOML document is a key? `tomllib` does not say; a good error message must.

A single pass over tokens, knowing just enough of TOML: headers, keys, brackets, strings and comments. It is
meant for documents that `tomllib` accepted; for any other text it gives some answer and never an exception. Must
never decide what a document says: only where. Called by `tomldoc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Union

Step = Union[str, int]
Path = tuple[Step, ...]

_TOKEN = re.compile(
    r'(?P<multi>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5})'
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<comment>\#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<punct>[\[\]{}=,.])"
    r"|(?P<space>[ \t\r]+)"
    r"|(?P<bare>[^\s\[\]{}=,.\#\"']+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_SHORT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


class Token(NamedTuple):
    kind: str
    text: str
    line: int


class LineIndex:
    """Lines by path: `("environment", "el9", "bind", 0, "source")`. A path that is not known has the line of
    the longest beginning that is; the empty path has line 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}
        self._tokens = list(_tokens(text))
        self._next = 0
        here: Path = ()
        while self._next < len(self._tokens):
            if self._peek("newline"):
                self._next += 1
            elif self._peek("punct", "["):
                here = self._header()
            else:
                self._assignment(here, top=True)

    def line(self, *path: Step) -> int:
        """The line on which `path`, or the nearest thing around it, begins."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._lines:
                return self._lines[path[:end]]
        return 1

    def _peek(self, kind: str, text: str = "") -> bool:
        if self._next >= len(self._tokens):
            return False
        token = self._tokens[self._next]
        return token.kind == kind and (not text or token.text == text)

    def _note(self, path: Path, line: int) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`, up to the end of its line."""
        line = self._tokens[self._next].line
        self._next += 1
        is_array = self._peek("punct", "[")
        self._next += is_array
        keys = self._keys()
        while self._next < len(self._tokens) and not self._peek("newline"):
            self._next += 1
        path: Path = ()
        for number, key in enumerate(keys):
            path += (key,)
            last = number == len(keys) - 1
            if is_array and last:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts and (is_array or not last):
                path += (self._counts[path] - 1,)
        self._note(path, line)
        if not is_array:
            self._lines[path] = line
        return path

    def _keys(self) -> list[str]:
        keys = []
        while self._peek("bare") or self._peek("string"):
            token = self._tokens[self._next]
            keys.append(token.text if token.kind == "bare" else _unquote(token.text))
            self._next += 1
            if not self._peek("punct", "."):
                break
            self._next += 1
        return keys

    def _assignment(self, here: Path, *, top: bool) -> None:
        """`key.key = value`, on a line of its own or (not `top`) in an inline table."""
        line = self._tokens[self._next].line
        path = here + tuple(self._keys())
        if path == here or not self._peek("punct", "="):
            self._next += 1
            return
        self._next += 1
        self._note(path, line)
        self._value(path, top=top)

    def _value(self, path: Path, *, top: bool) -> None:
        """Skip one value with an explicit stack of what is open, noting elements and inline keys."""
        open_: list[tuple[str, Path, int]] = []
        while self._next < len(self._tokens):
            token = self._tokens[self._next]
            if token.kind == "newline" and not open_ and top:
                return
            if token.kind == "newline":
                self._next += 1
                continue
            opener, base, count = open_[-1] if open_ else ("", path, 0)
            if token.kind == "punct" and token.text in "]}":
                self._next += 1
                if open_:
                    open_.pop()
                continue
            if token.kind == "punct" and token.text == ",":
                self._next += 1
                if open_:
                    open_[-1] = (opener, base, count + 1)
                continue
            if opener == "{":
                element = self._inline_key(base)
            elif opener == "[":
                element = (*base, count)
                self._note(element, token.line)
            else:
                element = base
            if self._peek("punct", "[") or self._peek("punct", "{"):
                open_.append((self._tokens[self._next].text, element, 0))
            self._next += 1

    def _inline_key(self, base: Path) -> Path:
        """`key =` in an inline table; leaves the position at the value (or at whatever is there)."""
        line = self._tokens[self._next].line
        keys = self._keys()
        if not keys or not self._peek("punct", "="):
            return base
        self._next += 1
        self._note(base + tuple(keys), line)
        return base + tuple(keys)


def _tokens(text: str) -> Iterator[Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "multi":
            yield Token("string", match.group(), line)
        elif kind not in ("space", "comment"):
            yield Token(kind, match.group(), line)
        line += match.group().count("\n")


def _unquote(text: str) -> str:
    """The value of a quoted key."""
    if text.startswith("'"):
        return text[1:-1]
    return _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    number = match.group(1) or match.group(2)
    if number is None:
        return _SHORT.get(match.group(3), match.group(3))
    return chr(int(number, 16)) if int(number, 16) <= 0x10FFFF else ""
