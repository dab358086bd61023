"""What chosns has in one place only, so that a reader who found it has found all of it. See docs/design.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "chosns"
SOURCES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def classes(sources: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Public class → the files that define one of that name."""
    found = defaultdict(list)
    for file, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(file)
    return found


def repeated(sources: dict[str, ast.Module]) -> dict[str, list[str]]:
    return {name: files for name, files in classes(sources).items() if len(files) > 1}


def test_a_class_name_means_one_thing() -> None:
    assert repeated(SOURCES) == {}


def test_a_second_class_of_a_name_is_found() -> None:
    second = {**SOURCES, "new.py": ast.parse("class Plan: ...")}
    assert repeated(second) == {"Plan": ["plan/operations.py", "new.py"]}


def texts(tree: ast.Module) -> list[str]:
    """The strings of a file, without those that only document it."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    ]


def says(part: str, sources: dict[str, ast.Module]) -> set[str]:
    return {file for file, tree in sources.items() if any(part in text for text in texts(tree))}


def test_the_place_of_the_registry() -> None:
    assert says("/run/chos", SOURCES) == {"model.py"}


def test_a_second_place_of_the_registry_is_found() -> None:
    second = {**SOURCES, "new.py": ast.parse('"""Of /run/chos."""\nopen(f"/run/chos/{name}")')}
    assert says("/run/chos", second) == {"model.py", "new.py"}


# The worker's child becomes the tree's shell, in a namespace of its own and with no right left.
BECOMES_ANOTHER = {"mounts/worker.py"}
RUNS = ("system", "popen", "posix_spawn", "exec", "spawn", "startfile")


def runs_programs(sources: dict[str, ast.Module]) -> set[str]:
    """Files that start a program: by subprocess, for annotations alone or not, or by a function of os."""
    found = set()
    for file, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and any(alias.name.startswith("subprocess") for alias in node.names):
                found.add(file)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("subprocess"):
                found.add(file)
            of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            if of_os and node.attr.startswith(RUNS):  # type: ignore[attr-defined]
                found.add(file)
            from_os = isinstance(node, ast.ImportFrom) and node.module == "os"
            if from_os and any(alias.name.startswith(RUNS) for alias in node.names):  # type: ignore[attr-defined]
                found.add(file)
    return found


def test_what_runs_programs() -> None:
    assert runs_programs(SOURCES) == {"system/programs.py"} | BECOMES_ANOTHER


@pytest.mark.parametrize(
    "code", ["import subprocess", "from subprocess import run", "os.execv(a, b)", "from os import posix_spawn"]
)
def test_a_second_that_runs_programs_is_found(code: str) -> None:
    assert runs_programs({"new.py": ast.parse(code)}) == {"new.py"}


# /proc as a mount point among others, whose files nobody reads there.
MOUNT_POINT = {"config/sections.py", "config/bindmap.py", "config/sysconfig.py", "mounts/late.py"}
# /proc/chos is not the kernel's own, but a file system of chos.ko's.
MODULES_OWN = {"backends/kmod/control.py"}


def knows_proc(sources: dict[str, ast.Module]) -> set[str]:
    return {file for file, tree in sources.items() if any(re.search(r"/proc(/|\Z)", text) for text in texts(tree))}


def test_the_files_of_proc() -> None:
    assert knows_proc(SOURCES) == {"system/procfs.py"} | MOUNT_POINT | MODULES_OWN


def test_the_excepted_name_no_file_of_proc() -> None:
    said = {
        text for file in MOUNT_POINT | MODULES_OWN for text in texts(SOURCES[file]) if re.search(r"/proc(/|\Z)", text)
    }
    assert {text for text in said if not text.startswith("/proc/chos")} == {"/proc"}


@pytest.mark.parametrize("code", ['os.listdir("/proc")', 'open(f"/proc/{pid}/stat")', 'f"{stage}/proc/{pid}/maps"'])
def test_another_that_knows_proc_is_found(code: str) -> None:
    assert knows_proc({"new.py": ast.parse(code)}) == {"new.py"}


def compiled_at_once(sources: dict[str, ast.Module]) -> set[str]:
    """The files that take the library's `dataclass`, which makes every start slower, and not lazydata's."""
    return {
        file
        for file, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if any(alias.name == "dataclass" for alias in node.names)
    }


def test_dataclasses_are_lazy() -> None:
    assert compiled_at_once(SOURCES) == {"lazydata.py"}
    second = {**SOURCES, "new.py": ast.parse("from dataclasses import dataclass, field")}
    assert compiled_at_once(second) == {"lazydata.py", "new.py"}
