"""The kmod backend's decisions: what it refuses, whose each top-level name is, and who is in which generation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plan_support import DEFAULT, HERE

from chosns.backends.kmod import _require_possible
from chosns.errors import BuildError
from chosns.model import Bind, Environment, Policy, Site, Sysconfig
from chosns.module import control
from chosns.module.root import tree_names
from chosns.observe.homes import Homes
from chosns.registry import Generation

ENV = Environment("one", "/os/one", HERE)
SITE = Site((ENV,), bindmaps={"default": DEFAULT})


def generation(name: str, number: int, backend: str, tree: str) -> Generation:
    manifest: dict[str, Any] = {"backend": backend, "tree": tree, "namespace": 0}
    return Generation(name, number, 0, manifest, pinned=backend == "ns")


def test_whose_names_are() -> None:
    trees = tree_names(SITE)
    assert {"usr", "etc", "opt", "bin", "lib", "sbin", "var"} <= trees and not {"home", "tmp", "proc", "local"} & trees
    bound = Sysconfig((Bind("/opt", "/opt"), Bind("/usr/local/x", "/usr/local/x")))
    assert tree_names(replace(SITE, sysconfig=bound)) == trees - {"opt"}, "only whole directories can be the base's"


def test_what_the_module_cannot_do_is_refused() -> None:
    _require_possible(ENV, SITE)
    with pytest.raises(BuildError, match="read-only"):
        _require_possible(replace(ENV, policy=Policy(read_only=True)), SITE)


@pytest.mark.parametrize("tree", ["/opt/trees/one", "/usr"])
def test_a_tree_that_is_hidden_inside(tree: str) -> None:
    with pytest.raises(BuildError, match="is the tree's own"):
        _require_possible(replace(ENV, tree=tree), SITE)


def test_who_came_by_the_module_is_in_a_generation_of_the_tree() -> None:
    """One made for the module alone, where there is one; a generation of ns serves both."""
    only_ns = [generation("one", 1, "ns", "/os/one"), generation("one", 2, "ns", "/os/one")]
    assert str(Homes(only_ns)._by_tree["/os/one"]) == "one.2"
    assert str(Homes([generation("one", 1, "kmod", "/os/one"), only_ns[1]])._by_tree["/os/one"]) == "one.1"


def test_a_tree_that_stays_is_allowed_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must go goes first; nothing is written for a tree that stays."""
    written: list[str] = []
    monkeypatch.setattr(control, "allowed", lambda: ("/os/one", "/os/two", "/os/three"))
    monkeypatch.setattr(control, "_write", lambda name, text: written.append(f"{name} {text}"))
    control.allow(["/os/four", "/os/two", "/os/four"])
    assert written == ["valid -/os/one", "valid -/os/three", "valid /os/four"]
    written.clear()
    control.allow(["/os/two", "/os/three", "/os/one"])
    assert written == []
