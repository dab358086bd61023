"""What the tests of no_new_privs need: a loader that tells, and the calls that restrict a process."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

from chosfs import LIBC

# Stands where a tree has its dynamic loader: says with which ids and permitted capabilities it runs, and ends.
LOADER = r"""
static long call(long number, long a, const void *b, void *c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
static char text[100], *end = text;
static void put(unsigned long number)
{
    char digits[20];
    int n = 0;
    do digits[n++] = '0' + number % 10; while (number /= 10);
    while (n > 0) *end++ = digits[--n];
    *end++ = ' ';
}
void _start(void)
{
    static unsigned header[2] = {0x20080522}, sets[6];
    put(call(107, 0, 0, 0)); /* geteuid */
    put(call(108, 0, 0, 0)); /* getegid */
    call(125, (long)header, sets, 0); /* capget */
    put(sets[1]);
    call(1, 1, text, (void *)(end - text));
    for (;;) call(231, 0, 0, 0);
}
"""
SECCOMP, LANDLOCK_CREATE, LANDLOCK_RESTRICT = 317, 444, 446
LANDLOCK_TSYNC, SECCOMP_TSYNC = 8, 1


def traps() -> None:
    """The loader in the tree /os/a, and programs of the base that gain something."""
    source = Path("/var/tmp/loader.c")
    source.write_text(LOADER)
    loader = "/os/a/lib64/ld-linux-x86-64.so.2"
    subprocess.run(
        ["gcc", "-O2", "-static", "-nostdlib", "-fno-pic", "-no-pie", "-fno-stack-protector", "-o", loader, source],
        check=True,
    )
    directory = Path("/usr/local/gains")
    directory.mkdir(exist_ok=True)
    for name in ("uid", "gid", "capability"):
        shutil.copy("/usr/bin/id", directory / name)
    (directory / "uid").chmod(0o4755)
    (directory / "gid").chmod(0o2755)  # of the group root
    subprocess.run(["setcap", "cap_net_raw+ep", directory / "capability"], check=True)


def no_new_privs() -> bool:
    """Of the calling thread."""
    return bool(LIBC.prctl(39, 0, 0, 0, 0) == 1)


def ask_no_new_privs() -> None:
    """What a program does that wants it for itself."""
    LIBC.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0


def install_filter(flags: int = 0) -> None:
    """A seccomp filter that allows all."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(instruction)))
    if LIBC.syscall(SECCOMP, 1, flags, program) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def restrict(flags: int = 0) -> bool:
    """A Landlock domain that forbids making block devices; False where the kernel has none of that."""
    attribute = ctypes.create_string_buffer(struct.pack("Q", 1 << 11))
    ruleset = LIBC.syscall(LANDLOCK_CREATE, attribute, 8, 0)
    if ruleset < 0:
        assert ctypes.get_errno() in (errno.ENOSYS, errno.EOPNOTSUPP)
        return False
    answer = LIBC.syscall(LANDLOCK_RESTRICT, ruleset, flags)
    error = ctypes.get_errno()
    os.close(ruleset)
    if answer and flags and error == errno.EINVAL:
        return False
    if answer:
        raise OSError(error, "landlock_restrict_self")
    return True
