"""`make install` over an installation that is in use: at no moment is a file missing, or half of itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MESON = """#!/bin/sh
[ "$*" = "install -C $PWD/build --no-rebuild" ] || exit 9
umask 022
mkdir -p "$DESTDIR/usr/bin" "$DESTDIR/usr/share/new"
echo new >"$DESTDIR/usr/bin/pam_job_starter"
chmod 755 "$DESTDIR/usr/bin/pam_job_starter"
ln -s pam_job_starter "$DESTDIR/usr/bin/link"
echo new >"$DESTDIR/usr/share/new/file"
"""
# Stands for each program that changes something, and looks before and after it.
WATCH = """#!/bin/sh
look() {{ [ -x {file} ] && [ -s {file} ] || echo "missing around: {name} $*" >>{log}; }}
look "$@"
/usr/bin/{name} "$@"
status=$?
look "$@"
exit $status
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "build").mkdir()
    (tmp_path / "node/usr/bin").mkdir(parents=True)
    starter = tmp_path / "node/usr/bin/pam_job_starter"
    starter.write_text("old\n")
    starter.chmod(0o755)
    (tmp_path / "node/usr/bin/link").symlink_to("elsewhere")
    (tmp_path / "programs").mkdir()
    (tmp_path / "meson").write_text(MESON)
    for name in ("cp", "mv", "rm", "mkdir"):
        text = WATCH.format(name=name, file=starter, log=tmp_path / "log")
        (tmp_path / "programs" / name).write_text(text)
    for path in (tmp_path / "meson", *(tmp_path / "programs").iterdir()):
        path.chmod(0o755)
    return tmp_path


def install(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    words = [str(REPOSITORY / "packaging/install"), "build", "/usr", str(tmp_path / "node"), str(tmp_path / "meson")]
    env = {"PATH": f"{tmp_path}/programs:/usr/bin:/bin"}
    return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)


def test_a_program_in_use_is_replaced_by_rename(node: Path) -> None:
    starter = node / "node/usr/bin/pam_job_starter"
    with starter.open() as old:
        done = install(node)
        assert done.returncode == 0, done
        assert not (node / "log").exists(), (node / "log").read_text()
        assert old.read() == "old\n" and os.fstat(old.fileno()).st_nlink == 0
    assert starter.read_text() == "new\n" and starter.stat().st_mode & 0o7777 == 0o755
    assert os.readlink(node / "node/usr/bin/link") == "pam_job_starter"
    assert (node / "node/usr/share/new/file").read_text() == "new\n"
    assert sorted(path.name for path in starter.parent.iterdir()) == ["link", "pam_job_starter"]
    assert list((node / "build").iterdir()) == []


def test_a_failure_leaves_the_old_one(node: Path) -> None:
    (node / "programs/mv").write_text("#!/bin/sh\nexit 1\n")
    assert install(node).returncode != 0
    assert (node / "node/usr/bin/pam_job_starter").read_text() == "old\n"
    assert list((node / "build").iterdir()) == []
