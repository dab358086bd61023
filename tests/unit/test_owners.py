"""Walking a path step by step leads where the kernel goes, inside a root; and what is said where root cannot look."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chosns.errors import ConfigError, PlanError, TreeError
from chosns.model import ExtraBind, Origin, Policy
from chosns.system.inside import open_inside
from chosns.trees import check, owners, sources
from chosns.trees.directory import DirectoryView

NAMES = ("a", "b", "c")
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
targets = st.builds(
    lambda absolute, parts: ("/" if absolute else "") + "/".join(parts),
    st.booleans(),
    st.lists(st.sampled_from([*NAMES, "..", "."]), min_size=1, max_size=4),
)
trees = st.dictionaries(
    paths, st.one_of(st.just("dir"), st.just("file"), targets.map(lambda to: ("link", to))), max_size=6
)


@contextmanager
def root_of(nodes: dict) -> Iterator[Path]:
    """A directory with these in it, as far as they fit together."""
    top = Path(tempfile.mkdtemp())
    try:
        for path, node in sorted(nodes.items()):
            place = top / path
            if any(above.is_symlink() or above.is_file() for above in (place, *place.parents) if above != top):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if node == "dir":
                place.mkdir(exist_ok=True)
            elif place.is_dir():
                continue
            elif node == "file":
                place.write_text("x")
            else:
                place.symlink_to(node[1])
        yield top
    finally:
        shutil.rmtree(top)


@settings(deadline=None)
@given(trees, st.lists(st.sampled_from([*NAMES, ".."]), max_size=4).map("/".join))
def test_steps_lead_where_the_kernel_does(nodes: dict, path: str) -> None:
    with root_of(nodes) as top, DirectoryView(str(top)) as view:
        try:
            fd = open_inside(view.fd, path or "/", os.O_PATH)
        except OSError as error:
            with pytest.raises(OSError) as raised:
                list(owners.steps(view.fd, path))
            assert raised.value.errno == error.errno
            return
        there = os.fstat(fd)
        os.close(fd)
        steps = list(owners.steps(view.fd, path))
        assert (steps[-1].status.st_dev, steps[-1].status.st_ino) == (there.st_dev, there.st_ino)
        assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
        assert not stat.S_ISLNK(steps[-1].status.st_mode)


def test_each_step_is_judged(tmp_path: Path) -> None:
    """What is beyond a link, too; the sticky bit helps on the way alone."""
    mine = {os.getuid()}
    for name in ("way", "way/in", "other"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "way/link").symlink_to("/other")
    (tmp_path / "way/in/file").write_text("x")
    with DirectoryView(str(tmp_path)) as view:
        tmp_path.chmod(0o755)

        def found(path: str, sticky: bool = True) -> str:
            theirs = owners.others(view.fd, path, mine, sticky=sticky)
            return f"{theirs.path} {theirs.last}" if theirs else ""

        assert found("/way/in/file") == found("/way/link") == ""
        for path, mode, wanted in (
            ("way", 0o775, "/way False"),
            ("way", 0o757, "/way False"),
            ("way", 0o1777, ""),
            ("way/in", 0o1777, ""),
            ("way/in/file", 0o666, "/way/in/file True"),
            ("way/in/file", 0o1666, "/way/in/file True"),
        ):
            before = (tmp_path / path).stat().st_mode
            (tmp_path / path).chmod(mode)
            assert found("/way/in/file") == wanted, (path, oct(mode))
            (tmp_path / path).chmod(before)
        (tmp_path / "way").chmod(0o1777)
        assert found("/way/in/file", sticky=False) == "/way False"
        (tmp_path / "other").chmod(0o1777)
        assert found("/way/link") == "/other True"
        theirs = owners.others(view.fd, "/way/link", {os.getuid() + 1})
        assert theirs and theirs.path == "/" and "belongs to" in theirs.why


def test_whose_a_tree_may_be() -> None:
    assert owners.owners_of(Policy()) == {0}
    assert owners.owners_of(Policy(owner="daemon")) == {0, 1}
    with pytest.raises(ConfigError, match="account nobody-here, which may own the OS tree, is unknown"):
        owners.owners_of(Policy(owner="nobody-here"))


def test_what_root_may_not_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """root_squash: root is nobody there."""

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/nfs/site")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sources, "others", closed)
    monkeypatch.setattr(check, "others", closed)
    bind = ExtraBind("/nfs/site/x", "/etc/profile.d", origin=Origin("/etc/chos.d/a.toml", 3))
    with DirectoryView("/") as base, pytest.raises(PlanError, match="/nfs/site cannot be looked at") as raised:
        sources.check_sources(base, (bind,))
    assert "root_squash" in raised.value.hint and "a.toml:3" in raised.value.hint
    with pytest.raises(TreeError, match="cannot be opened: Permission denied") as refused:
        check.open_tree_root("/nfs/site/tree")
    assert "root_squash" in refused.value.hint and "/nfs/site keeps" in refused.value.hint
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with DirectoryView("/") as base:
        sources.check_sources(base, (bind,))
    with pytest.raises(TreeError, match="Permission denied") as refused:
        check.open_tree_root("/nfs/site/tree")
    assert refused.value.hint == "become root"
