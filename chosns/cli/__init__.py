"""The command `chosctl`: parse, call, print. No decision is taken here."""

from __future__ import annotations

import os
import sys

import click

from chosns import __version__
from chosns.cli import configuration, lifecycle, observe
from chosns.cli.output import fail
from chosns.errors import ChosError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="chosctl", message="%(prog)s %(version)s")
def chosctl() -> None:
    """Prepare and watch the environments of this node.

    Users enter one with `env CHOS=NAME chos`; see chos(1).
    """


for module in (lifecycle, observe, configuration):
    for command in module.COMMANDS:
        chosctl.add_command(command)


def main() -> None:
    """Run `chosctl`, turning every expected error into one message with a hint and an exit status."""
    try:
        chosctl.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "chosctl: interrupted; nothing half-made is left, and what was prepared before still works", err=True
        )
        sys.exit(130)
    except ChosError as error:
        fail(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
