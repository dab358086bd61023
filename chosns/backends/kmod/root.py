"""/chos, the root directory of everybody who is in an environment by way of the module.

One for the node: a tmpfs that holds a link into /proc/chos/link for each name that is the tree's, a bind of each
other top-level directory of the base, and `local`, the base itself. People may live in it while it is made: each step
adds something, and what is there stays. Called by `module.node`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from chosns.backends.kmod.control import PLACE
from chosns.model import Site
from chosns.plan.operations import Bind, Flags, MakeSymlink, Operation, Reason
from chosns.system import fault, procfs, syscalls
from chosns.system.mountinfo import Mount, read_mounts

ROOT = "/chos"
LOCAL = "local"
_SOURCE = "chos"  # by which the tmpfs is known to be ours
_WITH_DEVICES = ("dev",)
# Flags that a remount must not take away, as mountinfo calls them, and their bits in mount(2).
_KEPT = {
    "ro": os.ST_RDONLY,
    "nosuid": os.ST_NOSUID,
    "nodev": os.ST_NODEV,
    "noexec": os.ST_NOEXEC,
    "noatime": os.ST_NOATIME,
    "nodiratime": os.ST_NODIRATIME,
    "relatime": syscalls.MS_RELATIME,
}
_SKIPPED = ("chos", LOCAL, "lost+found")


def is_made() -> bool:
    """Whether /chos is there, and ours."""
    return os.path.ismount(ROOT) and any(_is_root(mount) for mount in read_mounts())


def make(site: Site) -> list[str]:
    """Make /chos, or add what it lacks. Root, on the base. Returns what an administrator should know of."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(ROOT, 0o755)
    if not is_made():
        tmpfs = syscalls.new_mount("tmpfs", {"mode": "0755", "size": "1m", "source": _SOURCE}, _attributes(()))
        syscalls.move_mount(tmpfs, syscalls.AT_FDCWD, ROOT)
        os.close(tmpfs)
        fault.point()
    # Unbindable: the binds below shall not show it once more in itself.
    syscalls.mount("", ROOT, syscalls.MS_UNBINDABLE)
    fault.point()
    of_tree = tree_names(site)
    _link("chos", "/")
    for name in sorted(of_tree):
        _link(name, f"{PLACE}/link/{name}")
    for name in sorted(os.listdir("/")):
        if name not in of_tree and name not in _SKIPPED:
            _show(name)
    _bind("/", LOCAL)
    return _notes(site, of_tree)


def tree_names(site: Site) -> set[str]:
    """Top-level names that are the tree's own: the default bind map says so for all environments of the node."""
    maps = [site.bindmaps["default"]] if "default" in site.bindmaps else list(site.bindmaps.values())
    names = {share.path.strip("/") for found in maps for share in found.tree}
    bound = {bind.target.strip("/") for bind in site.sysconfig.bind_mounts} if site.sysconfig else set()
    return names - bound


def explain_root(site: Site) -> list[Operation]:
    """What /chos would consist of if it were made now. Links of the base are not followed, nothing is looked into."""
    of_tree = tree_names(site)
    found: list[Operation] = [MakeSymlink("/chos", "/", Reason("/chos/… names the same thing inside and out"))]
    for name in sorted(of_tree):
        why = Reason("the tree's, for all environments of the node")
        found.append(MakeSymlink(f"/{name}", f"{PLACE}/link/{name}", why))
    for name in sorted(os.listdir("/")):
        if name not in of_tree and name not in _SKIPPED:
            flags = Flags(nodev=name not in _WITH_DEVICES)
            found.append(Bind("base", f"/{name}", f"/{name}", Reason("the base's, for all environments"), flags))
    found.append(Bind("base", "/", f"/{LOCAL}", Reason("mount point for the base's root"), Flags()))
    return found


def remove() -> None:
    """Unmount /chos, where it is ours, with all that is below it."""
    if is_made():
        syscalls.umount(ROOT, syscalls.MNT_DETACH)
        fault.point()
    with contextlib.suppress(OSError):  # another directory that existed before
        os.rmdir(ROOT)


def inhabitants() -> list[int]:
    """Process ids of those whose root directory is /chos."""
    found = []
    for pid in procfs.processes():
        with contextlib.suppress(OSError):
            if procfs.root(pid) == ROOT:
                found.append(pid)
    return found


def _is_root(mount: Mount) -> bool:
    return (mount.target, mount.fstype, mount.source) == (ROOT, "tmpfs", _SOURCE)


def _notes(site: Site, of_tree: set[str]) -> list[str]:
    notes = [
        f"{ROOT}/{name} stays the base's, as it was, for those who are inside; after `chosctl down` it is the tree's"
        for name in sorted(of_tree)
        if os.path.ismount(f"{ROOT}/{name}")
    ]
    for bind in site.sysconfig.bind_mounts if site.sysconfig else ():
        top = bind.target.split("/")[1]
        if top in of_tree and bind.target != f"/{top}":
            notes.append(
                f"{bind.target} of BINDMOUNT is not shown with kmod: {top} is the tree's; make a link in the tree"
            )
    return notes


def _link(name: str, text: str) -> None:
    path = f"{ROOT}/{name}"
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISLNK(os.lstat(path).st_mode) and os.readlink(path) == text:
            return
        if os.path.ismount(path):  # left from a time when it was the base's; processes that are inside keep it
            return
        os.unlink(path) if not os.path.isdir(path) or os.path.islink(path) else os.rmdir(path)
    os.symlink(text, path)
    fault.point()


def _show(name: str) -> None:
    """A top-level entry of the base: a link as it is, else bound. What is mounted is not asked: it may hang."""
    source = f"/{name}"
    mounted = any(mount.target == source for mount in read_mounts())
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IFDIR if mounted else os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            _link(name, os.readlink(source))
        else:
            _bind(source, name, directory=stat.S_ISDIR(mode), devices=name in _WITH_DEVICES)


def _bind(source: str, name: str, *, directory: bool = True, devices: bool = False) -> None:
    """Recursive and slave: what is mounted on the base later appears, and nothing leads back. It is never seen with
    wider flags; only before Linux 5.12 a kill may leave it so, until the next time."""
    target = f"{ROOT}/{name}"
    attributes = _attributes(["nosuid"] if devices else ["nosuid", "nodev"])
    if any(mount.target == target for mount in read_mounts()):
        _restrict(target, attributes)
        return
    if os.path.islink(target):  # from a time when it was the tree's
        os.unlink(target)
    if not os.path.lexists(target):
        if directory:
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    fault.point()
    try:
        copy = syscalls.open_tree(syscalls.AT_FDCWD, source, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
        try:
            syscalls.mount_setattr(copy, "", set_=attributes, propagation=syscalls.MS_SLAVE, recursive=True)
            fault.point()
            syscalls.move_mount(copy, syscalls.AT_FDCWD, target)
        finally:
            os.close(copy)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        syscalls.mount(source, target, syscalls.MS_BIND | syscalls.MS_REC)
        _restrict(target, attributes)
    fault.point()


def _attributes(words: Iterable[str]) -> int:
    bits = {"nosuid": syscalls.MOUNT_ATTR_NOSUID, "nodev": syscalls.MOUNT_ATTR_NODEV}
    return sum(bits[word] for word in words)


def _restrict(target: str, attributes: int) -> None:
    """Everything at and below `target`. Before Linux 5.12, which has no mount_setattr(2), mount by mount."""
    syscalls.mount("", target, syscalls.MS_REC | syscalls.MS_SLAVE)
    try:
        syscalls.mount_setattr(syscalls.AT_FDCWD, target, set_=attributes, recursive=True)
        return
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
    wanted = (syscalls.MS_NOSUID if attributes & syscalls.MOUNT_ATTR_NOSUID else 0) | (
        syscalls.MS_NODEV if attributes & syscalls.MOUNT_ATTR_NODEV else 0
    )
    for mount in read_mounts():
        if mount.target == target or mount.target.startswith(target + "/"):
            # As mountinfo has them: statvfs(3) asks the file system, and has an automounter mount one.
            kept = sum(bit for name, bit in _KEPT.items() if name in mount.flags)
            syscalls.mount("", mount.target, syscalls.MS_BIND | syscalls.MS_REMOUNT | kept | wanted)
