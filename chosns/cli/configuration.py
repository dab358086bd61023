"""chosctl check, explain."""

from __future__ import annotations

import os
import sys

import click

from chosns.backends.ns import NamespaceBackend
from chosns.cli.output import json_option, print_json, printable
from chosns.config import broken, check_groups, read_site
from chosns.doctor.trees import try_plan, unplannable
from chosns.errors import ConfigError
from chosns.lifecycle import find
from chosns.plan.operations import MakeDirectory, MakeSymlink


@click.command()
@click.option("--root", default="/", show_default=True, metavar="DIR", help="Check the configuration below DIR.")
@json_option
def check(root: str, as_json: bool) -> None:
    """Report every problem of the configuration as FILE:LINE: MESSAGE — HINT.

    Without --root this looks at the OS trees too, and plans. Exit status 1 when there is any problem. Nothing is
    changed, and no privilege is needed.
    """
    site = read_site(root)
    problems = [*site.problems, *check_groups(site), *(unplannable(site) if root == "/" else ())]
    if as_json:
        print_json(
            [
                {
                    "file": problem.origin.file,
                    "line": problem.origin.line,
                    "severity": problem.severity.value,
                    "environment": problem.environment,
                    "message": problem.message,
                    "hint": problem.hint,
                }
                for problem in problems
            ]
        )
    else:
        for problem in problems:
            click.echo(printable(str(problem)))
        if not problems:
            count = len(site.environments)
            click.echo(f"{count} environment{'s' if count != 1 else ''}, no problem found")
    if problems:
        sys.exit(1)


@click.command()
@click.argument("environment")
@json_option
def explain(environment: str, as_json: bool) -> None:
    """Print what `up` would do for ENVIRONMENT: every operation, its flags, and the line that asks for it.

    Nothing is done, and no privilege is needed.
    """
    site = read_site()
    env = find(site, environment)
    problems = broken(site).get(env.name)
    if problems:
        raise ConfigError(problems[0].message, object=str(problems[0].origin), hint=problems[0].hint)
    try_plan(env, site)  # a tree that hangs must not hang us
    plan = NamespaceBackend().explain(env, site)
    if as_json:
        print_json(plan.to_json())
        return
    click.echo(f"# {env.name}: tree {printable(env.tree)}, bind map {env.bindmap}, backend ns")
    for operation in plan.operations:
        flags = "" if isinstance(operation, (MakeDirectory, MakeSymlink)) else f"[{operation.flags}] "
        click.echo(printable(f"{operation.describe():58} {flags}# {operation.why}"))
        for entry in getattr(operation, "entries", ()):
            click.echo(printable(f"           {entry.path + (' -> ' + entry.to if entry.to else ''):47} # {entry.why}"))
    for note in plan.notes:
        click.echo(printable(f"# left out: {note}"))
    if os.geteuid() != 0:
        click.echo("# without root, what you may not look at counts as not there", err=True)


COMMANDS = (check, explain)
