"""The exceptions that chosns raises on purpose, and the turning of an OSError into one of them.

    ChosError                   has an administrator's message, the object concerned, and a hint at what to do next
    ├── ConfigError             the configuration cannot be used at all
    ├── UnknownEnvironment      a name that the configuration does not know
    ├── TreeError               an OS tree is missing, is not an OS tree, or does not answer
    ├── UnsafeError             users other than root could change what would be shown
    ├── PlanError               bind map, tree and base do not fit together
    ├── BuildError              an operation of a plan failed
    │   └── ChangedError        the base changed meanwhile: another attempt may do
    ├── RegistryError           /run/chos is missing or damaged
    │   └── NotPrepared         nobody has run `chosctl up` here
    ├── PrivilegeError          the caller lacks a right
    ├── UnsupportedError        this kernel or build lacks something
    ├── CannotRun               in system.programs: a program could not be started
    ├── TooSlow                 in system.programs: a program did not end in time
    └── InstallError            in integrate.model: a product's configuration cannot be changed, or must not be
        └── NoAnswer            in integrate.command: a command of the product did not answer

Nothing here prints. `cli` prints them, and `--json` shows the three parts as fields.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from chosns.model import REGISTRY


class ChosError(Exception):
    """Something that an administrator can act upon.

    :param message: what is wrong, as a sentence without a full stop.
    :param object: the file, environment or path that it is about.
    :param hint: what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, object: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.object = object
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.object}: {self.message}" if self.object else self.message

    def to_json(self) -> dict[str, str]:
        """The three parts as a JSON-ready dictionary."""
        return {"error": self.message, "object": self.object, "hint": self.hint}


class ConfigError(ChosError):
    """The configuration cannot be used at all (missing, unsafe, unreadable)."""


class UnknownEnvironment(ChosError):
    """A name that the configuration does not know."""


class TreeError(ChosError):
    """An OS tree is missing, is not an OS, or does not answer."""


class UnsafeError(ChosError):
    """Users other than root could change what would be shown: the OS tree, or the source of a bind."""


class PlanError(ChosError):
    """The bind map and this tree and base do not fit together."""


class BuildError(ChosError):
    """An operation of a plan failed, or its result differs from the plan."""


class ChangedError(BuildError):
    """The base's mounts changed while they were copied. Another attempt may succeed."""


class RegistryError(ChosError):
    """/run/chos is missing, damaged, or belongs to another namespace."""


class NotPrepared(RegistryError):
    """There is no registry: nobody has run `chosctl up` here."""


class PrivilegeError(ChosError):
    """The caller lacks a right that this operation needs."""


class UnsupportedError(ChosError):
    """This kernel or this build lacks something that was asked for."""


_RIGHTS = "this needs every right of root's: run it on the node itself, outside of containers"
_HINTS = {
    errno.ENOSPC: f"is /run full? `df /run {REGISTRY}`, `df -i /run`",
    errno.EROFS: "remount it writable",
    errno.EPERM: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.ENOSYS: "needs Linux 5.12 or newer, or another backend: docs/backends.md",
}


def as_chos_error(error: OSError, object: str = "") -> ChosError:
    """Make an error to show from the kernel's: with its file, if it names one, and a hint, if there is one."""
    where = f": {error.filename}" if error.filename else ""
    kind = UnsupportedError if error.errno == errno.ENOSYS else BuildError
    return kind(f"{error.strerror or error}{where}", object=object, hint=_HINTS.get(error.errno or 0, ""))


@contextlib.contextmanager
def chos_errors(object: str) -> Iterator[None]:
    """Turn an OSError inside into what `as_chos_error` makes of it, except a BrokenPipeError of our own output."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise as_chos_error(error, object) from error
