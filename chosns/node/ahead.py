"""Looks at the trees of the next environments while one is being built: several at a time, each in its own process.

So a file server that does not answer delays its own environment only, by the time limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

from chosns.backends import Backend, Look
from chosns.errors import ChosError
from chosns.model import Environment, Site

Wanted = Sequence[tuple[Environment, Sequence[int]]]  # with the groups that are to enter


class Ahead:
    """Starts looking at environments in the order of `wanted`, at most `most` at a time. To be used with `with`.

    :param backend: the backend that looks.
    """

    def __init__(self, backend: Backend, site: Site, wanted: Wanted, most: int) -> None:
        self._backend, self._site, self._most = backend, site, max(most, 1)
        self._waiting = list(wanted)
        self._begun: dict[str, tuple[ExitStack, Look | ChosError | OSError]] = {}

    def __enter__(self) -> Ahead:
        self._fill()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for stack, _ in self._begun.values():
            stack.close()

    @contextmanager
    def take(self, env: Environment, group_ids: Sequence[int]) -> Iterator[Look]:
        """The look at this environment: the one that was started, otherwise a new one.

        :raises ChosError, OSError: why it could not be begun.
        """
        self._waiting = [(waiting, ids) for waiting, ids in self._waiting if waiting.name != env.name]
        begun = env.name in self._begun
        stack, look = self._begun.pop(env.name) if begun else self._begin(env, group_ids)
        with stack:
            self._fill(besides=1)
            if isinstance(look, Exception):
                raise look
            yield look

    def _fill(self, besides: int = 0) -> None:
        """Start as many as are allowed beside the `besides` others that are running."""
        while self._waiting and len(self._begun) + besides < self._most:
            env, group_ids = self._waiting.pop(0)
            self._begun[env.name] = self._begin(env, group_ids)

    def _begin(self, env: Environment, group_ids: Sequence[int]) -> tuple[ExitStack, Look | ChosError | OSError]:
        stack = ExitStack()
        try:
            return stack, stack.enter_context(self._backend.look(env, self._site, group_ids))
        except (ChosError, OSError) as error:
            return stack, error
