"""What holds of every plan, whatever tree, base and configuration it is made of."""

from __future__ import annotations

import os
from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chosns.errors import ChosError
from chosns.model import BindMap, ExtraBind, Launcher, Origin, Policy, Share, Sysconfig
from chosns.plan import Bind, Hide, Kind, MakeDirectory, MakeSymlink, Overlay, Plan
from chosns.plan.operations import Flags, Reason
from chosns.plan.planner import ALWAYS_BASE, RESERVED
from chosns.plan.view import resolve
from chosns.system.paths import is_below, join, split
from tests.unit.plan_support import DEFAULT, Machine, Root, plan_for

# CHOS_EXAMPLES=5000 looks harder.
MANY = settings(
    max_examples=int(os.environ.get("CHOS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TOPS = ("usr", "etc", "var", "opt", "run", "data", "home", "dev", "local", "chos")
NAMES = ("bin", "lib", "run", "tmp", "passwd", "ssh", "x")

paths = st.builds(
    lambda top, rest: join([top, *rest]), st.sampled_from(TOPS), st.lists(st.sampled_from(NAMES), max_size=2)
)
texts = st.builds(
    lambda absolute, parts: ("/" if absolute else "") + "/".join(parts) or ".",
    st.booleans(),
    st.lists(st.sampled_from([*TOPS, *NAMES, ".."]), min_size=1, max_size=4),
)
nodes = st.one_of(st.just("dir"), st.just("dir"), st.just("file"), st.just("other"), st.tuples(st.just("link"), texts))
roots = st.dictionaries(paths, nodes, max_size=14).map(Root)
trees = roots.map(lambda root: root if root.kind("/etc") is Kind.DIRECTORY else root.plus({"/etc": "dir"}))
places = paths.filter(lambda path: split(path)[0] not in RESERVED)
origins = st.builds(Origin, st.sampled_from(["a", "b"]), st.integers(1, 9))
flags = st.booleans()


@st.composite
def bind_maps(draw: st.DrawFn) -> BindMap:
    """Bind maps that `chosns.config.bindmap` would let through."""
    tops = draw(st.sets(st.sampled_from(TOPS[:7]), max_size=6))
    tree = tuple(Share("/" + name, draw(origins)) for name in sorted(tops))
    base = draw(st.lists(places, unique=True, max_size=4))
    etc = draw(st.lists(st.sampled_from(["passwd", "ssh", "x", "ssh/x", "lib/passwd"]), unique=True, max_size=4))
    return BindMap(
        name="random",
        origin=Origin("m"),
        tree=tree,
        tree_rest=draw(st.none() | origins),
        base_rest=draw(st.none() | origins),
        base=tuple(
            Share(path, draw(origins), draw(flags), draw(st.sampled_from([False, False, False, True])), draw(flags))
            for path in base
            if path[1:] not in tops
        ),
        etc=tuple(
            Share(name, draw(origins))
            for name in etc
            if not any(is_below("/" + name, "/" + other) for other in etc if other != name)
        ),
    )


policies = st.builds(Policy, nosuid=flags, nodev=flags, read_only=flags)
extra_binds = st.builds(
    ExtraBind, source=paths, target=places, read_only=flags, optional=st.just(True), devices=flags, origin=origins
)
bind_lists = st.lists(extra_binds, max_size=3, unique_by=lambda bind: bind.target).map(tuple)
sysconfigs = st.none() | st.builds(
    lambda names, make_links: Sysconfig(tuple(ExtraBind(name, name, optional=True) for name in names), make_links),
    st.lists(places, max_size=2, unique=True),
    flags,
)
launchers = st.none() | st.builds(Launcher, st.sampled_from(["/usr/bin/chos", "/opt/chos", "/data/bin/chos"]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Plan, Root, Root, dict]:
    """A plan and what it is made of; what cannot be planned is left out, and must be a ChosError."""
    launcher = draw(launchers)
    base = draw(roots)
    if launcher:
        base = base.plus({launcher.path: "file"})
    tree = draw(trees)
    options = {
        "bindmap": draw(bind_maps()),
        "binds": draw(bind_lists),
        "policy": draw(policies),
        "sysconfig": draw(sysconfigs),
        "launcher": launcher,
    }
    try:
        plan = plan_for(tree, base, **options)
    except ChosError as error:
        assert error.message
        assume(False)
        raise AssertionError from error
    return plan, tree, base, options


@MANY
@given(cases())
def test_a_plan_can_be_carried_out(case: tuple) -> None:
    """Each source and mount point is there, of the right kind, reached through no link, and hides no other mount."""
    plan, tree, base, _ = case
    inside = Machine(plan, tree, base)
    assert inside.where("/local") == ("base", "/")
    assert inside.kind("/chos") is Kind.LINK
    assert inside.readlink("/chos") == "/"


@MANY
@given(cases())
def test_paths_are_canonical_and_no_place_is_used_twice(case: tuple) -> None:
    plan, *_ = case
    for op in plan.operations:
        for path in [getattr(op, name) for name in ("target", "source", "lower") if hasattr(op, name)]:
            assert path == join(split(path)), op
            assert ".." not in split(path), op
    mounts = [op.target for op in plan.operations if not isinstance(op, (MakeDirectory, MakeSymlink))]
    assert len(set(mounts)) == len(mounts)
    made = [op.target for op in plan.operations if isinstance(op, (MakeDirectory, MakeSymlink))]
    assert len(set(made)) == len(made)


@MANY
@given(cases())
def test_flags(case: tuple) -> None:
    """Restricted, all of them, but for what configuration says of that very thing; only the launcher is privileged."""
    plan, tree, base, options = case
    policy, launcher = options["policy"], options["launcher"]
    way = resolve(base, launcher.path).path if launcher else ""
    devices = any(share.devices for share in options["bindmap"].base) or any(bind.devices for bind in options["binds"])
    for op in plan.operations:
        if isinstance(op, Overlay):
            assert op.flags == Flags(policy.nosuid, policy.nodev, True)
        elif isinstance(op, Hide):
            assert op.flags == Flags(read_only=True)
        elif isinstance(op, Bind) and op.side == "tree":
            assert op.flags == Flags(policy.nosuid, policy.nodev, policy.read_only)
        elif isinstance(op, Bind):
            assert op.flags.nosuid or (op.source == way and op.flags == Flags(nosuid=False, read_only=True))
            assert op.flags.nodev or devices
        elif hasattr(op, "flags"):
            assert op.flags == Flags()


@MANY
@given(trees, roots, bind_maps())
def test_whose_is_what(tree: Root, base: Root, bindmap: BindMap) -> None:
    """Tree-owned names never show the base, and every directory of the base that is not owned is there."""
    bindmap = replace(bindmap, base=())
    plan = plan_or_skip(tree, base, bindmap)
    inside = Machine(plan, tree, base)
    owned = {split(share.path)[0] for share in bindmap.tree}
    for name in owned:
        if inside.kind("/" + name) is not None:
            assert tree.kind("/" + name) is inside.kind("/" + name)
            assert inside.kind("/" + name) is Kind.LINK or inside.where("/" + name)[0] == "tree"
    if bindmap.base_rest:
        for name, kind in base.entries("/").items():
            if kind is Kind.DIRECTORY and name not in owned | RESERVED:
                assert inside.where("/" + name) == ("base", "/" + name)


@MANY
@given(trees, roots, bind_maps())
def test_links_of_the_bases_top_mean_the_same_inside(tree: Root, base: Root, bindmap: BindMap) -> None:
    bindmap = replace(bindmap, base=(), tree_rest=None, base_rest=Origin("m"))
    inside = Machine(plan_or_skip(tree, base, bindmap), tree, base)
    owned = {split(share.path)[0] for share in bindmap.tree}
    for name, kind in base.entries("/").items():
        there = resolve(base, "/" + name)
        means = there.kind if there and there.path != "/" else None
        if kind is Kind.LINK and name not in owned | RESERVED and means in (Kind.DIRECTORY, Kind.FILE):
            assert inside.follow("/" + name) == ("base", there.path)


@MANY
@given(trees, roots, bind_maps())
def test_etc_links_are_the_bases_files(tree: Root, base: Root, bindmap: BindMap) -> None:
    bindmap = replace(bindmap, base=(), tree=(*bindmap.tree, Share("/etc", Origin("m"))))
    inside = Machine(plan_or_skip(tree, base, bindmap), tree, base)
    for share in bindmap.etc:
        there = resolve(base, "/etc/" + share.path)
        if there and there.kind and base.kind("/etc/" + share.path):
            assert inside.follow("/etc/" + share.path) == ("base", there.path)


@MANY
@given(trees, roots, bind_maps(), bind_lists)
def test_binds_and_shares_show_what_they_name(tree: Root, base: Root, bindmap: BindMap, binds: tuple) -> None:
    """Each line is obeyed, but where a later or deeper one takes its place."""
    plan = plan_or_skip(tree, base, bindmap, binds=binds)
    inside = Machine(plan, tree, base)
    for bind in binds:
        there = resolve(base, bind.source)
        if there and there.kind in (Kind.DIRECTORY, Kind.FILE) and len(binds) == 1:
            assert inside.follow(bind.target) == ("base", there.path)
    if not binds and len(bindmap.base) == 1:
        share = bindmap.base[0]
        there = resolve(base, share.path)
        if there and there.kind:
            assert inside.follow(share.path) == ("base", there.path)


@MANY
@given(cases())
def test_planning_is_deterministic(case: tuple) -> None:
    plan, tree, base, options = case
    backwards = [Root(dict(reversed(list(root.nodes.items())))) for root in (tree, base)]
    again = plan_for(*backwards, **options)
    assert again.operations == plan.operations
    assert again.fingerprint() == plan.fingerprint()


@MANY
@given(cases(), st.data())
def test_the_fingerprint(case: tuple, data: st.DataObject) -> None:
    """It is of the mounts: reasons and notes do not count, everything else does."""
    plan, *_ = case
    other = Reason("because", Origin("elsewhere", 99))
    told = []
    for op in plan.operations:
        if isinstance(op, Overlay):
            op = replace(op, entries=tuple(replace(entry, why=other) for entry in op.entries))
        told.append(replace(op, why=other))
    assert replace(plan, operations=tuple(told), notes=(other,)).fingerprint() == plan.fingerprint()

    number = data.draw(st.integers(0, len(plan.operations) - 1))
    op = plan.operations[number]
    name = data.draw(st.sampled_from([item.name for item in fields(op) if item.name != "why"]))
    changed = replace(op, **{name: _other(getattr(op, name))})
    rest = [*plan.operations[:number], *plan.operations[number + 1 :]]
    prints = {
        plan.fingerprint(),
        replace(plan, operations=(*rest[:number], changed, *rest[number:])).fingerprint(),
        replace(plan, operations=tuple(rest)).fingerprint(),
        replace(plan, operations=(*rest, op, op)).fingerprint(),
        replace(plan, tree="/another").fingerprint(),
        plan.fingerprint("extra"),
    }
    assert len(prints) == 6


def _other(value: object) -> object:
    """Something of the same type, but different."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Flags):
        return replace(value, nosuid=not value.nosuid)
    return (*value, *value, replace(value[0], path="new")) if isinstance(value, tuple) else f"{value}x"


def plan_or_skip(tree: Root, base: Root, bindmap: BindMap, **options: object) -> Plan:
    try:
        return plan_for(tree, base, bindmap, **options)  # type: ignore[arg-type]
    except ChosError:
        assume(False)
        raise


def test_some_of_the_random_cases_can_be_planned() -> None:
    """The properties above are not about nothing: the shipped map on the plainest machine is a plan."""
    always = {"/" + name for name in ALWAYS_BASE}
    plan = plan_for(Root({"/etc": "dir", "/usr": "dir"}), Root(dict.fromkeys(always, "dir")))
    assert {op.target for op in plan.operations} >= {"/usr", "/etc", *always}
    with pytest.raises(ChosError):
        plan_for(Root({}), Root({}), DEFAULT)
