"""chosctl check, explain."""

from __future__ import annotations

import os
import sys

import click

from chosns.backends import builder
from chosns.backends.wanted import checked, wanted
from chosns.cli.completion import completed_by, configured, directories
from chosns.cli.explained import grouped, listed
from chosns.cli.output import json_option, print_json, say
from chosns.config import broken, check_groups, read_site
from chosns.doctor.mounts import exposed_inside
from chosns.doctor.pam import stacks_with_problems
from chosns.doctor.trees import try_plan, unplannable
from chosns.errors import ConfigError
from chosns.integrate.model import Machine
from chosns.integrate.mom_problems import job_starter_problems
from chosns.model import Origin, Problem, Severity
from chosns.plan import Plan
from chosns.registry.names import find
from chosns.system.installed import launcher_problem

_EXPOSED_SHOWN = 10  # file systems, for people


@click.command()
@click.option(
    "--root",
    default="/",
    show_default=True,
    metavar="DIR",
    help="Check the configuration below DIR.",
    **completed_by(directories),
)
@json_option
def check(root: str, as_json: bool) -> None:
    """Report every problem of the configuration.

    Each problem is one line: FILE:LINE: MESSAGE — HINT.

    Without --root it also checks the OS trees, the launcher, the PAM stacks and the job starter of TORQUE, and makes a
    plan for each environment. For root it also lists file systems whose set-uid programs work in prepared environments.
    Exit status 1 if there is any problem; a note does not count. Nothing is changed, and no privilege is needed.
    """
    if not os.path.isdir(root):
        message = "is not a directory" if os.path.lexists(root) else "does not exist"
        raise ConfigError(
            message, object=root, hint="--root DIR checks DIR/etc/chos: the root of an image of a node, say"
        )
    site = checked(read_site(root))
    problems = [*site.problems, *check_groups(site)]
    inside: list[Problem] = []
    if root == "/":
        problems += unplannable(site)
        if launcher := launcher_problem():
            problems.append(Problem(Origin("chos"), launcher))
        problems += stacks_with_problems(Machine())
        problems += job_starter_problems(Machine())
        inside = exposed_inside()
        problems += inside if as_json else inside[:_EXPOSED_SHOWN]
    mistakes = [problem for problem in problems if problem.severity is not Severity.NOTE]
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
            say(str(problem))
        if len(inside) > _EXPOSED_SHOWN:
            say(f"and {len(inside) - _EXPOSED_SHOWN} more file systems without nosuid: --json has all")
        if not mistakes:
            count = len(site.environments)
            say(f"{count} environment{'s' if count != 1 else ''}, no problem found")
    if mistakes:
        sys.exit(1)


@click.command()
@click.option("--operations", is_flag=True, help="Print every operation in its order, not grouped by reason.")
@click.argument("environment", **completed_by(configured))
@json_option
def explain(environment: str, operations: bool, as_json: bool) -> None:
    """Print what is mounted where in ENVIRONMENT, and why.

    The places are grouped by reason. Each reason comes with the line of configuration that asks for it and the mount
    flags. Nothing is changed, and no privilege is needed.
    """
    site = checked(read_site())
    env = find(site, environment)
    problems = broken(site).get(env.name)
    if problems:
        raise ConfigError(problems[0].message, object=str(problems[0].origin), hint=problems[0].hint)
    # In a separate process, because a tree that hangs must not make this command hang.
    if as_json:
        print_json(try_plan(env, site, Plan.to_json))
        return
    say(f"# {env.name}: tree {env.tree}, bind map {env.bindmap}, backend {builder(wanted(site))}")
    for line in try_plan(env, site, listed if operations else grouped):
        say(line)
    if os.geteuid() != 0:
        say("# without root, what you may not look at counts as not there", err=True)


COMMANDS = (check, explain)
