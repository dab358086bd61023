"""/etc/chos, the allow-list: which names there are, and which OS tree each leads to.

The format is the original's, see chos.conf(5). Pure: text in, entries and problems out; never raises. Must never
give an alias that was refused to another line's tree. Called by `site`.
"""

from __future__ import annotations

from collections.abc import Iterator

from chosns.config.text import nearest, normal_path, path_fault, quoted
from chosns.lazydata import dataclass
from chosns.model import NAME_PATTERN, Origin, Problem, Severity, escape_name

SECTIONS = ("%SHELLS", "%ENV", "%BEH")


@dataclass(frozen=True)
class AllowedLine:
    """One line `alias:path` that counts. The path is normal; `/` means "leave CHOS"."""

    alias: str
    path: str
    origin: Origin


@dataclass(frozen=True)
class AllowList:
    """The entries in the order of the file, no alias twice; and the aliases that were refused."""

    entries: tuple[AllowedLine, ...] = ()
    refused: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse_allow_list(text: str, file: str) -> AllowList:
    """Read /etc/chos. The first of several lines for an alias wins, even where it had to be refused."""
    entries: list[AllowedLine] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    refused: list[str] = []
    for origin, line in _shell_lines(text, file, problems):
        alias, colon, path = line.partition(":")
        if not colon:
            hint = "write alias:path, for example el9:/os/el9"
            problems.append(Problem(origin, f"no colon in {quoted(line)}, skipped", hint, Severity.WARNING))
            continue
        if alias in seen:
            message = f"{quoted(alias)} again; the first wins, line {seen[alias]}"
            problems.append(Problem(origin, message, "remove one of the two", Severity.WARNING))
            continue
        seen[alias] = origin.line
        fault = _entry_problem(alias, path, origin)
        if fault:
            problems.append(fault)
            refused.append(alias)
            continue
        problems.extend(_doubts(alias, path, origin))
        entries.append(AllowedLine(alias, normal_path(path), origin))
    return AllowList(tuple(entries), tuple(refused), tuple(problems))


def _shell_lines(text: str, file: str, problems: list[Problem]) -> Iterator[tuple[Origin, str]]:
    """The lines of the section %SHELLS that say something."""
    section, had_section, had_line = "", False, False
    stray: Origin | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        origin, line = Origin(file, number), raw.strip(" \t\r\f\v")
        if not line or line.startswith("#"):
            continue
        if line.startswith("%"):
            section = line.split()[0]
            had_section = had_section or section == "%SHELLS"
            if section not in SECTIONS and (hint := nearest(section, SECTIONS)):
                problems.append(Problem(origin, f"unknown section {quoted(section)}", hint, Severity.WARNING))
        elif section == "%SHELLS":
            had_line = True
            bare = ":".join(part.strip() for part in line.split(":", 1))
            if bare != raw.rstrip("\r"):
                message = "white space at an end or around the colon is ignored"
                problems.append(Problem(origin, message, "remove it: CHOS 0.13 took it for part", Severity.WARNING))
            yield origin, bare
        elif not section:
            stray = stray or origin
            message = f"{quoted(line)} stands before %SHELLS, ignored"
            problems.append(Problem(origin, message, "move it below the line %SHELLS", Severity.WARNING))
    if not had_section:
        hint = "put a line %SHELLS before the first alias:path"
        problems.append(Problem(Origin(file), "has no section %SHELLS, so it allows nothing", hint))
    elif not had_line and stray:
        hint = "move %SHELLS above the lines alias:path"
        problems.append(Problem(stray, "every line stands before %SHELLS, so the file allows nothing", hint))
    elif not had_line:
        hint = "add a line below %SHELLS, for example el9:/os/el9"
        problems.append(Problem(Origin(file), "section %SHELLS is empty", hint, Severity.WARNING))


def _entry_problem(alias: str, path: str, origin: Origin) -> Problem | None:
    """Why this line cannot be used, or None."""
    is_name = bool(NAME_PATTERN.fullmatch(alias))
    environment = alias if is_name or alias.startswith("/") else ""
    if not is_name:
        hint = "a name has 1 to 64 letters, digits, '.', '_', '-' and begins with a letter or digit"
        if not alias.startswith("/"):
            return Problem(origin, f"{quoted(alias)} is not a legal name", hint)
        fault = path_fault(alias)
        if fault:
            return Problem(origin, f"alias {quoted(alias)} {fault}", hint, environment=environment)
        try:
            escape_name(alias)
        except ValueError as error:
            return Problem(origin, str(error), "use a shorter alias", environment=environment)
    fault = path_fault(path)
    if fault:
        hint = f"write {alias}:/path/of/the/tree"
        return Problem(origin, f"path {quoted(path)} {fault}", hint, environment=environment)
    if alias == "/" and normal_path(path) != "/":
        return Problem(origin, 'the alias "/" always means the base', "choose another alias")
    return None


def _doubts(alias: str, path: str, origin: Origin) -> Iterator[Problem]:
    """What is legal and yet hardly meant."""
    if " #" in path or "\t#" in path:
        message = f"the path is {quoted(path)}, the remark included"
        yield Problem(origin, message, "put the remark on a line of its own", Severity.WARNING)
    if alias == "root" and normal_path(path) != "/":
        message = '"root" leads to an OS tree; users expect it to lead back to the base'
        yield Problem(origin, message, "write root:/", Severity.WARNING)
