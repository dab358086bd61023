"""Plans: what a bind map, an OS tree and a base amount to, as an ordered list of mount operations.

Pure: nothing in this package makes a system call. It asks a `View` what is where, so the same code runs
on the real file systems (`chosns.trees.directory`) and on dictionaries in the tests.
"""

from __future__ import annotations

from chosns.plan.operations import (
    Bind,
    Entry,
    Hide,
    MakeDirectory,
    MakeRoot,
    MakeSymlink,
    Operation,
    Overlay,
    Pivot,
    Plan,
)
from chosns.plan.planner import make_plan
from chosns.plan.view import Kind, View

__all__ = [
    "Bind",
    "Entry",
    "Hide",
    "Kind",
    "MakeDirectory",
    "MakeRoot",
    "MakeSymlink",
    "Operation",
    "Overlay",
    "Pivot",
    "Plan",
    "View",
    "make_plan",
]
