"""Decides what has to be done so that a node becomes what its configuration says. Pure: `act` carries it out,
`--dry-run` prints it.

A decision has parts, which are carried out in this order:
1. what concerns the whole node
2. for each environment what closes it; this never waits until a tree was looked at
3. for each environment what follows from looking at its tree
4. what is left over
Each part is decided from the state in which the part before leaves the node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chosns.backends import Seen, traits
from chosns.errors import ChosError, ConfigError, UnknownEnvironment, UnsafeError
from chosns.lazydata import dataclass
from chosns.model import Environment, Site, escape_name
from chosns.node import actions
from chosns.node.actions import Action
from chosns.node.state import NodeState
from chosns.node.why import reasons
from chosns.registry import names
from chosns.registry.access import narrowed
from chosns.registry.excess import excess, policy_excess

_NAMED = ("the configuration names them",)
_SHOWN = 3  # reasons of one kind in a message


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line, in addition to the configuration.

    backends: what to prepare for, the default first
    renew:    make a new generation of what has not changed, too
    """

    backends: tuple[str, ...]
    renew: bool = False


def before_all(node: NodeState) -> list[Action]:
    """What must exist before anything can be prepared."""
    found: list[Action] = []
    if not node.shared:
        found.append(actions.ShareMounts(("the base's root is private",)))
    if not node.prepared:
        found.append(actions.MakeRegistry(("there is none",)))
    return found


def for_the_node(site: Site, node: NodeState, texts: Mapping[str, str]) -> list[Action]:
    """What comes before environments. The way back to the base must exist before any process can be inside.

    :param texts: what the registry's own files are to say.
    """
    found: list[Action] = []
    for name, text in texts.items():
        if node.files.get(name) != text:
            why = "it says something else" if name in node.files else "there is none"
            found.append(actions.WriteFile(name, (why,), text))
    wanted = names.links(site, names.published(node.links))
    base = names.base_names(wanted)
    missing = tuple(name for name, text in base.items() if node.links.get(name) != text)
    stray = tuple(names.stray(wanted, node.links))
    if missing or stray:
        found.append(actions.LeadToBase(missing, stray, ("the configuration names them as ways back",)))
    return found


def for_backends(node: NodeState, wish: Wish) -> list[Action]:
    """What must exist before environments can be prepared for these backends."""
    found: list[Action] = []
    for name in wish.backends:
        service = node.service(name)
        if traits(name).service and not (service.there and service.ours):
            found.append(actions.BringUp(name, (f"environments are to be prepared for {name}",)))
    if node.backends != wish.backends:
        was = f"it was {', '.join(node.backends)}" if node.backends else "nothing was prepared"
        found.append(actions.SetBackends(wish.backends, (was,)))
    return found


@dataclass(frozen=True)
class Closing:
    """What has to be closed before an environment is looked at.

    excess:    why the published generation must not stay if no new one can be made; empty if it may stay
    group_ids: the groups that may enter from now on, empty for everyone; None if a group is unknown
    """

    actions: tuple[Action, ...]
    excess: tuple[str, ...]
    group_ids: tuple[int, ...] | None


def closing(env: Environment, site: Site, node: NodeState) -> Closing:
    """Close the published generation of `env` to everyone whom the configuration does not name any more."""
    group_ids = _group_ids(env, node)
    primary = escape_name(env.name)
    published = node.published(primary)
    found: list[Action] = []
    if published is None:
        too_much = ["nothing is prepared"]
    else:
        before = node.entrants.get(str(published), frozenset())
        if group_ids is None:
            # A name service may be away for a while. The generation stays open to the groups that it was made for.
            left = published.manifest.get("groups") == list(env.groups)
        else:
            after = narrowed(before, group_ids)
            left = after is None or bool(after)
            if after != before or str(published) in node.irregular:
                found.append(actions.Narrow(str(published), group_ids, ("the configuration names other groups",)))
        too_much = ([] if left else ["it was made for other groups"]) + excess(published, env, site)
    same_groups = published is not None and published.manifest.get("groups") == list(env.groups)
    tighter = policy_excess(published.manifest, env) if published is not None else ["nothing is prepared"]
    for name, service in node.services.items():
        if primary in service.trees and (tighter or not same_groups):
            why = tuple(tighter) or ("the configuration names other groups",)
            found.append(actions.Withdraw(env.name, name, why))
    return Closing(tuple(found), tuple(too_much), group_ids)


def unknown_group(env: Environment, node: NodeState) -> ConfigError:
    """The error of an environment with a group that this node does not know."""
    unknown = next(name for name in env.groups if node.groups.get(name) is None)
    message = f"group {unknown} of environment {env.name} is unknown on this node"
    return ConfigError(message, object=env.name, hint="correct `groups`, or create the group")


def _group_ids(env: Environment, node: NodeState) -> tuple[int, ...] | None:
    found = [node.groups.get(name) for name in env.groups]
    known = tuple(gid for gid in found if gid is not None)
    return known if len(known) == len(found) else None


def after_look(site: Site, node: NodeState, seen: Seen, group_ids: Sequence[int], wish: Wish) -> list[Action]:
    """Decide from what a backend has seen of an environment: a new generation, or nothing."""
    env = seen.environment
    primary = escape_name(env.name)
    published = node.published(primary)
    written = node.written.get(str(published)) if published else None
    why = reasons(published, written, seen, group_ids, renew=wish.renew)
    found: list[Action] = []
    if why:
        generation = f"{primary}.{next_number(node, primary)}"
        manifest = {
            "format": 1,
            "backend": seen.backend,
            "environment": env.name,
            "tree": env.tree,
            "fingerprint": seen.fingerprint,
            "made_of": {**seen.made_of, "groups": sorted(group_ids)},
            **seen.record,
        }
        found.append(actions.Make(env, generation, seen.backend, manifest, why))
    else:
        assert published is not None
        generation = str(published)
        if any(published.manifest.get(key) != value for key, value in seen.record.items()):
            found.append(actions.Note(generation, ("the configuration is written otherwise",), seen.record))
    for name in sorted({*node.services, *seen.trees}):
        tree = seen.trees.get(name, "")
        if node.service(name).trees.get(primary, "") != tree:
            found.append(actions.Let(env.name, name, tree, ("as it was looked at",)))
    wanted = frozenset(group_ids) if group_ids else None
    if why or generation in node.irregular or node.entrants.get(generation, frozenset()) != wanted:
        found.append(actions.Grant(generation, tuple(group_ids), why or ("the configuration names other groups",)))
    leads = names.links(site, {**names.published(node.links), primary: generation})
    changed = {
        name: text
        for name, text in leads.items()
        if (name == primary or text == primary) and node.links.get(name) != text
    }
    if changed or primary in node.failures:
        found += _publish(env.name, changed, node, why or _NAMED)
    return found


def _publish(environment: str, changed: Mapping[str, str], node: NodeState, why: Sequence[str]) -> list[Action]:
    """Publish names. If a name was another environment's own before, first take away that one's aliases: they point at
    the name and would lead to the wrong environment."""
    demoted = {name for name, text in changed.items() if not names.generation_of(text)}
    stray = tuple(name for name, text in node.links.items() if text in demoted)
    found: list[Action] = (
        [actions.Unpublish(stray, ("what they are aliases of becomes another's name",))] if stray else []
    )
    return [*found, actions.Publish(environment, changed, tuple(why))]


def next_number(node: NodeState, primary: str) -> int:
    """A number that this environment has not had since the registry was made."""
    numbers = [generation.number for generation in node.generations.values() if generation.name == primary]
    return max([*numbers, node.serials.get(primary, 0)]) + 1


@dataclass(frozen=True)
class Failure:
    """What follows from a failure. `addition` is appended to its message if old generations had to be taken away."""

    actions: tuple[Action, ...]
    addition: str = ""


def after_failure(
    env: Environment, site: Site, node: NodeState, error: ChosError, too_much: Sequence[str] | None
) -> Failure:
    """An environment cannot be prepared. Its old generation stays, unless it allows more than the configuration.

    :param too_much: see `Closing.excess`; None: the old generation must not stay in any case.
    """
    if isinstance(error, UnsafeError):
        too_much = None  # what other users can change must not be shown any longer, however long it was shown before
    primary = escape_name(env.name)
    found: list[Action] = []
    addition = ""
    if (too_much is None or too_much) and names.generation_of(node.links.get(primary, "")):
        found.append(actions.Unpublish(tuple(names.names_of(primary, node.links)), tuple(too_much or (str(error),))))
        addition = "; nobody can enter until this is mended" + _because(too_much or ())
    why = " ".join((str(error) + addition).split())
    told = {name: why for name, owner in names.owners(site).items() if owner is env}
    # If an earlier failure of the same kind is recorded, its text stays: it may name a consequence that still holds.
    if not all(node.failures.get(name, "").startswith(text) for name, text in told.items()):
        found.append(actions.RecordFailures({**node.failures, **told}, (why,)))
    return Failure(tuple(found), addition)


def _because(too_much: Sequence[str]) -> str:
    """The end of a message: in what respect the published generation allows more than the configuration."""
    more = f" and {len(too_much) - _SHOWN} more" if len(too_much) > _SHOWN else ""
    return (
        f", because what is prepared allows more than the configuration: {', '.join(too_much[:_SHOWN])}{more}"
        if too_much
        else ""
    )


def for_the_rest(site: Site, node: NodeState, wish: Wish) -> list[Action]:
    """What is left to do after environments are prepared: old names, failures, unused generations."""
    found: list[Action] = []
    wanted = names.links(site, names.published(node.links))
    changed = {name: text for name, text in wanted.items() if node.links.get(name) != text}
    if changed:
        found += _publish("", changed, node, _NAMED)
    gone = tuple(name for name in node.links if name not in wanted)
    if gone:
        found.append(actions.Unpublish(gone, ("the configuration does not name them",)))
    kept = {
        name: node.failures[name]
        for name, env in names.owners(site).items()
        if escape_name(env.name) in node.failures and name in node.failures
    }
    if kept != dict(node.failures):
        found.append(actions.RecordFailures(kept, ("the others are prepared, or not in the configuration",)))
    for action in found:
        node = action.after(node)
    return [*found, *leftovers(node), *_settle(node, wish.backends)]


def leftovers(node: NodeState) -> list[Action]:
    """Retire every generation that no name leads to and no process is in, and what a killed writer left."""
    live = set(names.published(node.links).values())
    found: list[Action] = []
    for name, generation in node.generations.items():
        if name in live or (generation.complete and node.residents.get(name, 0)):
            continue
        why = "no name leads to it and nobody lives in it" if generation.complete else "it was never finished"
        found.append(actions.Retire(name, generation.complete, (why,)))
    return found


def kept(node: NodeState) -> dict[str, int]:
    """Generations that no name leads to, but that processes are still in → number of these processes."""
    live = set(names.published(node.links).values())
    return {
        name: node.residents[name]
        for name, generation in node.generations.items()
        if name not in live and generation.complete and node.residents.get(name, 0)
    }


def _settle(node: NodeState, backends: Collection[str]) -> list[Action]:
    """Make services let users into what is published. A service that `chosctl` did not bring up is left alone."""
    found: list[Action] = []
    for name, service in node.services.items():
        if not service.ours:
            continue
        if name not in backends:
            found.append(actions.TakeDown(name, (f"no environment is to be prepared for {name}",)))
            continue
        wanted = tuple(dict.fromkeys(tree for primary, tree in service.trees.items() if primary in node.links))
        if service.admitted is not None and set(service.admitted) != set(wanted):
            found.append(actions.Admit(name, wanted, ("as environments are published",)))
    return found


def to_go(node: NodeState, wanted: Sequence[str]) -> list[Action]:
    """Take environments away: no process can enter any more; processes that are inside stay.

    :param wanted: names or aliases; empty for everything, the registry itself included.
    :raises UnknownEnvironment: a name is not prepared.
    """
    # The way back to the base stays as long as any process is inside.
    gone = [name for name, text in node.links.items() if text != names.BASE]
    if wanted:
        gone = []
        for primary in primaries(node, wanted):
            if primary in node.links:
                gone += [alias for alias in names.names_of(primary, node.links) if alias not in gone]
    found: list[Action] = [actions.Unpublish(tuple(gone), ("it was asked for",))] if gone else []
    for action in found:
        node = action.after(node)
    return [*found, *ended(node, everything=not wanted)]


def primaries(node: NodeState, wanted: Sequence[str]) -> list[str]:
    """Which environments, by their registry names, are meant by these names and aliases. One that is down already is
    known by its own name as long as processes live in it.

    :raises UnknownEnvironment: a name is not prepared.
    """
    found = []
    for name in wanted:
        primary = names.primary(name, node.links)
        if primary is None:
            primary = next((one.name for one in node.generations.values() if one.name == _escaped(name)), None)
        if primary is None:
            raise UnknownEnvironment("is not prepared", object=name, hint="`chosctl status` lists what is")
        found.append(primary)
    return found


def _escaped(name: str) -> str:
    try:
        return escape_name(name)
    except ValueError:
        return ""


def ended(node: NodeState, *, everything: bool) -> list[Action]:
    """What can go once names are taken away, and once more whenever processes have ended.

    :param everything: the registry, too, when nothing is in it. Not where something has been published meanwhile.
    """
    everything = everything and not names.published(node.links)
    found: list[Action] = [*leftovers(node), *_settle(node, () if everything else node.backends)]
    for action in found:
        node = action.after(node)
    if everything and not node.generations:
        found.append(actions.RemoveRegistry(("no environment is left",)))
    return found
