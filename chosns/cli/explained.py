"""A plan for people: what is shown where, grouped by why; or every operation in its order."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from chosns.model import FOREIGN
from chosns.plan import Bind, Entry, Hide, MakeDirectory, MakeRoot, MakeSymlink, Operation, Overlay, Pivot, Plan

_WIDTH = 100  # columns


def grouped(plan: Plan) -> list[str]:
    """Each reason once, with its flags, and below it all places that it is the reason of."""
    groups: dict[str, list[str]] = {}
    for why, item in _items(plan):
        groups.setdefault(why, []).append(item)
    lines = _head(plan)
    for why, items in groups.items():
        lines.append(why)
        # A name with a blank in it stays whole, and a very long one in its line.
        joined = "  ".join(item.replace(" ", "\0") for item in items)
        folded = textwrap.wrap(joined, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        lines += ["  " + line.replace("\0", " ") for line in folded]
    return lines + _tail(plan)


def listed(plan: Plan) -> list[str]:
    """Every operation in its order, with flags and the reason."""
    lines = _head(plan)
    for operation in plan.operations:
        flags = "" if isinstance(operation, (MakeDirectory, MakeSymlink)) else f"[{operation.flags}] "
        lines.append(f"{operation.describe():58} {flags}# {operation.why}")
        for entry in getattr(operation, "entries", ()):
            lines.append(f"           {entry.path + (' -> ' + entry.to if entry.to else ''):47} # {entry.why}")
    return lines + _tail(plan)


def _items(plan: Plan) -> Iterator[tuple[str, str]]:
    """Reason with flags, and what is there for that reason."""
    for operation in plan.operations:
        if isinstance(operation, (MakeDirectory, MakeSymlink)):
            yield str(operation.why), _item(operation)
        else:
            yield f"{operation.why} [{operation.flags}]", _item(operation)
        if isinstance(operation, Overlay):
            for entry in operation.entries:
                yield f"{entry.why}, generated", _entry(operation, entry)


def _item(operation: Operation) -> str:
    if isinstance(operation, Bind) and operation.source != operation.target:
        return f"{operation.target}={operation.side}:{operation.source}"
    if isinstance(operation, MakeSymlink):
        return f"{operation.target}->{operation.to}"
    if isinstance(operation, (MakeRoot, Pivot, MakeDirectory, Hide, Overlay, Bind)):
        return operation.target
    raise TypeError(operation)


def _entry(overlay: Overlay, entry: Entry) -> str:
    place = f"{overlay.target}/{entry.path}"
    return f"{place}->{entry.to}" if entry.to else place


def _head(plan: Plan) -> list[str]:
    return [f"# trust {plan.trust}" + (": no_new_privs is set for all who enter" if plan.trust == FOREIGN else "")]


def _tail(plan: Plan) -> list[str]:
    return [*(f"# left out: {note}" for note in plan.notes), *(f"# warning: {warning}" for warning in plan.warnings)]
