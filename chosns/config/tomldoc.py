"""TOML read with a line number for everything, and a table reader that collects problems.

`parse_toml` turns text into a `Document`; `Fields` takes the known keys out of one of its tables, each with
the type it must have, and reports the rest. Must never raise for bad content, nor pass over a key in silence.
Called by `sections` and `chosns.config.bindmap`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import field
from typing import Any

from chosns.config.text import nearest, quoted
from chosns.config.tomlindex import LineIndex, Path, Step
from chosns.lazydata import dataclass
from chosns.model import Origin, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {str: "a string", bool: "true or false", dict: "a table", list: "an array", int: "a number", float: "a number"}


@dataclass(frozen=True)
class Document:
    """A TOML document that is syntactically right: its data, and where each part of it was said."""

    file: str
    data: dict[str, Any]
    index: LineIndex

    def origin(self, *path: Step) -> Origin:
        """Where `path`, or the nearest thing around it, was said; the empty path is the file."""
        return Origin(self.file, self.index.line(*path) if path else 0)


def parse_toml(text: str, file: str) -> Document | Problem:
    """The document, or the one problem that keeps it from being one. Never raises."""
    surrogate = _SURROGATE.search(text)
    if surrogate:
        line = text.count("\n", 0, surrogate.start()) + 1
        return Problem(Origin(file, line), "is not UTF-8", "save the file as UTF-8")
    try:
        data = tomllib.loads(text)
    except RecursionError:
        return Problem(Origin(file), "is nested too deeply")
    except ValueError as error:
        return _syntax_problem(str(error), text, file)
    return Document(file, data, LineIndex(text))


def _syntax_problem(said: str, text: str, file: str) -> Problem:
    position = _POSITION.search(said)
    if position is None:
        return Problem(Origin(file), f"not TOML: {said}")
    line = int(position.group(1) or text.count("\n") + (not text.endswith("\n")))
    message = said[: position.start()].rstrip(".")
    column = f" (column {position.group(2)})" if position.group(2) else " (end of the file)"
    return Problem(Origin(file, max(line, 1)), f"not TOML: {message}{column}", "see https://toml.io for the syntax")


@dataclass
class Fields:
    """The keys of one table, taken one by one. `close` reports those that were not taken.

    :param table: what the document has there, whatever its type.
    :param what: how messages call the table, `[environment.el9]`.
    :param problems: where findings go, shared with nested tables.
    :param environment: the environment that they concern.
    """

    document: Document
    path: Path
    table: Any
    what: str
    problems: list[Problem]
    environment: str = ""
    known: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.table, dict):
            self.report(f"{self.what} must be a table, not {kind(self.table)}")
            self.table = {}

    def origin(self, *steps: Step) -> Origin:
        """Where a key of this table was said."""
        return self.document.origin(*self.path, *steps)

    def report(self, message: str, hint: str = "", *steps: Step) -> None:
        """Note an error at this table, or at a key of it."""
        self.problems.append(Problem(self.origin(*steps), message, hint, environment=self.environment))

    def _take(self, key: str, wanted: type, default: Any) -> Any:
        self.known.append(key)
        if key not in self.table:
            return default
        value = self.table[key]
        if type(value) is not wanted:
            self.report(f"{key} must be {_KINDS[wanted]}, not {kind(value)}", "", key)
            return default
        return value

    def has(self, key: str) -> bool:
        """Is the key there, with whatever value?"""
        return key in self.table

    def text(self, key: str, default: str = "") -> str:
        """A string of one line."""
        value: str = self._take(key, str, default)
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            self.report(f"{key} must not contain control characters", "write it on one line", key)
            return default
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A boolean."""
        value: bool = self._take(key, bool, default)
        return value

    def number(self, key: str, most: int) -> int:
        """An integer between 1 and `most`; 0 where there is none."""
        value: int = self._take(key, int, 0)
        if type(self.table.get(key)) is int and not 1 <= value <= most:
            self.report(f"{key} must be between 1 and {most}", "leave it out for no limit", key)
            return 0
        return value

    def strings(self, key: str) -> list[tuple[str, Origin]]:
        """An array of strings, each with the line it is on."""
        found = []
        for number, value in enumerate(self._take(key, list, [])):
            if isinstance(value, str):
                found.append((value, self.origin(key, number)))
            else:
                self.report(f"{key} must hold strings, not {kind(value)}", "", key, number)
        return found

    def tables(self, key: str) -> list[Fields]:
        """An array of tables."""
        values = self._take(key, list, [])
        return [self._nested(value, f"[[{self._prefix()}{key}]]", key, number) for number, value in enumerate(values)]

    def sub(self, key: str) -> Fields:
        """A sub-table; an empty one where there is none."""
        return self._nested(self._take(key, dict, {}), f"[{self._prefix()}{key}]", key)

    def _prefix(self) -> str:
        return f"{self.what.strip('[]')}." if self.path else ""

    def _nested(self, value: Any, what: str, *steps: Step) -> Fields:
        return Fields(self.document, (*self.path, *steps), value, what, self.problems, self.environment)

    def close(self, hints: dict[str, str] | None = None) -> None:
        """Report every key that was not taken.

        :param hints: what to say of particular ones instead of "did you mean".
        """
        for key in self.table:
            if key not in self.known:
                hint = (hints or {}).get(key) or nearest(key, self.known) or f"known: {', '.join(self.known)}"
                self.report(f"unknown key {quoted(key)} in {self.what}", hint, key)


def kind(value: object) -> str:
    """How messages call the type of a TOML value."""
    return _KINDS.get(type(value), "a date or time")
