"""Makes the changes of a plan, and takes them back: all of them or none.

What was there is recorded first. Whatever fails afterwards is rolled back, an interruption too; what is killed
leaves each file whole, old or new, and a record from which `--undo`, or another `install`, goes on.
Called by `cli.integrate`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from chosns.errors import ChosError
from chosns.integrate import files, scratch
from chosns.integrate.interrupt import interruptible, undisturbed
from chosns.integrate.lines import take_out
from chosns.integrate.model import Change, ChangeList, FileEdit, InstallError, Machine, Product, Request, Setting
from chosns.integrate.record import FileRecord, Record, Records, SettingRecord, digest
from chosns.system import fault

_ALL = Request()


def install(product: Product, machine: Machine, plan: ChangeList) -> Sequence[str]:
    """Try the plan, make its changes, look at the result; notes. :raises ChosError: and nothing has changed."""
    records = Records(machine, product.name)
    with interruptible(), records.locked():
        _sweep(machine, records)
        notes = product.rehearse(machine, plan)
        before = records.read()
        with _all_or_none(product, machine, records) as made:
            new = [_record(product, machine, records, change) for change in plan.changes]
            names = {record.name for record in new}
            if new:
                records.write([*(record for record in before if record.name not in names), *new])
            for change in plan.changes:
                _make(product, machine, change, made)
            fault.point()
            for change in plan.changes:
                if _now(product, machine, change) != change.after:
                    raise InstallError("does not hold what was written to it", object=change.name)
            product.verify(machine, plan)
        records.tidy()
    return notes


def plan_undo(product: Product, machine: Machine, request: Request = _ALL) -> ChangeList:
    """What has to be done so that everything is as before, except what others have changed since.

    :param request: only the services or queues that it names, where it names any.
    """
    records = Records(machine, product.name)
    changes: list[Change] = []
    mine = [record for record in records.read() if _asked(product, request, record)]
    known = {product.part(record.name) for record in mine}
    notes = [f"{part}: was not installed by chosctl" for part in request.parts if mine and part not in known]
    for record in reversed(mine):
        change, note = _taken_back(product, machine, records, record)
        if change:
            changes.append(change)
        if note:
            notes.append(note)
    return ChangeList(tuple(changes), notes=tuple(notes))


def undo(product: Product, machine: Machine, plan: ChangeList, request: Request = _ALL) -> None:
    """Make the changes of `plan_undo`, and forget what was installed."""
    records = Records(machine, product.name)
    with interruptible(), records.locked():
        _sweep(machine, records)
        with _all_or_none(product, machine, records) as made:
            for change in plan.changes:
                _make(product, machine, change, made)
            fault.point()
            records.write([record for record in records.read() if not _asked(product, request, record)])
        records.tidy()


def installed(product: Product, machine: Machine, request: Request = _ALL) -> bool:
    """Whether there is anything that could be undone."""
    records = Records(machine, product.name)
    if not request.parts:
        return records.exist()
    return any(_asked(product, request, record) for record in records.read())


def changed(product: Product, machine: Machine) -> tuple[str, ...]:
    """The names of the files and settings that are recorded as changed."""
    return tuple(record.name for record in Records(machine, product.name).read())


def _asked(product: Product, request: Request, record: Record) -> bool:
    return not request.parts or product.part(record.name) in request.parts


def _taken_back(product: Product, machine: Machine, records: Records, record: Record) -> tuple[Change | None, str]:
    """What undoes one record, and what the administrator should know."""
    if isinstance(record, SettingRecord):
        value = product.get(machine, record.name)
        if value == record.after or product.unfinished(record.name, value):
            return Setting(record.name, value, record.before), ""
        return None, "" if value == record.before else f"{record.name} has been changed since, and stays: {value}"
    now = files.read(machine, record.name)
    if now is None or (record.before is not None and digest(now) == record.before):
        return None, ""
    then: str | None
    if digest(now) == record.after and record.before is None:
        return FileEdit(record.name, now, None, record.lines, record.instead), ""
    if digest(now) == record.after and (then := records.text(record.before or "")) is not None:
        return FileEdit(record.name, now, then, record.lines, record.instead), ""
    then, missing = take_out(now, record.lines, record.instead)
    if record.before is None and not then.strip():
        then = None
    note = f"{record.name} has been changed since; a line of ours that is not there: {missing[0]}" if missing else ""
    if record.before is None and then is not None:
        note = f"{record.name} stays: somebody has added lines to it since; remove it if nothing needs them"
    return (FileEdit(record.name, now, then, record.lines, record.instead) if then != now else None), note


def _make(product: Product, machine: Machine, change: Change, made: list[Change]) -> None:
    if _now(product, machine, change) != change.before:
        raise InstallError("was changed by somebody else just now", object=change.name, hint="try again")
    made.append(change)  # before: what is interrupted may be made
    fault.point()
    _write(product, machine, change)


def _write(product: Product, machine: Machine, change: Change) -> None:
    if isinstance(change, Setting):
        product.put(machine, change.name, change.after)
    elif change.after is None:
        files.remove(machine, change.path)
    else:
        files.put(machine, change.path, change.after, change.mode)


def _now(product: Product, machine: Machine, change: Change) -> str | None:
    return product.get(machine, change.name) if isinstance(change, Setting) else files.read(machine, change.path)


def _sweep(machine: Machine, records: Records) -> None:
    """Remove what others that were killed have left beside the files."""
    scratch.sweep(machine)
    for record in records.read():
        if isinstance(record, FileRecord):
            files.sweep(machine, record.name)


def _record(product: Product, machine: Machine, records: Records, change: Change) -> Record:
    """What is to be remembered of a change, and of what was done to the same file before."""
    if isinstance(change, Setting):
        return SettingRecord(change.name, change.before, change.after)
    text, lines, instead = change.before, change.lines, change.instead
    for record in records.read():
        if isinstance(record, FileRecord) and record.name == change.path:
            undone, _ = _taken_back(product, machine, records, record)
            if undone:
                # A line of ours that had to go for a newer one is neither looked for nor put back.
                text, lines = undone.after, (*(line for line in record.lines if line not in instead), *lines)
                instead = tuple(line for line in instead if line not in record.lines)
    kept = None if text is None else records.keep(text)
    return FileRecord(change.path, kept, digest(change.after or ""), lines, instead)


@contextlib.contextmanager
def _all_or_none(product: Product, machine: Machine, records: Records) -> Iterator[list[Change]]:
    """A list for the changes that are made: when anything fails all are taken back, and the records too."""
    before = records.read()
    made: list[Change] = []
    try:
        yield made
    except BaseException:
        with undisturbed():
            try:
                for change in reversed(made):
                    now = _now(product, machine, change)
                    # A setting may take several commands, and be neither.
                    if now == change.after or (now != change.before and isinstance(change, Setting)):
                        _write(product, machine, change.reverse())
                records.write(before)
                records.tidy()
            except ChosError as error:
                raise InstallError(
                    f"could not be put back: {error}",
                    object=product.name,
                    hint=f"mend that, then: chosctl install {product.name} --undo",
                ) from error
        raise
