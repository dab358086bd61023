"""Everything that an environment's configuration shows and allows, as data, and whether it is more than another allows.

Pure: no file is looked at, so an optional source counts as existing and as missing. Recorded in a generation's
manifest, so that `restrict` can compare it with the configuration of a later day. Who may enter, and the policy, are
compared there. Must never call wider what merely shows less, nor pass over a right that was taken away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chosns.lazydata import dataclass
from chosns.model import BindMap, Environment, Sysconfig
from chosns.plan.planner import ALWAYS_BASE
from chosns.system.paths import is_below, join, parent, split

_VERSION = 2
# Stands for every top-level name that the configuration does not mention; no configuration can contain it.
_SOME = "/\0"
_WORDS = re.compile(r"LANG|LANGUAGE|LC_[A-Z]+|TERM|COLORTERM|TZ")
_NUMBER = re.compile(r"[0-9]+")
# What a place may allow, and how a message says that it does so no more. `first`: whatever the OS tree has there.
_RIGHTS = {
    "write": "is read-only now",
    "devices": "is without devices now",
    "untrusted": "may not be anybody's now",
    "first": "is not shown now where the OS tree has one (MAKELINKS)",
}
_OPEN = frozenset({"write", "first"})


@dataclass(frozen=True)
class Place:
    """Something of the base at a place of its own. `optional`: where the base has none, what lies beneath is shown."""

    target: str
    source: str
    rights: frozenset[str] = frozenset()
    optional: bool = False


@dataclass(frozen=True)
class Allowance:
    """What is shown: of the base (`places`, `base_rest`) and of the tree (`tree`, `tree_rest`, but not below `only`).

    tree_first: a top-level directory that both have is the tree's, though `base_rest` is said.
    variables: those that may decide what users run, see `_decides`.
    """

    places: tuple[Place, ...] = ()
    only: tuple[str, ...] = ()
    tree: tuple[str, ...] = ()
    tree_rest: bool = False
    base_rest: bool = False
    tree_first: bool = False
    variables: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        places = [[place.target, place.source, sorted(place.rights), place.optional] for place in self.places]
        return {
            "version": _VERSION,
            "places": places,
            "only": list(self.only),
            "tree": list(self.tree),
            "tree_rest": self.tree_rest,
            "base_rest": self.base_rest,
            "tree_first": self.tree_first,
            "variables": [list(pair) for pair in self.variables],
        }


def from_json(recorded: Any) -> Allowance | None:
    """What `to_json` wrote; None where that is something else, or of another version."""
    try:
        if recorded["version"] != _VERSION:
            return None
        return Allowance(
            tuple(
                Place(str(target), str(source), frozenset(rights), bool(optional))
                for target, source, rights, optional in recorded["places"]
            ),
            tuple(map(str, recorded["only"])),
            tuple(map(str, recorded["tree"])),
            bool(recorded["tree_rest"]),
            bool(recorded["base_rest"]),
            bool(recorded["tree_first"]),
            tuple((str(name), str(value)) for name, value in recorded["variables"]),
        )
    except (LookupError, TypeError, ValueError):
        return None


def allowance(env: Environment, bindmap: BindMap, sysconfig: Sysconfig | None) -> Allowance:
    """Of the configuration as it is now. Of several things at one place the last counts, as in `planner`."""
    binds = (*(sysconfig.bind_mounts if sysconfig else ()), *env.binds)
    etc = [join(["etc", *split(share.path)]) for share in bindmap.etc]
    # What is shown at /etc itself leaves none of the links. Where an optional source is missing they are seen,
    # unless that source is the base's /etc, in which they end.
    certain = [bind.target for bind in binds if not bind.optional or is_below("/etc", bind.source)]
    hidden = any(is_below("/etc", target) for target in (*certain, *(share.path for share in bindmap.base)))
    places = [] if hidden else [Place(path, path, frozenset({"write"}), True) for path in etc]
    for share in bindmap.base:
        rights = frozenset({"write", "devices"} if share.devices else {"write"})
        places.append(Place(share.path, share.path, rights, not share.required))
        if share.devices:
            places.append(Place("/local" + share.path, share.path, rights, True))
    for bind in binds:
        allowed = {"write": not bind.read_only, "devices": bind.devices, "untrusted": bind.untrusted}
        rights = frozenset(right for right, on in allowed.items() if on)
        places.append(Place(bind.target, bind.source, rights, bind.optional))
    make_links = bool(sysconfig and sysconfig.make_links)
    by_target = {place.target: place for place in places}
    return Allowance(
        tuple(sorted(by_target.values(), key=lambda place: place.target)),
        tuple(sorted(share.path for share in bindmap.base if share.only)),
        tuple(sorted(share.path for share in bindmap.tree)),
        bindmap.tree_rest is not None or make_links,
        bindmap.base_rest is not None,
        make_links,
        tuple(sorted((name, value) for name, value in env.variables if _decides(name, value))),
    )


def wider(made: Allowance, now: Allowance) -> list[str]:
    """Phrases for everything that `made` shows or allows and `now` does not; empty if there is nothing."""
    points = {_SOME, *made.tree, *now.tree, *made.only, *now.only}
    points |= {place.target for place in (*made.places, *now.places)}
    found = [reason for point in sorted(points) for reason in _wider_at(point, made, now)]
    kept = dict(now.variables)
    gone = [(name, value) for name, value in made.variables if kept.get(name) != value]
    found += [f"{name} is set to {value}" if value else f"{name} is set to nothing" for name, value in gone]
    return found


def _decides(name: str, value: str) -> bool:
    """Whether a variable may decide which program, library or configuration is used, and so which code users run.

    Programs read variables of many names (LD_PRELOAD, PATH, GCONV_PATH, BASH_ENV, PERL5OPT, PROMPT_COMMAND), and a
    value without a slash, even an empty one, can mean the working directory. So every variable counts, except those
    whose value is a number, and known ones for the locale, the terminal or the time zone.
    """
    return "/" in value or not (_WORDS.fullmatch(name) or _NUMBER.fullmatch(value))


def _wider_at(point: str, made: Allowance, now: Allowance) -> Iterator[str]:
    name = "every other directory of the base" if point == _SOME else point
    before, after = list(_of_base(made, point)), list(_of_base(now, point))
    # Where nothing of the base is seen now if what is optional is missing, the OS tree's is.
    sure = after and not after[-1].optional and "first" in after[-1].rights
    if after and before and before[0].source == point != after[0].source and (sure or "first" not in before[0].rights):
        # Something else in the place of what was at its own: that is still at /local, and there with these rights.
        after.insert(0, next(_of_base(now, "/local" + point)))
    # What may lie beneath is compared with all that may be shown now; what lies on top, with what does now.
    excess = _excess(before[0], after[0]) if before and after else "is not the base's now" if before else ""
    if not excess and not all(any(not _excess(one, other) for other in after) for one in before):
        excess = "must not be missing now"
    if excess:
        yield f"{name} {excess}"
    if _tree_at(made, point) and not _tree_at(now, point):
        yield f"{name} is not the OS tree's now"


def _excess(before: Place, after: Place) -> str:
    """What one place allows and another place, seen at the same point, does not allow."""
    if before.source != after.source:
        return f"is not the base's {before.source} now"
    return next((said for right, said in _RIGHTS.items() if right in before.rights - after.rights), "")


def _of_base(all_: Allowance, point: str) -> Iterator[Place]:
    """What of the base is seen at `point`; then, where that is optional, what is where it is missing."""
    placed = {place.target: place for place in all_.places}
    here = point
    while here != "/":
        if here in placed:
            place = placed[here]
            source = join([*split(place.source), *split(point)[len(split(here)) :]])
            yield Place(point, source, place.rights | {"first"}, place.optional)
            if not place.optional:
                return
        here = parent(here)
    top = join(split(point)[:1])
    if top == "/local":
        yield Place(point, join(split(point)[1:]), _OPEN)
    elif all_.base_rest and top not in all_.tree:
        yield Place(point, point, _OPEN - {"first"} if all_.tree_first and top[1:] not in ALWAYS_BASE else _OPEN)


def _tree_at(all_: Allowance, point: str) -> bool:
    """Whether anything of the tree could be seen at `point`."""
    if any(is_below(point, hidden) for hidden in all_.only):
        return False
    return all_.tree_rest or join(split(point)[:1]) in all_.tree
