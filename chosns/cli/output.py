"""Printing: tables for people, columns for pipes, JSON for programs.

Everything that `chosctl` prints leaves by `say`, `table` or `print_json`, and only there is it escaped: mount points,
names of processes and trees, contents of files and an error's words are chosen by others, and may hold sequences that
move a terminal's cursor or make a line of a log look like two. No caller escapes, so none can forget to.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from _locale import CODESET, nl_langinfo  # locale takes milliseconds to import
from collections.abc import Iterator, Sequence
from typing import Any

import click

from chosns.errors import ChosError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def use_locale() -> None:
    """Print in the character set of the locale, though Python is in UTF-8 mode; what that lacks is escaped.

    An old terminal takes some bytes of UTF-8 for control characters.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(LookupError):  # a character set that Python does not know
                stream.reconfigure(encoding=nl_langinfo(CODESET), errors="backslashreplace")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Say that it was the output which could not be written, where something else is going on."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise ChosError(f"cannot write the output: {error.strerror}") from error


def discard_output() -> None:
    """Let what is still to be written go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(line: str, *, err: bool = False) -> None:
    """Print one line, on standard error where `err`. A tab stays, any other character that is no text is escaped."""
    _write("\t".join(printable(part, err=err) for part in line.split("\t")) + "\n", err=err)


def _write(text: str, *, err: bool = False) -> None:
    # Not click.echo: where the locale has ASCII alone, that writes UTF-8.
    stream = sys.stderr if err else sys.stdout
    stream.write(text)
    stream.flush()


def print_json(value: object) -> None:
    """Print `value`, with keys in the order given, so that a diff of two outputs means something."""
    _write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: with rich on a terminal, as plain aligned text elsewhere."""
    head, *safe = [[printable(cell) for cell in row] for row in [[column.upper() for column in columns], *rows]]
    if sys.stdout.isatty():
        _rich_table(head, safe)
        return
    widths = [max(len(row[at]) for row in [head, *safe]) for at in range(len(head))]
    for row in [head, *safe]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # slow to import, and of no use to a pipe
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console().print(grid)


def printable(text: str, *, err: bool = False) -> str:
    """`text` with everything escaped that could move a terminal's cursor, and what the output has no character for."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "ascii"
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def since(seconds: float) -> str:
    """A point in time (seconds since the epoch) as local time, without the date when it is today's."""
    when = time.localtime(seconds)
    return time.strftime("%H:%M:%S" if when[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", when)


def fail(error: ChosError) -> None:
    """Print an error and its hint on standard error; as JSON on standard output where that was asked for."""
    if "--json" in sys.argv[1:]:
        print_json(error.to_json())
    say(f"chosctl: {error}", err=True)
    for line in error.hint.splitlines():
        say(f"  {line}", err=True)


def show_progress(text: str) -> None:
    """Put `text` in the place of the line that a terminal shows last; nothing where standard error is none."""
    if sys.stderr.isatty():
        _write(f"\r\033[K{printable(text + ' …', err=True)}\r", err=True)


def clear_progress() -> None:
    """Take the line of `show_progress` away."""
    if sys.stderr.isatty():
        _write("\r\033[K", err=True)


def outcome_error(error: ChosError | None) -> dict[str, Any]:
    """The JSON fields of an error, or of its absence."""
    return error.to_json() if error else {"error": "", "object": "", "hint": ""}
