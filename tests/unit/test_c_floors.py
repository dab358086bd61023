"""libchos in floors: no file uses one of a higher floor or of the other backend, and no two files use each other.

The arrows are drawn from two sources: the headers that a file includes, and what its object file takes from others.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.graphs import circle

REPO = Path(__file__).parents[2]
LIBCHOS = REPO / "libchos"
# From the ground up; the two backends are side by side.
FLOORS = {"sys": 0, "format": 1, "registry": 2, "ns": 3, "kmod": 3, "enter": 4, "host": 5}
Graph = Mapping[str, set[str]]


def floor(name: str) -> str:
    return name.partition("/")[0]


def rising(graph: Graph) -> list[str]:
    """The arrows that lead up, or from one backend to the other."""
    wrong = []
    for name, uses in graph.items():
        for used in uses:
            here, there = floor(name), floor(used)
            if here != there and FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{name} -> {used}")
    return sorted(wrong)


def sources(suffix: str) -> list[Path]:
    return sorted(LIBCHOS.glob(f"*/*{suffix}"))


def included() -> dict[str, set[str]]:
    """The headers of the floors. chos.h, the one for all who use libchos, and system headers are left out."""
    graph = {}
    for path in [*sources(".c"), *sources(".h")]:
        names = re.findall(r'^#include "([^"]+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
        # What host/ has is found by its own folder, beside the file.
        found = {name if "/" in name else f"host/{name}" for name in names if name != "chos.h"}
        graph[path.relative_to(LIBCHOS).as_posix()] = found
    return graph


def called(folder: Path) -> dict[str, set[str]]:
    """Who takes a function or a variable from whom, as the compiler sees it."""
    compiler = shutil.which("gcc", path="/usr/bin:/bin") or shutil.which("cc")
    if not compiler or not shutil.which("nm"):
        pytest.skip("there is no C compiler")
    owner: dict[str, str] = {}
    wants: dict[str, set[str]] = {}
    for number, path in enumerate(sources(".c")):
        name = path.relative_to(LIBCHOS).as_posix()
        made = folder / f"{number}.o"
        command = [compiler, "-std=c11", "-D_GNU_SOURCE", f"-I{LIBCHOS}", "-c", str(path), "-o", str(made)]
        subprocess.run(command, check=True)
        symbols = subprocess.run(["nm", "-g", str(made)], stdout=subprocess.PIPE, text=True, check=True).stdout
        wants[name] = set()
        for line in symbols.splitlines():
            kind, symbol = line.split()[-2:]
            if kind == "U":
                wants[name].add(symbol)
            else:
                owner[symbol] = name
    return {name: {owner[symbol] for symbol in taken if symbol in owner} - {name} for name, taken in wants.items()}


def test_every_file_stands_on_a_floor() -> None:
    assert {
        floor(path.relative_to(LIBCHOS).as_posix()) for path in LIBCHOS.rglob("*.[ch]") if path.name != "chos.h"
    } == set(FLOORS)


def test_headers() -> None:
    graph = included()
    assert {name for used in graph.values() for name in used} <= set(graph)
    assert rising(graph) == []
    assert circle(graph) == []


def test_calls(tmp_path: Path) -> None:
    graph = called(tmp_path)
    # What is to be found is there to be found.
    assert "sys/open.c" in graph["registry/registry.c"]
    assert "kmod/kmod.c" in graph["enter/backends.c"]
    assert rising(graph) == []
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        ({"sys/a.c": set()}, []),
        ({"registry/a.c": {"sys/b.c", "registry/c.c"}}, []),
        ({"registry/a.c": {"kmod/b.c"}}, ["registry/a.c -> kmod/b.c"]),
        ({"ns/a.c": {"kmod/b.c"}}, ["ns/a.c -> kmod/b.c"]),
        ({"enter/a.c": {"host/b.c"}}, ["enter/a.c -> host/b.c"]),
    ],
)
def test_an_arrow_that_runs_up(graph: Graph, wrong: list[str]) -> None:
    assert rising(graph) == wrong


def test_a_circle_is_found() -> None:
    assert circle({"enter/a.c": {"enter/b.c"}, "enter/b.c": {"enter/c.c"}, "enter/c.c": {"enter/b.c"}}) == [
        "enter/b.c",
        "enter/c.c",
        "enter/b.c",
    ]


def test_only_the_list_knows_the_names_of_backends() -> None:
    """What is not a backend's own folder learns their names from the list in enter/backends.c."""
    texts = {
        path: path.read_text(encoding="utf-8")
        for room in ("libchos", "launcher", "pam", "starters")
        for path in (REPO / room).rglob("*.c")
    }
    naming = {path.relative_to(REPO).as_posix() for path, text in texts.items() if re.search(r'"(ns|kmod)"', text)}
    # In parse.c, `ns` is a key of the file `base`: the number of a namespace.
    assert naming <= {"libchos/enter/backends.c", "libchos/kmod/kmod.c", "libchos/format/parse.c"}
