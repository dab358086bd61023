"""A file system that does not answer, as an NFS server that is down."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def silent_file_system(where: Path, reads: bool = False) -> Iterator[None]:
    """A FUSE mount whose server never says a word.

    With `reads` it takes the requests, so that nobody can withdraw one: who waits for it cannot even be killed.
    """
    try:
        fd = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no /dev/fuse here")
    where.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"silent", bytes(where), b"fuse.silent", 0, options.encode()) != 0:
        os.close(fd)
        pytest.skip(f"FUSE mounts do not work here: {os.strerror(ctypes.get_errno())}")
    if reads:
        threading.Thread(target=_swallow, args=(fd,), daemon=True).start()
    try:
        yield
    finally:
        subprocess.run(["umount", "-f", "-l", str(where)], check=False)  # ends what waits for it
        os.close(fd)


def _swallow(fd: int) -> None:
    """Answer the greeting (FUSE_INIT), then take every request and say nothing."""
    with contextlib.suppress(OSError):
        unique = struct.unpack("<IIQ", os.read(fd, 1 << 20)[:16])[2]
        body = struct.pack("<IIIIHHII9I", 7, 31, 65536, 0, 12, 9, 65536, 1, *([0] * 9))[:64].ljust(64, b"\0")
        os.write(fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)
        while os.read(fd, 1 << 20):
            pass
