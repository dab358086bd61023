"""What tools and commands say to a word that they do not know, to --help, and of what is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("tool", ["build", "cunit", "demo", "deps", "kmod", "node", "system", "trees"])
def test_help_is_no_error(tool: str) -> None:
    done = subprocess.run([str(REPO / "tools" / tool), "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"tools/{tool}" in done.stdout and "set -" not in done.stdout


def test_a_word_that_the_demo_does_not_know() -> None:
    done = subprocess.run([str(REPO / "tools/demo"), "--nosuch"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tools/demo: unknown word '--nosuch' (try tools/demo --help)\n"


@pytest.mark.parametrize(("root", "said"), [("/nosuch", "does not exist"), ("/etc/passwd", "is not a directory")])
def test_a_root_that_cannot_be_checked(root: str, said: str) -> None:
    """Nobody is told to write an /etc/chos there."""
    code = f"import sys; sys.argv = ['chosctl', 'check', '--root', {root!r}]; from chosns.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"chosctl: {root}: {said}\n") and "el9" not in done.stderr


_MESON = """Installing pam/pam_chos.so to /x/usr/lib/security
Traceback (most recent call last):
  File "/usr/lib/python3.11/shutil.py", line 144, in _fastcopy_sendfile
    sent = os.sendfile(outfd, infd, offset, blocksize)
{error}

ERROR: Unhandled python OSError. This is probably not a Meson bug, but an issue with your build environment.
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("OSError: [Errno 28] No space left on device: 'pam/a.so' -> '/x/a.so'", "/x/a.so: No space left on device"),
        ("OSError: [Errno 28] No space left on device: '/x/usr'", "/x/usr: No space left on device"),
        ("PermissionError: [Errno 13] Permission denied: '/x/it's'", "/x/it's: Permission denied"),
    ],
)
def test_an_installation_that_fails_is_one_sentence(tmp_path: Path, error: str, said: str) -> None:
    log = tmp_path / "log"
    log.write_text(_MESON.format(error=error))
    done = subprocess.run([str(REPO / "packaging/install-failed"), str(log)], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith(f"make install: cannot write {said}; ") and done.stderr.count("\n") == 1


def test_what_is_no_traceback_is_shown_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("cp: error writing 'x'\n")
    done = subprocess.run([str(REPO / "packaging/install-failed"), str(log)], capture_output=True, text=True)
    assert done.stderr == "cp: error writing 'x'\n"
