"""The order in which `up` does things: decide, act, decide again. The same code serves `--dry-run`, whose hands change
nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from chosns import backends
from chosns.backends import Backend, Look, Seen
from chosns.config import broken
from chosns.errors import ChangedError, ChosError, ConfigError, as_chos_error
from chosns.lazydata import dataclass
from chosns.model import Environment, Problem, Site, escape_name
from chosns.node import actions, decision
from chosns.node.actions import Action
from chosns.node.ahead import Ahead
from chosns.node.decision import Closing, Wish
from chosns.node.hands import Doer
from chosns.node.report import Outcome, Report
from chosns.node.state import NodeState

_ATTEMPTS = 3  # attempts, if mounts on the base change while they are copied


@dataclass(frozen=True)
class Refused:
    """An environment that cannot be prepared, before anything was looked at.

    :param excess: see `Closing.excess`; None: what is published must not stay in any case.
    """

    error: ChosError
    excess: Sequence[str] | None


@dataclass(frozen=True)
class Told:
    """Functions to call. `progress`: about something that takes long. `done`: with each outcome as it is known."""

    progress: Callable[[str], None] = lambda _: None
    done: Callable[[Outcome], None] = lambda _: None


class Drive:
    """One `up`; `doer` changes the node, or only pretends to.

    :param node: as it is; kept up to date with each action.
    :param limit: seconds that one environment may take.
    :param workers: how many trees are looked at side by side.
    """

    def __init__(
        self,
        site: Site,
        node: NodeState,
        wish: Wish,
        doer: Doer,
        limit: float,
        told: Told,
        notes: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        self._site, self.node, self._wish, self._doer, self._told = site, node, wish, doer, told
        self._backends = {name: backends.create(name, limit) for name in wish.backends}
        self._broken: Mapping[str, Sequence[Problem]] = broken(site)
        self._workers = workers
        self.report = Report(notes=list(notes))

    def run(self, chosen: Iterable[Environment], texts: Mapping[str, str]) -> Report:
        """Prepare these environments, and make the registry say what the configuration says.

        :param texts: what the registry's own files are to say.
        """
        report = self.report
        for action in decision.before_all(self.node):
            self._did(action)  # in a dry run only; otherwise `act` did these first, and the node was read afterwards
        self._take(decision.for_the_node(self._site, self.node, texts))
        restricted, result = self._doer.restrict(list(self.node.generations.values()))
        self._take(restricted)
        report.notes += result.notes
        report.degraded = not result.whole
        self._bring_up_backends()
        chosen = list({env.name: env for env in chosen}.values())
        closed = {env.name: self._close(env) for env in chosen}
        wanted = [(env, found.group_ids or ()) for env in chosen if isinstance(found := closed[env.name], Closing)]
        with Ahead(self._backend(), self._site, wanted, self._workers) as ahead:
            for env in chosen:
                self._told.progress(env.name)
                outcome = self._environment(env, closed[env.name], ahead)
                report.outcomes.append(outcome)
                report.notes += [warning for warning in outcome.warnings if warning not in report.notes]
                self._told.done(outcome)
        self.node = self._doer.seen_again(self.node)
        self._take(decision.for_the_rest(self._site, self.node, self._wish))
        report.kept = decision.kept(self.node)
        return report

    def _take(self, found: Iterable[Action], environment: str = "") -> None:
        for action in found:
            self.report.notes += self._doer.do(action)
            self._did(action, environment)

    def _did(self, action: Action, environment: str = "") -> None:
        self.node = action.after(self.node)
        self.report.add(environment, action)

    def _bring_up_backends(self) -> None:
        """If what one of several backends needs cannot be had, continue with the others."""
        for name in self._wish.backends:
            try:
                self.report.notes += self._doer.bring_up(self._backends[name], self._site)
            except ChosError as error:
                others = tuple(other for other in self._wish.backends if other != name)
                if not others:
                    raise
                hint = f" — {error.hint}" if error.hint else ""
                self.report.notes.append(f"only {', '.join(others)} is prepared: {error}{hint}")
                self.report.degraded = True
                self._wish = replace(self._wish, backends=others)
        self._take(decision.for_backends(self.node, self._wish))

    def _close(self, env: Environment) -> Closing | Refused:
        """Close what is published of an environment. Done for all environments before any tree is looked at."""
        problems = self._broken.get(env.name)
        if problems:
            first = problems[0]
            return Refused(ConfigError(first.message, object=str(first.origin), hint=first.hint), None)
        closing = decision.closing(env, self._site, self.node)
        failed: ChosError | None = None
        for action in closing.actions:  # one by one, so that a failure does not prevent the others
            try:
                self._take([action], env.name)
            except OSError as error:
                failed = as_chos_error(error, env.name)
            except ChosError as error:
                failed = error
        if failed:
            return Refused(failed, None)
        if closing.group_ids is None:
            return Refused(decision.unknown_group(env, self.node), closing.excess)
        return closing

    def _environment(self, env: Environment, closed: Closing | Refused, ahead: Ahead) -> Outcome:
        """Prepare one environment, after it was closed, until its generation is published."""
        started = time.monotonic()
        try:
            if isinstance(closed, Refused):
                raise closed.error
            why, warnings = self._prepare(env, closed.group_ids or (), ahead)
            published = self.node.published(escape_name(env.name))
            seconds = time.monotonic() - started
            return Outcome(
                env.name, "made" if why else "unchanged", str(published), seconds, warnings=warnings, why=why
            )
        except OSError as error:
            failure: ChosError = as_chos_error(error, env.name)
        except ChosError as error:
            failure = error
        follows = decision.after_failure(env, self._site, self.node, failure, closed.excess)
        failure.message += follows.addition
        self._take(follows.actions, env.name)
        return Outcome(env.name, "failed", error=failure)

    def _backend(self) -> Backend:
        return self._backends[backends.builder(self._wish.backends)]

    def _prepare(
        self, env: Environment, group_ids: Sequence[int], ahead: Ahead
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The reasons for a new generation (none if none was made), and warnings. Tries again if the base changed."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._attempt(env, group_ids, ahead)
            except ChangedError as error:
                self._told.progress(f"{error}; once more")
                self.node = self._doer.seen_again(self.node)
        return self._attempt(env, group_ids, ahead)

    def _attempt(
        self, env: Environment, group_ids: Sequence[int], ahead: Ahead
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`_prepare`, once."""
        with ahead.take(env, group_ids) as look:
            seen = self._complete(env, look, group_ids)
            why: tuple[str, ...] = ()
            for action in decision.after_look(self._site, self.node, seen, group_ids, self._wish):
                if isinstance(action, actions.Make):
                    why = action.why
                    self._make(action, look)
                else:
                    self._take([action], env.name)
            return why, seen.warnings

    def _complete(self, env: Environment, look: Look, group_ids: Sequence[int]) -> Seen:
        """What a backend has seen, with the operations of the plan if they are needed: these take longer."""
        seen = look.see()
        published = self.node.published(escape_name(env.name))
        if published and published.manifest.get("fingerprint") != seen.fingerprint:
            seen = replace(seen, operations=look.operations())
        for name in self._wish.backends:
            if name != seen.backend:
                tree, more = self._backends[name].join(env, self._site, group_ids)
                trees = {**seen.trees, name: tree} if tree else seen.trees
                seen = replace(seen, warnings=(*seen.warnings, *more), trees=trees)
        return seen

    def _make(self, action: actions.Make, look: Look) -> None:
        made = self._doer.make(action, look, self._told.progress)
        self._did(action, action.environment.name)
        if made is not None:
            # Replaces the placeholders of the decision.
            self.node = replace(
                self.node,
                generations={**self.node.generations, action.generation: made.generation},
                written={**self.node.written, action.generation: made.written},
            )
