"""chosctl ps."""

from __future__ import annotations

from dataclasses import asdict

import click

from chosns.cli.output import json_option, print_json, since, table
from chosns.errors import UnknownEnvironment
from chosns.node.names import primary as primary_name
from chosns.observe.processes import residents
from chosns.registry import open_registry


@click.command()
@click.argument("environment", required=False)
@json_option
def ps(environment: str | None, as_json: bool) -> None:
    """Show which process lives in which environment: all that you may see, or those of ENVIRONMENT.

    ENVIRONMENT is a name, an alias, or a generation such as el9.7.
    """
    with open_registry() as registry:
        generations = registry.generations()
        if environment is not None:
            primary = primary_name(environment, registry.links())
            wanted = primary or environment
            generations = [
                one for one in generations if wanted in (one.name, str(one), one.manifest.get("environment"))
            ]
            if not primary and not generations:
                raise UnknownEnvironment("is not prepared", object=environment, hint="`chosctl list` shows what is")
    found = residents(generations)
    if as_json:
        print_json([asdict(resident) for resident in found])
        return
    table(
        ["pid", "user", "environment", "generation", "since", "command"],
        [
            [
                str(one.pid),
                one.user,
                one.environment,
                one.generation + (" (container)" if one.nested else ""),
                since(one.started),
                one.command,
            ]
            for one in found
        ],
    )


COMMANDS = (ps,)
