"""Changing the registry: what libchos reads is written here; docs/registry.md is the contract.

A process that changes anything holds `lock()`. It may be killed at any point: each change is one rename, or concerns
something to which no name leads yet. Called by `node` and the backends; `mount` makes and removes the mount itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from chosns.model import Environment, escape_name
from chosns.registry.access import grant, make_ours, narrow
from chosns.registry.formats import policy_text
from chosns.registry.reader import PATH, Registry, open_registry
from chosns.system import fault, procfs, syscalls


class RegistryWriter(Registry):
    """An open registry that may be changed. To be used with `with`."""

    @contextlib.contextmanager
    def lock(self, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Wait for another writer, and keep others out; remove temporary names of a writer that was killed.

        :param waiting: called if another writer has to be waited for.
        """
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open("lock", flags, 0o600, dir_fd=self.fd)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ELOOP):
                raise
            _remove("lock", self.fd)
            fd = os.open("lock", flags, 0o600, dir_fd=self.fd)
        try:
            make_ours(fd, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting("waiting for another chosctl, which is at work")
                fcntl.flock(fd, fcntl.LOCK_EX)
            self._sweep()
            yield
        finally:
            os.close(fd)

    def _sweep(self) -> None:
        """Remove the names that `write` and `_link` use until they rename them."""
        for directory in (".", "env", "failed", "serial"):
            with contextlib.suppress(FileNotFoundError):
                fd = self._directory(directory)
                try:
                    for name in os.listdir(fd):
                        if name.startswith(".") and name.endswith("new"):
                            _remove(name, fd)
                finally:
                    os.close(fd)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Replace a file in one step."""
        directory, _, name = path.rpartition("/")
        temporary = f"{directory}/.{name}.new" if directory else f".{name}.new"
        _remove(temporary, self.fd)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, mode, dir_fd=self.fd)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        fault.point()
        self._rename(temporary, path)

    def _rename(self, old: str, new: str) -> None:
        """Rename `old` to `new`, whatever `new` is now."""
        try:
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except IsADirectoryError:
            _remove(new, self.fd)
            os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def set_backends(self, names: Sequence[str]) -> None:
        """Set the node's backends, the default first. Must come last, because readers take this link as the sign that
        the registry is complete."""
        self._link("backend", ",".join(names))

    @contextlib.contextmanager
    def making(self, generation: str) -> Iterator[None]:
        """Make the directory of a generation, `NAME.N`, that only root can enter, and store its number. If the code in
        this context fails, the directory is removed.

        :raises FileExistsError: there is one of that name.
        """
        name, _, number = generation.rpartition(".")
        self.write(f"serial/{name}", f"{number}\n")
        os.mkdir(f"gen/{generation}", 0o700, dir_fd=self.fd)
        try:
            fault.point()
            os.close(os.open(f"gen/{generation}/ns", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444, dir_fd=self.fd))
            yield
        except BaseException:
            self.retire(generation)
            raise

    def pin(self, generation: str, pid: int) -> int:
        """Pin the mount namespace of process `pid`; returns its inode number. :raises OSError: see `backends.ns`."""
        syscalls.mount(procfs.of(pid, "ns/mnt"), f"{PATH}/gen/{generation}/ns", syscalls.MS_BIND)
        fault.point()
        return self._pinned(f"gen/{generation}/ns")

    def write_generation(
        self, generation: str, env: Environment, root: tuple[int, int], manifest: dict[str, Any]
    ) -> None:
        """Fill a generation: first what C reads, then the manifest, which makes it complete."""
        name, _, number = generation.rpartition(".")
        self.write(f"gen/{generation}/tree", env.tree + "\n")
        self.write(f"gen/{generation}/policy", policy_text(env, name, number, root))
        self.write(f"gen/{generation}/manifest.json", json.dumps({**manifest, "root": root}) + "\n")

    def note(self, generation: str, record: dict[str, Any]) -> None:
        """Have the manifest of a whole generation say `record`, where its configuration was written otherwise since."""
        path = f"gen/{generation}/manifest.json"
        manifest = json.loads(self._read(path))
        if any(manifest.get(key) != value for key, value in record.items()):
            self.write(path, json.dumps({**manifest, **record}) + "\n")

    def grant(self, generation: str, group_ids: Sequence[int]) -> None:
        """Let only these groups enter a generation; everyone if there is none."""
        fd = self._directory(f"gen/{generation}")
        try:
            grant(fd, group_ids)
        finally:
            os.close(fd)
        fault.point()

    def narrow(self, generation: str, group_ids: Sequence[int]) -> bool:
        """Close a generation to everyone whom `grant` would not let in; returns whether anybody may still enter."""
        try:
            fd = self._directory(f"gen/{generation}")
        except (FileNotFoundError, NotADirectoryError):  # something else is there, into which nobody can go
            return False
        try:
            left = narrow(fd, group_ids)
        finally:
            os.close(fd)
        fault.point()
        return left

    def _link(self, path: str, text: str) -> None:
        """Make `path` a link to `text`, in one step."""
        if self._link_text(path) == text:
            return
        _remove("env/.new", self.fd)
        os.symlink(text, "env/.new", dir_fd=self.fd)
        fault.point()
        self._rename("env/.new", path)
        fault.point()

    def make_names(self, links: Mapping[str, str]) -> None:
        """Make every name of `links` (registry name → link text)."""
        for name, text in links.items():
            self._link(f"env/{name}", text)

    def unpublish(self, names: Sequence[str]) -> None:
        """Take away names, so that no process can enter any more."""
        for name in names:
            _remove(f"env/{name}", self.fd)

    def retire(self, generation: str) -> None:
        """Unpin a generation and remove its files; its namespace disappears when the last process has ended."""
        pin = f"{PATH}/gen/{generation}/ns"
        while True:
            try:
                syscalls.umount(pin, syscalls.MNT_DETACH)
            except OSError as error:
                if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                    break
                raise
        fault.point()
        _remove(f"gen/{generation}", self.fd)

    def set_failures(self, failures: Mapping[str, str]) -> None:
        """Store, for messages, why these registry names do not exist, and remove what is stored for all others."""
        for name in self._names("failed"):
            if name not in failures:
                _remove(f"failed/{name}", self.fd)
        for name, why in failures.items():
            self.write(f"failed/{name}", " ".join(why.split()) + "\n")

    def clear_failure(self, name: str) -> None:
        """Remove the stored reason why this registry name did not exist."""
        _remove(f"failed/{name}", self.fd)

    def set_module_ours(self, ours: bool) -> None:
        """Store that `chosctl up` has loaded the kernel module, and so must unload it."""
        if ours:
            self.write("module/.ours", "")
        else:
            _remove("module/.ours", self.fd)

    def set_module_tree(self, name: str, tree: str) -> None:
        """Store that the kernel module should allow this tree for an environment; none if `tree` is empty."""
        if tree:
            self.write(f"module/{escape_name(name)}", tree + "\n")
        else:
            _remove(f"module/{escape_name(name)}", self.fd)


def _remove(path: str, dirfd: int) -> None:
    """Remove whatever is at `path`, a directory with all that is in it too."""
    try:
        os.unlink(path, dir_fd=dirfd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
        try:
            for name in os.listdir(fd):
                _remove(name, fd)
        finally:
            os.close(fd)
        os.rmdir(path, dir_fd=dirfd)


def open_for_writing() -> RegistryWriter:
    """As `open_registry`. Root, on the base."""
    return RegistryWriter(open_registry().fd)
