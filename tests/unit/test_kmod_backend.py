"""The kmod backend's decisions: what it refuses, whose each top-level name is, and who is in which generation."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chosns.backends import Service
from chosns.backends.kmod import control
from chosns.backends.kmod.backend import _require_closed, _require_possible
from chosns.backends.kmod.presence import TreeHomes
from chosns.backends.kmod.root import tree_names
from chosns.errors import BuildError, UnsafeError
from chosns.model import Environment, ExtraBind, Policy, Site, Sysconfig
from chosns.node.actions import Withdraw
from chosns.node.decision import closing
from chosns.node.state import NodeState
from chosns.registry import Generation
from chosns.registry.excess import recorded
from tests.unit.plan_support import DEFAULT, HERE

ENV = Environment("one", "/os/one", HERE)
SITE = Site((ENV,), bindmaps={"default": DEFAULT})


def generation(name: str, number: int, backend: str, tree: str) -> Generation:
    manifest: dict[str, Any] = {"backend": backend, "tree": tree, "namespace": int(backend == "ns")}
    return Generation(name, number, 0, manifest, pinned=backend == "ns")


def test_whose_names_are() -> None:
    trees = tree_names(SITE)
    assert {"usr", "etc", "opt", "bin", "lib", "sbin", "var"} <= trees and not {"home", "tmp", "proc", "local"} & trees
    bound = Sysconfig((ExtraBind("/opt", "/opt"), ExtraBind("/usr/local/x", "/usr/local/x")))
    assert tree_names(replace(SITE, sysconfig=bound)) == trees - {"opt"}, "only whole directories can be the base's"


def test_what_the_module_cannot_do_is_refused() -> None:
    _require_possible(ENV, SITE)
    with pytest.raises(BuildError, match="read-only"):
        _require_possible(replace(ENV, policy=Policy(read_only=True)), SITE)


def test_a_tree_that_all_may_look_into() -> None:
    """Unsafe, and not just impossible: what was published before must not stay."""
    closed = {"mode": 0o40750, "acl": False, "group": 50}
    _require_closed(ENV, {**closed, "mode": 0o40755}, ())
    _require_closed(replace(ENV, groups=("a",)), closed, (50,))
    for more in ({"mode": 0o40755}, {"acl": True}, {"group": 51}):
        with pytest.raises(UnsafeError, match="keep users out"):
            _require_closed(replace(ENV, groups=("a",)), {**closed, **more}, (50,))


def test_an_older_module_does_not_bind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named in a note for every environment, and one with no_new_privs is refused."""
    bound = replace(ENV, policy=Policy(no_new_privs=True))
    here: set[str] = set()
    monkeypatch.setattr(os.path, "isdir", here.__contains__)
    monkeypatch.setattr(os.path, "exists", here.__contains__)
    _require_possible(bound, SITE)  # not loaded: the installed one will be
    here.add("/sys/module/chos/parameters")
    _require_possible(ENV, SITE)
    with pytest.raises(UnsafeError, match="older"):
        _require_possible(bound, SITE)
    here.add("/sys/module/chos/parameters/clears")
    _require_possible(bound, SITE)


@pytest.mark.parametrize("tree", ["/opt/trees/one", "/usr"])
def test_a_tree_that_is_hidden_inside(tree: str) -> None:
    with pytest.raises(BuildError, match="is the tree's own"):
        _require_possible(replace(ENV, tree=tree), SITE)


def test_who_came_by_the_module_is_in_a_generation_of_the_tree() -> None:
    """One made for the module alone, where there is one; a generation of ns serves both."""
    only_ns = [generation("one", 1, "ns", "/os/one"), generation("one", 2, "ns", "/os/one")]
    assert str(TreeHomes(only_ns)._by_tree["/os/one"]) == "one.2"
    assert str(TreeHomes([generation("one", 1, "kmod", "/os/one"), only_ns[1]])._by_tree["/os/one"]) == "one.1"


class Module:
    """The list as the module keeps it. `old`: knows no `-/path`; `hand`: what somebody else takes off meanwhile."""

    def __init__(self, *paths: str, old: bool = False, hand: str = "") -> None:
        self.paths, self.old, self.hand = list(paths), old, hand
        self.written: list[str] = []

    def allowed(self) -> tuple[str, ...]:
        return tuple(self.paths)

    def write(self, name: str, text: str) -> None:
        assert name == "valid"
        self.written.append(text)
        if self.hand in self.paths:
            self.paths.remove(self.hand)
        if text == "-":
            self.paths.clear()
        elif text.startswith("/"):
            self.paths += [] if text in self.paths else [text]
        elif self.old:
            raise OSError(errno.EINVAL, "Invalid argument", text)
        elif text[1:] not in self.paths:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", text)
        else:
            self.paths.remove(text[1:])


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Module, list[str]], list[str]]:
    def call(module: Module, trees: list[str]) -> list[str]:
        monkeypatch.setattr(control, "allowed", module.allowed)
        monkeypatch.setattr(control, "_write", module.write)
        control.allow(trees)
        assert set(module.paths) == set(trees)
        return module.written

    return call


def test_a_tree_that_stays_is_allowed_all_the_time(allow: Callable[[Module, list[str]], list[str]]) -> None:
    """What must go goes first; nothing is written for a tree that stays."""
    module = Module("/os/1", "/os/2", "/os/3")
    assert allow(module, ["/os/4", "/os/2", "/os/4"]) == ["-/os/1", "-/os/3", "/os/4"]
    module.written.clear()
    assert allow(module, ["/os/4", "/os/2"]) == []


def test_where_none_is_wanted_all_go_at_once(allow: Callable[[Module, list[str]], list[str]]) -> None:
    assert allow(Module("/os/1", "/os/2"), []) == ["-"]
    assert allow(Module(), []) == []


@pytest.mark.parametrize(
    "module", [Module("/os/1", "/os/2", "/os/3", old=True), Module("/os/1", "/os/2", "/os/3", hand="/os/1")]
)
def test_a_tree_that_must_go_goes(allow: Callable[[Module, list[str]], list[str]], module: Module) -> None:
    """Also where the loaded module is older than chosctl, or somebody else writes to the list."""
    assert "-" in allow(module, ["/os/2"])


def test_the_list_is_read_as_the_kernel_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a newline ends a path: what a boot script with CR LF added can be taken off, too."""
    monkeypatch.setattr(control, "PLACE", str(tmp_path))
    paths = ("/os/1\r", "/os/\u2028", os.fsdecode(b"/os/\xff"), "/os/\v 2")
    (tmp_path / "valid").write_bytes(b"".join(os.fsencode(path) + b"\n" for path in paths))
    assert control.allowed() == paths


def stays_allowed(manifest: dict[str, Any], now: Policy) -> bool:
    """Whether the module lets users into what was made as `manifest` says, before the tree is looked at again."""
    node = NodeState(
        prepared=True,
        backends=("ns", "kmod"),
        links={"one": "../gen/one.1"},
        generations={"one.1": Generation("one", 1, 0, manifest, pinned=True)},
        entrants={"one.1": None},
        services={"kmod": Service(trees={"one": "/os/one"})},
    )
    found = closing(replace(ENV, policy=now), SITE, node).actions
    return not any(isinstance(action, Withdraw) for action in found)


@pytest.mark.parametrize(
    ("made", "image", "now", "stays"),
    [
        (Policy(trust="site"), "", Policy(), True),
        (Policy(trust="foreign", no_new_privs=True), "", Policy(), True),
        (Policy(trust="foreign", no_new_privs=True), "squashfs", Policy(), True),
        (Policy(trust="site"), "squashfs", Policy(trust="site"), True),
        (Policy(trust="site"), "squashfs", Policy(), False),
        (Policy(nosuid=False), "", Policy(), False),
        (Policy(), "", Policy(no_new_privs=True), False),
        (Policy(owner="cvmfs"), "", Policy(), False),
    ],
)
def test_the_module_lets_nobody_in_by_an_older_policy(made: Policy, image: str, now: Policy, stays: bool) -> None:
    """And an `up` that changes nothing takes nothing away, not for a moment."""
    before = replace(ENV, policy=made)
    assert stays_allowed({**recorded(before), "image": image}, now) is stays
    assert not stays_allowed({**recorded(replace(before, groups=("a",))), "image": image}, now)


@pytest.mark.parametrize(("now", "stays"), [(Policy(), False), (Policy(trust="site"), True)])
def test_an_earlier_version_did_not_say_whether_a_tree_is_an_image(now: Policy, stays: bool) -> None:
    assert stays_allowed(recorded(replace(ENV, policy=Policy(trust="site"))), now) is stays
