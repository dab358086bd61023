"""The registry: what is prepared on this node, as `chosctl` reads it; docs/registry.md is the contract.

Everything is done below one directory descriptor, and without a lock. `registry_writer` changes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from chosns.errors import NotPrepared, RegistryError
from chosns.lazydata import dataclass
from chosns.model import REGISTRY, Environment, escape_name
from chosns.registry.formats import policy_text
from chosns.system import syscalls

PATH = REGISTRY
_GENERATION = re.compile(r"(?P<name>[A-Za-z0-9%][A-Za-z0-9._%-]{0,254})\.(?P<number>[1-9][0-9]{0,8})")
_NS_GET_NSTYPE = 0xB703  # _IO(0xb7, 3), ioctl_nsfs(2)
_FILES = ("tree", "policy", "manifest.json")  # of a generation, beside its pin


@dataclass(frozen=True)
class Generation:
    """One prepared state of an environment.

    namespace:  inode number of its mount namespace, 0 if unknown
    manifest:   what `write_generation` recorded; empty if it was never written
    pinned:     its pin is visible in this process's namespace
    """

    name: str
    number: int
    namespace: int
    manifest: dict[str, Any]
    pinned: bool

    def __str__(self) -> str:
        return f"{self.name}.{self.number}"

    @property
    def complete(self) -> bool:
        """Whether it was finished. If not, it is left over from a writer that was killed."""
        return bool(self.manifest) and (self.pinned or not self.has_namespace)

    @property
    def has_namespace(self) -> bool:
        """Whether it was made with a mount namespace of its own, so that it needs a pin."""
        return has_namespace(self.manifest)


def has_namespace(manifest: Mapping[str, Any]) -> bool:
    """See `Generation.has_namespace`. One of which nothing was written down has one."""
    return bool(manifest.get("namespace", 1))


class Written(NamedTuple):
    """The files of a generation that C reads."""

    policy: str
    tree: str


def policy_of(generation: Generation, env: Environment) -> str:
    """The text of the file `policy` of a finished generation. :raises LookupError, TypeError: its manifest is none."""
    root = generation.manifest["root"]
    return policy_text(env, generation.name, str(generation.number), (root[0], root[1]))


def intact(generation: Generation, written: Written | None, env: Environment) -> bool:
    """Whether C still reads what was written for `env`: cleaners of /run, and hands, may have been there. Pure."""
    try:
        whole = written == Written(policy_of(generation, env), env.tree + "\n")
    except (LookupError, TypeError):
        return False
    return whole and generation.namespace == generation.manifest.get("namespace")


_Self = TypeVar("_Self", bound="Registry")


class Registry:
    """An open registry, to be used with `with`: see `open_registry`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self.fd)

    # Reading.

    def base_namespace(self) -> int:
        """Inode number of the base's mount namespace."""
        try:
            for line in self._read("base").splitlines():
                key, _, value = line.partition("=")
                if key == "ns":
                    return int(value)
        except (OSError, ValueError) as error:
            raise RegistryError(
                f"is damaged: base: {error}", object=PATH, hint="an administrator runs `chosctl up`, which mends it"
            ) from None
        raise RegistryError(
            "is damaged: base has no ns", object=PATH, hint="an administrator runs `chosctl up`, which mends it"
        )

    def backends(self) -> tuple[str, ...]:
        """The backends for which this node is prepared, the default first; empty if nothing is prepared."""
        text = self._link_text("backend")
        return tuple(text.split(",")) if text else ()

    def links(self) -> dict[str, str]:
        """Everything published: file name in env/ → link text."""
        found = {name: self._link_text(f"env/{name}") for name in self._names("env")}
        return {name: text for name, text in found.items() if text}

    def published(self, name: str) -> str | None:
        """The generation that the environment with this primary name leads to, as `NAME.N`."""
        text = self._link_text(f"env/{escape_name(name)}")
        return text[len("../gen/") :] if text.startswith("../gen/") else None

    def generations(self) -> list[Generation]:
        """All generations that the caller may look into, unfinished ones included, in order."""
        found = []
        for name in self._names("gen"):
            match = _GENERATION.fullmatch(name)
            if match:
                with contextlib.suppress(PermissionError):
                    found.append(self._generation(name, match["name"], int(match["number"])))
        return sorted(found, key=lambda generation: (generation.name, generation.number))

    def generation(self, text: str) -> Generation | None:
        """One of them, by `NAME.N`; None if that is not a generation's name. :raises PermissionError: it is closed."""
        match = _GENERATION.fullmatch(text)
        return self._generation(text, match["name"], int(match["number"])) if match else None

    def failures(self) -> dict[str, str]:
        """Registry name → why it could not be prepared."""
        found = {}
        for name in self._names("failed"):
            try:
                found[name] = self._read(f"failed/{name}").strip()
            except OSError:  # something unexpected, which the next `up` removes
                found[name] = ""
        return found

    def module_trees(self) -> dict[str, str]:
        """Registry name → the tree that the kernel module allows for it."""
        found = {}
        for name in self._names("module"):
            with contextlib.suppress(OSError):
                found[name] = self._read(f"module/{name}").rstrip("\n")
        return found

    def module_is_ours(self) -> bool:
        """Whether the kernel module was brought up by `chosctl up`."""
        return os.access("module/.ours", os.F_OK, dir_fd=self.fd)

    def written(self, generation: str) -> Written | None:
        """What C reads of a generation, `NAME.N`; None if it cannot be read, or if users other than root can write
        there."""
        path = f"gen/{generation}"
        try:
            safe = self._is_ours(path) and all(self._is_ours(f"{path}/{name}", 0o644) for name in _FILES)
            return Written(self._read(f"{path}/policy"), self._read(f"{path}/tree")) if safe else None
        except OSError:
            return None

    def texts(self, names: Sequence[str]) -> dict[str, str]:
        """File name → text, of those files of the registry itself that can be read and that only root can change."""
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                if self._is_ours(name, 0o644):
                    found[name] = self._read(name)
        return found

    def serials(self) -> dict[str, int]:
        """Registry name → number of the latest generation that was started, if that was recorded."""
        found = {}
        for name in self._names("serial"):
            with contextlib.suppress(OSError, ValueError):
                found[name] = int(self._read(f"serial/{name}"))
        return found

    def _is_ours(self, path: str, mode: int | None = None) -> bool:
        """Whether only root can write there, and, if a mode is given, whether the mode is exactly this one."""
        status = os.stat(path, dir_fd=self.fd, follow_symlinks=False)
        safe = status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return safe and mode in (None, status.st_mode & 0o7777)

    def _generation(self, directory: str, name: str, number: int) -> Generation:
        manifest: Any = None
        try:
            manifest = json.loads(self._read(f"gen/{directory}/manifest.json"))
        except PermissionError:
            raise
        except (OSError, ValueError, RecursionError):
            pass
        if not isinstance(manifest, dict) or not isinstance(manifest.get("namespace"), int):
            manifest = {}
        pinned = self._pinned(f"gen/{directory}/ns")
        return Generation(name, number, pinned or manifest.get("namespace", 0), manifest, bool(pinned))

    def _pinned(self, path: str) -> int:
        """Inode of the mount namespace pinned at `path`; 0 if there is no pin, or none is visible from here."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self.fd)
        except PermissionError:
            raise
        except OSError:
            return 0
        try:
            return os.fstat(fd).st_ino if fcntl.ioctl(fd, _NS_GET_NSTYPE) == syscalls.CLONE_NEWNS else 0
        except OSError:
            return 0
        finally:
            os.close(fd)

    def _link_text(self, path: str) -> str:
        """The text of a link; empty where none is."""
        try:
            return os.readlink(path, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL):
                return ""
            raise

    def _names(self, directory: str) -> list[str]:
        try:
            fd = self._directory(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(name for name in os.listdir(fd) if not name.startswith("."))
        finally:
            os.close(fd)

    def _directory(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)

    def _read(self, path: str) -> str:
        def opener(name: str, flags: int) -> int:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.fd)

        with open(path, encoding="utf-8", errors="surrogateescape", opener=opener) as file:
            return file.read()


def open_registry() -> Registry:
    """Open the registry of this node for reading; inside an environment below /local.

    :raises NotPrepared: there is none.
    :raises RegistryError: users other than root can change it.
    """
    for path in (PATH, "/local" + PATH):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        status = os.fstat(fd)
        if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(fd)
            raise RegistryError(
                "is not root's alone",
                object=path,
                hint="somebody has tampered with it: look into it, then run `chosctl up`, which mends it",
            )
        if os.access("base", os.F_OK, dir_fd=fd):
            return Registry(fd)
        os.close(fd)
    raise NotPrepared("no environment is prepared on this node", object=PATH, hint="an administrator runs `chosctl up`")
