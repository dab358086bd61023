"""The actions of which a decision consists: what is to be done, why, and what the node is afterwards.

Pure: `chosns.node.hands` carries them out, and `after` returns the node as it is after an action. An action on one
name, one file or one generation is one rename. If its process is killed, it is either done or not done. An action on
several names does them one by one, the environment's own name first. If it is killed between two of them, the next `up`
can decide from the state that is left; the tests try each. A half-made generation has no manifest, and is retired.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Union

from chosns.model import Environment
from chosns.node.environment_actions import (
    Grant,
    Let,
    Make,
    Narrow,
    Note,
    Publish,
    Retire,
    Unpublish,
    Withdraw,
)
from chosns.node.node_actions import (
    Admit,
    BringUp,
    LeadToBase,
    MakeRegistry,
    RecordFailures,
    RemoveRegistry,
    Restrict,
    SetBackends,
    ShareMounts,
    TakeDown,
    WriteFile,
)

Action = Union[
    ShareMounts,
    MakeRegistry,
    WriteFile,
    LeadToBase,
    Restrict,
    SetBackends,
    BringUp,
    Admit,
    TakeDown,
    RecordFailures,
    RemoveRegistry,
    Narrow,
    Withdraw,
    Make,
    Note,
    Let,
    Grant,
    Publish,
    Unpublish,
    Retire,
]
_INTERNAL = ("text", "manifest", "record")  # fields that are of no use to people

__all__ = [
    "Action",
    "Admit",
    "BringUp",
    "Grant",
    "LeadToBase",
    "Let",
    "Make",
    "MakeRegistry",
    "Narrow",
    "Note",
    "Publish",
    "RecordFailures",
    "RemoveRegistry",
    "Restrict",
    "Retire",
    "SetBackends",
    "ShareMounts",
    "TakeDown",
    "Unpublish",
    "Withdraw",
    "WriteFile",
    "to_json",
]


def to_json(action: Action) -> dict[str, Any]:
    """For `--dry-run --json`: `action` is the class's name, the rest are its fields."""
    found: dict[str, Any] = {"action": type(action).__name__, "text": action.describe()}
    for item in fields(action):
        value = getattr(action, item.name)
        if isinstance(value, Environment):
            value = value.name
        if item.name not in _INTERNAL:
            found[item.name] = value
    return found
