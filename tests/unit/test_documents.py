"""What the documentation names in the source exists: files, folders, and the pages that it links to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
_FOLDERS = "bench|bindmaps|chosns|docs|kmod|launcher|libchos|packaging|pam|starters|tests|tools"
# Not what is built, and no placeholder such as NAME.
_PATH = re.compile(rf"`((?:{_FOLDERS})/[\w./-]*)`")


def missing(page: Path, text: str) -> set[str]:
    """Paths in backquotes, and targets of links, that are not there."""
    paths = {path for path in _PATH.findall(text) if "NAME" not in path}
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text))
    return {path for path in paths if not (ROOT / path).exists()} | {
        link for link in links if not (page.parent / link).exists()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    assert missing(page, page.read_text()) == set()


def test_what_is_missing_is_found() -> None:
    text = "`chosns/nowhere.py`, `chosns/plan/`, `chosns/backends/NAME/`, [a](nothing.md#here), [b](README.md)"
    assert missing(ROOT / "README.md", text) == {"chosns/nowhere.py", "nothing.md"}


def test_the_design_names_every_folder() -> None:
    text = (ROOT / "docs/design.md").read_text()
    folders = {f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and re.fullmatch(_FOLDERS, path.name)}
    folders |= {f"chosns/{path.parent.name}/" for path in (ROOT / "chosns").glob("*/__init__.py")}
    folders |= {f"libchos/{path.name}/" for path in (ROOT / "libchos").iterdir() if path.is_dir()}
    assert {folder for folder in folders if f"`{folder}`" not in text} == set()


def test_the_tree_of_exceptions_is_whole() -> None:
    """The docstring of errors.py draws every exception that can reach the command line."""
    drawn = set(
        re.findall(r"^    .*?([A-Z]\w+) ", (ROOT / "chosns/errors.py").read_text().split('"""')[1], re.MULTILINE)
    )
    known = {"ChosError"}
    classes = [
        found
        for path in (ROOT / "chosns").rglob("*.py")
        for found in re.findall(r"^class (\w+)\((\w+)\):", path.read_text(), re.MULTILINE)
    ]
    while more := {name for name, base in classes if base in known} - known:
        known |= more
    assert known == drawn
