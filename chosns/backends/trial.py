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

from chosns import fault, syscalls
from chosns.backends import calls
from chosns.backends.worker import Worker
from chosns.errors import BuildError, UnsupportedError
from chosns.plan import Plan
from chosns.plan.operations import Bind, Overlay
from chosns.trees.view import INSIDE, open_inside

# Given to no account: above what SSSD and FreeIPA make from a directory's (up to 2000200000) and what systemd gives to
# containers (up to 1879048191), below its foreign images' (from 2147352576).
_IDS = range(2_100_000_000, 2_140_000_000)
# What the shell may use: one process, so that nothing of it stays (set when it has its uid, because changing that would
# count another's), 10 seconds of processor, a gigabyte of address space, no byte of a file, no core, no queue, no lock.
_LIMITS = (
    (resource.RLIMIT_NPROC, 1),
    (resource.RLIMIT_CPU, 10),
    (resource.RLIMIT_AS, 1 << 30),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
)
# Without these and without seccomp, the shell would reach other processes, or networks.
_SEPARATE = {
    "network": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_NEEDED = ("pid", "network", "ipc")
# Where a bind map has these from the base as a whole, they are what the shell runs with.
_PROGRAMS = re.compile(r"/(usr/)?(bin|lib\w*)")
_TIGHT = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_STRICT = syscalls.RESOLVE_NO_SYMLINKS | INSIDE
_STAGE = "/local"  # in a copy of the environment's mounts that nobody else has

# linux/landlock.h: what each version added to the rights that can be given up. All but reading and executing files.
_FILES = {1: 0x1FF2, 2: 0x2000, 3: 0x4000, 5: 0x8000, 9: 0x10000}
_NETWORK = {4: 0x3}
_SCOPES = {6: 0x3}  # abstract sockets, signals
_TO_NULL = 0xC002  # writing, truncating, and a device's own calls


def unused_id() -> int:
    """A number that is no process's uid and in no range that is given to accounts; by chance, so that nobody can be
    there first."""
    taken = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            taken.add(os.stat(f"/proc/{entry}").st_uid)
    while (found := _IDS[int.from_bytes(os.urandom(4), "little") % len(_IDS)]) in taken:
        pass
    return found


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
    """Run the shell of the environment that this process stands in, and end as it did: never returns.

    :param tree: descriptor of the OS tree's root, opened in this namespace.
    :param uid: for the shell, and its gid; of `unused_id`.
    :param announce: called when all is ready: whatever the worker says after it is taken for the shell's last words.
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
        if step == b"u":
            _map_user(child, uid)
        else:
            announce()
        os.write(order, step)
    _end_as(child, init, lifeline)


# The worker's side.


def _copies(plan: Plan, tree: int) -> Iterator[tuple[str, int]]:
    """Target → detached mount, tightened, of all that the shell is shown, in the order of mounting: the environment's
    own tmpfs, with its links and mount points, and what of the tree is mounted there. Nothing that is the base's."""
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
    """Have this process's next children in a PID namespace of their own, whose first process ends with this one, or
    when the last number returned, a descriptor, is closed. Whether there is one; that process."""
    if not _leave(syscalls.CLONE_NEWPID):
        return False, 0, os.open("/dev/null", os.O_RDONLY)
    held, lifeline = os.pipe()
    init = os.fork()
    if init == 0:
        os.dup2(held, 0)
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 0:
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(fd)
        os.read(0, 1)  # nobody writes: until its end
        os._exit(0)
    os.close(held)
    return True, init, lifeline


def _map_user(child: int, uid: int) -> None:
    """Let the child's user namespace have this uid and gid, and no other. Below /local: that is the base's /proc."""
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{uid} {uid} 1")):
        fd = os.open(f"{_STAGE}/proc/{child}/{file}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _end_as(child: int, init: int, lifeline: int) -> None:
    """Wait for the shell, end all that it may have left, and end like it."""
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
    """Leave everything, and become the shell. What fails here is told as the worker's own failure."""
    lacking = _leave_namespaces(worker.environment) | (set() if alone else {"pid"})
    null = _own_root(copies)
    os.setgroups([])
    if _leave(syscalls.CLONE_NEWUSER):
        _agree(say, heard, b"u")
    fault.point()
    syscalls.become_nobody(uid, uid)
    for kind, most in _LIMITS:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    syscalls.die_with_parent(signal.SIGKILL)  # not earlier: changing the user undoes it (prctl(2))
    _landlock(null)
    if not _filter() and lacking.intersection(_NEEDED):
        raise UnsupportedError(
            f"cannot keep the tree's shell from the node: no {', '.join(sorted(lacking))} namespace, and no seccomp",
            object=worker.environment,
            hint="see user.max_*_namespaces of sysctl(8)",
        )
    _agree(say, heard, b"r")
    worker.become("/bin/sh", ["sh", "-c", ":"], {"PATH": "/usr/bin:/bin"}, null)


def _agree(say: int, heard: int, step: bytes) -> None:
    """Have the worker do its part. One that is gone has no use for us: it may have ended before we asked for that."""
    os.write(say, step)
    if os.read(heard, 1) != step:
        os._exit(1)


def _leave_namespaces(environment: str) -> set[str]:
    """Leave all for new ones that root's own user namespace owns, not the shell's; which could not be had."""
    if _leave(syscalls.CLONE_NEWNS | sum(_SEPARATE.values())):
        return set()
    new_mount_namespace(environment)
    return {name for name, flag in _SEPARATE.items() if not _leave(flag)}


def _leave(namespaces: int) -> bool:
    """Whether the kernel and the node's limits on namespaces allow new ones."""
    try:
        syscalls.unshare(namespaces)
        return True
    except OSError:
        return False


def _own_root(copies: dict[str, int]) -> int:
    """Make the copies the whole of this process's mounts, with a /dev that has null alone; which is returned, open."""
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


def _landlock(null: int) -> None:
    """Give up all that the kernel's Landlock can take, but for reading and executing, and for /dev/null."""
    version = syscalls.landlock_version()
    if version:
        files, network, scopes = (
            sum(bits for since, bits in rights.items() if since <= version) for rights in (_FILES, _NETWORK, _SCOPES)
        )
        syscalls.restrict_self(files, network, scopes, null, files & _TO_NULL)


def _filter() -> bool:
    """Have the kernel refuse every system call that a shell does not need; whether it does."""
    program = calls.program(os.uname().machine)
    try:
        if program:
            syscalls.set_filter(program)
        return bool(program)
    except OSError:
        return False
