"""What a process gives up permanently before it becomes a tree's shell, besides namespaces: ids, resources, rights.

Called by `backends.trial`; the list of system calls is in `calls`.
"""

from __future__ import annotations

import contextlib
import os
import resource

from chosns.backends.ns import calls
from chosns.system import procfs, syscalls

# No account has such a number: it is above the numbers that SSSD and FreeIPA derive from a directory (up to 2000200000)
# and that systemd gives to containers (up to 1879048191), and below those of systemd's foreign images (from
# 2147352576).
_IDS = range(2_100_000_000, 2_140_000_000)
# What the shell may use: one process, so that nothing of it stays behind; 10 seconds of processor; a gigabyte of
# address space; no byte of a file, no core, no queue, no lock. The number of processes is counted for each uid, so the
# limits are set after the uid was changed.
_LIMITS = (
    (resource.RLIMIT_NPROC, 1),
    (resource.RLIMIT_CPU, 10),
    (resource.RLIMIT_AS, 1 << 30),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
)
# linux/landlock.h: the rights that can be given up, by the version that added them. All except reading and executing
# files.
_FILES = {1: 0x1FF2, 2: 0x2000, 3: 0x4000, 5: 0x8000}
_NETWORK = {4: 0x3}
_SCOPES = {6: 0x3}  # abstract sockets, signals
_TO_NULL = 0xC002  # writing, truncating, and a device's own calls


def unused_id() -> int:
    """A number that is no process's uid and in no range of accounts. It is random, so that no other process can take it
    first."""
    taken = set()
    for pid in procfs.processes():
        with contextlib.suppress(OSError):
            taken.add(os.stat(procfs.of(pid)).st_uid)
    while (found := _IDS[int.from_bytes(os.urandom(4), "little") % len(_IDS)]) in taken:
        pass
    return found


def limit() -> None:
    """Set the limits for this process and for the program that it executes."""
    for kind, most in _LIMITS:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def landlock(null: int) -> None:
    """Give up all rights that Landlock can take away, except reading and executing files, and /dev/null."""
    version = syscalls.landlock_version()
    if version:
        files, network, scopes = (
            sum(bits for since, bits in rights.items() if since <= version) for rights in (_FILES, _NETWORK, _SCOPES)
        )
        with contextlib.suppress(OSError):  # if it fails, continue as on a kernel without Landlock
            syscalls.restrict_self(files, network, scopes, null, files & _TO_NULL)


def filter_calls() -> bool:
    """Make the kernel refuse every system call that a shell does not need. Returns whether that worked."""
    program = calls.program(os.uname().machine)
    try:
        if program:
            syscalls.set_filter(program)
        return bool(program)
    except OSError:
        return False
