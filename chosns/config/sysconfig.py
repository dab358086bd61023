"""/etc/sysconfig/chos: the settings of the original's boot script, which read them as shell.

The text must never be executed: quoting is undone as the shell would, and whatever would need a shell (`$`, a
command substitution, `if`) is reported and left out. Pure; never raises. Called by `site`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from chosns.config.sections import target_fault
from chosns.config.text import is_at_or_below, nearest, normal_path, path_fault, quoted
from chosns.model import ExtraBind, Origin, Problem, Severity, Sysconfig

KNOWN = ("BINDMOUNT", "MAKELINKS", "PRIVATE_MOUNTS", "CHOS")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OPERATOR = re.compile(r"[();<>|&]+")


def parse_sysconfig(text: str, file: str) -> tuple[Sysconfig, tuple[Problem, ...]]:
    """Read /etc/sysconfig/chos. As in a shell, the last assignment of a variable counts."""
    problems: list[Problem] = []
    values: dict[str, tuple[str, Origin]] = {}
    for origin, command in _commands(text, file):
        for name, value in _assignments(command, origin, problems):
            values[name] = (value, origin)
    if not _yes_no("PRIVATE_MOUNTS", values, True, problems):
        message = "PRIVATE_MOUNTS=no has no effect: nothing that is mounted inside ever reaches the base"
        problems.append(Problem(values["PRIVATE_MOUNTS"][1], message, "take the line out", Severity.WARNING))
    return (
        Sysconfig(
            bind_mounts=_bind_mounts(*values.get("BINDMOUNT", ("", Origin(file))), problems),
            make_links=_yes_no("MAKELINKS", values, False, problems),
            origin=Origin(file),
        ),
        tuple(problems),
    )


def _commands(text: str, file: str) -> Iterator[tuple[Origin, str]]:
    """Logical lines: an open quotation mark or a backslash at the end joins the next line on."""
    begin, start, line, quote, comment = 0, 1, 1, "", False
    position = 0
    while position < len(text):
        char = text[position]
        if comment:
            comment = char != "\n"
        if char == "\\" and quote != "'" and not comment:
            position += 1
            line += text[position : position + 1] == "\n"
        elif comment:
            pass
        elif quote:
            quote = "" if char == quote else quote
            line += char == "\n"
        elif char in "'\"":
            quote = char
        elif char == "#" and (position == begin or text[position - 1] in " \t;"):
            comment = True
        elif char == "\n":
            yield Origin(file, start), text[begin:position]
            begin, line = position + 1, line + 1
            start = line
        position += 1
    yield Origin(file, start), text[begin:]


def _assignments(command: str, origin: Origin, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """The assignments of one logical line, in their order."""
    lexer = shlex.shlex(command.replace("\\\n", ""), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = [word for word in lexer if word not in (";", "export")]
    except ValueError as error:
        problems.append(Problem(origin, f"not readable as shell: {str(error).lower()}", "look at the quotation marks"))
        return
    for word in words:
        found = _ASSIGNMENT.fullmatch(word)
        if not found or any(_OPERATOR.fullmatch(other) for other in words):
            message = f"{quoted(command.strip())} is no assignment, ignored"
            problems.append(Problem(origin, message, 'write NAME="value"; nothing is executed', Severity.WARNING))
            return
    for name, value in (word.split("=", 1) for word in words):
        if name in KNOWN and ("$" in value or "`" in value):
            message = f"{name} needs a shell, ignored"
            problems.append(Problem(origin, message, "write the value out; nothing is executed", Severity.WARNING))
        elif name in KNOWN:
            yield name, value
        elif hint := nearest(name, KNOWN):
            problems.append(Problem(origin, f"unknown setting {quoted(name)} ignored", hint, Severity.WARNING))


def _bind_mounts(value: str, origin: Origin, problems: list[Problem]) -> tuple[ExtraBind, ...]:
    """The directories of BINDMOUNT, each once. /proc is left out: it is always the base's."""
    binds: dict[str, ExtraBind] = {}
    for word in value.split():
        fault = path_fault(word) or (target_fault(normal_path(word)) if normal_path(word) != "/proc" else "")
        path = normal_path(word)
        if fault:
            problems.append(Problem(origin, f"BINDMOUNT: {quoted(word)} {fault}", "take it out of the list"))
        elif path != "/proc":
            devices = is_at_or_below(path, "/dev")
            binds.setdefault(path, ExtraBind(path, path, optional=True, devices=devices, origin=origin))
    return tuple(binds.values())


def _yes_no(name: str, values: dict[str, tuple[str, Origin]], default: bool, problems: list[Problem]) -> bool:
    value, origin = values.get(name, ("", Origin("")))
    if value.lower() not in ("", "yes", "no"):
        chosen = "yes" if default else "no"
        message = f"{name} is {quoted(value)}, taken for {chosen}"
        problems.append(Problem(origin, message, "write yes or no", Severity.WARNING))
        return default
    return value.lower() == "yes" if value else default
