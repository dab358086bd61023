"""What the Debian package says as it goes; with mocks of the programs that it calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PRERM = Path(__file__).resolve().parents[2] / "packaging/deb/chos.prerm"


@pytest.mark.parametrize(("action", "mounted", "said"), [("remove", 0, 1), ("remove", 1, 0), ("upgrade", 0, 0)])
def test_what_is_in_use_is_told_with_mocks(tmp_path: Path, action: str, mounted: int, said: int) -> None:
    """One line: what stays, and how it goes."""
    if os.path.isdir("/sys/module/chos") and action == "remove":
        mounted, said = 0, 1
    for name, status in (("chosctl", 0), ("find", 0), ("mountpoint", mounted)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(PRERM), action], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert len(done.stderr.splitlines()) == said
    assert not said or ("umount -l /chos" in done.stderr and "rmmod chos" in done.stderr)
