"""The names that each package of chosns offers. All others are taken from the module that defines them."""

from __future__ import annotations

import ast

import pytest

from tests.unit.test_import_graph import MODULES

PUBLIC = {
    "chosns": {"__version__"},
    "chosns.backends": {
        *("TABLE", "TIME_LIMIT", "Backend", "Homes", "Look", "Presence", "Row", "Seen", "Service", "ServiceReport"),
        *("Traits", "WithoutService", "builder", "create", "names", "presence", "traits", "with_groups"),
    },
    "chosns.backends.kmod": set(),
    "chosns.backends.ns": set(),
    "chosns.cli": {"chosctl", "main"},
    "chosns.config": {"broken", "check_groups", "read_site", "require_usable", "shipped_bindmap_dirs"},
    "chosns.doctor": set(),
    "chosns.integrate": set(),
    "chosns.mounts": set(),
    "chosns.node": set(),
    "chosns.observe": set(),
    "chosns.plan": {
        *("Bind", "Entry", "Hide", "Kind", "MakeDirectory", "MakeRoot", "MakeSymlink", "Operation", "Overlay", "Pivot"),
        *("Plan", "View", "make_plan"),
    },
    "chosns.registry": {"PATH", "Generation", "Registry", "open_registry"},
    "chosns.system": set(),
    "chosns.trees": set(),
}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def offered(source: str) -> set[str]:
    """`__all__`; where there is none, all that a package defines or imports."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if "__all__" in names:
                return set(ast.literal_eval(node.value))
            found |= names
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names} - {"annotations"}
    return found


def not_offered(source: str) -> set[str]:
    """What a module takes from a package of chosns that does not offer it."""
    return {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module in PACKAGES
        for alias in node.names
        if alias.name not in PUBLIC[node.module] and f"{node.module}.{alias.name}" not in MODULES
    }


def test_every_package_is_here() -> None:
    assert set(PUBLIC) == PACKAGES


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names(name: str) -> None:
    assert offered(MODULES[name].read_text()) == PUBLIC[name]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_public_names_are_taken(name: str) -> None:
    assert not_offered(MODULES[name].read_text()) == set()


def test_a_name_more_is_found() -> None:
    assert offered("from chosns.x import Y\n__all__ = ['Z']\n") == {"Z"}
    assert offered("from chosns.x import Y\nz: int = 1\ndef f(): ...\n") == {"Y", "z", "f"}
    assert not_offered("from chosns.registry import PATH, Written, reader") == {"chosns.registry.Written"}
