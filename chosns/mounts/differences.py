"""Whether the binds of an environment show exactly what is mounted on the base.

A bind receives the base's later mounts only after it is attached, so a mount that came or went while it was a detached
copy is missed. /local was never a detached copy and shows all. Pure: `verify` calls it with the kernel's mount table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator

from chosns.plan.operations import Bind, Plan
from chosns.system.mountinfo import Mount
from chosns.system.paths import is_below, join, split


def differences(plan: Plan, mounts: list[Mount], numbers: dict[str, int]) -> set[str]:
    """The places where a bind of the base shows other mounts than the base itself at /local.

    :param mounts: every mount of the environment.
    :param numbers: target → which mount it is, for binds below /local at least.
    """
    binds = [op for op in plan.operations if isinstance(op, Bind) and op.side == "base"]
    # What the plan binds below /local is not a part of the base, and is checked separately.
    late = {bind.target: numbers[bind.target] for bind in binds if is_below(bind.target, "/local")}
    tree, apart = _Tree(mounts), set(late.values())
    targets = {op.target for op in plan.operations}
    found: set[str] = set()
    for bind in binds:
        wanted = tree.look(join(["local", *split(bind.source)]), without=apart)
        there = tree.look(bind.target, start=late.get(bind.target))
        if wanted == there:
            continue
        if wanted[0] != there[0]:
            found.add(bind.target)
        found.update(bind.target + path for path, _, _ in Counter(wanted[1]) - Counter(there[1]))
        more = {bind.target + path for path, _, _ in Counter(there[1]) - Counter(wanted[1])}
        # Mounts of another operation are checked with that operation.
        others = {target for target in targets if target != bind.target and is_below(target, bind.target)}
        found.update(path for path in more if not any(is_below(path, other) for other in others))
    return found


class _Tree:
    """Mounts as a tree: which one is on which."""

    def __init__(self, mounts: list[Mount]) -> None:
        self._on: dict[int, dict[str, list[Mount]]] = {}
        for mount in mounts:
            self._on.setdefault(mount.parent, {}).setdefault(mount.target, []).append(mount)
        self._points = {number: sorted(there) for number, there in self._on.items()}
        self._all = {mount.number: mount for mount in mounts}
        self._root = next(mount.number for mount in mounts if mount.target == "/")

    def look(
        self, path: str, *, start: int | None = None, without: Collection[int] = ()
    ) -> tuple[tuple[str, str], list[tuple[str, str, str]]]:
        """What is at `path`, device and root; and what is mounted below: where from there, device, root; in order.

        :param start: the mount to begin at; the root's where it is not given.
        :param without: mounts that do not count, nor what is on them.
        """
        mount = self._all[self._root if start is None else start]
        parts = split(path)
        for length in range(len(split(mount.target)), len(parts) + 1):
            here = join(parts[:length])
            while above := [at for at in self._on.get(mount.number, {}).get(here, ()) if at.number not in without]:
                mount = above[-1]
        root = join([*split(mount.root), *parts[len(split(mount.target)) :]])
        below = [(at.target[len(path) :], at.device, at.root) for at in self._below(mount, path, without)]
        return (mount.device, root), sorted(below)

    def _below(self, mount: Mount, path: str, without: Collection[int]) -> Iterator[Mount]:
        """What is mounted on a mount below `path`, and all that is on that; less what no bind takes along."""
        points = self._points.get(mount.number, [])
        last = bisect_left(points, path + "0") if path else len(points)  # "0" comes after "/"
        for target in points[bisect_left(points, path + "/") : last]:
            for found in self._on[mount.number][target]:
                if found.number not in without and "unbindable" not in found.propagation:
                    yield found
                    yield from self._below(found, "", without)
