"""The table of docs/backends.md and chos-backends(7) is what the conformance suite proves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


def test_the_pages_have_the_table_of_the_suite() -> None:
    result = subprocess.run(
        [sys.executable, "-B", REPO / "tests/conformance/table.py", "--check"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "")
