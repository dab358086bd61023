"""The launcher's own data fits into one page, see launcher/build.sh."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = 4096
LOAD, WRITABLE = 1, 2


def test_what_is_written_fits_into_one_page(tmp_path: Path) -> None:
    """Each further page costs every entry time, and nobody sees which change brought it."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("there is no musl-gcc; other C libraries have more data of their own")
    program = tmp_path / "chos"
    subprocess.run(["sh", ROOT / "launcher/build.sh", compiler, program, "0"], check=True)
    image = program.read_bytes()
    assert image[:5] == b"\x7fELF\x02", "a program of 64 bits"
    (start,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", image, start + number * size) for number in range(count)]
    written = [
        (address, length) for kind, flags, _, address, _, _, length, _ in headers if kind == LOAD and flags & WRITABLE
    ]
    pages = sum((address + length - 1) // PAGE - address // PAGE + 1 for address, length in written)
    assert pages == 1, [(hex(address), length) for address, length in written]
