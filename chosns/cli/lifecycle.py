"""chosctl up, down, reload: bring environments up and down, or print what that would do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from chosns.backends import TIME_LIMIT
from chosns.backends import names as backend_names
from chosns.backends.wanted import checked
from chosns.cli.completion import completed_by, configured, listed, prepared
from chosns.cli.output import json_option, outcome_error, print_json, say, show_progress, writing
from chosns.config import broken, read_site, require_usable
from chosns.mounts.base import require_base
from chosns.node.act import down as take_down
from chosns.node.act import up as bring_up
from chosns.node.actions import to_json
from chosns.node.drive import Told
from chosns.node.report import Outcome, Report
from chosns.node.why import NOTHING_PREPARED

_LONGEST = 10_000_000.0  # seconds: 115 days


def _parse_backends(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(value.split(",")) if value is not None else ()
    if len(set(names)) != len(names) or not set(names) <= set(backend_names()):
        raise click.BadParameter(f"{value} is not one or more of {', '.join(backend_names())}, separated by commas")
    return names


def _parse_seconds(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """Seconds that the kernel can wait. Needed because click accepts `nan`, `inf` and any power of ten."""
    if value is not None and not 0.1 <= value <= _LONGEST:
        raise click.BadParameter(f"{value:g} is not between 0.1 and {_LONGEST:g}")
    return value


_renew = click.option("--renew", is_flag=True, help="Make a new generation even if nothing has changed.")
_timeout = click.option(
    "--timeout",
    type=float,
    callback=_parse_seconds,
    metavar="SECONDS",
    help=f"Time limit for one environment ({TIME_LIMIT:g}), and with --wait for waiting (none).",
)
_backend = click.option(
    "--backend",
    "backends",
    metavar="NAME[,NAME]",
    callback=_parse_backends,
    help=f"Prepare for {', '.join(backend_names())}, or several, the default first."
    " If not given: as configured, otherwise as before.",
    **completed_by(listed(backend_names(), commas=True)),
)
_jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of trees to look at side by side. If not given: the number of processors.",
)
_wait = click.option(
    "--wait", is_flag=True, help="Wait until the last process has left what is taken away, and remove it."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Print what would be done, and why, but change nothing.")
_names = click.argument("environments", nargs=-1, metavar="[ENV]...", **completed_by(configured))
_prepared_names = click.argument("environments", nargs=-1, metavar="[ENV]...", **completed_by(prepared))


class _Asked(NamedTuple):
    """The words of `up` and `reload`."""

    environments: tuple[str, ...]
    backends: tuple[str, ...]
    renew: bool
    timeout: float | None
    jobs: int | None
    wait: bool
    dry_run: bool
    as_json: bool


def _bringing_up(command: Callable[..., None]) -> click.Command:
    """A command with the options of `up`."""
    for option in (json_option, _dry_run, _wait, _jobs, _timeout, _renew, _backend, _names):
        command = option(command)
    return click.command()(command)


@_bringing_up
def up(**words: Any) -> None:
    """Prepare environments (all of /etc/chos, or ENV...).

    What has not changed keeps its generation, so the command may be run at any time. New logins get a new generation;
    running jobs keep theirs. Exit status 1 if an environment could not be prepared; the others are prepared.
    """
    _up("chosctl up", _Asked(**words))


@_bringing_up
def reload(**words: Any) -> None:
    """Follow a change of the configuration: the same as `up`."""
    _up("chosctl reload", _Asked(**words))


@click.command()
@_prepared_names
@_wait
@click.option(
    "--timeout",
    type=float,
    callback=_parse_seconds,
    metavar="SECONDS",
    help="With --wait: time limit for waiting (none).",
)
@_dry_run
@json_option
def down(environments: tuple[str, ...], wait: bool, timeout: float | None, dry_run: bool, as_json: bool) -> None:
    """Take environments away (all, or ENV...). Processes inside stay; no process can enter any more.

    With --wait it ends when no process is in them any more and they are removed; exit status 4 if the time was over
    before. Without --wait, the next `up` or `down` removes what is not used by then.
    """
    _require_waitable(wait, dry_run)
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    report = take_down(environments, dry_run=dry_run, waiting=_waiting)
    for note in () if as_json else report.notes:
        say(f"note: {note}", err=True)
    waited = _wait_for(report, timeout, everything=not environments, as_json=as_json) if wait else None
    if as_json:
        decision = _decision(report) if dry_run else {}
        print_json({**decision, "retired": report.retired, "in_use": report.kept, **_waited(waited)})
    elif dry_run:
        _print_decision(report)
    else:
        _print_generations(report)
    _exit_after(waited)


def _require_waitable(wait: bool, dry_run: bool) -> None:
    if wait and dry_run:
        raise click.UsageError("--dry-run changes nothing, so there is nothing to --wait for")


def _wait_for(report: Report, limit: float | None, *, everything: bool, as_json: bool) -> int:
    """Wait for what is taken away; the exit status."""
    if not report.kept:
        return 0
    from chosns.cli.waiting import wait_for  # and psutil and pyroute2, for nobody else

    return wait_for(report, limit, everything=everything, as_json=as_json)


def _waited(status: int | None) -> dict[str, Any]:
    """The JSON field of waiting: `ended`, `timeout`, `interrupted`; none where it was not asked for."""
    return {} if status is None else {"waited": {0: "ended", 4: "timeout"}.get(status, "interrupted")}


def _exit_after(status: int | None) -> None:
    if status:
        sys.exit(status)


def _waiting(text: str) -> None:
    say(f"chosctl: {text}", err=True)


def _up(command: str, asked: _Asked) -> None:
    _require_waitable(asked.wait, asked.dry_run)
    require_base(command)
    site = checked(read_site())
    require_usable(site)

    def done(outcome: Outcome) -> None:
        if asked.as_json:
            return
        took = f"{outcome.seconds * 1000:8.1f} ms" if outcome.state == "made" else ""
        with writing():
            if not asked.dry_run:
                say(f"{outcome.environment:20} {outcome.generation:24} {outcome.state:10}{took}".rstrip())
                for why in outcome.why if _worth_saying(outcome) else ():
                    say(f"  {why}")
            if outcome.error:
                say(f"  {outcome.error}", err=True)
                if outcome.error.hint:
                    say(f"  {outcome.error.hint}", err=True)

    def progress(text: str) -> None:
        if not asked.as_json:
            show_progress(text)

    report = bring_up(
        site,
        asked.environments,
        backends=asked.backends,
        renew=asked.renew,
        dry_run=asked.dry_run,
        limit=asked.timeout or TIME_LIMIT,
        workers=asked.jobs or 0,
        command=command,
        told=Told(progress, done),
        waiting=_waiting,
    )
    waited = _wait_for(report, asked.timeout, everything=False, as_json=asked.as_json) if asked.wait else None
    if asked.as_json:
        print_json(
            {
                **(_decision(report) if asked.dry_run else {}),
                "environments": [
                    {
                        "environment": outcome.environment,
                        "state": outcome.state,
                        "generation": outcome.generation,
                        "seconds": round(outcome.seconds, 6),
                        "why": outcome.why,
                        **outcome_error(outcome.error),
                    }
                    for outcome in report.outcomes
                ],
                "retired": report.retired,
                "in_use": report.kept,
                "notes": report.notes,
                **_waited(waited),
            }
        )
    else:
        told = {outcome.environment for outcome in report.outcomes if outcome.error}
        for problem in site.problems:
            if problem.environment in told:
                continue
            say(str(problem), err=True)
        for note in report.notes:
            say(f"note: {note}", err=True)
        if not site.environments:
            say("/etc/chos names no environment; see chos.conf(5)", err=True)
        if asked.dry_run:
            _print_decision(report)
        else:
            _print_generations(report)
    if report.failed or broken(site).get(""):
        sys.exit(1)
    _exit_after(waited)


def _worth_saying(outcome: Outcome) -> bool:
    """Why a generation was made, if there was one before. For a first generation the reason is obvious."""
    return outcome.state == "made" and outcome.why != NOTHING_PREPARED


def _decision(report: Report) -> dict[str, Any]:
    """The JSON fields of what would be done."""
    return {"actions": [{"environment": env, **to_json(action)} for env, action in report.decision]}


def _print_decision(report: Report) -> None:
    """What would be done, in its order, each action with its reasons."""
    said: tuple[str, ...] = ()  # print the same reasons only once, and not below each action
    for env, action in report.decision:
        with writing():
            say(f"{env:20} {action.describe()}" if env else action.describe())
            for why in action.why if action.why != said else ():
                say(f"  {why}")
        said = action.why
    for generation, count in report.kept.items():
        say(f"{generation} would stay: processes in it: {count}")
    if not report.decision and not report.failed:
        say("nothing to do")


def _print_generations(report: Report) -> None:
    for generation in report.retired:
        say(f"{generation} is removed")
    for generation, count in report.kept.items():
        used = f"{count} process{'es' if count != 1 else ''}"
        say(f"{generation} is still used by {used}; once nobody uses it, the next `chosctl up` or `down` removes it")


COMMANDS = (up, down, reload)
