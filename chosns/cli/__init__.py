"""The command `chosctl`: parse, call, print. No decision is taken here."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback  # now: a module that is loaded later may come from an OS tree (rule 27)
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import click

from chosns import __version__
from chosns.cli.output import discard_output, fail, say, use_locale
from chosns.errors import ChosError, as_chos_error

__all__ = ["chosctl", "main"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# The module of each command, and what `chosctl --help` and the shells' completion say of it.
_COMMANDS = {
    "check": ("configuration", "Report every problem of the configuration."),
    "down": ("lifecycle", "Take environments away; processes inside stay."),
    "explain": ("configuration", "Print what is mounted where in an environment, and why."),
    "install": ("integrate", "Make a product start sessions or jobs in environments."),
    "list": ("observe", "List the environments that you may enter."),
    "ps": ("processes", "Show which process is in which environment."),
    "reload": ("lifecycle", "Follow a change of the configuration (the same as up)."),
    "status": ("observe", "Show the state of every environment."),
    "up": ("lifecycle", "Prepare environments."),
    "watch": ("watch", "Restrict what is mounted on the base later; runs until stopped."),
}


class _Commands(click.Group):
    """Imports the module of the called command only: importing all of them takes a quarter of a command's time."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        found: tuple[click.Command, ...] = importlib.import_module(f"chosns.cli.{_COMMANDS[name][0]}").COMMANDS
        return next(command for command in found if command.name == name)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `chosctl --help`. click would import every module for it, and cut the lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def shell_complete(self, context: click.Context, incomplete: str) -> list[Any]:
        """The commands, without reading their modules, and the options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, context, incomplete)]


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="chosctl", message="%(prog)s %(version)s")
def chosctl() -> None:
    """Prepare and watch the environments of this node.

    Users enter one with `env CHOS=NAME chos`; see chos(1).
    """


def main() -> None:
    """Run `chosctl`, turning every expected error into one message with a hint and an exit status."""
    _open_missing()
    use_locale()
    sys.excepthook = _show_unexpected
    if sys.argv[1:2] == ["--complete"]:
        _complete(sys.argv[2:])
        return
    try:
        chosctl.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        for line in usage.getvalue().rstrip("\n").split("\n"):
            say(line, err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        say("chosctl: interrupted; nothing half-made is left, and what was prepared before still works", err=True)
        sys.exit(130)
    except ChosError as error:
        fail(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        discard_output()
        sys.exit(141)
    except OSError as error:  # most likely the output itself, so without a hint
        discard_output()
        fail(ChosError(as_chos_error(error).message))
        sys.exit(1)


def _complete(words: Sequence[str]) -> None:
    """Answer a completion script. What fails offers nothing: an error would be printed into the line that is typed.

    An argument, and not click's variable, says that this is asked: sudo in an alias or a wrapper takes variables away,
    and the line that somebody is still typing would be carried out.
    """
    from chosns.cli.completion import answer

    with contextlib.suppress(Exception):
        for line in answer(chosctl, words).splitlines():
            say(line)


def _show_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python prints of an exception that nobody expected, escaped like everything else."""
    for text in traceback.format_exception(kind, error, trace):
        for line in text.rstrip("\n").split("\n"):
            say(line, err=True)


def _open_missing() -> None:
    """Have descriptors 0 to 2: a file that is opened later must not be taken for the output."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115 -- for as long as we run
