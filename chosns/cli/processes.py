"""chosctl ps."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from chosns.cli.completion import completed_by, prepared
from chosns.cli.output import json_option, print_json, since, table
from chosns.errors import UnknownEnvironment
from chosns.observe.missed import Missed, missed
from chosns.observe.processes import residents
from chosns.registry import open_registry
from chosns.registry.names import primary as primary_name

_FOUND = 3  # not 1, which says that something failed


@click.command()
@click.argument("environment", required=False, **completed_by(prepared))
@click.option(
    "--missed", "missing", is_flag=True, help="Jobs' processes that asked for an environment, but are on the base."
)
@click.option("--pid", type=click.IntRange(1), metavar="PID", help="With --missed: look at this process only.")
@json_option
def ps(environment: str | None, missing: bool, pid: int | None, as_json: bool) -> None:
    """Show which process is in which environment: all processes that you may see, or those in ENVIRONMENT.

    ENVIRONMENT is a name, an alias, or a generation such as el9.7. With --missed it lists processes of batch jobs whose
    variables ask for an environment (or for ENVIRONMENT) but that run on the base; the exit status is then 3.
    """
    if pid and not missing:
        raise click.UsageError("--pid needs --missed")
    if missing:
        with open_registry() as registry:
            found = [one for one in missed(registry, pid or 0) if environment in (None, one.environment)]
        _print_missed(found, as_json)
        sys.exit(_FOUND if found else 0)
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
    there = residents(generations)
    if as_json:
        print_json([asdict(resident) for resident in there])
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
            for one in there
        ],
    )


def _print_missed(found: list[Missed], as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        table(
            ["pid", "user", "job", "asked for", "since", "command"],
            [
                [
                    str(one.pid),
                    one.user,
                    f"{one.product} {one.job}",
                    one.environment + ("" if one.known else " (unknown)"),
                    since(one.started),
                    one.command,
                ]
                for one in found
            ],
        )


COMMANDS = (ps,)
