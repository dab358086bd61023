"""/etc/chos.conf: which variables a login shell started by `chos` keeps.

The format is the original's, see chos.conf(5). Pure: text in, `LoginShell` and problems out; never raises.
Must never return more than fits into the registry. Called by `site`.
"""

from __future__ import annotations

from chosns.config.text import VARIABLE, nearest, quoted
from chosns.model import LoginShell, Origin, Problem, Severity

SECTIONS = ("%ENV", "%BEH", "%SHELLS")
MAX_NAMES = 256
MAX_BYTES = 8191
HEADER = "chos-login 1\nbashlogin=0\npath=1\n"

# What CHOS 0.13 listed in the file that it came with; used where a site has no file.
BUILTIN_NAMES = """
    CHOS USER LOGNAME HOME MAIL SHELL SSH_CLIENT SSH_CONNECTION SSH_TTY TERM DISPLAY SSH_AUTH_SOCK
    HOSTTYPE VENDOR OSTYPE MACHTYPE SHLVL PWD GROUP HOST REMOTEHOST
"""
BUILTIN = LoginShell(keep=tuple(BUILTIN_NAMES.split()), set_path=True, bashlogin=False)


def parse_login(text: str, file: str) -> tuple[LoginShell, tuple[Problem, ...]]:
    """Read /etc/chos.conf. What is wrong is left out and reported; `keep` always fits into the registry."""
    problems: list[Problem] = []
    names: dict[str, Origin] = {}
    bashlogin = False
    section, had_env = "", False
    for number, raw in enumerate(text.split("\n"), 1):
        origin, words = Origin(file, number), raw.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("%"):
            section = words[0]
            had_env = had_env or section == "%ENV"
            if section not in SECTIONS and (hint := nearest(section, SECTIONS)):
                problems.append(Problem(origin, f"unknown section {quoted(section)}", hint, Severity.WARNING))
        elif section == "%ENV":
            _add_names(words, origin, names, problems)
        elif section == "%BEH":
            for word in words:
                bashlogin = bashlogin or word == "BASHLOGIN"
                if word != "BASHLOGIN":
                    hint = "the one word known here is BASHLOGIN"
                    problems.append(Problem(origin, f"unknown word {quoted(word)} ignored", hint, Severity.WARNING))
    if not had_env:
        hint = "add a section %ENV with the names to keep, one a line"
        problems.append(Problem(Origin(file), "has no %ENV: login shells keep no variable", hint, Severity.WARNING))
    set_path = names.pop("PATH", None) is not None
    return LoginShell(_fitting(names, problems), set_path, bashlogin), tuple(problems)


def _add_names(words: list[str], origin: Origin, names: dict[str, Origin], problems: list[Problem]) -> None:
    for word in words:
        if VARIABLE.fullmatch(word):
            names.setdefault(word, origin)
        else:
            hint = "letters, digits and _, one name a line"
            message = f"{quoted(word)} is not the name of a variable, ignored"
            problems.append(Problem(origin, message, hint, Severity.WARNING))


def _fitting(names: dict[str, Origin], problems: list[Problem]) -> tuple[str, ...]:
    """The names that the registry's file `login` has room for; an error at the first that it has not."""
    kept: list[str] = []
    size = len(HEADER)
    for name, origin in names.items():
        size += len(f"keep={name}\n")
        if len(kept) == MAX_NAMES or size > MAX_BYTES:
            limit = f"{MAX_NAMES} names" if len(kept) == MAX_NAMES else f"{MAX_BYTES} bytes"
            problems.append(Problem(origin, f"%ENV is longer than {limit}", "keep fewer variables"))
            break
        kept.append(name)
    return tuple(kept)
