"""Looks at trees side by side: in order, no more than asked for, and none is left over."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from chosns.backends import Backend
from chosns.errors import BuildError
from chosns.model import Environment, Origin, Site
from chosns.mounts.worker import Worker
from chosns.node.ahead import Ahead

ENVS = [Environment(name, f"/os/{name}", Origin("/etc/chos", 1)) for name in "abcde"]


class Backends:
    """A backend that writes down what begins and what ends."""

    def __init__(self, bad: Sequence[str] = ()) -> None:
        self.said: list[str] = []
        self._bad = bad

    @contextmanager
    def look(self, env: Environment, _site: Site, _ids: Sequence[int]) -> Iterator[str]:
        self.said.append(f"+{env.name}")
        if env.name in self._bad:
            raise BuildError("is bad", object=env.name)
        try:
            yield env.name
        finally:
            self.said.append(f"-{env.name}")


def ahead(backend: Backends, most: int) -> Ahead:
    return Ahead(cast(Backend, backend), Site(), [(env, ()) for env in ENVS], most)


def test_no_more_than_asked_for() -> None:
    backend = Backends()
    with ahead(backend, 2) as looks:
        assert backend.said == ["+a", "+b"]
        for env in ENVS:
            with looks.take(env, ()) as look:
                assert cast(Any, look) == env.name
                at_work = sum(1 if word[0] == "+" else -1 for word in backend.said)
                assert at_work <= 2
    assert [word for word in backend.said if word[0] == "+"] == ["+a", "+b", "+c", "+d", "+e"]
    assert sorted(word[1:] for word in backend.said if word[0] == "-") == list("abcde")


def test_one_at_a_time() -> None:
    backend = Backends()
    with ahead(backend, 1) as looks:
        for env in ENVS:
            with looks.take(env, ()):
                pass
    assert "".join(backend.said) == "+a-a+b-b+c-c+d-d+e-e"


def test_what_cannot_be_begun_is_told_in_its_turn() -> None:
    backend = Backends(bad="b")
    with ahead(backend, 3) as looks:
        with looks.take(ENVS[0], ()):
            pass
        with pytest.raises(BuildError, match="is bad"), looks.take(ENVS[1], ()):
            pass
        with looks.take(ENVS[2], ()) as look:
            assert cast(Any, look) == "c"


def test_an_environment_that_is_looked_at_again() -> None:
    backend = Backends()
    with ahead(backend, 2) as looks:
        for _ in range(2):
            with looks.take(ENVS[0], ()):
                pass
    assert backend.said.count("+a") == 2


def test_nothing_is_left_when_it_is_interrupted() -> None:
    backend = Backends()
    with pytest.raises(KeyboardInterrupt), ahead(backend, 3) as looks, looks.take(ENVS[0], ()):
        raise KeyboardInterrupt
    assert sorted(word for word in backend.said if word[0] == "+") == ["+a", "+b", "+c"]
    assert sorted(word for word in backend.said if word[0] == "-") == ["-a", "-b", "-c"]


def test_a_report_that_is_there_is_not_too_late() -> None:
    """The parent was with another environment until the time limit of this one had passed."""
    with Worker(lambda worker: worker.send("planned", x=1), "a", 0.0) as worker:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        assert worker.expect_first("planned")["x"] == 1


def test_one_that_says_nothing_is_too_late_at_once() -> None:
    with Worker(lambda _: time.sleep(600), "a", 0.0) as worker, pytest.raises(BuildError, match="no answer"):
        worker.expect_first("planned")
