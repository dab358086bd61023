"""chosctl watch."""

from __future__ import annotations

import click

from chosns.cli.output import say
from chosns.mounts.watch import watch as keep_restricting


@click.command()
def watch() -> None:
    """Restrict, inside environments, what is mounted on the base later. Runs until it is stopped.

    `up` does this once, `watch` does it for every file system that is mounted later. It shortens the time in which
    set-uid programs of such a file system run inside with the libraries of an OS tree. It is not a security boundary:
    see CAVEATS in chosctl(8).
    """
    keep_restricting(say)


COMMANDS = (watch,)
