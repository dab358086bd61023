"""Do binds show what is mounted on the base? By made-up mounts of a small environment."""

from __future__ import annotations

import pytest

from chosns.mounts.differences import differences
from chosns.plan import Bind, MakeRoot, Pivot, Plan
from chosns.plan.operations import Reason
from chosns.system.mountinfo import Mount

WHY = Reason("test")
PLAN = Plan(
    "one",
    "/os/one",
    (
        MakeRoot(WHY),
        Bind("base", "/home", "/home", WHY),
        Bind("base", "/srv", "/srv", WHY),
        Bind("base", "/opt/x", "/srv/x", WHY),
        Bind("tree", "/usr", "/usr", WHY),
        Pivot("/local", WHY),
        Bind("base", "/dev", "/local/dev", WHY),
    ),
)
NUMBERS = {"/local/dev": 90}
# number: (on which, where, device, root)
MOUNTS = {
    1: (0, "/", "0:1", "/"),
    2: (1, "/local", "8:1", "/"),
    3: (1, "/srv", "8:1", "/srv"),
    4: (3, "/srv/x", "8:1", "/opt/x"),
    5: (1, "/usr", "8:1", "/os/one/usr"),
    6: (2, "/local/home", "8:2", "/"),
    7: (6, "/local/home/hidden", "0:7", "/"),
    8: (6, "/local/home", "8:3", "/"),
    9: (1, "/home", "8:3", "/"),
    10: (2, "/local/srv/data", "0:10", "/"),
    11: (3, "/srv/data", "0:10", "/"),
    12: (10, "/local/srv/data/deep", "0:12", "/"),
    13: (11, "/srv/data/deep", "0:12", "/"),
    20: (2, "/local/dev", "0:20", "/"),
    21: (20, "/local/dev/pts", "0:21", "/"),
    90: (20, "/local/dev", "0:20", "/"),
    91: (90, "/local/dev/pts", "0:21", "/"),
}
# What a bind does not take along, or nobody sees.
HARMLESS: dict[str, dict] = {
    "unbindable, and below it": {
        30: (2, "/local/srv/own", "0:30", "/", "unbindable"),
        31: (30, "/local/srv/own/sub", "0:31", "/"),
    },
    "over what was there, on both sides": {
        30: (10, "/local/srv/data", "0:30", "/"),
        31: (11, "/srv/data", "0:30", "/"),
        32: (30, "/local/srv/data/new", "0:32", "/"),
        33: (31, "/srv/data/new", "0:32", "/"),
    },
    "another operation's": {30: (4, "/srv/x/sub", "0:30", "/"), 31: (2, "/local/opt/x/sub", "0:30", "/")},
    "of the tree": {30: (2, "/local/os/one/usr/lib", "0:30", "/")},
    "a neighbour with a longer name": {30: (2, "/local/srv-2/a", "0:30", "/"), 31: (2, "/local/srv0", "0:31", "/")},
}
MISSED = {
    "/srv/late": {30: (2, "/local/srv/late", "0:30", "/")},
    "/srv/data/deep/late": {30: (12, "/local/srv/data/deep/late", "0:30", "/")},
    "/srv/gone": {30: (3, "/srv/gone", "0:30", "/")},
    "/srv/data": {11: (3, "/srv/data", "0:99", "/")},
    "/srv": {30: (2, "/local/srv", "0:30", "/")},
    "/srv/x": {30: (2, "/local/opt/x", "0:30", "/")},
    "/srv/x ": {30: (2, "/local/srv", "0:30", "/"), 31: (3, "/srv", "0:30", "/")},  # it is hidden now
    "/home": {30: (9, "/home", "0:30", "/")},
    "/srv/x/sub": {30: (2, "/local/opt/x/sub", "0:30", "/")},
    "/local/dev/shm": {30: (20, "/local/dev/shm", "0:30", "/")},
    "/local/dev/old": {30: (90, "/local/dev/old", "0:30", "/")},
}


def mounts(more: dict) -> list[Mount]:
    """As the kernel lists them."""
    found = []
    for number, (on, where, device, root, *tags) in sorted({**MOUNTS, **more}.items()):
        found.append(Mount(where, root, ["nosuid"], tags, "tmpfs", device, number, on))
    return found


def test_both_sides_are_the_same() -> None:
    assert differences(PLAN, mounts({}), NUMBERS) == set()


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_no_difference(what: str) -> None:
    assert differences(PLAN, mounts(HARMLESS[what]), NUMBERS) == set()


@pytest.mark.parametrize("where", MISSED)
def test_what_was_missed(where: str) -> None:
    assert where.strip() in differences(PLAN, mounts(MISSED[where]), NUMBERS)
