"""As much of io_uring as the tests need: one request at a time, given to a worker thread of the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

SETUP, ENTER = 425, 426  # the same on every architecture
OPENAT, WRITE, CLOSE = 18, 23, 19
ASYNC = 1 << 4  # a worker does it, whatever it is
AT_FDCWD = -100
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


class Ring:
    """A ring of four entries."""

    def __init__(self) -> None:
        parameters = ctypes.create_string_buffer(120)
        self.descriptor = LIBC.syscall(SETUP, 4, parameters)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        words = struct.unpack("30I", parameters.raw)
        entries, self._completions = words[0], words[1]
        self._sq, self._cq = words[10:20], words[20:30]
        self._rings = mmap.mmap(self.descriptor, 4096, offset=0)
        self._entries = mmap.mmap(self.descriptor, entries * 64, offset=0x10000000)
        self._buffers: list[object] = []

    def _word(self, offset: int, value: int | None = None) -> int:
        if value is not None:
            struct.pack_into("I", self._rings, offset, value)
        return int(struct.unpack_from("I", self._rings, offset)[0])

    def request(self, operation: int, descriptor: int, data: bytes, length: int, flags: int = 0) -> int:
        """The result of one request that a worker carried out; negative: an error number."""
        buffer = ctypes.create_string_buffer(data)
        self._buffers.append(buffer)
        tail, mask = self._word(self._sq[1]), self._word(self._sq[2])
        entry = struct.pack("BBHiQQIIQ", operation, ASYNC, 0, descriptor, 0, ctypes.addressof(buffer), length, flags, 1)
        self._entries[(tail & mask) * 64 : (tail & mask) * 64 + 64] = entry.ljust(64, b"\0")
        self._word(self._sq[6] + 4 * (tail & mask), tail & mask)
        self._word(self._sq[1], tail + 1)
        if LIBC.syscall(ENTER, self.descriptor, 1, 1, 1, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head = self._word(self._cq[0])
        position = self._cq[5] + 16 * (head & self._word(self._cq[2]))
        result = struct.unpack_from("i", self._rings, position + 8)[0]
        self._word(self._cq[0], head + 1)
        return int(result)

    def read_file(self, path: str) -> str:
        """What a worker finds under a path."""
        descriptor = self.request(OPENAT, AT_FDCWD, path.encode() + b"\0", 0, os.O_RDONLY)
        if descriptor < 0:
            raise OSError(-descriptor, path)
        with os.fdopen(descriptor) as file:
            return file.read()

    def write(self, descriptor: int, data: bytes) -> int:
        """write(2), by a worker."""
        return self.request(WRITE, descriptor, data, len(data))

    def close(self) -> None:
        os.close(self.descriptor)
