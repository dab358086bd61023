"""What chosns has in one place only, so that a reader who found it has found all of it. See docs/design.md."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "chosns"
SOURCES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
# Named alike on purpose, or not yet told apart. Nothing may be added.
ALIKE = {"NodeState", "Wish"}


def classes(sources: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Public class → the files that define one of that name."""
    found = defaultdict(list)
    for file, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(file)
    return found


def repeated(sources: dict[str, ast.Module]) -> dict[str, list[str]]:
    return {name: files for name, files in classes(sources).items() if len(files) > 1 and name not in ALIKE}


def test_a_class_name_means_one_thing() -> None:
    assert repeated(SOURCES) == {}


def test_a_second_class_of_a_name_is_found() -> None:
    second = {**SOURCES, "new.py": ast.parse("class Plan: ...")}
    assert repeated(second) == {"Plan": ["plan/operations.py", "new.py"]}
