"""The users for whom sshd sets a ChrootDirectory. It looks up that path after it has entered, and so in the OS tree.

A tree with `/opt/sftp/u -> /local` would lead such a user out of the jail. So their sessions stay on the base: by lines
of pam_succeed_if before ours, or because sshd has no line of ours. Only reads. Called by `pam` and `doctor.pam`.

Lines are taken apart as sshd does it (servconf.c, misc.c), because a ChrootDirectory that only sshd sees is a way out.
What is not modelled makes it more people, never fewer: a later value that an earlier one makes void, addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence

from chosns.lazydata import dataclass

CONFIG = "/etc/ssh/sshd_config"
_DEPTH = 16  # sshd's own limit of includes
_PLAIN = re.compile(r"[^\s*?!:#\[\]]+")  # no pattern of sshd's, and one word of a line of PAM's
_SPACE = " \t\r\n"
_ALONE = ("all", "invalid-user")  # criteria of Match that have no value

Reader = Callable[[str], "str | None"]  # path → text
Lister = Callable[[str], Sequence[str]]  # directory → names


@dataclass(frozen=True)
class Jail:
    """One ChrootDirectory, with the users and groups for whom it is set; if both are empty, for everybody."""

    place: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """The words of pam_succeed_if(8) for these users; empty if that is not possible with names alone."""
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
        Jail(place, *_people(condition))
        for place, condition, value in _directories(read, listing, path, "", 0)
        if value.lower() != "none"
    ]


def _directories(
    read: Reader, listing: Lister, path: str, condition: str, depth: int
) -> Iterator[tuple[str, str, str]]:
    """Each ChrootDirectory with what its Match block is for. A file's last block ends with the file."""
    for number, line in enumerate((read(path) or "").split("\n"), 1):
        keyword, rest = _keyword(line)
        if keyword == "match":
            condition = rest
        elif keyword == "chrootdirectory" and (words := _arguments(rest)):
            yield f"{path}:{number}", condition, words[0]
        elif keyword == "include" and depth < _DEPTH:
            for pattern in _arguments(rest):
                for included in _matching(listing, os.path.join(os.path.dirname(CONFIG), pattern)):
                    yield from _directories(read, listing, included, condition, depth + 1)


def _keyword(line: str) -> tuple[str, str]:
    """The keyword of a line in small letters, and what stands behind it."""
    word, rest = _word(line.rstrip(_SPACE + "\f"))
    if word == "":  # white space at the beginning
        word, rest = _word(rest)
    return (word or "").lower(), rest or ""


def _word(text: str | None) -> tuple[str | None, str | None]:
    """The next word, which white space, one `=` or the second of two quotes ends, and the rest. sshd: strdelim().

    None for the word: there is none, or a quote that does not end, and the line counts as empty then.
    """
    found = re.search(r'[ \t\r\n"=]', text or "")
    if text is None or not found:
        return text, None
    before, rest = text[: found.start()], text[found.end() :]
    if found[0] == '"':
        inside, end, rest = rest.partition('"')
        return (before + inside, rest.lstrip(_SPACE)) if end else (None, None)
    rest = rest.lstrip(_SPACE)
    if found[0] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_SPACE)
    return before, rest


def _arguments(text: str) -> list[str]:
    """The words behind a keyword, without quotes and escapes, up to a comment. sshd: argv_split().

    A quote that does not end goes to the end of the line; sshd refuses the file.
    """
    found = []
    for piece in re.finditer(r"""(?:\\[\\'" ]|"(?:\\[\\'"]|[^"])*"?|'(?:\\[\\'"]|[^'])*'?|[^ \t])+""", text):
        if piece[0].startswith("#"):
            break
        found.append(_unquoted(piece[0]))
    return found


def _unquoted(word: str) -> str:
    text, quote, at = "", "", 0
    while at < len(word):
        char = word[at]
        if char == "\\" and (following := word[at + 1 : at + 2]) and following in "\\'\"" + ("" if quote else " "):
            text += following
            at += 1
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        else:
            text += char
        at += 1
    return text


def _matching(listing: Lister, pattern: str) -> list[str]:
    """What sshd finds with glob(3): each part of a path may be a pattern."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        if re.search(r"[*?[\\]", part):
            wanted = re.compile(_expression(part))
            found = [
                f"{above}/{name}"
                for above in found
                for name in sorted(listing(above or "/"))
                if wanted.fullmatch(name) and (name[0] != "." or part[0] == ".")
            ]
        else:
            found = [f"{above}/{part}" for above in found]
    return found


def _expression(part: str) -> str:
    """glob(7) as a regular expression. sshd's own glob knows no `[^`, the C library's does: any character for both."""
    text = ""
    for piece in re.finditer(r"\\(.)|\[([!^]?)(\]?[^]]*)\]|(.)", part, re.DOTALL):
        if piece[1]:
            text += re.escape(piece[1])
        elif piece[3] is not None:
            inside = re.sub(r"([\\\[\]^&|~])", r"\\\1", piece[3])
            text += "." if piece[2] == "^" else f"[{'^' if piece[2] else ''}{inside}]"
        else:
            text += {"*": ".*", "?": "."}.get(piece[4] or "", re.escape(piece[4] or ""))
    return f"(?s:{text})"


def _people(condition: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Users and groups of a Match line, which may also say other things: they make it narrower."""
    named: dict[str, tuple[str, ...]] = {}
    rest: str | None = condition
    while rest:
        criterion, rest = _word(rest)
        if not criterion or criterion.startswith("#") or criterion.lower() in _ALONE:
            break
        value, rest = _word(rest)
        named[criterion.lower()] = tuple((value or "").split(","))
    return named.get("user", ()), named.get("group", ())
