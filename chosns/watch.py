"""`chosctl watch`: restricts what comes to the base as soon as the kernel tells of it, instead of at the next `up`.

Shortens a time, and is no boundary: a user who tries without pause can be quicker (docs/security.md). Takes no lock, so
that an `up` that waits for a tree does not stop it; what it does can be done by two at once.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chosns import syscalls
from chosns.base import require_base, require_kernel
from chosns.errors import NotPrepared
from chosns.late import everywhere, wanted_by
from chosns.registry import Generation, open_registry
from chosns.repair import Visitor, read_all, repair

_QUIET = 1000
_FOREVER = -1


class _Known(NamedTuple):
    """A generation that can be restricted in some microseconds: its pin and root, opened, and below which mounts nosuid
    holds for all others."""

    pin: int
    root: int
    tops: list[str]


def watch(told: Callable[[str], None]) -> None:
    """Restrict now, and after each change of the base's mounts; never returns. Root, on the base.

    :param told: given each note.
    """
    require_base("chosctl watch")
    require_kernel()
    with contextlib.suppress(OSError):
        os.nice(-20)
    base = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    known: list[_Known] = []
    with open("/proc/self/mountinfo", "rb") as mounts:
        poll = select.poll()
        poll.register(mounts, select.POLLERR | select.POLLPRI)  # proc_pid_mountinfo(5)
        quiet = 0  # until when nothing may come before there is time to look closely, in milliseconds
        while True:
            if poll.poll(quiet):
                _hurry(known, base)
                quiet = _QUIET
                continue
            generations = _generations()
            for note in repair(generations, launchers=False).notes:
                told(note)
            known = _learn(generations, known, base)
            quiet = _FOREVER


def _generations() -> list[Generation]:
    with contextlib.suppress(NotPrepared), open_registry() as registry:
        return [one for one in registry.generations() if one.pinned and one.manifest]
    return []


def _hurry(known: Sequence[_Known], base: int) -> None:
    """Set nosuid wherever it is to be, without a look at what lacks it: a program may be about to be started there."""
    for generation in known:
        syscalls.setns(generation.pin, syscalls.CLONE_NEWNS)
        for target in generation.tops:
            with contextlib.suppress(OSError):
                syscalls.mount_setattr(generation.root, target[1:], set_=syscalls.MOUNT_ATTR_NOSUID, recursive=True)
    syscalls.setns(base, syscalls.CLONE_NEWNS)


def _learn(generations: Sequence[Generation], old: Sequence[_Known], base: int) -> list[_Known]:
    """All that are there now. What is retired must be let go, or its mounts would be kept."""
    for one in old:
        os.close(one.pin)
        os.close(one.root)
    found: list[_Known] = []
    if not generations:
        return found
    visitor = Visitor()
    for generation in generations:
        with contextlib.suppress(OSError):  # retired meanwhile
            root, mounts = visitor.enter(str(generation))
            pin = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=visitor.proc)
            tops = everywhere(read_all(mounts), wanted_by(generation.manifest), syscalls.MOUNT_ATTR_NOSUID)
            os.close(mounts)
            found.append(_Known(pin, root, tops))
    visitor.close()
    syscalls.setns(base, syscalls.CLONE_NEWNS)
    return found
