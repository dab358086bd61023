"""Decisions: what is to be done, from any state that a killed `up` can leave; docs/design.md."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.backends import Seen
from chosns.errors import TreeError, UnknownEnvironment, UnsafeError
from chosns.model import BindMap, Environment, Origin, Policy, Site, escape_name
from chosns.node import actions, decision
from chosns.node.actions import Action
from chosns.node.decision import Wish
from chosns.node.drive import Drive, Refused, Told
from chosns.node.state import NodeState
from chosns.registry import names
from chosns.registry.excess import recorded_mounts

HERE = Origin("/etc/chos", 1)
GROUPS = {"staff": 50, "users": 100, "lost": None}
TEXTS = {"base": "b", "login": "l", "jobs": "j"}


def env(name: str, **more: Any) -> Environment:
    return Environment(name, more.pop("tree", f"/os/{name}"), HERE, **more)


def site(*environments: Environment, leave: tuple[str, ...] = ("root",)) -> Site:
    return Site(environments, leave, bindmaps={"default": BindMap("default", HERE)})


def seen(item: Environment, where: Site, tree: str = "1:1", module: bool = False) -> Seen:
    """What the backend ns would make of an environment whose tree is `tree`."""
    made_of = {"tree": tree, "launcher": "", "mount": 0, "policy": {"no_new_privs": item.policy.no_new_privs}}
    fingerprint = f"{tree} {item.policy} {item.variables} {item.groups}"
    return Seen(
        "ns", item, fingerprint, made_of, recorded_mounts(item, where, ""), trees={"kmod": item.tree} if module else {}
    )


Look = Callable[[Environment], Seen]
NS = Wish(("ns",))


def up(where: Site, node: NodeState, wish: Wish = NS, look: Look | None = None, most: int = 1000) -> Any:
    """Decide everything, and do it to `node`: what it is then, and the actions. `most`: killed after so many."""
    look = look or (lambda item: seen(item, where, module="kmod" in wish.backends))
    done: list[Action] = []

    steps = 0

    def take(found: list[Action]) -> None:
        nonlocal node, steps
        for action in found:
            for piece in pieces(action):
                if steps >= most:
                    raise InterruptedError
                steps += 1
                node = piece.after(node)
            done.append(action)

    try:
        take(decision.before_all(node))
        take(decision.for_the_node(where, node, TEXTS))
        take(decision.for_backends(node, wish))
        for item in where.environments:
            closing = decision.closing(item, where, node)
            take(list(closing.actions))
            try:
                if closing.group_ids is None:
                    raise decision.unknown_group(item, node)
                looked = look(item)
            except Exception as error:
                take(list(decision.after_failure(item, where, node, error, closing.excess).actions))  # type: ignore[arg-type]
                continue
            take(decision.after_look(where, node, looked, closing.group_ids, wish))
        take(decision.for_the_rest(where, node, wish))
    except InterruptedError:
        pass
    return node, done


def pieces(action: Action) -> list[Action]:
    """An action for several names is carried out name by name, and may be stopped between two of them."""
    if isinstance(action, actions.Publish):
        return [*(replace(action, environment="", links={name: text}) for name, text in action.links.items()), action]
    if isinstance(action, actions.Unpublish):
        return [replace(action, names=(name,)) for name in action.names]
    if isinstance(action, actions.LeadToBase):
        stray: list[Action] = [replace(action, names=(), stray=(name,)) for name in action.stray]
        return stray + [replace(action, names=(name,), stray=()) for name in action.names]
    return [action]


def kinds(done: list[Action]) -> list[str]:
    return [type(action).__name__ for action in done]


EMPTY = NodeState(shared=False, groups=GROUPS)


def test_a_first_environment() -> None:
    node, done = up(site(env("el9", aliases=("default",))), EMPTY)
    assert kinds(done) == [
        *("ShareMounts", "MakeRegistry", "WriteFile", "WriteFile", "WriteFile", "LeadToBase", "SetBackends"),
        *("Make", "Grant", "Publish"),
    ]
    assert node.links["el9"] == "../gen/el9.1" and node.links["default"] == "el9"


def test_an_unchanged_site_decides_nothing() -> None:
    where = site(env("el9"), env("el8", groups=("staff",)))
    node, _ = up(where, EMPTY)
    assert up(where, node)[1] == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tree": "/os/new"}, "its tree is /os/new now, and was /os/el9"),
        ({"policy": Policy(no_new_privs=True)}, "policy: no_new_privs is true now"),
        ({"groups": ("staff",)}, "other groups may enter"),
    ],
)
def test_why_a_new_generation(change: dict[str, Any], why: str) -> None:
    before = site(env("el9"))
    node, _ = up(before, EMPTY)
    after = site(replace(before.environments[0], **change))
    look: Look = lambda item: replace(seen(item, after), fingerprint="another")  # noqa: E731
    made = [action for action in up(after, node, look=look)[1] if isinstance(action, actions.Make)]
    assert made[0].generation == "el9.2" and why in made[0].why


def test_a_tree_that_was_replaced_is_named() -> None:
    where = site(env("el9"))
    node, _ = up(where, EMPTY)
    made = [
        action
        for action in up(where, node, look=lambda item: seen(item, where, "1:93"))[1]
        if isinstance(action, actions.Make)
    ]
    assert made[0].why == ("the tree was replaced: device:inode 1:1 → 1:93",)


def test_a_line_of_the_bind_map_is_named() -> None:
    where = site(env("el9"))
    node, _ = up(where, EMPTY)
    old = {"operation": "Bind", "target": "/var/a", "source": "/var/a", "side": "base", "why": "", "origin": "x.toml:1"}
    new = {**old, "target": "/var/b", "source": "/var/b", "why": "the base's", "origin": "cluster.toml:12"}
    one = node.generations["el9.1"]
    planned = replace(one, manifest={**one.manifest, "plan": {"operations": [old]}})
    node = replace(node, generations={"el9.1": planned})
    now = replace(seen(where.environments[0], where), fingerprint="another", operations=(new,))
    found = decision.after_look(where, node, now, (), NS)
    assert found[0].why == ("new: /var/b (the base's, cluster.toml:12)", "gone: /var/a (x.toml:1)")


def test_a_generation_that_was_damaged_is_made_again() -> None:
    where = site(env("el9"))
    node, _ = up(where, EMPTY)
    _, done = up(where, replace(node, written={}))
    assert done[0].why == ("el9.1 was damaged, or others than root could write in it",)


@pytest.mark.parametrize("operations", [5, [1], None, [], [{"entries": 3}], [{"entries": ["x"]}], "absent"])
@pytest.mark.parametrize("fingerprint", ["another", ""])
def test_a_damaged_manifest_is_a_reason_and_no_mistake(operations: Any, fingerprint: str) -> None:
    where = site(env("el9"))
    node, _ = up(where, EMPTY)
    one = node.generations["el9.1"]
    plan = {} if operations == "absent" else {"operations": operations}
    node = replace(node, generations={"el9.1": replace(one, manifest={**one.manifest, "plan": plan})})
    now = replace(seen(where.environments[0], where), operations=({"operation": "Bind", "target": "/x"},))
    now = replace(now, fingerprint=fingerprint or now.fingerprint)
    made = decision.after_look(where, node, now, (), NS)[0]
    assert isinstance(made, actions.Make) and made.why
    if not fingerprint:
        assert made.why == ("el9.1's manifest.json is damaged",)


def test_a_tree_that_kmod_cannot_keep_closed_is_withdrawn() -> None:
    where, wish = site(env("el9", groups=("staff",))), Wish(("kmod",))
    node, _ = up(where, EMPTY, wish, lambda item: seen(item, where, module=True))
    assert node.service("kmod").admitted == ("/os/el9",)

    def refuse(_: Environment) -> Seen:
        raise UnsafeError("kmod cannot keep users out")

    node, _ = up(where, node, wish, refuse)
    assert node.service("kmod").admitted == () and "el9" not in node.links


class Failing:
    """Hands that cannot narrow a generation."""

    def do(self, action: Action) -> list[str]:
        if isinstance(action, actions.Narrow):
            raise OSError(errno.EIO, "Input/output error")
        return []


def test_what_could_not_be_closed_must_not_stay() -> None:
    before = site(env("el9", groups=("staff", "users")))
    node, _ = up(before, EMPTY, Wish(("ns", "kmod")), lambda item: seen(item, before, module=True))
    where = site(env("el9", groups=("staff",)))
    drive = Drive(where, node, NS, cast(Any, Failing()), 1.0, Told())
    closed = drive._close(where.environments[0])
    assert isinstance(closed, Refused) and closed.excess is None
    assert drive.node.service("kmod").trees == {}, "what comes after it is tried, too"
    follows = decision.after_failure(where.environments[0], where, drive.node, closed.error, closed.excess)
    assert isinstance(follows.actions[0], actions.Unpublish)


def test_whom_the_configuration_names_no_more_is_shut_out_before_the_tree_is_looked_at() -> None:
    node, _ = up(site(env("el9", groups=("staff", "users"))), EMPTY)
    where = site(env("el9", groups=("staff",)))

    def never(_: Environment) -> Seen:
        raise TreeError("does not answer", object="el9")

    node, done = up(where, node, look=never)
    assert isinstance(done[0], actions.Narrow)
    assert node.entrants["el9.1"] == frozenset({50}), "who stays may stay"
    assert "el9" in node.links, "who may enter is not shut out by a server that is away"


@pytest.mark.parametrize("error", [TreeError("is away"), UnsafeError("is alice's")])
def test_what_allows_too_much_goes_when_it_cannot_be_made_again(error: Exception) -> None:
    node, _ = up(site(env("el9", aliases=("x",))), EMPTY)
    policy = Policy(no_new_privs=isinstance(error, TreeError))
    where = site(env("el9", aliases=("x",), policy=policy))

    def never(_: Environment) -> Seen:
        raise error

    node, _ = up(where, node, look=never)
    assert not {"el9", "x"} & set(node.links) and "nobody can enter" in node.failures["el9"]


def test_a_group_that_is_not_known_leaves_alone_what_was_made_for_it() -> None:
    where = site(env("el9", groups=("staff",)))
    node, _ = up(where, EMPTY)
    node, _ = up(where, replace(node, groups={"staff": None}))
    assert node.links["el9"] == "../gen/el9.1" and node.entrants["el9.1"] == frozenset({50})
    assert "unknown on this node" in node.failures["el9"]


def test_a_generation_that_somebody_lives_in_stays() -> None:
    where = site(env("el9"))
    node, _ = up(where, EMPTY)
    node = replace(node, residents={"el9.1": 3})
    node, done = up(where, node, Wish(("ns",), renew=True))
    assert "Retire" not in kinds(done) and decision.kept(node) == {"el9.1": 3}
    node, done = up(where, replace(node, residents={}))
    assert [action.generation for action in done if isinstance(action, actions.Retire)] == ["el9.1"]


def test_down() -> None:
    node, _ = up(site(env("el9", aliases=("x",)), env("el8")), EMPTY)
    for action in (found := decision.to_go(node, ["x"])):
        node = action.after(node)
    assert kinds(found) == ["Unpublish", "Retire"] and set(node.generations) == {"el8.1"}
    with pytest.raises(UnknownEnvironment):
        decision.to_go(node, ["x"])
    assert kinds(decision.to_go(node, [])) == ["Unpublish", "Retire", "RemoveRegistry"]


def test_down_leaves_the_way_back_to_whom_is_inside() -> None:
    node, _ = up(site(env("el9")), EMPTY)
    node = replace(node, residents={"el9.1": 1})
    for action in (found := decision.to_go(node, [])):
        node = action.after(node)
    assert kinds(found) == ["Unpublish"] and set(node.links.values()) == {names.BASE}


def test_an_alias_never_leads_on_to_another_environment() -> None:
    """a's own name becomes an alias of b: what was an alias of a is taken away first."""
    before, _ = up(site(env("a", tree="/os/2")), EMPTY)
    second = site(env("b", tree="/os/1", aliases=("a",)))
    for kill in range(20):
        node, _ = up(second, before, most=kill)
        assert node.links.get("%2Fos%2F2") != "a" or names.generation_of(node.links["a"]), kill


# From any state, and from wherever an `up` was killed.

ENVIRONMENTS = st.builds(
    lambda name, aliases, groups, tight, tree: env(
        name, aliases=tuple(aliases), groups=tuple(groups), policy=Policy(no_new_privs=tight), tree=tree
    ),
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.sampled_from(["x", "y", "a", "root"]), max_size=2, unique=True),
    st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True),
    st.booleans(),
    st.sampled_from(["/os/1", "/os/2"]),
)
SITES = st.builds(
    lambda envs, leave: site(*envs, leave=tuple(leave)),
    st.lists(ENVIRONMENTS, max_size=3, unique_by=lambda item: item.name),
    st.lists(st.sampled_from(["root", "x"]), unique=True),
)
WISHES = st.builds(Wish, st.sampled_from([("ns",), ("ns", "kmod")]))
AWAY = st.sets(st.sampled_from(["a", "b", "c"]))


def looking(where: Site, away: set[str], wish: Wish) -> Look:
    def look(item: Environment) -> Seen:
        if item.name in away:
            raise TreeError("does not answer", object=item.name)
        return seen(item, where, module="kmod" in wish.backends)

    return look


def outside(node: NodeState) -> Mapping[str, Any]:
    """What users see of a node: which name leads to which environment, made for whom, and what the module allows."""
    found: dict[str, Any] = {}
    for name, text in node.links.items():
        one = node.generations.get(names.generation_of(node.links.get(text, text)))
        found[name] = (one.name, one.manifest["fingerprint"], node.entrants[str(one)]) if one else text
    allowed = frozenset(node.service("kmod").admitted or ())
    return {**found, "allowed": allowed, "files": dict(node.files), "backends": node.backends}


@given(SITES, SITES, WISHES, WISHES, AWAY, st.integers(0, 60))
def test_killed_anywhere_the_next_up_ends_in_what_was_wanted(
    first: Site, second: Site, wish: Wish, other: Wish, away: set[str], kill: int
) -> None:
    before, _ = up(first, EMPTY, wish)
    killed, _ = up(second, before, other, looking(second, away, other), kill)
    after, _ = up(second, killed, other)
    direct, _ = up(second, before, other)
    assert outside(after) == outside(direct)
    assert set(after.failures) == set(direct.failures)
    assert up(second, after, other)[1] == [], "and then there is nothing more to do"


@given(SITES, SITES, AWAY)
def test_whom_the_configuration_shuts_out_enters_nothing_afterwards(first: Site, second: Site, away: set[str]) -> None:
    """Whether the trees answer or not."""
    before, _ = up(first, EMPTY)
    node, _ = up(second, before, look=looking(second, away, NS))
    for item in second.environments:
        one, known = node.published(escape_name(item.name)), decision.closing(item, second, node).group_ids
        if one and known:
            entrants = node.entrants[str(one)]
            assert entrants is not None and entrants <= set(known)
        if one and item.policy.no_new_privs:
            assert one.manifest["policy"]["no_new_privs"]


@given(SITES, SITES, AWAY)
def test_nothing_that_was_made_is_opened_to_others_on_the_way(first: Site, second: Site, away: set[str]) -> None:
    """An old generation is never entered by more than before, unless the configuration of today names them."""
    before, _ = up(first, EMPTY)
    for kill in range(30):
        node, _ = up(second, before, look=looking(second, away, NS), most=kill)
        for name, entrants in before.entrants.items():
            now = node.entrants.get(name, frozenset())
            owner = next((item for item in second.environments if f"{item.name}.1" == name), None)
            named = decision.closing(owner, second, before).group_ids if owner else ()
            if entrants is not None and (named or owner is None):
                assert now is not None and now <= entrants | set(named or ())


@given(SITES, SITES, AWAY)
def test_a_name_leads_to_the_base_or_a_generation_or_nobody_enters(first: Site, second: Site, away: set[str]) -> None:
    """An alias may be there a moment longer than its environment's own name, which goes first: nobody enters then."""
    node, _ = up(first, EMPTY)
    for kill in range(30):
        now, _ = up(second, node, look=looking(second, away, NS), most=kill)
        for text in now.links.values():
            target = text if text.startswith("../") else now.links.get(text)
            assert target in (None, names.BASE) or names.generation_of(target) in now.generations
