"""What a change is, and what a product must be able to say. Pure."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Union

from chosns.errors import ChosError
from chosns.lazydata import dataclass

STATE = "/var/lib/chos/install"


class InstallError(ChosError):
    """A product's configuration cannot be changed, or must not be."""


@dataclass(frozen=True)
class FileEdit:
    """Lines that come into a file, or go. `before` None: there is no such file; `after` None: there will be none.

    :param lines: what is added; all of ours that there is in the file.
    :param instead: lines that had to go for them.
    :param mode: of a file that there was not before.
    """

    path: str
    before: str | None
    after: str | None
    lines: tuple[str, ...]
    instead: tuple[str, ...] = ()
    mode: int = 0o644

    @property
    def name(self) -> str:
        return self.path

    def reverse(self) -> FileEdit:
        return FileEdit(self.path, self.after, self.before, self.lines, self.instead)


@dataclass(frozen=True)
class Setting:
    """A value that the product keeps where only its own commands read and write it."""

    name: str
    before: str
    after: str

    def reverse(self) -> Setting:
        return Setting(self.name, self.after, self.before)


Change = Union[FileEdit, Setting]


@dataclass(frozen=True)
class ChangeList:
    """What has to be done. `present`: where nothing has to; `notes`: what the administrator should know."""

    changes: tuple[Change, ...] = ()
    present: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snippet:
    """Text for sites that manage a product's configuration elsewhere, and where it belongs."""

    where: str
    text: str


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    services: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    config: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The services or queues that were named; none: all of them."""
        return self.services + self.queues


@dataclass(frozen=True)
class Machine:
    """The node that is changed, as far as tests need it to be another one.

    :param root: the directory that stands for `/`.
    :param uids: who may own configuration files.
    :param env: the caller's environment; products name their places there.
    """

    root: str = "/"
    uids: tuple[int, ...] = (0,)
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def trusting(self, uid: int) -> Machine:
        """The same, where the product's own administrator may own files too."""
        return Machine(self.root, (*self.uids, uid), self.env)


class Product(ABC):
    """One product. `plan` and `snippets` only read; the engine does what they say."""

    name = ""
    accepts: frozenset[str] = frozenset()  # fields of Request besides `config`
    parted = False  # whether one service or queue can be taken back without the others
    after = ""  # what the administrator has to do for the change to be seen; empty: nothing
    after_undo = ""  # the same when it was taken back, where that differs

    @abstractmethod
    def snippets(self, request: Request) -> Sequence[Snippet]:
        """The exact lines. Works where the product is not installed."""

    @abstractmethod
    def plan(self, machine: Machine, request: Request) -> ChangeList:
        """What is missing on this node. :raises InstallError: no such product here, or it must not be changed."""

    def look(self, machine: Machine) -> ChangeList:
        """What is there, whichever options it was installed with. :raises InstallError: as `plan`."""
        return self.plan(machine, Request())

    def machine(self, machine: Machine, request: Request) -> Machine:
        """The machine for this product, with the accounts that may own its files."""
        return machine

    def machine_of(self, machine: Machine, changed: Sequence[str]) -> Machine:
        """The same for `--undo`, from the names of what was changed: the product may have moved, or be gone."""
        return machine

    def remains(self, machine: Machine, request: Request) -> Sequence[str]:
        """The places with lines of ours, also if they were not written by this command."""
        return self.plan(machine, request).present

    def rehearse(self, machine: Machine, plan: ChangeList) -> Sequence[str]:
        """Try the change before it is made; notes. :raises InstallError: it would do harm."""
        return ()

    def verify(self, machine: Machine, plan: ChangeList) -> None:  # noqa: B027 -- nothing to look at is fine
        """Look at the result. :raises InstallError: it has to be taken back."""

    def before_undo(self, machine: Machine) -> None:  # noqa: B027 -- as a rule nothing is in the way
        """Look whether everything may be taken back now. :raises InstallError: it would do harm."""

    def part(self, name: str) -> str:
        """The service or queue that a change of this name belongs to; empty: to all of them."""
        return ""

    def get(self, machine: Machine, name: str) -> str:
        """The value of a Setting now."""
        raise NotImplementedError(name)

    def put(self, machine: Machine, name: str, value: str) -> None:
        """Change the value of a Setting."""
        raise NotImplementedError(name)

    def unfinished(self, name: str, value: str) -> bool:
        """Whether a Setting has a value that only an interrupted change leaves. Undo removes that too."""
        return False
