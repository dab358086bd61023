"""Printing: tables for people, columns for pipes, JSON for programs.

Everything that `chosctl` prints leaves by `say`, `table` or `print_json`, and only there is it escaped: mount points,
names of processes and trees, contents of files and an error's words are chosen by others, and may hold sequences that
move a terminal's cursor or make a line of a log look like two. No caller escapes, so none can forget to.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from chosns.errors import ChosError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
    click.echo("\t".join(map(printable, line.split("\t"))), err=err)


def print_json(value: object) -> None:
    """Print `value`, with keys in the order given, so that a diff of two outputs means something."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: with rich on a terminal, as plain aligned text elsewhere."""
    safe = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, safe)
        return
    widths = [max(len(row[at]) for row in [list(columns), *safe]) for at in range(len(columns))]
    for row in [[column.upper() for column in columns], *safe]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # slow to import, and of no use to a pipe
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column.upper(), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console().print(grid)


def printable(text: str) -> str:
    """`text` with everything escaped that could move a terminal's cursor."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


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
        click.echo(f"\r\033[K{printable(text)} …\r", nl=False, err=True)


def outcome_error(error: ChosError | None) -> dict[str, Any]:
    """The JSON fields of an error, or of its absence."""
    return error.to_json() if error else {"error": "", "object": "", "hint": ""}
