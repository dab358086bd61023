"""tests/kmod/complaints.py: what a guest's kernel says must not be missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KMOD = Path(__file__).resolve().parents[1] / "kmod"
QUIET = "[    1.000000] chos: version 1.0.0; mount -t chosfs chosfs /proc/chos\n"
KNOWN = """[    0.5] =============================
[    0.5] WARNING: suspicious RCU usage
[    0.5] lib/maple_tree.c:860 suspicious rcu_dereference_check() usage!
[    0.5] Call Trace:
[    0.5]  [<606d3559>] mas_start+0x1cf/0x37b
"""
LEAK = """unreferenced object 0x98d87180 (size 64):
  comm "python3", pid 65, jiffies 4294939187
  backtrace:
    [<00000000a3084ee3>] __kmalloc+0x9e/0xea
    [<00000000b41caa6f>] {}
    [<000000003a915559>] vfs_write+0x186/0x22f
"""


def complaints(tmp_path: Path, log: str, leaks: str | None = None, locks: str | None = None) -> tuple[int, str]:
    """Exit status and output."""
    (tmp_path / "log").write_text(log)
    for name, text in (("kmemleak", leaks), ("lockdep", locks)):
        if text is not None:
            (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("log", "kmemleak", "lockdep")]
    result = subprocess.run(
        [sys.executable, str(KMOD / "complaints.py"), str(KMOD / "known"), *files], capture_output=True, text=True
    )
    return result.returncode, result.stderr


def test_nothing(tmp_path: Path) -> None:
    """A quiet log, and one with what is known only."""
    assert complaints(tmp_path, QUIET) == (0, "")
    assert complaints(tmp_path, KNOWN + QUIET, "", " debug_locks:                             1\n") == (0, "")


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 0 PID: 94 at control.c:92 resetchos_write+0x127/0x146 [chos]",
        "BUG: KASAN: slab-use-after-free in chos_table_path+0x1/0x2 [chos]",
        "BUG: sleeping function called from invalid context at mm/slab.h:1",
        "WARNING: possible circular locking dependency detected",
        "INFO: task rmmod:123 blocked for more than 120 seconds.",
        "Call Trace:",
    ],
)
@pytest.mark.parametrize("before", [QUIET, KNOWN], ids=["quiet", "after a known one"])
def test_a_complaint(tmp_path: Path, before: str, line: str) -> None:
    """Each is found, also right after one that is known."""
    between = "".join(f"[    2.0] line {number}\n" for number in range(50))
    status, text = complaints(tmp_path, f"{before}{between}[    3.000000] {line}\n{QUIET}")
    assert status == 1
    assert line in text
    if line != "Call Trace:":
        assert complaints(tmp_path, f"{before}[    3.000000] {line}\n")[0] == 1


@pytest.mark.parametrize(("frame", "ours"), [("command+0x1/0x2 [chos]", 1), ("0xc40cc3d1", 1), ("ext4_get+0x1/0x2", 0)])
def test_leaks(tmp_path: Path, frame: str, ours: int) -> None:
    """The module's, loaded or not any more; not another's."""
    assert complaints(tmp_path, QUIET, LEAK.format(frame))[0] == ours


def test_lockdep_that_gave_up(tmp_path: Path) -> None:
    """It sees nothing after its first report."""
    status, text = complaints(tmp_path, QUIET, None, " debug_locks:                             0\n")
    assert status == 1 and "turned itself off" in text
