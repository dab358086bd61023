"""tools/deps on a machine that does not know its own name; with mocks of what it asks and calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as installing does")
@pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="apt-get is Debian's")
@pytest.mark.parametrize("known", [True, False])
def test_packages_are_configured_where_the_name_is_not_known_with_mocks(tmp_path: Path, known: bool) -> None:
    """Grid Engine and ARC look their own host up; the machine keeps its name."""
    said = tmp_path / "said"
    for name, text in {
        "apt-get": f'case "$*" in *install*) uname -n >>{said} ;; esac',
        "apt-cache": "echo there",
        "dpkg-query": "echo not-installed",
        "getent": f"exit {0 if known else 2}",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    # A /usr/sbin of its own, because policy-rc.d goes there.
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs sbin /usr/sbin && exec "$@"', "sh"]
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*command, str(REPO / "tools/deps"), "demo"], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    own = os.uname().nodename
    assert said.read_text() == (f"{own}\n" if known else "localhost\n")
    assert os.uname().nodename == own


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: hides a file")
@pytest.mark.skipif(not Path("/usr/bin/apt-get").exists(), reason="only Debian has python3-prctl for certain")
def test_what_the_distribution_has_is_not_fetched_from_elsewhere(tmp_path: Path) -> None:
    """A machine that only builds may have no python3-prctl, and no headers to compile one with."""
    if not (REPO / ".cache/pypi/pyroute2").exists():
        pytest.skip("pyroute2 has not been fetched: tools/deps build")
    hidden = "/usr/lib/python3/dist-packages/prctl.py"
    if not Path(hidden).exists():
        pytest.skip("python3-prctl is not installed")
    script = f"echo 'raise ImportError' >$1/prctl.py; mount --bind $1/prctl.py {hidden}; exec \"$0\" build"
    command = ["unshare", "--mount", "sh", "-euc", script, str(REPO / "tools/deps"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done
    assert "fetching" not in done.stdout
