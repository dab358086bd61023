"""chosctl install."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from dataclasses import replace

import click

from chosns.cli.completion import completed_by, files, files_in
from chosns.cli.output import json_option, print_json, say, table
from chosns.errors import ChosError
from chosns.integrate import engine
from chosns.integrate.lines import diff
from chosns.integrate.model import Change, ChangeList, FileEdit, Machine, Product, Request
from chosns.integrate.products import PRODUCTS
from chosns.mounts.base import require_base

_FLAGS = {"services": "--service", "queues": "--queue", "options": "--option"}


@click.command()
@click.argument("product", type=click.Choice(list(PRODUCTS)), metavar="[PRODUCT]", required=False)
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME",
    help="pam: this service; may be repeated.",
    **completed_by(files_in("/etc/pam.d")),
)
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="sge, lsf: this queue; may be repeated.")
@click.option("--option", "options", multiple=True, metavar="WORD", help="An option of the plugin; may be repeated.")
@click.option(
    "--config", default="", metavar="PATH", help="The place of the product's configuration.", **completed_by(files)
)
@click.option("--dry-run", is_flag=True, help="Show the change, but change nothing.")
@click.option("--undo", is_flag=True, help="Remove what was installed, and restore what was there before.")
@click.option("--print", "show", is_flag=True, help="Print the lines, for sites that manage these files elsewhere.")
@json_option
def install(
    product: str | None, config: str, dry_run: bool, undo: bool, show: bool, as_json: bool, **words: tuple[str, ...]
) -> None:
    """Make PRODUCT start sessions or jobs in environments.

    Shows the change of its configuration as a diff, makes it, and checks the result. If anything fails, everything is
    reverted. Running it again does no harm. PRODUCT is one of: {products}. Without PRODUCT it lists which of them there
    are on this node, and changes nothing.
    """
    if product is None:
        if undo or show or config or any(words.values()):
            raise click.UsageError("Missing argument 'PRODUCT'.")
        _print_overview(as_json)
        return
    if dry_run + undo + show > 1 and not (dry_run and undo and not show):
        raise click.UsageError("--dry-run, --undo and --print exclude each other")
    chosen = PRODUCTS[product]
    for field, given in words.items():
        if given and field not in chosen.accepts:
            raise click.UsageError(f"{product} has no {_FLAGS[field]}")
        if given and undo and (field == "options" or not chosen.parted):
            raise click.UsageError(f"{product} --undo takes everything back, and has no {_FLAGS[field]}")
    # An absolute path, because programs are run in another directory, and files are opened from the root.
    request = Request(config=os.path.abspath(config) if config else "", **words)
    if show:
        _print_snippets(chosen, request, as_json)
    elif undo:
        _undo(chosen, request, dry_run, as_json)
    else:
        _install(chosen, request, dry_run, as_json)


install.help = (install.help or "").format(products=", ".join(PRODUCTS))


def _print_overview(as_json: bool) -> None:
    """Print each product, and whether it is on this node."""
    rows = [(name, *_state(product)) for name, product in PRODUCTS.items()]
    if as_json:
        print_json([{"product": name, "state": state, "detail": detail} for name, state, detail in rows])
    else:
        table(("product", "state", "detail"), rows)


def _state(product: Product) -> tuple[str, str]:
    """The state of a product from its plan: installed, not installed, or why that is unknown."""
    try:
        machine = product.machine(Machine(), Request())
        plan = product.look(machine)
    except ChosError as error:
        return "no", str(error)
    todo = ", ".join(change.name for change in plan.changes)
    if plan.present:
        return ("partly", f"not in: {todo}") if todo else ("installed", ", ".join(plan.present))
    return "possible", f"would change: {todo}"


def _print_snippets(product: Product, request: Request, as_json: bool) -> None:
    snippets = product.snippets(request)
    if as_json:
        print_json([{"where": snippet.where, "text": snippet.text} for snippet in snippets])
        return
    for snippet in snippets:
        say(f"# {snippet.where}:")
        for line in snippet.text.split("\n"):
            say(line)


def _install(product: Product, request: Request, dry_run: bool, as_json: bool) -> None:
    if not dry_run:
        require_base(_again())
    machine = product.machine(Machine(), request)
    plan = product.plan(machine, request)
    _show(plan, as_json)
    notes: tuple[str, ...] = ()
    if not dry_run:
        notes = tuple(engine.install(product, machine, plan))
    state = "already" if not plan.changes else "planned" if dry_run else "installed"
    _report(product, replace(plan, notes=(*plan.notes, *notes)), state, as_json)


def _undo(product: Product, request: Request, dry_run: bool, as_json: bool) -> None:
    if not dry_run:
        require_base(_again())
    try:
        machine = product.machine(Machine(), request)
    except ChosError:  # the product may be gone; our changes must be removed all the same
        machine = Machine()
    machine = product.machine_of(machine, engine.changed(product, machine))
    if not dry_run:
        product.before_undo(machine)
    known = engine.installed(product, machine, request)
    plan = engine.plan_undo(product, machine, request)
    _show(plan, as_json)
    left: list[str] = []
    if known and not dry_run:
        engine.undo(product, machine, plan, request)
    if not (known and dry_run):
        with contextlib.suppress(ChosError):  # the product itself may be gone
            ours = engine.changed(product, machine)  # also of services that were not named
            there = [at for at in product.remains(machine, request) if not any(at in o or o in at for o in ours)]
            left = [f"still there, by other hands: {place}; take it out yourself" for place in there]
    state = "nothing" if not known else "planned" if dry_run else "undone"
    _report(product, replace(plan, notes=(*plan.notes, *left)), state, as_json)


def _again() -> str:
    return shlex.join(["chosctl", *sys.argv[1:]])


def _show(plan: ChangeList, as_json: bool) -> None:
    """Show the change before it is made."""
    if not as_json:
        for change in plan.changes:
            for line in _text(change).splitlines():
                say(line)


def _text(change: Change) -> str:
    if isinstance(change, FileEdit):
        return diff(change.path, change.before, change.after)
    return diff(change.name, change.before, change.after)


def _report(product: Product, plan: ChangeList, state: str, as_json: bool) -> None:
    if as_json:
        changes = [{"object": change.name, "diff": _text(change)} for change in plan.changes]
        print_json(
            {
                "product": product.name,
                "state": state,
                "changes": changes,
                "present": list(plan.present),
                "notes": list(plan.notes),
            }
        )
        return
    for place in plan.present:
        say(f"{place}: already there")
    for note in plan.notes:
        say(f"note: {note}", err=True)
    after_undo = product.after_undo or product.after
    said = {
        "already": "already installed",
        "planned": "nothing was changed (--dry-run)",
        "installed": "installed" + (f"; {product.after}" if product.after else ""),
        "undone": "taken back" + (f"; {after_undo}" if after_undo else ""),
        "nothing": "nothing was installed by chosctl",
    }
    say(f"{product.name}: {said[state]}")


COMMANDS = (install,)
