"""One suite for every backend: what users can rely on (`make conformance`, tools/conformance).

The backend is in $CHOS_BACKEND. The tests know it only to set it up: what they look at is what users see. They share
one node, for in a virtual machine preparing one takes long; what changes it, puts it back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from node import Node
from node_fixtures import empty_node, etc, pytest_sessionstart, users
from rows import BACKENDS, row_of
from site_of_old import Site

__all__ = ["etc", "pytest_sessionstart", "users"]
BACKEND = os.environ.get("CHOS_BACKEND") or "ns"
_results: dict[str, str] = {}


def _test(item: Any) -> str:
    return f"{item.module.__name__}.{item.originalname}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="without the rows that prepare the node anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What a backend is said not to do, it must not do."""
    assert BACKEND in BACKENDS, f"CHOS_BACKEND={BACKEND}"
    if config.getoption("--quick"):
        items[:] = [item for item in items if "changed" not in getattr(item, "fixturenames", ())]
    for item in items:
        reason = row_of(_test(item)).but.get(BACKEND)
        if reason:
            item.add_marker(pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Collect how each row went; of a test that has several parts, the worst counts."""
    report: Any = (yield).get_result()
    order = ("yes", "no", "skipped", "FAILED")
    went = "yes" if report.passed else "no" if hasattr(report, "wasxfail") else "FAILED" if report.failed else "skipped"
    if report.when == "call" or went != "yes":
        name = _test(item)
        _results[name] = max(_results.get(name, "yes"), went, key=order.index)


def pytest_sessionfinish() -> None:
    """Leave the results where table.py finds them."""
    target = os.environ.get("CHOS_RESULTS")
    if target:
        Path(target).write_text(json.dumps(_results))


@pytest.fixture(scope="session")
def backend() -> str:
    """The backend under test."""
    return BACKEND


@pytest.fixture(scope="session")
def site(users: None, backend: str) -> Iterator[Site]:
    """The node of a site that has used CHOS for years: its trees, its files in /etc; prepared once."""
    with empty_node() as node:
        site = Site(node, backend)
        site.make_trees()
        site.write()
        yield site
        node.end()
        site.end_residents()
        node.chosctl("down")


@pytest.fixture
def node(site: Site) -> Iterator[Node]:
    """The node, ready for use. A test that prepares it otherwise uses `changed`, too."""
    site.prepare()
    yield site.node
    site.node.end()


@pytest.fixture
def changed(site: Site) -> Iterator[Node]:
    """The node for a test that changes what is configured or prepared, and begins with an `up` of its own."""
    yield site.node
    site.node.end()
    site.write()
    site.prepared = False


@pytest.fixture
def dotfile() -> Iterator[Callable[[str], None]]:
    """A function that writes alice's ~/.chos; removed afterwards."""
    path = Path("/home/alice/.chos")

    def write(text: str) -> None:
        path.write_text(text)
        subprocess.run(["chown", "alice:", path], check=True)

    yield write
    path.unlink(missing_ok=True)
