"""LSF's lsb.queues, as mbatchd reads it: which queues there are, where each ends, and its job starter. Pure.

A line goes on in the next one after a backslash. A # begins a comment, unless a double quotation mark before it in the
same line is open; a backslash in a comment means nothing. Words of the file may be in lower case. Called by `lsf`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chosns.integrate.model import InstallError
from chosns.lazydata import dataclass

_SECTION = re.compile(r"(?i)(begin|end)\s+(\S+).*")
_SETTING = re.compile(r"(?i)(queue_name|job_starter)\s*=\s*(.*)")


@dataclass(frozen=True)
class QueueLine:
    """What LSF takes for one line: `text`, from line `first` of the file up to, not including, `end`; from 0."""

    text: str
    first: int
    end: int

    @property
    def value(self) -> str:
        """What is set, with one blank where there were more."""
        return " ".join(self.text.partition("=")[2].split())


@dataclass(frozen=True)
class Queue:
    """A queue. New lines belong before line `end`."""

    name: str
    end: int
    starter: QueueLine | None


def queues(lines: Sequence[str], path: str) -> list[Queue]:
    """The queues of a file; `path` is for messages.

    :raises InstallError: an End Queue is not read as one, because the line before it goes on.
    """
    found: list[Queue] = []
    inside, name, starter = False, "", None
    for line in _joined(lines):
        section = _SECTION.fullmatch(line.text)
        setting = _SETTING.fullmatch(line.text)
        if section and section[2].lower() == "queue":
            if inside and section[1].lower() == "end":
                found.append(Queue(name, line.first, starter))
            inside, name, starter = section[1].lower() == "begin", "", None
        elif inside and _swallows_end(lines, line):
            hint = "mend that"
            place = f"{path}: {name}" if name else f"{path}:{line.first + 1}"
            raise InstallError("ends in a backslash, so the new line would not be read", object=place, hint=hint)
        elif inside and setting and setting[1].lower() == "queue_name":
            name = (setting[2].split() or [""])[0]
        elif inside and setting:
            starter = line
    return found


def includes(lines: Sequence[str]) -> list[str]:
    """The files that LSF 10 reads in the place of a line `#INCLUDE "FILE"`."""
    pattern = re.compile(r"(?i)\s*#include\s+[\"<]?([^\s\">]+).*")
    return [match[1] for line in lines if (match := pattern.fullmatch(line))]


def _joined(lines: Sequence[str]) -> Iterator[QueueLine]:
    begun, text = 0, ""
    for number, line in enumerate(lines):
        kept, goes_on = _content(line)
        text += kept
        if goes_on and number + 1 < len(lines):
            text += " "
            continue
        yield QueueLine(text.strip(), begun, number + 1)
        begun, text = number + 1, ""


def _content(line: str) -> tuple[str, bool]:
    """A line without its comment and backslash, and whether it goes on."""
    quoted = False
    for at, letter in enumerate(line):
        quoted ^= letter == '"'
        if letter == "#" and not quoted:
            return line[:at], False
    return (line[:-1], True) if line.endswith("\\") else (line, False)


def _swallows_end(lines: Sequence[str], line: QueueLine) -> bool:
    return any(re.match(r"(?i)\s*end\s+queue\b", lines[number]) for number in range(line.first + 1, line.end))
