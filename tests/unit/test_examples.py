"""The example configuration that the packages carry has no mistake."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from chosns.config import read_site

EXAMPLES = Path(__file__).resolve().parents[2] / "packaging/examples"


def test_the_example_is_read_without_a_problem(tmp_path: Path, shipped_maps: list[str]) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "etc")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    site = read_site(str(tmp_path), bindmap_dirs=shipped_maps, trusted_uids=(0, os.getuid()))
    assert [str(problem) for problem in site.problems] == []
    assert [env.name for env in site.environments] == ["debian13", "debian11"]
