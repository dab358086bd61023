"""One setting in a file, or in each section of it: it exists already, it is added, or the site has set another
value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence

from chosns.config.trusted import display_path, read_trusted
from chosns.integrate import files
from chosns.integrate.lines import insert
from chosns.integrate.model import ChangeList, FileEdit, InstallError, Machine
from chosns.lazydata import dataclass


@dataclass(frozen=True)
class Block:
    """Lines of a file, counted from 0: from `first` up to, not including, `end`, where new ones belong."""

    name: str
    first: int
    end: int


def whole(lines: Sequence[str]) -> list[Block]:
    """The file as one section."""
    return [Block("", 0, len(lines))]


def ensure(
    machine: Machine,
    path: str,
    lines: Sequence[str],
    key: str,
    sections: Callable[[Sequence[str]], Iterable[Block]] = whole,
) -> ChangeList:
    """What it takes to have `lines` in every section.

    :param key: a pattern for the line that sets the same thing; its group is the value. The last of `lines` matches.
    :raises InstallError: it is set to something else, or the last line of a section is continued in the next.
    """
    pattern = re.compile(key)
    ours = pattern.fullmatch(lines[-1])
    assert ours
    before = files.read(machine, path)
    after = before or ""
    added: list[str] = []
    present: list[str] = []
    # From the end, so that the numbers of the lines before stay right.
    for section in reversed(list(sections((before or "").splitlines()))):
        own = (before or "").splitlines()[section.first : section.end]
        place = f"{path}: {section.name}" if section.name else path
        found = [
            (number, match) for number, line in enumerate(own, section.first + 1) if (match := pattern.fullmatch(line))
        ]
        if found and found[-1][1][1].strip() == ours[1].strip():
            where = f"{path}:{found[-1][0]}"
            present.insert(0, f"{where} ({section.name})" if section.name else where)
        elif found:
            number, match = found[-1]
            hint = "CHOS can be the only one, or call it, or be called by it: see docs/integrations"
            raise InstallError(f"is set already: {match[0].strip()}", object=f"{path}:{number}", hint=hint)
        elif own and own[-1].rstrip().endswith("\\"):
            hint = "mend that"
            raise InstallError("ends in a backslash, so the new line would not be read", object=place, hint=hint)
        else:
            after = insert(after, section.end, lines)
            added += lines
    edits = (FileEdit(path, before, after, tuple(added)),) if added else ()
    return ChangeList(edits, tuple(present))


def require(machine: Machine, path: str, package: str = "") -> None:
    """Refuse to name a program or plugin that is missing, or that others than root may write.

    :param package: that has it, where that is not the package of `chosctl` itself.
    """
    if read_trusted(machine.root, path, machine.uids[:1]) is None:
        hint = "this installation of CHOS was built without it; install it again"
        hint = f"install the package {package}; without packages: {hint}" if package else hint
        raise InstallError("is not installed", object=display_path(machine.root, path), hint=hint)


def first(machine: Machine, product: str, candidates: Sequence[str], what: str) -> str:
    """The first of these files or directories that is there. :raises InstallError: none is."""
    for path in candidates:
        if os.path.exists(display_path(machine.root, path)):
            return path
    hint = f"looked for {', '.join(candidates)}; say where it is: --config {what}"
    raise InstallError("is not installed here, as it seems", object=product, hint=hint)
