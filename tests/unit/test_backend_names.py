"""Outside of chosns/backends no code knows a backend's name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chosns import backends

CHOSNS = Path(backends.__file__).resolve().parents[1]
# What is called so for another reason, and why.
OTHERWISE = {
    "integrate/kmod.py": "installs the module as a product, and is called as that",
    "registry/reader.py": "`ns` is a key of the registry's file `base`, and the file of a pin",
}


def constants(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, docstrings left out."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def names_in(source: str) -> set[str]:
    """The backends that a module names: by importing what is below one, or in a string."""
    found = set()
    tree = ast.parse(source)
    for name in backends.names():
        # `ns` is also what the kernel calls a namespace: in paths and in its files.
        pattern = r"\bbackend ns\b|\Ans\Z" if name == "ns" else rf"\b{name}\b"
        if any(re.search(pattern, text) for text in constants(tree)):
            found.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {
                name
                for name in backends.names()
                for module in modules
                if f"{module}.".startswith(f"chosns.backends.{name}.")
            }
    return found


@pytest.mark.parametrize("path", [p for p in sorted(CHOSNS.rglob("*.py")) if "backends" not in p.parts], ids=str)
def test_no_name_outside(path: Path) -> None:
    found = names_in(path.read_text())
    assert not found or str(path.relative_to(CHOSNS)) in OTHERWISE, f"{path} names {found}"


@pytest.mark.parametrize("name", sorted(OTHERWISE))
def test_what_is_excepted_is_there(name: str) -> None:
    assert names_in((CHOSNS / name).read_text())


@pytest.mark.parametrize(
    "source",
    [
        "from chosns.backends.kmod import control",
        "from chosns.backends import kmod",
        "if backend == 'ns': pass",
        "x = f'use the backend ns, {1}'",
        "x = {'kmod': 1}",
    ],
)
def test_a_name_is_found(source: str) -> None:
    assert names_in(source)


def test_paths_of_the_kernel_are_none() -> None:
    assert not names_in("'''The backend ns.'''\nx = '/proc/self/ns/mnt'\nfrom chosns.backends import Seen")


def test_the_halves_of_every_backend() -> None:
    """Each row of the table leads to both, and they agree."""
    for name in backends.names():
        assert backends.presence(name).traits.name == name == backends.create(name).traits.name
        assert bool(backends.traits(name).service) == (backends.presence(name).report() is not None)
    assert backends.builder(("kmod", "ns")) == "ns" and backends.builder(("kmod",)) == "kmod"
