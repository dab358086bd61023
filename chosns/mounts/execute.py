"""Carries out a plan in the mount namespace that the caller has just made for it.

Runs in a child process of its own (`backends.ns`), in a new namespace whose mounts are already slaves of the base's. If
something goes wrong here, everything disappears with that process. Works on descriptors: a path is looked up once,
below a root that it cannot leave, and every mount gets its flags before it is attached.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import field
from itertools import groupby

from chosns.errors import BuildError
from chosns.lazydata import dataclass
from chosns.mounts.verify import Origins, Shown, attributes, whole
from chosns.plan.operations import (
    Bind,
    Flags,
    Hide,
    MakeDirectory,
    MakeRoot,
    MakeSymlink,
    Operation,
    Overlay,
    Pivot,
    Plan,
)
from chosns.system import fault, procfs, syscalls
from chosns.system.inside import INSIDE, open_inside
from chosns.system.mountinfo import mount_number
from chosns.system.paths import parent, split

# It contains only directories and links. The limits keep a mistake from using up the memory.
_TMPFS_OPTIONS: dict[str, str | None] = {"mode": "0755", "size": "1m", "nr_inodes": "4096", "source": "chos"}
_STRICT = syscalls.RESOLVE_NO_SYMLINKS | INSIDE
_LAYERS = "/local"  # the overlays' generated layers are mounted here until the overlays use them


@dataclass
class Executor:
    """Turns a plan into mounts.

    :param tree: descriptor of the OS tree's root, opened in this namespace.
    :param base: descriptor of the base's root, opened in this namespace.
    :param stage: an empty directory of the base on which the new root stands until the pivot.
    """

    plan: Plan
    tree: int
    base: int
    stage: str
    root: int = -1
    shown: dict[str, Shown] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    _sources: dict[Bind, int] = field(default_factory=dict)
    _origins: Origins = field(default_factory=Origins)

    def run(self) -> None:
        """Do every operation in order; afterwards this process's root is the environment's, `shown` says what is to
        be seen at each target, and `numbers` which mount is there, where that was made apart.

        :raises BuildError: an operation failed; it says which.
        :raises ChangedError: a mount came or went at a bad moment.
        """
        pivot = next(operation for operation in self.plan.operations if isinstance(operation, Pivot))
        self.shown[pivot.target] = self._origins.of(self.base)
        for operation in self.plan.operations:
            if isinstance(operation, Bind) and attributes(pivot.flags) & ~attributes(operation.flags):
                with self._naming(operation):
                    self._sources[operation] = self._detached_copy(operation)
        # Copies inherit these flags. So most binds are one step: a mount that comes to the base now or later comes to
        # them too. What is to have fewer is copied before, and misses what comes until it is attached; `verify` sees.
        syscalls.mount_setattr(self.base, "", set_=attributes(pivot.flags), recursive=True)
        for kind, group in groupby(self.plan.operations, type):
            if kind is Overlay:
                self._overlays([operation for operation in group if isinstance(operation, Overlay)])
                continue
            for operation in group:
                fault.point()
                with self._naming(operation):
                    self._do(operation)

    @contextlib.contextmanager
    def _naming(self, operation: Operation) -> Iterator[None]:
        """Turn an OSError inside into an error that names the operation and a possible reason."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSYS:
                raise  # is about the kernel, not about this operation
            message = f"{' '.join(operation.describe().split())}: {error.strerror}"
            hint = f"planned because: {operation.why}"
            if isinstance(operation, Overlay) and error.strerror:
                hint = "can overlayfs use the tree's file system as a lower layer? the kernel log says"
            raise BuildError(message, object=self.plan.environment, hint=hint) from error

    def _do(self, operation: Operation) -> None:
        if isinstance(operation, MakeRoot):
            self.root = syscalls.new_mount("tmpfs", _TMPFS_OPTIONS, attributes(operation.flags))
            # Until it is the root, no bind of what it stands on may take it along.
            syscalls.mount_setattr(self.root, "", propagation=syscalls.MS_UNBINDABLE)
            syscalls.move_mount(self.root, syscalls.AT_FDCWD, self.stage)
            self.shown[operation.target] = whole(self.root)
        elif isinstance(operation, MakeDirectory):
            _make(self.root, operation.target[1:], file=operation.file)
        elif isinstance(operation, MakeSymlink):
            os.symlink(operation.to, operation.target[1:], dir_fd=self.root)
        elif isinstance(operation, Bind) and operation in self._sources:
            self._attach(self._sources.pop(operation), operation.target)
        elif isinstance(operation, Bind) and not operation.flags.read_only:
            self._bind(operation)
        elif isinstance(operation, Bind):
            self._attach(self._detached_copy(operation), operation.target)
        elif isinstance(operation, Hide):
            empty = syscalls.new_mount("tmpfs", _TMPFS_OPTIONS, attributes(operation.flags))
            self.shown[operation.target] = whole(empty)
            self._attach(empty, operation.target)
        elif isinstance(operation, Pivot):
            os.fchdir(self.root)
            syscalls.pivot_root(".", operation.put_old[1:])
            os.chdir("/")
            syscalls.mount_setattr(self.root, "", propagation=syscalls.MS_PRIVATE)

    @contextlib.contextmanager
    def _source(self, bind: Bind) -> Iterator[int]:
        """The source, opened; it is noted what will be seen at the target."""
        side = self.tree if bind.side == "tree" else self.base
        source = open_inside(side, bind.source, os.O_PATH | os.O_NOFOLLOW, _STRICT)
        try:
            self.shown[bind.target] = self._origins.of(source)
            yield source
        finally:
            os.close(source)

    def _bind(self, bind: Bind) -> None:
        """Show the source, everything mounted below it included, at the target; it has its flags already."""
        with self._source(bind) as source, self._spot(bind.target) as spot:
            syscalls.mount(procfs.descriptor(source), procfs.descriptor(spot), syscalls.MS_BIND | syscalls.MS_REC)

    def _detached_copy(self, bind: Bind) -> int:
        """A copy of the source, everything mounted below it included, with its flags already set."""
        with self._source(bind) as source:
            flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | syscalls.AT_RECURSIVE
            copy = syscalls.open_tree(source, "", flags)
        restricted = attributes(bind.flags)
        if restricted:
            syscalls.mount_setattr(copy, "", set_=restricted, recursive=True)
        return copy

    def _attach(self, mount: int, target: str) -> None:
        """Put a detached mount at `target` of the new root."""
        try:
            self.numbers[target] = mount_number(mount)
            with self._spot(target) as spot:
                syscalls.move_mount(mount, spot, "")
        finally:
            os.close(mount)

    @contextlib.contextmanager
    def _spot(self, target: str) -> Iterator[int]:
        """The place `target` of the new root, opened; it must not lead through a link."""
        if len(split(target)) == 1:
            _make(self.root, target[1:])
        spot = open_inside(self.root, target, os.O_PATH | os.O_NOFOLLOW, _STRICT)
        try:
            yield spot
        finally:
            os.close(spot)

    def _overlays(self, overlays: list[Overlay]) -> None:
        """All overlays of the plan. Their generated layers share one tmpfs, which is gone from sight afterwards:
        each overlay keeps a private hold of it."""
        layers = syscalls.new_mount("tmpfs", _TMPFS_OPTIONS, attributes(Flags()))
        # Attached only because overlayfs refuses layers that are not in this namespace (Linux >= 5.14).
        spot = open_inside(self.root, _LAYERS, os.O_PATH, _STRICT)
        syscalls.move_mount(layers, spot, "")
        os.close(spot)
        for number, overlay in enumerate(overlays):
            fault.point()
            with self._naming(overlay):
                mount = self._overlay(overlay, layers, str(number))
                self.shown[overlay.target] = whole(mount)
                self._attach(mount, overlay.target)
        os.close(layers)
        syscalls.umount(self.stage + _LAYERS)

    def _overlay(self, overlay: Overlay, layers: int, layer: str) -> int:
        """A detached overlay of the generated `layer` over a directory of the tree."""
        os.mkdir(layer, 0o755, dir_fd=layers)
        for entry in overlay.entries:
            path = f"{layer}/{entry.path}"
            if entry.to:
                _make_parents(layers, path)
                os.symlink(entry.to, path, dir_fd=layers)
            elif entry.text:
                _write_script(layers, path, entry.text)
            else:
                _make(layers, path, file=entry.file)
        upper = open_inside(layers, layer, os.O_PATH, _STRICT)
        lower = open_inside(self.tree, overlay.lower, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, _STRICT)
        try:
            # /proc/self/fd: no path that could change, none with a colon or comma to escape.
            options: dict[str, str | None] = {
                "source": "chos",
                "lowerdir": f"{procfs.descriptor(upper)}:{procfs.descriptor(lower)}",
            }
            return syscalls.new_mount("overlay", options, attributes(overlay.flags))
        finally:
            os.close(upper)
            os.close(lower)


def _make(dirfd: int, path: str, *, file: bool = False) -> None:
    """An empty directory (or file) at `path`, and what is missing above it; it may exist already."""
    _make_parents(dirfd, path)
    with contextlib.suppress(FileExistsError):
        if file:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=dirfd))
        else:
            os.mkdir(path, 0o755, dir_fd=dirfd)


def _write_script(dirfd: int, path: str, text: str) -> None:
    _make_parents(dirfd, path)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o755, dir_fd=dirfd)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _make_parents(dirfd: int, path: str) -> None:
    above = parent(path)[1:]
    if above:
        _make(dirfd, above)
