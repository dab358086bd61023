"""What an environment allows, and when one allows more than another: an order, and what plans really show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chosns.errors import ChosError
from chosns.model import BindMap, Environment, ExtraBind, Origin, Sysconfig
from chosns.plan.allowance import Allowance, allowance, from_json, wider
from chosns.plan.operations import Flags
from chosns.plan.view import Kind, resolve
from chosns.system.paths import is_below, join, split
from tests.unit.plan_support import DEFAULT, Machine, Root, bind, plan_for, shares
from tests.unit.test_plan_properties import MANY, bind_lists, bind_maps, paths, sysconfigs

NAMES = st.sampled_from(["A", "B", "PATH"])
VALUES = st.sampled_from(["x", "/usr/x", "/scratch/x"])
variable_lists = st.dictionaries(NAMES, VALUES, max_size=2).map(lambda found: tuple(found.items()))


def of(
    bindmap: BindMap = DEFAULT,
    binds: tuple[ExtraBind, ...] = (),
    sysconfig: Sysconfig | None = None,
    variables: tuple[tuple[str, str], ...] = (),
) -> Allowance:
    """The allowance of an environment of no interest."""
    env = Environment("el9", "/os/el9", Origin("/etc/chos", 3), binds=binds, variables=variables)
    return allowance(env, bindmap, sysconfig)


allowances = st.builds(of, bind_maps(), bind_lists, sysconfigs, variable_lists)


@MANY
@given(allowances)
def test_nothing_allows_more_than_itself(one: Allowance) -> None:
    assert wider(one, one) == []


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Allowance, Allowance, Allowance]:
    """Three that have much in common, so that one often allows no more than another."""
    places = draw(st.lists(allowances, min_size=1, max_size=2))
    pool = [place for one in places for place in one.places]

    def some() -> Allowance:
        chosen = {
            place.target: replace(
                place, rights=frozenset(draw(st.sets(st.sampled_from(sorted(place.rights)))) if place.rights else ())
            )
            for place in pool
            if draw(st.booleans())
        }
        one = draw(st.sampled_from(places))
        return replace(
            one,
            places=tuple(chosen.values()),
            base_rest=draw(st.booleans()),
            tree_rest=draw(st.booleans()),
            tree_first=draw(st.booleans()),
        )

    return some(), some(), some()


@MANY
@given(neighbours())
def test_it_is_an_order(three: tuple[Allowance, Allowance, Allowance]) -> None:
    first, second, third = three
    if not wider(first, second) and not wider(second, third):
        assert wider(first, third) == []


@MANY
@given(allowances)
def test_the_manifest_keeps_it(one: Allowance) -> None:
    assert from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "recorded",
    [None, {}, [], 3, "x", {"version": 2}, {**Allowance().to_json(), "version": 1}, {"version": 2, "places": 1}],
)
def test_what_is_no_record_is_none(recorded: object) -> None:
    assert from_json(recorded) is None


HOME = bind("/home", read_only=True)
REST = replace(DEFAULT, tree=())
LINKS = Sysconfig(make_links=True)
NOW_WIDER = [
    # made with, configured now: the reason
    (
        {"binds": (bind("/scratch", "/data"),)},
        {"binds": (bind("/scratch", "/data", read_only=True),)},
        "/data is read-only",
    ),
    ({"binds": (bind("/x", "/y", devices=True),)}, {"binds": (bind("/x", "/y"),)}, "/y is without devices now"),
    ({"binds": (bind("/x", "/opt/y"),)}, {}, "/opt/y is not the base's now"),
    ({"binds": (bind("/x", "/data"),)}, {}, "/data is not the base's /x now"),
    ({"binds": (bind("/x", "/opt/y"),)}, {"binds": (bind("/z", "/opt/y"),)}, "/opt/y is not the base's /x now"),
    ({}, {"binds": (HOME,)}, "/home is read-only now"),
    (
        {"binds": (bind("/a", "/home", read_only=True, optional=True),)},
        {"binds": (bind("/a", "/home", read_only=True),)},
        "/home must not be missing now",
    ),
    (
        {"binds": (bind("/site", "/etc", optional=True),)},
        {"binds": (bind("/site", "/etc", optional=True),), "bindmap": replace(DEFAULT, etc=())},
        "/etc/passwd is not the base's /etc/passwd now",
    ),
    ({"sysconfig": Sysconfig((bind("/opt/lsf", optional=True),))}, {}, "/opt/lsf is not the base's now"),
    (
        {"bindmap": replace(DEFAULT, base=shares("/var/lib/sss"))},
        {"bindmap": replace(DEFAULT, base=shares("/var/lib/sss", only=True))},
        "/var/lib/sss is not the OS tree's now",
    ),
    (
        {"bindmap": replace(DEFAULT, base=shares("/dev/shm", devices=True))},
        {"bindmap": replace(DEFAULT, base=shares("/dev/shm"))},
        "/dev/shm is without devices now",
    ),
    ({"bindmap": replace(DEFAULT, base=shares("/var/log"))}, {"bindmap": replace(DEFAULT, base=())}, "/var/log is not"),
    ({}, {"sysconfig": LINKS}, "every other directory of the base is not shown now where"),
    (
        {"sysconfig": LINKS, "bindmap": REST},
        {"sysconfig": LINKS, "bindmap": replace(REST, etc=())},
        "/etc/passwd is not shown now where the OS tree has one",
    ),
    (
        {"sysconfig": LINKS, "bindmap": REST, "binds": (bind("/site", "/etc", optional=True),)},
        {"sysconfig": LINKS, "bindmap": replace(REST, etc=()), "binds": (bind("/site", "/etc", optional=True),)},
        "/etc/passwd is not the base's /etc/passwd now",
    ),
    (
        {"sysconfig": LINKS},
        {"sysconfig": LINKS, "bindmap": replace(DEFAULT, base_rest=None)},
        "every other directory of the base is not the base's now",
    ),
    ({}, {"bindmap": replace(DEFAULT, base_rest=None)}, "every other directory of the base is not the base's now"),
    ({}, {"bindmap": replace(DEFAULT, etc=())}, "/etc/passwd is not the base's now"),
    (
        {"bindmap": replace(DEFAULT, tree=shares("/usr", "/opt"), tree_rest=None)},
        {"bindmap": replace(DEFAULT, tree=shares("/usr"), tree_rest=None)},
        "/opt is not the OS tree's now",
    ),
    ({"variables": (("LD_PRELOAD", "/home/u/lib.so"),)}, {}, "LD_PRELOAD is set to /home/u/lib.so"),
    # Looked for in the working directory, where somebody else's file may lie; an empty element means that, too.
    ({"variables": (("LD_PRELOAD", "x.so"),)}, {}, "LD_PRELOAD is set to x.so"),
    ({"variables": (("PATH", "."),)}, {"variables": (("PATH", "/usr/bin"),)}, "PATH is set to ."),
    ({"variables": (("GCONV_PATH", "."),)}, {}, "GCONV_PATH is set to ."),
    ({"variables": (("LD_LIBRARY_PATH", ":"),)}, {}, "LD_LIBRARY_PATH is set to :"),
    ({"variables": (("PYTHONPATH", ""),)}, {}, "PYTHONPATH is set to nothing"),
    ({"variables": (("BASH_ENV", "init"),)}, {"variables": (("BASH_ENV", "other"),)}, "BASH_ENV is set to init"),
    ({"variables": (("PROMPT_COMMAND", "hook"),)}, {}, "PROMPT_COMMAND is set to hook"),
    ({"variables": (("PERL5OPT", "-Mx"),)}, {}, "PERL5OPT is set to -Mx"),
    ({"variables": (("LC_ALL", "../../../home/u/x"),)}, {}, "LC_ALL is set to ../../../home/u/x"),
]
NOW_NOT = [
    ({}, {"binds": (bind("/scratch", "/opt/data", read_only=True),)}),
    ({"binds": (bind("/x", "/y", read_only=True),)}, {"binds": (bind("/x", "/y"),)}),
    ({"binds": (bind("/x", "/y"),)}, {"binds": (bind("/x", "/y", devices=True),)}),
    ({"binds": (HOME,)}, {}),
    ({"binds": (bind("/a", "/opt/b"),)}, {"binds": (bind("/a", "/opt/b", optional=True),)}),
    ({"bindmap": replace(DEFAULT, base=shares("/x", only=True))}, {"bindmap": replace(DEFAULT, base=shares("/x"))}),
    ({"bindmap": replace(DEFAULT, base=())}, {"bindmap": replace(DEFAULT, base=shares("/var/log"))}),
    ({"bindmap": replace(DEFAULT, etc=())}, {}),
    ({"bindmap": replace(DEFAULT, base_rest=None)}, {}),
    ({"sysconfig": LINKS}, {}),
    ({"sysconfig": LINKS}, {"sysconfig": LINKS, "binds": (bind("/a", "/home", optional=True),)}),
    ({}, {"variables": (("LD_PRELOAD", "/usr/lib/x.so"),)}),
    ({"variables": (("LANG", "C"),)}, {"variables": (("LANG", "C.UTF-8"),)}),
    ({"variables": (("LC_TIME", "de_DE@euro"), ("TERM", "xterm-256color"), ("TZ", "UTC"))}, {}),
    ({"variables": (("OMP_NUM_THREADS", "4"), ("SITE_VERSION", "9"))}, {"variables": (("OMP_NUM_THREADS", "8"),)}),
    ({"variables": (("LD_PRELOAD", "x.so"),)}, {"variables": (("LD_PRELOAD", "x.so"), ("PATH", "."))}),
    ({"binds": (bind("/site", "/etc"),)}, {"binds": (bind("/site", "/etc"),), "bindmap": replace(DEFAULT, etc=())}),
    ({}, {"binds": (bind("/a", "/data"),)}),
    ({}, {"binds": (bind("/a", "/dev"),)}),
    ({"binds": (bind("/x", "/y/z"),)}, {"binds": (bind("/x", "/y/z"), bind("/a", "/opt/new"))}),
]  # fmt: skip


@pytest.mark.parametrize(("made", "now", "reason"), NOW_WIDER)
def test_what_was_tightened(made: dict, now: dict, reason: str) -> None:
    assert any(said.startswith(reason) for said in wider(of(**made), of(**now))), wider(of(**made), of(**now))


@pytest.mark.parametrize(("made", "now"), NOW_NOT)
def test_what_is_merely_different(made: dict, now: dict) -> None:
    assert wider(of(**made), of(**now)) == []


def _shown(machine: Machine, path: str) -> tuple[str, Flags] | None:
    """What of the base is at a path inside, and how it is mounted; None for what is not the base's."""
    side, there = machine.where(path)
    if side == "entry" and is_below(there, "/local") and there != "/local":
        return there[len("/local") :], Flags()
    if side != "base":
        return None
    around = [(place, op) for place, op in machine.mounts if is_below(path, place)]
    op = max(reversed(around), key=lambda item: len(split(item[0])))[1]
    return there, op.flags  # type: ignore[attr-defined]


def plain(root: Root) -> bool:
    """Without links, of which configuration knows nothing, and without /chos, which all environments show alike."""
    return not any(isinstance(node, tuple) or is_below(path, "/chos") for path, node in root.nodes.items())


plain_roots = st.dictionaries(paths, st.sampled_from(["dir", "dir", "file"]), max_size=14).map(Root).filter(plain)
parts = st.fixed_dictionaries({"bindmap": bind_maps(), "binds": bind_lists, "sysconfig": sysconfigs})


@st.composite
def edits(draw: st.DrawFn) -> tuple[dict, dict]:
    """A configuration, and what an administrator makes of it."""
    made = draw(parts)
    now = dict(made)
    bindmap = made["bindmap"]
    for _ in range(draw(st.integers(0, 2))):
        choice = draw(st.integers(0, 5))
        if choice == 0:
            now["binds"] = draw(bind_lists)
        elif choice == 1 and now["binds"]:
            first, *rest = now["binds"]
            now["binds"] = (replace(first, read_only=not first.read_only, devices=draw(st.booleans())), *rest)
        elif choice == 2:
            now["binds"] = now["binds"][1:]
        elif choice == 3:
            now["bindmap"] = replace(
                bindmap, base=bindmap.base[1:], base_rest=draw(st.sampled_from([None, Origin("x")]))
            )
        elif choice == 4:
            now["sysconfig"] = draw(sysconfigs)
        else:
            now["bindmap"] = replace(bindmap, etc=bindmap.etc[1:], tree=bindmap.tree[1:])
    return made, now


@MANY
@given(edits(), plain_roots, plain_roots)
def test_plans_show_what_the_order_says(pair: tuple[dict, dict], tree: Root, base: Root) -> None:
    """Where nothing is wider, whatever is shown of the base would be shown now, with no fewer restrictions."""
    made, now = pair
    assume(wider(of(**made), of(**now)) == [])
    tree = tree if tree.kind("/etc") is Kind.DIRECTORY else tree.plus({"/etc": "dir"})
    try:
        before = Machine(plan_for(tree, base, **made), tree, base)
        after = Machine(plan_for(tree, base, **now), tree, base)
    except ChosError:
        assume(False)
        return
    inside = {*base.nodes, *tree.nodes, *(place for place, _ in (*before.mounts, *after.mounts))}
    for path in sorted({join(split(path)) for path in inside}):
        shown = _shown(before, path)
        if shown is None or is_below(path, "/chos") or before.kind(path) is None:
            continue
        found = resolve(after, path)  # a file at the top of the base is shown as a link
        still = _shown(after, found.path if found else path)
        if still and still[0] != path == shown[0]:  # something else is in the place of what is still at /local
            still = _shown(after, "/local" + path)
        assert still is not None and still[0] == shown[0], (path, shown, still)
        for flag in ("nosuid", "nodev", "read_only"):
            assert getattr(shown[1], flag) or not getattr(still[1], flag), (path, shown, still)
