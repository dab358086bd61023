"""Finds processes of batch jobs that asked for an environment but run on the base: their starter was missing or
bypassed.

A job's variables name the environment. Its starter, hook or plugin should have entered it, or refused the job. If a
product bypasses the starter, or continues although it is missing, the job runs on the base without a message. A process
counts as missed if the first process of its job already has the wish, and none of its ancestors was inside. Not
counted, because the user chose the base: a process that returned by hand (`CHOS=root chos`), that set CHOS later in the
job, or that belongs to nodes allocated from a shell with CHOS set. A process whose child is inside only waits for it.

All of this is controlled by the owner of the process, so it is only for showing. It is read as data, by descriptor (if
a pid is reused, the old process reads as gone), up to the limits below, in a child process with a time limit, because a
process's owner can make its memory slow to read. Called by `cli.processes` and `observe.state`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from typing import TypeVar

from chosns.errors import PrivilegeError
from chosns.lazydata import dataclass
from chosns.model import escape_name
from chosns.mounts.worker import Worker
from chosns.observe.batch import VARIABLES, JobWish, wish
from chosns.observe.homes import AllHomes
from chosns.registry import Generation, Registry, names
from chosns.system import procfs
from chosns.system.procfs import command_line, first_lines, mount_namespace

_TIME_LIMIT = 20.0
_MOST_VARIABLES = 1 << 20  # bytes of a process's variables that are looked at
_LONGEST = 256  # bytes of a variable's value that are kept; a name of an environment has 64, a path 255 when escaped
_MOST_MOUNTS = 1 << 16
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KERNEL = 2  # kthreadd, whose children are the kernel's threads
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Missed:
    """A process on the base whose job asked for `environment`; `known`: whether one of that name is prepared.

    `started`: seconds since the epoch. `command`: its command line, of a very long one the beginning.
    """

    pid: int
    user: str
    product: str
    job: str
    environment: str
    known: bool
    started: float
    command: str


def missed(registry: Registry, pid: int = 0, limit: float = _TIME_LIMIT) -> list[Missed]:
    """All of them; with `pid`, that process only. Root sees all users' processes, others see their own.

    :raises PrivilegeError: not called on the base; it is known only there.
    :raises BuildError: it took too long.
    """
    if registry.base_namespace() != mount_namespace("self") or procfs.root("self") != "/":
        hint = "go back to the base first: env CHOS=root chos chosctl ps --missed"
        raise PrivilegeError("can be told on the base only", object="ps --missed", hint=hint)
    links = registry.links()
    leads = {name: names.leads_to(name, links) is not None for name in links}
    with Worker(partial(_work, registry.generations(), leads, pid), "processes of jobs", limit) as worker:
        found = []
        while (report := worker.expect("missed"))["pid"]:
            del report["what"]
            found.append(Missed(**report))
        return found


def _work(generations: Sequence[Generation], leads: Mapping[str, bool], pid: int, worker: Worker) -> None:
    look = _Look(AllHomes(generations), leads)
    for found in look.all(pid):
        worker.send("missed", **asdict(found))
    worker.send("missed", pid=0)


@dataclass(frozen=True)
class _Process:
    """`inside`: in an environment, or in a container in one; `base`: on the base, or in a copy of its mounts."""

    pid: int
    parent: int
    uid: int
    inside: bool
    base: bool
    wish: JobWish


class _Look:
    """Looks at each process once."""

    def __init__(self, homes: AllHomes, leads: Mapping[str, bool]) -> None:
        self._homes = homes
        self._leads = leads
        self._seen: dict[int, _Process | None] = {}
        self._own = mount_namespace("self")
        self._root = _root_mount("self")

    def all(self, pid: int) -> Iterator[Missed]:
        looked_at = [self._process(one) for one in procfs.processes()]
        there = [process for process in looked_at if process]
        carriers = self._carriers(there) | {os.getpid(), os.getppid()}
        for process in there:
            asked = process.base and process.wish.product and process.pid not in carriers and pid in (0, process.pid)
            if asked and self._wanted(process) and self._began(process):
                found = _opened(process.pid, partial(self._describe, process))
                if found:
                    yield found

    def _carriers(self, there: Sequence[_Process]) -> set[int]:
        """Processes that started something inside: time(1) around the starter, a script that calls `chos` itself."""
        found: set[int] = set()
        for process in there:
            above = self._process(process.parent) if process.inside else None
            while above and above.pid not in found and not above.inside:
                found.add(above.pid)
                above = self._process(above.parent)
        return found

    def _wanted(self, process: _Process) -> bool:
        """Whether it asks for anything except the base, also for an unknown name, which a starter would have
        refused."""
        return bool(process.wish.environment) and self._known(process.wish.environment) is not False

    def _known(self, name: str) -> bool | None:
        """Whether it leads to an environment; None where there is none of that name."""
        try:
            return self._leads.get(escape_name(name))
        except ValueError:
            return None

    def _began(self, process: _Process) -> bool:
        """Whether the job had the wish from its beginning, and no ancestor was inside."""
        seen = {process.pid}
        above = self._process(process.parent)
        while above and above.pid not in seen:
            seen.add(above.pid)
            same = above.wish.environment == process.wish.environment
            if not above.wish.of_the_same_job(process.wish):
                # A daemon, as a rule. One of the user's own may be a grid's, or the client that made the job.
                return above.uid != process.uid or not (same or process.wish.local)
            if above.inside or not same:
                return False
            above = self._process(above.parent)
        return True

    def _process(self, pid: int) -> _Process | None:
        if pid not in self._seen:
            self._seen[pid] = _opened(pid, self._look) if pid > 0 else None
        return self._seen[pid]

    def _look(self, pid: int, fd: int) -> _Process | None:
        lines = _read(fd, "status", 4096).decode("ascii", "replace").splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        uid, parent = int(status["Uid"].split()[0]), int(status["PPid"])
        variables = {} if _KERNEL in (pid, parent) else _variables(fd)
        place = f"self/fd/{fd}"
        inside = bool(variables) and self._homes.of(place)[0] is not None
        base = bool(variables) and not inside and self._on_base(place)
        return _Process(pid, parent, uid, inside, base, wish(variables))

    def _on_base(self, place: str) -> bool:
        """Also in a private copy of its mounts, which batch systems make for a job's /tmp; not in a container."""
        if procfs.root(place) != "/":
            return False
        return mount_namespace(place) == self._own or _root_mount(place) == self._root

    def _describe(self, process: _Process, pid: int, fd: int) -> Missed | None:
        said, ticks = process.wish, int(_read(fd, "stat", 4096).rpartition(b")")[2].split()[19])
        return Missed(
            pid,
            _user(process.uid),
            said.product,
            said.name,
            said.environment,
            bool(self._known(said.environment)),
            _boot_time() + ticks / os.sysconf("SC_CLK_TCK"),
            command_line(f"self/fd/{fd}"),
        )


def _opened(pid: int, look: Callable[[int, int], _Found | None]) -> _Found | None:
    """What `look` finds with a descriptor of a process; None if it has ended, or if the caller may not know it."""
    try:
        fd = os.open(procfs.of(pid), _DIRECTORY)
    except OSError:
        return None
    try:
        return look(pid, fd)
    except (OSError, LookupError, ValueError):
        return None
    finally:
        os.close(fd)


def _read(directory: int, name: str, most: int) -> bytes:
    """At most so many bytes of a file of a process's."""
    fd = os.open(name, _FILE, dir_fd=directory)
    with open(fd, "rb", buffering=0) as file:
        text = b""
        while len(text) < most and (chunk := file.read(min(most - len(text), 1 << 16))):
            text += chunk
        return text


def _variables(directory: int) -> dict[str, str]:
    """Those of a process's variables that matter here, as it was executed with them; of one that is there twice, the
    first counts, as for getenv(3)."""
    found: dict[str, str] = {}
    for entry in _read(directory, "environ", _MOST_VARIABLES).split(b"\0"):
        name, equals, value = entry[: _LONGEST * 2].partition(b"=")
        if equals and (known := name.decode("ascii", "replace")) in VARIABLES:
            found.setdefault(known, os.fsdecode(value[:_LONGEST]))
        elif equals:
            found.setdefault("", "")  # it has some
    return found


def _root_mount(place: str) -> tuple[bytes, bytes]:
    """Device, and path within it, of what is mounted at the root of a process's namespace; the last is on top."""
    found = b"", b""
    with contextlib.suppress(OSError, LookupError):
        for line in first_lines(procfs.of(place, "mountinfo"), _MOST_MOUNTS):
            fields = line.split(b" ", 5)
            if fields[4] == b"/":
                found = fields[2], fields[3]
    return found


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=1)
def _boot_time() -> int:
    return procfs.boot_time()
