"""What the products in C use: no circle within one, nothing of another, and libchos/host in root hosts only.

Each file is compiled, and nm(1) says which functions and data it defines and which it uses.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.graphs import circle

ROOT = Path(__file__).parents[2]
PRODUCTS = ("launcher", "pam", "starters/pam", "starters/slurm")
BELOW = "libchos"
# Only root hosts use it. The launcher is the user's process, and kept small.
FOR_HOSTS = "libchos/host"
NEEDS = {"pam": "security/pam_modules.h", "starters/pam": "security/pam_appl.h", "starters/slurm": "slurm/spank.h"}
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-w", "-c", "-Ilibchos", "-Ilibchos/host", "-Ilauncher", "-Ipam"]
# A program of its own, in one file.
ALONE = {"starters/pam/pam_job_starter.c"}


class Graph:
    """What each file defines and uses, by the name of the symbol."""

    def __init__(self) -> None:
        self.defines: dict[str, set[str]] = {}
        self.uses: dict[str, set[str]] = {}

    def add(self, file: str, symbols: str) -> None:
        """:param symbols: what nm says of its object."""
        found = re.findall(r"^(?:[0-9a-f]+)? +([A-Za-z]) (\S+)$", symbols, re.M)
        self.defines[file] = {name for kind, name in found if kind.isupper() and kind != "U"}
        self.uses[file] = {name for kind, name in found if kind == "U"}

    def arrows(self) -> dict[str, dict[str, set[str]]]:
        """From file to file, with the names."""
        return {
            file: {
                other: used & defined
                for other, defined in self.defines.items()
                if file != other and used & defined and sees(file, other)
            }
            for file, used in self.uses.items()
        }


def folder(file: str) -> str:
    return file.rpartition("/")[0]


def sees(file: str, other: str) -> bool:
    """Two products are never linked together, and may use the same names."""
    return folder(other) not in PRODUCTS or folder(file) == folder(other)


def sources() -> list[str]:
    """Every file whose headers are on this machine."""
    found = []
    for directory in (*PRODUCTS, *sorted({str(path.parent.relative_to(ROOT)) for path in ROOT.glob(f"{BELOW}/*/*.c")})):
        if directory in NEEDS and not Path("/usr/include", NEEDS[directory]).exists():
            continue
        found += [str(path.relative_to(ROOT)) for path in sorted((ROOT / directory).glob("*.c"))]
    return [file for file in found if file not in ALONE]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    compiler = shutil.which("gcc", path="/usr/bin:/bin") or shutil.which("cc")
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("there is no C compiler, or no nm")
    made, drawn = tmp_path_factory.mktemp("objects") / "one.o", Graph()
    for file in sources():
        subprocess.run([compiler, *FLAGS, file, "-o", made], cwd=ROOT, check=True)
        drawn.add(file, subprocess.run(["nm", made], capture_output=True, text=True, check=True).stdout)
    return drawn


def wrong(graph: Graph) -> list[str]:
    """Arrows from libchos to a product, and from the launcher to what is for root hosts."""
    return [
        f"{file} uses {', '.join(sorted(names))} of {other}"
        for file, used in graph.uses.items()
        for other, defined in graph.defines.items()
        if (names := used & defined)
        and (
            (file.startswith(BELOW) and folder(other) in PRODUCTS)
            or (folder(file), folder(other)) == ("launcher", FOR_HOSTS)
        )
    ]


def within_products(graph: Graph) -> dict[str, set[str]]:
    """The arrows between files of products."""
    return {
        file: {other for other in others if folder(other) in PRODUCTS}
        for file, others in graph.arrows().items()
        if folder(file) in PRODUCTS
    }


def test_who_uses_what(graph: Graph) -> None:
    assert wrong(graph) == []


def test_there_is_no_circle(graph: Graph) -> None:
    assert circle(within_products(graph)) == []


def test_the_graph_is_read() -> None:
    """What the two tests above would find."""
    drawn = Graph()
    drawn.add("libchos/host/a.c", "0000000000000000 T a\n                 U b\n                 U open\n")
    drawn.add(
        "launcher/b.c", "0000000000000010 T b\n0000000000000020 t c\n                 U a\n                 U d\n"
    )
    drawn.add("launcher/d.c", "0000000000000000 D d\n                 U b\n")
    drawn.add("pam/d.c", "0000000000000000 T d\n                 U c\n")
    assert wrong(drawn) == [
        "libchos/host/a.c uses b of launcher/b.c",
        "launcher/b.c uses a of libchos/host/a.c",
    ]
    assert set(circle(within_products(drawn))) == {"launcher/b.c", "launcher/d.c"}
