"""chosctl watch."""

from __future__ import annotations

import click

from chosns.cli.output import say
from chosns.mounts.watch import watch as keep_restricting


@click.command()
def watch() -> None:
    """Restrict inside what is mounted on the base, until ended.

    `up` does it once, this does it each time. It shortens the time in which set-uid programs of such a file system work
    inside with the libraries of an OS tree, and is no boundary: see CAVEATS in chosctl(8).
    """
    keep_restricting(say)


COMMANDS = (watch,)
