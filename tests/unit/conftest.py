"""Properties have no time limit: a machine that is busy has found no mistake."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from chosns.config import shipped_bindmap_dirs

settings.register_profile("chos", deadline=None)
settings.register_profile("again", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("CHOS_PROPERTIES", "chos"))

# Whoever starts the tests in the background (`&` in a script, nohup) may have them ignore what some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def shipped_maps(tmp_path: Path) -> list[str]:
    """The shipped bind maps as they are installed: a checkout may be somebody's, and writable by a group."""
    (directory,) = shipped_bindmap_dirs()
    installed = tmp_path / "shipped"
    shutil.copytree(directory, installed, copy_function=shutil.copyfile)
    for path in (installed, *installed.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return [str(installed)]
