"""What the shells' completion scripts ask for: candidates for the last word of a command line of `chosctl`.

click knows commands, options and their values; this module answers with what it finds. The scripts, in
packaging/completions, only pass words on, so that the three shells offer the same. Called by `main` where the first
argument is `--complete`, and by the options and arguments of the commands. It must never print an error or change
anything: it runs while somebody is typing, as root too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from chosns.model import REGISTRY

_Completer = Callable[[click.Context, click.Parameter, str], "list[Any]"]


def answer(command: click.Command, words: Sequence[str]) -> str:
    """One line a candidate: its kind (`plain`, `file`, `dir`), the candidate, a description, with tabs between.

    :param words: of the command line, the command's name left out; the last one is to be completed.
    """
    try:
        from click.shell_completion import ShellComplete
    except ImportError:  # click 7: nothing is offered
        return ""
    # bash takes `--backend=ns` apart: the word before the last one is `=` then, or the last one is.
    whole = list(words) or [""]
    if whole[-1] == "=":
        whole[-1] = ""
    complete = [word for word in whole[:-1] if word != "="]
    option, equals, _ = whole[-1].partition("=")
    prefix = option + equals if equals and option.startswith("--") else ""
    found = ShellComplete(command, {}, "chosctl", "").get_completions(complete, whole[-1])
    # A word that would disturb the lines is left out.
    return "".join(
        f"{item.type}\t{prefix}{item.value}\t{item.help or ''}\n" for item in found if item.value.isprintable()
    )


def completed_by(completer: _Completer) -> dict[str, Any]:
    """The argument of an option or argument that says how its values are completed; empty with click 7."""
    return {"shell_complete": completer} if hasattr(click.Parameter, "shell_complete") else {}


def configured(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
    """Names and aliases of the environments that the configuration has."""
    from chosns.config import read_site

    return _items(name for env in read_site().environments for name in (env.name, *env.aliases) if name[:1] != "/")(
        word
    )


def prepared(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
    """Names and aliases of the environments that are prepared here, and that the caller may enter."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(f"{REGISTRY}/env")):
            path = f"{REGISTRY}/env/{name}"
            if "%" not in name and os.path.isdir(path) and os.access(path, os.X_OK):
                names.append(name)
    return _items(names)(word)


def listed(names: Sequence[str], *, commas: bool = False) -> _Completer:
    """A completer that offers these words; with `commas` also as further ones of a list."""

    def complete(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
        before, comma, _ = word.rpartition(",") if commas else ("", "", word)
        given = before.split(",")
        return _items(before + comma + name for name in names if name not in given)(word)

    return complete


def files_in(directory: str) -> _Completer:
    """A completer that offers the names of files in a directory."""

    def complete(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
        with contextlib.suppress(OSError):
            return _items(sorted(os.listdir(directory)))(word)
        return []

    return complete


def files(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
    """The shell completes paths."""
    return [_item(word, type="file")]


def directories(_context: click.Context, _parameter: click.Parameter, word: str) -> list[Any]:
    """The shell completes paths of directories."""
    return [_item(word, type="dir")]


def _items(names: Iterable[str]) -> Callable[[str], list[Any]]:
    return lambda word: [_item(name) for name in names if name.startswith(word)]


def _item(value: str, **more: str) -> Any:
    from click.shell_completion import CompletionItem

    return CompletionItem(value, **more)
