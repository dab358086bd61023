"""Why an environment needs a new generation: compares what it was made of with what it would be made of now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chosns.backends import Seen
from chosns.registry import Generation
from chosns.registry.reader import Written, intact

NOTHING_PREPARED = ("nothing is prepared",)
_MOST = 5  # operations that are named
_NAMES = {  # of what a backend says that an environment is made of, see `Seen.made_of`
    "tree": "the tree was replaced: device:inode {old} → {new}",
    "launcher": "the launcher was upgraded",
    "mount": "the tree is mounted with other flags",
    "variables": "the environment's variables changed",
    "groups": "other groups may enter",
}


def reasons(
    published: Generation | None, written: Written | None, seen: Seen, group_ids: Sequence[int], *, renew: bool
) -> tuple[str, ...]:
    """Phrases that say why `published` cannot be kept; none if it can.

    :param written: what C reads of `published`; None if it cannot be read safely.
    :param seen: what a backend would make the environment of now.
    :param group_ids: who may enter; empty: everyone.
    :param renew: a new one was asked for.
    """
    if published is None or not published.complete:
        return NOTHING_PREPARED
    if published.manifest.get("fingerprint") != seen.fingerprint:
        return _changes(published.manifest, seen, group_ids)
    if published.has_namespace and not _operations_of(published.manifest):
        return (f"{published}'s manifest.json is damaged",)
    if not intact(published, written, seen.environment):
        return (f"{published} was damaged, or others than root could write in it",)
    return ("it was asked for",) if renew else ()


def _changes(manifest: Mapping[str, Any], seen: Seen, group_ids: Sequence[int]) -> tuple[str, ...]:
    before = manifest.get("backend", seen.backend)
    if before != seen.backend:
        return (f"it was prepared for {before} and is to be prepared for {seen.backend}",)
    old, new = manifest.get("made_of"), {**seen.made_of, "groups": sorted(group_ids)}
    if not isinstance(old, dict):
        return ("an earlier version of chosctl made it, and did not write down of what",)
    found = [
        text.format(old=old.get(key), new=new.get(key)) for key, text in _NAMES.items() if old.get(key) != new.get(key)
    ]
    if manifest.get("tree") != seen.environment.tree:
        found.insert(0, f"its tree is {seen.environment.tree} now, and was {manifest.get('tree')}")
    found += _policy(old.get("policy"), new.get("policy"))
    planned = _operations_of(manifest)
    if planned and seen.operations:
        found += _operations(planned, seen.operations)
    return tuple(found) or ("something that it is made of changed",)


def _operations_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The operations in a manifest; none means that it is damaged, because every plan has some."""
    plan = manifest.get("plan")
    found = plan.get("operations") if isinstance(plan, dict) else None
    whole = isinstance(found, list) and all(
        isinstance(operation, dict)
        and isinstance(operation.get("entries", []), list)
        and all(isinstance(entry, dict) for entry in operation.get("entries", []))
        for operation in found
    )
    return found if whole and isinstance(found, list) else []


def _policy(old: Any, new: Any) -> list[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return []
    return [f"policy: {key} is {_word(new[key])} now" for key in new if new[key] != old.get(key)]


def _word(value: Any) -> str:
    return {True: "true", False: "false", "": "not set"}.get(value, str(value))


def _operations(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[str]:
    """The differences between two plans, named by the lines of configuration. Another reason alone is no difference."""
    before, now = _by_target(old), _by_target(new)
    found = [f"new: {_told(now[target])}" for target in now if target not in before]
    found += [f"gone: {_told(before[target])}" for target in before if target not in now]
    found += [
        f"changed: {_told(now[target])}"
        for target in now
        if target in before and _essence(now[target]) != _essence(before[target])
    ]
    return [
        *found[:_MOST],
        *([f"and {len(found) - _MOST} more: compare `chosctl explain --operations`"] if len(found) > _MOST else []),
    ]


def _by_target(operations: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Each operation, and each entry of an overlay, by its kind and place."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for operation in operations:
        kind, target = str(operation.get("operation", "")), str(operation.get("target", operation.get("put_old", "")))
        found[kind, target] = operation
        for entry in operation.get("entries") or ():
            found["entry", f"{target}/{entry.get('path', '')}"] = {
                "target": f"{target}/{entry.get('path', '')}",
                **entry,
            }
    return found


def _essence(operation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in operation.items() if key not in ("why", "origin", "entries")}


def _told(operation: Mapping[str, Any]) -> str:
    what = str(operation.get("target", operation.get("put_old", "")))
    if operation.get("source") and operation["source"] != what:
        what += f" = {operation.get('side', '')}:{operation['source']}"
    said = ", ".join(str(operation[key]) for key in ("why", "origin") if operation.get(key))
    return f"{what} ({said})" if said else what
