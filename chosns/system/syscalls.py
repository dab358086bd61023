"""The Linux calls that Python does not offer: the mount API, namespaces, capabilities.

Thin and typed; each wrapper is one call and raises OSError with the path concerned. ctypes on libc, because
the new mount API (Linux 5.2 to 5.12) works on file descriptors, which no mount command can pass along.
It must never decide anything: `execute` and `registry` do. Numbers from 424 on are the same on every architecture.

Sources: open_tree(2), move_mount(2), fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2), openat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from chosns.errors import UnsupportedError
from chosns.system import procfs

_libc = ctypes.CDLL(None, use_errno=True)

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442
_NR_LANDLOCK_CREATE_RULESET = 444
_NR_LANDLOCK_ADD_RULE = 445
_NR_LANDLOCK_RESTRICT_SELF = 446
# Older than that: the number depends on the architecture, here of 64-bit programs.
_NR_KEYCTL = {
    "x86_64": 250,
    "i686": 250,  # so uname(2) calls x86_64 below `setarch i686`
    "aarch64": 219,
    "riscv64": 219,
    "loongarch64": 219,
    "ppc64": 271,
    "ppc64le": 271,
    "s390x": 280,
}
_KEYCTL_JOIN_SESSION_KEYRING = 1

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_STATX_DONT_SYNC = 0x4000
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_BENEATH = 0x200

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24


def _check(result: int, path: str) -> int:
    """The result, or OSError from errno with `path` as its file name."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def _syscall(path: str, number: int, *args: object) -> int:
    converted = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return _check(int(_libc.syscall(ctypes.c_long(number), *converted)), path)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def missing_calls() -> list[str]:
    """Names of the calls below that this kernel lacks: each is tried once with arguments that it must refuse."""
    numbers = {
        "open_tree": _NR_OPEN_TREE,
        "move_mount": _NR_MOVE_MOUNT,
        "fsopen": _NR_FSOPEN,
        "fsconfig": _NR_FSCONFIG,
        "fsmount": _NR_FSMOUNT,
        "openat2": _NR_OPENAT2,
        "mount_setattr": _NR_MOUNT_SETATTR,
    }
    missing = []
    for name, number in numbers.items():
        try:
            _syscall(name, number, -1, None, -1, None, -1, None)
        except OSError as error:
            if error.errno == errno.ENOSYS:
                missing.append(name)
    return missing


def openat2(dirfd: int, path: str, flags: int, resolve: int) -> int:
    """Open `path` below `dirfd`, resolved as the RESOLVE_ bits say; always close-on-exec."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return _syscall(path, _NR_OPENAT2, dirfd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """A descriptor of the mount at `path`; with OPEN_TREE_CLONE of a detached copy. It asks no automounter."""
    flags |= OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT
    return _syscall(path, _NR_OPEN_TREE, dirfd, os.fsencode(path), flags)


def move_mount(mount_fd: int, dirfd: int, path: str, *, beneath: bool = False) -> None:
    """Attach the detached mount `mount_fd` at `path` below `dirfd` (at `dirfd` itself where `path` is empty).

    :param beneath: under the mount that is there (Linux 6.5; else EINVAL).
    """
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    flags |= MOVE_MOUNT_BENEATH if beneath else 0
    _syscall(path, _NR_MOVE_MOUNT, mount_fd, b"", dirfd, os.fsencode(path), flags)


def mount_setattr(
    dirfd: int, path: str, *, set_: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change flags or propagation of the mount at `path`, of everything below it too where `recursive`.

    A link at `path` is not followed. Where an automounter waits there, it is not asked to mount anything: that may take
    for ever.
    """
    attr = _MountAttr(set_, clear, propagation, 0)
    flags = AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    _syscall(path, _NR_MOUNT_SETATTR, dirfd, os.fsencode(path), flags, ctypes.byref(attr), ctypes.sizeof(attr))


def mount_at(dirfd: int, name: str) -> int:
    """The number of the mount at `name`, as mountinfo has it, without a descriptor of it (statx(2), Linux 5.8).

    Its file system is asked for nothing, and no automounter either; a link is not followed.
    """
    found = ctypes.create_string_buffer(256)
    flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC
    _check(_libc.statx(dirfd, os.fsencode(name), flags, 0, found), name)
    return int(struct.unpack_from("=Q", found, 0x90)[0])


def new_mount(fstype: str, options: dict[str, str | None], attributes: int) -> int:
    """A detached mount of a new file system: fsopen, fsconfig for each option, fsmount.

    :param options: name → value; None for a flag without a value.
    :raises OSError: with the kernel's own words (the fs context's message log) where it left any.
    """
    context = _syscall(fstype, _NR_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            if value is None:
                _syscall(key, _NR_FSCONFIG, context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
            else:
                _syscall(key, _NR_FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
        _syscall(fstype, _NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(fstype, _NR_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        words = _context_log(context)
        if words:
            raise OSError(error.errno, f"{error.strerror} ({words})", fstype) from error
        raise
    finally:
        os.close(context)


def _context_log(context: int) -> str:
    """What the kernel wrote into an fs context's log, without its `e ` prefixes."""
    words = []
    while True:
        try:
            words.append(os.read(context, 1024).decode(errors="replace").strip()[2:])
        except OSError:
            return "; ".join(words)


def mount(source: str, target: str, flags: int, fstype: str = "none") -> None:
    """mount(2), for binds of pins, for propagation changes, and for what the kernel module needs."""
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), ctypes.c_ulong(flags), None), target)


def umount(target: str, flags: int = UMOUNT_NOFOLLOW) -> None:
    """umount2(2); never follows a symbolic link at `target`."""
    _check(_libc.umount2(os.fsencode(target), flags | UMOUNT_NOFOLLOW), target)


def umount_open(fd: int) -> None:
    """Take away the mount whose root `fd` is, be that file deleted; who has it open keeps it."""
    _check(_libc.umount2(procfs.descriptor(fd).encode(), MNT_DETACH), "umount")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace and put the old root at `put_old` (pivot_root(2))."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones (unshare(2))."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that a descriptor is of; root and working directory are a mount namespace's (setns(2))."""
    _check(_libc.setns(fd, kind), "setns")


def require_prctl() -> None:
    """Import python-prctl now. In an OS tree it must not be looked for: the tree's modules would be found (rule 27).

    :raises UnsupportedError: it is not installed.
    """
    try:
        import prctl  # noqa: F401
    except ImportError as error:
        hint = "install the package python3-prctl; where there is none, `tools/deps build` and install CHOS again"
        raise UnsupportedError("Python's module prctl is missing", object=sys.executable, hint=hint) from error


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends (PR_SET_PDEATHSIG, prctl(2))."""
    import prctl

    prctl.set_pdeathsig(signal)


def name_process(name: str) -> None:
    """What `ps` and `top` show for this process; the kernel cuts it to 15 bytes (PR_SET_NAME, prctl(2))."""
    import prctl

    prctl.set_name(name)


def adopt_orphans(adopt: bool) -> None:
    """Become the parent of every descendant whose own parent ends, or no more (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    import prctl

    prctl.set_child_subreaper(int(adopt))


def leave_session_keyring() -> None:
    """Take a new, empty session keyring: what root's session holds cannot be found any more (keyctl(2)).

    :raises OSError: EOPNOTSUPP on an architecture that this module does not know.
    """
    number = _NR_KEYCTL.get(os.uname().machine) if sys.maxsize > 2**32 else None
    if number is None:
        raise OSError(errno.EOPNOTSUPP, "no number of keyctl(2) is known for this architecture", os.uname().machine)
    try:
        _syscall("keyctl", number, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # a kernel without keyrings has none to leave
            raise


def become_nobody(uid: int, gid: int) -> None:
    """Give up every privilege for good: no_new_privs, empty bounding set, then `gid` and `uid`, then each capability
    that a user namespace has given. The caller has left its groups before: such a namespace may refuse that."""
    import prctl

    prctl.set_no_new_privs(1)
    # Not by python-prctl: it refuses capabilities that the headers it was compiled with do not know.
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _check(_libc.capset(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)), "capset")


def set_filter(program: bytes) -> None:
    """Have every system call of this process and its children judged by a BPF program (PR_SET_SECCOMP, seccomp(2)).

    :param program: of `struct sock_filter`.
    :raises OSError: EINVAL on a kernel without it.
    """
    text = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    loaded = Program(len(program) // 8, ctypes.addressof(text))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(loaded), 0, 0), "prctl")


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0: none (landlock_create_ruleset(2))."""
    try:
        return _syscall("landlock", _NR_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict_self(files: int, network: int, scopes: int, exempt: int, allowed: int) -> None:
    """Give up these rights for good, but for `allowed` below the descriptor `exempt` (landlock_restrict_self(2))."""
    attributes = struct.pack("QQQ", files, network, scopes)
    ruleset = _syscall("landlock", _NR_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        rule = struct.pack("=Qi", allowed, exempt)
        _syscall("landlock", _NR_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
        _syscall("landlock", _NR_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
