"""The filter for a tree's shell: its numbers are the kernel's, and it lets through what it says, on each machine."""

from __future__ import annotations

import errno
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from chosns.backends.ns import calls

ALLOWED, OTHERS = calls.numbers(calls._ALLOWED, 0), calls.numbers(calls._OTHERS, 0)
COLUMNS = {"x86_64": 0, "x86": 1, "arm": 2, "aarch64": 3, "ppc64le": 4, "s390x": 5}
ALLOW = calls._ALLOW
FORBIDDEN = [
    "socket",
    "socketpair",
    "connect",
    "bind",
    "sendto",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_open",
    "pidfd_getfd",
    "io_uring_setup",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "shmget",
    "shmat",
    "msgget",
    "semget",
    "mq_open",
    "memfd_create",
    "mount",
    "umount2",
    "open_tree",
    "move_mount",
    "fsopen",
    "unshare",
    "setns",
    "chroot",
    "pivot_root",
    "execveat",
    "truncate",
    "unlink",
    "rename",
    "mkdir",
    "mknod",
    "chmod",
    "chown",
    "link",
    "symlink",
    "flock",
    "inotify_init1",
    "fanotify_init",
    "setuid",
    "setgid",
    "setresuid",
    "setgroups",
    "capset",
    "seccomp",
    "landlock_create_ruleset",
    "timer_create",
    "eventfd2",
    "name_to_handle_at",
    "open_by_handle_at",
    "personality",
    "sched_setaffinity",
    "socketcall",
    "ipc",
    "sendfile",
]


def judge(program: bytes, arch: int, number: int, argument: int = 0) -> int:
    """Run the filter as the kernel does."""
    data = struct.pack("IIQ6Q", number, arch, 0, argument, 0, 0, 0, 0, 0)
    at = accumulator = 0
    while True:
        code, true, false, value = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif code == 0x15:
            at += true if accumulator == value else false
        elif code == 0x05:
            at += value
        else:
            assert code == 0x06
            return int(value)


def no(error: int) -> int:
    return 0x50000 | error


@pytest.mark.parametrize("machine", calls._ABIS)
def test_what_is_let_through(machine: str) -> None:
    program = calls.program(machine)
    assert 0 < len(program) // 8 < 4096
    for arch, column in calls._ABIS[machine]:
        allowed, others = calls.numbers(calls._ALLOWED, column), calls.numbers(calls._OTHERS, column)
        for number in (*range(700), 0x40000000 + 41, 0xFFFFFFFF, *allowed.values()):
            if number in allowed.values():
                expected = ALLOW
            elif number in others.values():
                name = next(name for name in others if others[name] == number)
                expected = no({"prctl": errno.EINVAL, "ioctl": errno.ENOTTY}.get(name, errno.EAGAIN))
            else:
                expected = no(errno.ENOSYS)
            assert judge(program, arch, number) == expected, (arch, number)
        assert judge(program, arch, others["prctl"], 15) == ALLOW
        assert judge(program, arch, others["prctl"], 1) == no(errno.EINVAL), "PR_SET_PDEATHSIG"
    assert judge(program, 0x12345678, ALLOWED["read"]) == no(errno.ENOSYS), "an architecture that is not known"


def test_a_machine_that_is_not_known() -> None:
    assert calls.program("vax") == b""


def test_no_forbidden_call_is_allowed() -> None:
    assert not set(FORBIDDEN) & (set(ALLOWED) | set(OTHERS))


def test_numbers_are_those_of_the_headers() -> None:
    """On x86, whose headers are the ones that are likely to be here."""
    for name, column in (("unistd_64.h", 0), ("unistd_32.h", 1)):
        header = Path("/usr/include/x86_64-linux-gnu/asm") / name
        if not header.exists():
            pytest.skip("no headers of the kernel for x86")
        there = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", header.read_text()))
        for call, number in {**calls.numbers(calls._ALLOWED, column), **calls.numbers(calls._OTHERS, column)}.items():
            assert int(there[call]) == number, call


@pytest.mark.parametrize("arch", COLUMNS)
def test_numbers_are_those_of_libseccomp(arch: str) -> None:
    if not shutil.which("scmp_sys_resolver"):
        pytest.skip("no scmp_sys_resolver (package seccomp)")
    column = COLUMNS[arch]
    table = {**calls.numbers(calls._ALLOWED, column), **calls.numbers(calls._OTHERS, column)}
    for name, number in table.items():
        said = subprocess.run(
            ["scmp_sys_resolver", "-a", arch, name], capture_output=True, text=True, check=True
        ).stdout
        if int(said) >= 0:  # it knows none of the calls that one architecture alone has
            assert int(said) == number, name
