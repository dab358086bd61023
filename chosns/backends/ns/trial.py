"""The trial of a tree's shell: the first program of a tree that runs, and so the first that may be hostile.

Whether an environment works is found out by running its `/bin/sh` before anybody enters it. Root starts it, so it must
reach nothing: it has namespaces of its own, no file system of the base, a uid that nobody else has, no capability, no
group, no key, no descriptor but what it says, Landlock and seccomp. What a node lacks of these is done without as long
as the rest holds alone. The environment's own namespace is pinned by now, and stays as it was built.

Called by `backends.ns` in its worker. The worker stays outside, and ends as the shell did; a process of ours is the
first of the shell's PID namespace, for that one hears no signal; its end is the end of all in there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator

from chosns.backends.ns import confine
from chosns.errors import BuildError, UnsupportedError
from chosns.mounts.worker import Worker
from chosns.plan import Plan
from chosns.plan.operations import Bind, Overlay
from chosns.system import fault, procfs, syscalls
from chosns.system.inside import INSIDE, open_inside

_NOBODY = 65534
# Without these and without seccomp, the shell could reach other processes, or networks.
_SEPARATE = {
    "network": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_NEEDED = ("pid", "network", "ipc")
# If a bind map takes one of these as a whole from the base, the shell needs it to run.
_PROGRAMS = re.compile(r"/(usr/)?(bin|lib\w*)")
_TIGHT = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_STRICT = syscalls.RESOLVE_NO_SYMLINKS | INSIDE
_STAGE = "/local"  # in a private copy of the environment's mounts


def new_mount_namespace(environment: str) -> None:
    """Leave the mount namespace for a copy. :raises BuildError: the caller may not, or the node allows no more."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            what, hint = "the node allows no more mount namespaces", "see user.max_mnt_namespaces of sysctl(8)"
        elif error.errno == errno.EPERM:
            what, hint = "no right to make a mount namespace", "run as root, outside containers"
        else:
            raise
        raise BuildError(what, object=environment, hint=hint) from error


def try_shell(worker: Worker, plan: Plan, tree: int, uid: int, announce: Callable[[], None]) -> None:
    """Run the shell of the environment whose root is this process's root, and end as the shell did. Never returns.

    :param tree: descriptor of the OS tree's root, opened in this namespace.
    :param uid: uid and gid of the shell, from `confine.unused_id`.
    :param announce: called when everything is ready. Output of the worker after this counts as the shell's.
    """
    copies = dict(_copies(plan, tree))
    alone, init, lifeline = _new_pid_namespace()
    said, say = os.pipe()
    heard, order = os.pipe()
    child = os.fork()
    if child == 0:
        for fd in (lifeline, said, order):
            os.close(fd)
        _shell(worker, copies, uid, alone, say, heard)
    for fd in (say, heard, *copies.values()):
        os.close(fd)
    while step := os.read(said, 1):
        if step == b"r":
            announce()
        else:
            _map_user(child, uid if step == b"u" else _NOBODY)
        os.write(order, step)
    _end_as(child, init, lifeline)


# The worker's side.


def _copies(plan: Plan, tree: int) -> Iterator[tuple[str, int]]:
    """Target → detached, restricted mount, for everything that the shell sees, in the order of mounting: the
    environment's own tmpfs with its links and mount points, and the mounts of the tree. Nothing of the base."""
    recursive = syscalls.AT_RECURSIVE
    here = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        yield "/", _copy(here, 0)
        for operation in plan.operations:
            if isinstance(operation, Bind) and operation.side == "tree":
                yield operation.target, _copy_at(tree, operation.source, recursive)
            elif isinstance(operation, Overlay) or (
                isinstance(operation, Bind) and _PROGRAMS.fullmatch(operation.target) and operation.flags.nosuid
            ):
                yield operation.target, _copy_at(here, operation.target, 0)
    finally:
        os.close(here)


def _copy_at(root: int, path: str, recursive: int) -> int:
    fd = open_inside(root, path, os.O_PATH | os.O_NOFOLLOW, _STRICT)
    try:
        return _copy(fd, recursive)
    finally:
        os.close(fd)


def _copy(fd: int, recursive: int) -> int:
    copy = syscalls.open_tree(fd, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | recursive)
    syscalls.mount_setattr(copy, "", set_=_TIGHT, propagation=syscalls.MS_PRIVATE, recursive=True)
    return copy


def _new_pid_namespace() -> tuple[bool, int, int]:
    """Put this process's next children into a new PID namespace. Its first process ends with this process, or when the
    returned descriptor is closed. Returns whether there is one, that process, and the descriptor."""
    if not _leave(syscalls.CLONE_NEWPID):
        return False, 0, os.open("/dev/null", os.O_RDONLY)
    held, lifeline = os.pipe()
    init = os.fork()
    if init == 0:
        os.dup2(held, 0)
        for fd in procfs.own_descriptors():
            if fd > 0:
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(fd)
        os.read(0, 1)  # nothing is ever written, so this waits until the other end is closed
        os._exit(0)
    os.close(held)
    return True, init, lifeline


def _map_user(child: int, uid: int) -> None:
    """Map this uid and gid, and no other, into the child's user namespace. By /local, because it needs the base's
    /proc."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{uid} {uid} 1")):
        fd = os.open(f"{_STAGE}{procfs.of(child, file)}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _end_as(child: int, init: int, lifeline: int) -> None:
    """Wait for the shell, end everything that it may have left behind, and end with its status."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(lifeline)
    if init:
        os.waitpid(init, 0)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # of SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


# The child's side.


def _shell(worker: Worker, copies: dict[str, int], uid: int, alone: bool, say: int, heard: int) -> None:
    """Give up everything, and execute the shell. A failure here is reported as the worker's own."""
    lacking = _leave_namespaces(worker.environment) | (set() if alone else {"pid"})
    null = _own_root(copies)
    os.setgroups([])
    if alone and not _may_run(uid) and _may_run(_NOBODY):
        uid = _NOBODY
    if _leave(syscalls.CLONE_NEWUSER):
        _agree(say, heard, b"n" if uid == _NOBODY else b"u")
    fault.point()
    syscalls.become_nobody(uid, uid)
    confine.limit()
    syscalls.die_with_parent(signal.SIGKILL)  # not earlier, because changing the user resets it (prctl(2))
    confine.landlock(null)
    if not confine.filter_calls() and lacking.intersection(_NEEDED):
        raise UnsupportedError(
            f"cannot keep the tree's shell from the node: no {', '.join(sorted(lacking))} namespace, and no seccomp",
            object=worker.environment,
            hint="see user.max_*_namespaces of sysctl(8)",
        )
    _agree(say, heard, b"r")
    worker.become("/bin/sh", ["sh", "-c", ":"], {"PATH": "/usr/bin:/bin"}, null)


def _may_run(uid: int) -> bool:
    """Whether the tree's file system accepts this uid. Lustre's server refuses uids that it cannot look up. Then
    nobody's uid is used, which is known everywhere; in a PID namespace it gives no access to other processes of that
    uid."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        os.close(os.open("/bin/sh", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
        return True
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EPERM, errno.EIDRM)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _agree(say: int, heard: int, step: bytes) -> None:
    """Wait until the worker has done its part. If the worker is gone, end: it may have ended before this process asked
    to be killed with it."""
    os.write(say, step)
    if os.read(heard, 1) != step:
        os._exit(1)


def _leave_namespaces(environment: str) -> set[str]:
    """Enter new namespaces that root's user namespace owns, and not the shell's. Returns those that are not
    available."""
    if _leave(syscalls.CLONE_NEWNS | sum(_SEPARATE.values())):
        return set()
    new_mount_namespace(environment)
    return {name for name, flag in _SEPARATE.items() if not _leave(flag)}


def _leave(namespaces: int) -> bool:
    """Enter new namespaces. Returns whether the kernel and the node's limits allowed it."""
    try:
        syscalls.unshare(namespaces)
        return True
    except OSError:
        return False


def _own_root(copies: dict[str, int]) -> int:
    """Make the copies this process's only mounts, with a /dev that contains only null. Returns null, opened."""
    root = copies.pop("/")
    syscalls.move_mount(root, syscalls.AT_FDCWD, _STAGE)
    dev = syscalls.new_mount("tmpfs", {"mode": "0755", "size": "64k"}, syscalls.MOUNT_ATTR_NOSUID)
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=dev)
    os.chmod("null", 0o666, dir_fd=dev)
    syscalls.mount_setattr(dev, "", set_=syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOEXEC)
    null = os.open("null", os.O_RDWR, dir_fd=dev)
    for target, copy in (*copies.items(), ("/dev", dev)):
        try:
            spot = open_inside(root, target, os.O_PATH | os.O_NOFOLLOW, _STRICT)
        except OSError as error:
            if target == "/dev" and error.errno == errno.ENOENT:  # a bind map may show none
                continue
            raise
        syscalls.move_mount(copy, spot, "")
        os.close(spot)
    os.fchdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".", syscalls.MNT_DETACH)  # the environment's, which the new root was put upon
    os.chdir("/")
    return null
