"""Signals that end chosctl while it changes things: all of them roll back, as Ctrl-C does. Called by `engine`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """SIGTERM or SIGHUP came."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Interrupted` meanwhile. What is ignored, as by nohup(1), stays so."""
    with _restored():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _interrupt)
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Nothing but SIGKILL comes in between."""
    with _restored():
        _ignore()
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore()  # what follows is the clean-up, and closing a terminal sends more than one
    raise Interrupted(signal.Signals(number).name)


def _ignore() -> None:
    for number in _ALL:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _ALL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
