"""chosctl status, list."""

from __future__ import annotations

import sys

import click

from chosns.backends.wanted import checked
from chosns.cli.output import json_option, print_json, say, since, table
from chosns.config import read_site
from chosns.integrate.model import Machine
from chosns.model import Severity
from chosns.mounts.repair import some
from chosns.observe.state import node_state


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the state of every environment. Exit status 1 if one is not up."""
    node = node_state(checked(read_site()), inside=True)
    if as_json:
        print_json(node.to_json())
    else:
        rows = []
        reasons = any(env.reason for env in node.environments)
        for env in node.environments:
            current = env.current
            older = [generation for generation in env.generations if not generation.current]
            rows.append(
                [
                    env.name,
                    env.state,
                    current.generation if current else "-",
                    str(env.processes),
                    since(current.created) if current else "-",
                    ", ".join(f"{generation.generation} ({generation.processes})" for generation in older) or "-",
                    env.tree,
                    *([env.reason] if reasons else []),
                ]
            )
        columns = ["environment", "state", "generation", "processes", "since", "older (processes)", "tree"]
        table([*columns, *(["why"] if reasons else [])], rows)
        if not node.prepared:
            say("no environment is prepared on this node: an administrator runs `chosctl up`", err=True)
        if node.problems:
            say("the configuration has errors: `chosctl check` shows them", err=True)
        for report in node.reports:
            if report.problem:
                say(report.problem, err=True)
        if node.launcher:
            say(node.launcher, err=True)
        if node.without_nosuid:
            places = some([found.place for found in node.without_nosuid])
            say(f"set-uid programs of {places} work inside: `chosctl check` says more", err=True)
        from chosns.integrate.mom_problems import job_starter_problems  # and psutil, which `list` does not need

        for problem in job_starter_problems(Machine()):
            if problem.severity is Severity.ERROR:
                say(f"TORQUE: {problem}", err=True)
        if node.missed:
            say(
                f"processes of batch jobs that asked for an environment, and are on the base: {node.missed};"
                " `chosctl ps --missed` shows them",
                err=True,
            )
    if not node.healthy:
        sys.exit(1)


@click.command("list")
@click.option("--names", is_flag=True, help="Print names and aliases only, one on a line.")
@click.option(
    "--all", "everything", is_flag=True, help="Also list those that you may not enter, or that are not prepared."
)
@json_option
def list_environments(names: bool, everything: bool, as_json: bool) -> None:
    """List the environments that you may enter."""
    node = node_state(checked(read_site()))
    shown = [env for env in node.environments if everything or env.state in ("up", "outdated")]
    if names:
        for env in shown:
            for name in (env.name, *(alias for alias in env.aliases if not alias.startswith("/"))):
                say(name)
    elif as_json:
        print_json(
            [
                {
                    "name": env.name,
                    "aliases": env.aliases,
                    "os": env.os,
                    "description": env.description,
                    "state": env.state,
                }
                for env in shown
            ]
        )
    else:
        table(
            ["name", "aliases", "os", "description", *(["state"] if everything else [])],
            [
                [env.name, " ".join(env.aliases), env.os, env.description, *([env.state] if everything else [])]
                for env in shown
            ],
        )
        if not shown:
            say("no environment is prepared on this node that you may enter; `chosctl list --all` shows all", err=True)


COMMANDS = (status, list_environments)
