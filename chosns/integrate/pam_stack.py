"""The stacks of pam.d, as libpam reads them: comments, continued lines, all kinds of includes. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from chosns.lazydata import dataclass

_DEPTH = 32  # libpam's own limit of includes
_FIELDS = re.compile(r"(-?)(\S+)\s+(\[(?:\\.|[^\]])*\]|\S+)\s+(\S+)\s*(.*)")
_ENDS = re.compile(r"\bsufficient\b|=\s*(?:done|[1-9])")


@dataclass(frozen=True)
class StackLine:
    """One line of a module, wherever it is.

    :param nested: it is in a substack, which alone ends where the line ends it.
    """

    file: str
    number: int
    control: str
    module: str
    options: tuple[str, ...] = ()
    nested: bool = False

    @property
    def name(self) -> str:
        """The module, however it is named."""
        return os.path.basename(self.module)

    @property
    def ends_early(self) -> bool:
        """Whether what follows may not be reached although nothing has failed."""
        return bool(_ENDS.search(self.control))


Reader = Callable[[str], "str | None"]  # name of a service → text of its file


def session_lines(service: str, read: Reader) -> Iterator[StackLine]:
    """The session lines of a service in their order, through all that it includes."""
    return lines_of("session", service, read)


def lines_of(kind: str, service: str, read: Reader, depth: int = 0, nested: bool = False) -> Iterator[StackLine]:
    """The lines of one kind (auth, session…), as `session_lines`."""
    for number, text in _statements(read(service) or ""):
        words = text.split()
        substack = False
        if words[0] == "@include":
            included = words[1] if len(words) > 1 else ""
        else:
            fields = _FIELDS.fullmatch(text)
            if not fields or fields[2].lower() != kind:
                continue
            if fields[3] not in ("include", "substack"):
                yield StackLine(service, number, fields[3], fields[4], tuple(fields[5].split()), nested)
                continue
            included = fields[4]
            substack = fields[3] == "substack"
        if included and depth < _DEPTH:
            yield from lines_of(kind, included, read, depth + 1, nested or substack)


def includes(service: str, read: Reader, kind: str = "session", depth: int = 0) -> set[str]:
    """The services whose lines of this kind are part of this one's; of every kind where `kind` is empty."""
    found: set[str] = set()
    for _, text in _statements(read(service) or ""):
        words = text.split()
        fields = _FIELDS.fullmatch(text)
        if words[0] == "@include" and len(words) > 1:
            found.add(words[1])
        elif fields and kind in ("", fields[2].lower()) and fields[3] in ("include", "substack"):
            found.add(fields[4])
    for name in list(found) if depth < _DEPTH else ():
        found |= includes(name, read, kind, depth + 1)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each logical line and the number of its first physical one."""
    begun, number = "", 0
    for at, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue  # within a continued line, too
        number = number if begun else at
        line = line.partition("#")[0].strip()
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        if statement := (begun + line).strip():
            yield number, statement
        begun = ""
