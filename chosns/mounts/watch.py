"""`chosctl watch`: restricts new mounts of the base as soon as the kernel reports them, and not only at the next `up`.

This shortens the time but is not a boundary: a user who tries without pause can be quicker (docs/security.md). It takes
no lock, so that an `up` that waits for a tree does not stop it; two processes may do this work at once.

It enters the generations' namespaces itself, to lose no time. Each time its root directory is set back to the base's at
once (`Visitor`), and it waits for no file system there: what may not answer is left to the child processes of `repair`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from chosns.errors import ChosError, NotPrepared, as_chos_error
from chosns.mounts.base import require_base, require_kernel
from chosns.mounts.late import at_once, wanted_by
from chosns.mounts.repair import RETIRED, Visitor, read_all, repair
from chosns.registry import Generation, open_registry
from chosns.system import procfs, syscalls
from chosns.system.mountflags import open_mount

# Milliseconds.
_QUIET = 1000  # without a change of the base's mounts; then a full look follows
# After the first change, in case mounts change all the time; also the time until a failure is tried again.
_LATEST = 10_000
_FOREVER = -1


class _Known(NamedTuple):
    """A generation that can be restricted in some microseconds: its pin, and the mounts below which nosuid applies
    everywhere. All of them are open."""

    pin: int
    tops: list[int]


def watch(told: Callable[[str], None]) -> None:
    """Restrict now, and after each change of the base's mounts; never returns. Root, on the base.

    :param told: given each note.
    """
    require_base("chosctl watch")
    require_kernel()
    with contextlib.suppress(OSError):
        os.nice(-20)
    _many_descriptors()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # No KeyboardInterrupt may come while the root directory is the generation's.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    watcher = _Watcher(told)
    with open(procfs.of("self", "mountinfo"), "rb") as mounts:
        poll = select.poll()
        poll.register(mounts, select.POLLERR | select.POLLPRI)  # proc_pid_mountinfo(5)
        limit: int = 0
        latest: float | None = None
        while True:
            if poll.poll(limit):
                watcher.hurry()
                now = time.monotonic() * 1000
                latest = now + _LATEST if latest is None else latest
                limit = min(_QUIET, int(latest - now))
                if limit > 0:
                    continue
            latest = None
            limit = _FOREVER if watcher.look() else _LATEST


def _many_descriptors() -> None:
    """Raise the limit of open files as far as possible: each generation needs some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Watcher:
    """What is known of the generations.

    :param told: called with each note. A problem that stays is reported once.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._base = os.open(procfs.of("self", "ns/mnt"), os.O_RDONLY | os.O_CLOEXEC)
        self._opened = contextlib.ExitStack()  # by what is known
        self._visitor: Visitor | None = None
        self._known: list[_Known] = []
        self._problems: list[str] = []

    def hurry(self) -> None:
        """Set nosuid everywhere at once, without looking what lacks it, because a program may be about to start
        there."""
        if self._visitor is None:
            return
        with self._returning():
            for generation in self._known:
                with contextlib.suppress(OSError):  # `look` sees what is lacking
                    self._visitor.go(generation.pin)
                    for top in generation.tops:
                        with contextlib.suppress(OSError):
                            syscalls.mount_setattr(top, "", set_=syscalls.MOUNT_ATTR_NOSUID, recursive=True)

    def look(self) -> bool:
        """Do what `hurry` cannot do, and find generations that it does not know yet.

        :returns: whether that was possible, and everything is as restricted as the plans say.
        """
        problems: list[str] = []
        try:
            generations = _generations()
            repaired = repair(generations, launchers=False)
            if repaired.whole:
                for note in repaired.notes:
                    self._told(note)
            else:
                problems += repaired.notes
            problems += self._learn(generations)
        except ChosError as error:
            problems.append(f"{error}: what is mounted since may give rights inside")
        except OSError as error:
            problems.append(f"{as_chos_error(error)}: what is mounted since may give rights inside")
        for problem in problems:
            if problem not in self._problems:
                self._told(problem)
        self._problems = problems
        return not problems

    def _learn(self, generations: Sequence[Generation]) -> list[str]:
        """Open all present generations, and close retired ones, so that their mounts can go. :returns: problems."""
        self._known = []
        self._visitor = None
        self._opened.close()
        if not generations:
            return []
        problems = []
        self._visitor = self._opened.enter_context(Visitor())
        with self._returning():
            for generation in generations:
                try:
                    self._known.append(self._learn_one(self._visitor, generation))
                except ChosError:
                    continue  # `repair` has said so
                except OSError as error:
                    if error.errno not in RETIRED:
                        problems.append(f"{generation}: {error.strerror}: what is mounted since may give rights in it")
        return problems

    def _learn_one(self, visitor: Visitor, generation: Generation) -> _Known:
        wanted = wanted_by(generation.manifest, str(generation))
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as needed:
            root, mounts = visitor.enter(str(generation))
            needed.callback(os.close, root)
            needed.callback(os.close, mounts)
            pin = os.open("self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=visitor.proc)
            kept.callback(os.close, pin)
            tops = []
            device = os.stat("/").st_dev
            device_text = f"{os.major(device)}:{os.minor(device)}"
            for mount in at_once(read_all(mounts), wanted, syscalls.MOUNT_ATTR_NOSUID, device_text):
                top = open_mount(root, mount)
                if top is not None:
                    kept.callback(os.close, top)
                    tops.append(top)
            self._opened.push(kept.pop_all())
        return _Known(pin, tops)

    @contextlib.contextmanager
    def _returning(self) -> Iterator[None]:
        """Return to the base's namespace afterwards, which moves the root directory back as well."""
        try:
            yield
        finally:
            syscalls.setns(self._base, syscalls.CLONE_NEWNS)


def _generations() -> list[Generation]:
    """Those that have a namespace. :raises ChosError: the registry is not to be trusted."""
    with contextlib.suppress(NotPrepared), open_registry() as registry:
        return [one for one in registry.generations() if one.pinned and one.manifest]
    return []
