"""Whom sshd locks into a ChrootDirectory: it looks that path up after it has entered an environment, so in the OS tree.

A tree with `/opt/sftp/u -> /local` would lead such a user out of the jail. So their sessions stay on the base: by lines
of pam_succeed_if before ours, or because sshd has no line of ours. Only reads. Called by `pam` and `doctor.pam`.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

CONFIG = "/etc/ssh/sshd_config"
_DEPTH = 16  # sshd's own limit of includes
_PLAIN = re.compile(r"[^*?!]+")

Reader = Callable[[str], "str | None"]  # path → text
Lister = Callable[[str], Sequence[str]]  # directory → names


@dataclass(frozen=True)
class Jail:
    """One ChrootDirectory, and for whom it is: these users, or who is in these groups; neither: for anybody."""

    place: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """The words of pam_succeed_if(8) for whom it is; empty where that cannot be said with names alone."""
        names = self.users or self.groups
        if not names or not all(_PLAIN.fullmatch(name) for name in names):
            return ""
        return f"user {'in' if self.users else 'ingroup'} {':'.join(names)}"

    def kept_out(self, words: Sequence[str]) -> bool:
        """Whether a line of pam_succeed_if with these words skips ours for all of them."""
        for at, word in enumerate(words):
            wanted = {"in": self.users, "ingroup": self.groups}.get(word, ())
            if wanted and words[at - 1 : at] == ["user"] and at + 1 < len(words):
                return set(wanted) <= set(words[at + 1].split(":"))
        return False


def jails(read: Reader, listing: Lister, path: str = CONFIG) -> list[Jail]:
    """Every ChrootDirectory that a configuration of sshd has."""
    return [
        Jail(place, *_people(criteria))
        for place, criteria, value in _directories(read, listing, path, (), 0)
        if value.lower() != "none"
    ]


def _directories(
    read: Reader, listing: Lister, path: str, criteria: tuple[str, ...], depth: int
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Each ChrootDirectory with the words of the Match block that it is in. A file's last block ends with the file."""
    for number, line in enumerate((read(path) or "").splitlines(), 1):
        keyword, words = _statement(line)
        if keyword == "match":
            criteria = tuple(words)
        elif keyword == "chrootdirectory" and words:
            yield f"{path}:{number}", criteria, words[0]
        elif keyword == "include" and depth < _DEPTH:
            for pattern in words:
                for included in _matching(listing, os.path.join(os.path.dirname(CONFIG), pattern)):
                    yield from _directories(read, listing, included, criteria, depth + 1)


def _statement(line: str) -> tuple[str, list[str]]:
    found = re.match(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)", line)
    if not found:
        return "", []
    try:
        return found[1].lower(), shlex.split(found[2], comments=True)
    except ValueError:  # a quote that does not end: sshd refuses the file
        return found[1].lower(), found[2].split()


def _matching(listing: Lister, pattern: str) -> list[str]:
    """What sshd's own glob finds; patterns in directories are not looked into."""
    directory, name = os.path.split(pattern)
    return [os.path.join(directory, found) for found in sorted(listing(directory)) if fnmatch.fnmatchcase(found, name)]


def _people(criteria: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Users and groups of a Match line, which may also say other things: they make it narrower."""
    words = [word for part in criteria for word in part.split("=", 1)]
    named = {key.lower(): tuple(value.split(",")) for key, value in zip(words[::2], words[1::2])}
    return named.get("user", ()), named.get("group", ())
