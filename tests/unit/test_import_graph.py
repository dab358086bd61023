"""Who imports whom in chosns: no circle, and no arrow from a lower floor to a higher one. See docs/design.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.graphs import circle

HERE = Path(__file__).resolve().parents[2]
PACKAGE = HERE / "chosns"
# From the ground up. Modules directly in chosns/ belong to no floor: for them only circles are looked for.
FLOORS = (
    "system",
    "plan",
    "config",
    "trees",
    "registry",
    "mounts",
    "backends",
    "observe",
    "node",
    "integrate",
    "doctor",
    "cli",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path, *, nested: bool = True) -> set[str]:
    """The modules of chosns that a file imports; with those of its functions' bodies where `nested`."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if nested else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {name for name in found if name in MODULES} - {name_of(path)}


def floor(name: str) -> str:
    """The folder of a module; empty where it is directly in chosns."""
    part = name.split(".")[1] if "." in name else ""
    return part if (PACKAGE / part).is_dir() and part else ""


def test_no_circle() -> None:
    assert circle({name: imports(path, nested=False) for name, path in MODULES.items()}) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_folder_has_its_floor() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOORS)


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if floor(name)])
def test_no_arrow_runs_up(name: str) -> None:
    own = FLOORS.index(floor(name))
    above = sorted(other for other in imports(MODULES[name]) if floor(other) and FLOORS.index(floor(other)) > own)
    assert not above, f"{name} is on the floor {floor(name)} and imports {', '.join(above)}"


def test_the_design_names_the_floors() -> None:
    text = (HERE / "docs/design.md").read_text()
    [said] = re.findall(r"<!-- floors -->\n(.*)\n", text)
    assert [word.strip("`") for word in said.split(" < ")] == list(FLOORS)
