"""Resolving paths below a root: in memory against the kernel's own answers, and on real directories."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from chosns.plan.view import Kind, resolve
from chosns.system.paths import is_below, join, parent, split
from chosns.trees.directory import DirectoryView
from tests.unit.plan_support import Node, Root, link

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ("a", "b", "c")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(join)
TEXTS = st.builds(
    lambda lead, parts: lead + "/".join(parts),
    st.sampled_from(["", "/", "./", "../"]),
    st.lists(st.sampled_from([*NAMES, "..", ".", ""]), min_size=1, max_size=5),
).filter(bool)
NODES = st.one_of(st.just("dir"), st.just("dir"), st.just("file"), st.tuples(st.just("link"), TEXTS))
ROOTS = st.dictionaries(PATHS, NODES, max_size=9).map(Root)
QUESTIONS = st.lists(st.sampled_from([*NAMES, ".."]), min_size=1, max_size=5).map(join)


def make(root: Root, at: Path) -> Path:
    """The same root on disk."""
    at.mkdir()
    for path in sorted(root.nodes, key=lambda path: len(split(path))):
        if root.kind(path) is Kind.DIRECTORY:
            (at / path[1:]).mkdir()
        elif root.kind(path) is Kind.LINK:
            os.symlink(root.readlink(path), at / path[1:])
        elif root.kind(path) is Kind.FILE:
            (at / path[1:]).touch()
    return at


def plain(path: str) -> bool:
    """Whether realpath(3) can be asked: nothing absolute, nothing that climbs above the root."""
    depth = 0
    for part in split(path):
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return not path.startswith("/")


@QUICK
@given(
    st.dictionaries(PATHS, NODES.filter(lambda node: not isinstance(node, tuple) or plain(node[1])), max_size=9).map(
        Root
    ),
    QUESTIONS.filter(lambda path: plain(path[1:])),
)
def test_resolve_agrees_with_realpath(tmp_path_factory: pytest.TempPathFactory, root: Root, path: str) -> None:
    top = make(root, tmp_path_factory.mktemp("view") / "root")
    found = resolve(root, path)
    real = os.path.realpath(f"{top}{path}")
    assume(is_below(real, str(top)))  # a link to `.`, and `..` behind it
    if os.path.exists(f"{top}{path}"):
        assert found is not None
        assert f"{top}{found.path}".rstrip("/") == real
        assert found.kind is (Kind.DIRECTORY if os.path.isdir(real) else Kind.FILE)
        assert not found.missing
    else:
        assert found is None or found.kind is None


@QUICK
@given(ROOTS, QUESTIONS, st.booleans())
# Where the kernel's answer differs when it is asked with fewer flags; chance finds these in most runs only.
@example(Root({"/a": ("link", "/b"), "/b/c": "file"}), "/a/c", False)
@example(Root({"/a": ("link", "../../b"), "/b/c": "dir"}), "/a/c", False)
@example(Root({"/a": "file"}), "/../a", False)
def test_resolve_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, root: Root, path: str, follow: bool
) -> None:
    """openat2 with RESOLVE_IN_ROOT is the chroot that `resolve` imitates: absolute links, `..` above the root."""
    top = make(root, tmp_path_factory.mktemp("view") / "root")
    found = resolve(root, path, follow_last=follow)
    with DirectoryView(str(top)) as view:
        same = resolve(view, path, follow_last=follow)
        assert found == same
        if follow and found is not None and found.kind is not None:
            assert view.kind(found.path) is found.kind
        if not follow and path.rsplit("/", 1)[1] != "..":
            assert view.kind(path) is (found.kind if found else None)


@QUICK
@given(ROOTS, QUESTIONS)
def test_resolution_has_no_links_in_it(root: Root, path: str) -> None:
    found = resolve(root, path)
    if found is None:
        return
    assert found.path == join(split(found.path))
    assert ".." not in split(found.path)
    kept = split(found.existing)
    for number in range(1, len(kept) + 1):
        assert root.kind(join(kept[:number])) in (Kind.DIRECTORY, Kind.FILE)
    assert found.path == join([*kept, *found.missing])
    assert (found.kind is None) or not found.missing
    assert found.jumps - {"/"} <= found.visited


TREE = Root(
    {
        "/usr/bin/sh": "file",
        "/bin": link("usr/bin"),
        "/abs": link("/usr/bin"),
        "/up": link("../../../usr"),
        "/loop": link("loop2"),
        "/loop2": link("/loop"),
        "/gone": link("/nowhere/x/../y"),
        "/self": link("."),
        "/usr/top": link("/"),
        "/usr/hop": link("/abs/.."),
    }
)


@pytest.mark.parametrize(
    ("path", "expected", "kind"),
    [
        ("/", "/", Kind.DIRECTORY),
        ("/..", "/", Kind.DIRECTORY),
        ("/bin/sh", "/usr/bin/sh", Kind.FILE),
        ("/abs/sh", "/usr/bin/sh", Kind.FILE),
        ("/up/bin", "/usr/bin", Kind.DIRECTORY),
        ("/bin/../bin", "/usr/bin", Kind.DIRECTORY),  # .. of what the link leads to, not of the link
        ("/../../bin", "/usr/bin", Kind.DIRECTORY),
        ("/self/self/usr", "/usr", Kind.DIRECTORY),
        ("/gone", "/nowhere/y", None),
        ("/usr/new/dir", "/usr/new/dir", None),
        ("/usr/bin/sh/x", "/usr/bin/sh/x", None),
        ("/usr/bin/sh/..", "/usr/bin/sh", None),
        ("/usr/hop", "/usr", Kind.DIRECTORY),
        ("/usr/top/bin", "/usr/bin", Kind.DIRECTORY),
    ],
)
def test_known_paths(path: str, expected: str, kind: Kind | None) -> None:
    found = resolve(TREE, path)
    assert found is not None
    assert (found.path, found.kind) == (expected, kind)


def test_missing_rest() -> None:
    found = resolve(TREE, "/abs/new/er")
    assert found is not None
    assert (found.missing, found.existing) == (("new", "er"), "/usr/bin")
    below_a_file = resolve(TREE, "/bin/sh/x")
    assert below_a_file is not None
    assert (below_a_file.missing, below_a_file.existing) == (("x",), "/usr/bin/sh")


def test_loops_are_nothing() -> None:
    assert resolve(TREE, "/loop") is None
    assert resolve(TREE, "/loop/x") is None
    last = resolve(TREE, "/loop", follow_last=False)
    assert last is not None
    assert (last.path, last.kind) == ("/loop", Kind.LINK)


def test_forty_links_are_followed_and_no_more() -> None:
    chain = Root({"/0": "file", **{f"/{n}": link(f"{n - 1}") for n in range(1, 42)}})
    assert resolve(chain, "/40") is not None
    assert resolve(chain, "/41") is None


@pytest.mark.parametrize(
    ("path", "visited", "jumps"),
    [
        ("/bin/sh", {"bin", "usr"}, set()),
        ("/abs/sh", {"abs", "usr"}, {"usr"}),
        ("/up", {"up", "usr"}, {"usr"}),
        ("/usr/top", {"usr"}, {"/"}),
        ("/usr/hop", {"usr", "abs"}, {"abs", "usr"}),
        ("/usr/bin", {"usr"}, set()),
    ],
)
def test_what_was_looked_up_at_the_top(path: str, visited: set[str], jumps: set[str]) -> None:
    found = resolve(TREE, path)
    assert found is not None
    assert (found.visited, found.jumps) == (visited, jumps)  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("/scratch2", "/scratch", False),
        ("/scratch/2", "/scratch", True),
        ("/scratch", "/scratch", True),
        ("/scratch", "/scratch/2", False),
        ("/x", "/", True),
        ("/", "/", True),
        ("/", "/x", False),
        ("//a/./b", "/a", True),
    ],
)
def test_is_below_compares_components(path: str, directory: str, expected: bool) -> None:
    assert is_below(path, directory) is expected


@given(st.text("ab./", max_size=12))
def test_split_and_join(text: str) -> None:
    normal = join(split(text))
    assert join(split(normal)) == normal
    assert "//" not in normal
    assert parent(normal) == "/" or is_below(normal, parent(normal))


# Real directories, hostile ones among them.


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A tree in `tree`, a secret beside it."""
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "tree" / "dir").mkdir(parents=True)
    (tmp_path / "tree" / "file").write_text("inside")
    return tmp_path / "tree"


@pytest.mark.parametrize(
    "text",
    [
        "{}/secret",
        "../secret",
        "../../../../../../../..{}/secret",
        "dir/../../secret",
        "/proc/self/root{}/secret",
        "/../secret",
    ],
)
def test_no_link_leads_out(outside: Path, text: str) -> None:
    (outside / "link").symlink_to(text.format(outside.parent))
    (outside / "way").symlink_to(text.format(outside.parent)[: -len("/secret")] or "/")
    with DirectoryView(str(outside)) as view:
        assert view.kind("/link") is Kind.LINK
        assert view.readlink("/link") == text.format(outside.parent)
        for path in ("/link", "/way/secret", "/dir/../../secret", "/../secret"):
            found = resolve(view, path)
            assert found is not None
            assert found.kind is None, path
            assert view.kind(found.path) is None
        assert view.kind("/link/x") is None
        assert view.kind("/way/secret") is None


def test_absolute_links_are_the_trees_own(outside: Path) -> None:
    (outside / "etc").symlink_to("/dir")
    (outside / "dir" / "passwd").touch()
    with DirectoryView(str(outside)) as view:
        assert view.kind("/etc/passwd") is Kind.FILE
        assert set(view.entries("/etc")) == {"passwd"}


def test_kinds(outside: Path) -> None:
    os.mkfifo(outside / "fifo")
    (outside / "link").symlink_to("dir")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(outside, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")  # sun_path is short
        os.close(here)
        wanted = {"fifo": Kind.OTHER, "socket": Kind.OTHER, "link": Kind.LINK, "dir": Kind.DIRECTORY, "file": Kind.FILE}
        with DirectoryView(str(outside)) as view:
            assert view.entries("/") == wanted
            assert {name: view.kind("/" + name) for name in wanted} == wanted
            assert view.kind("/") is Kind.DIRECTORY
            assert view.kind("/nothing") is None
            assert view.kind("/file/x") is None
            with pytest.raises(OSError, match="/file"):
                view.entries("/file")


@pytest.mark.parametrize("magic", ["/self/root", "/self/cwd", "/self/fd/0", "/thread-self/root"])
def test_magic_links_are_not_followed(magic: str) -> None:
    with DirectoryView("/proc") as view:
        assert view.kind(f"{magic}/tmp") is None
        assert view.kind(magic) is Kind.LINK
        with pytest.raises(OSError, match=magic):
            view.entries(magic)


def test_names_as_odd_as_they_come(outside: Path) -> None:
    names = ["a b", "a\nb", "-rf", "\udcff", "é", "%2F"]
    for name in names:
        (outside / name).mkdir()
    with DirectoryView(str(outside)) as view:
        assert set(names) <= set(view.entries("/"))
        assert all(view.kind("/" + name) is Kind.DIRECTORY for name in names)


@pytest.mark.parametrize(
    "text", ["x" * 300, "/" + "x" * 300 + "/y", "/".join(["d" * 200] * 19)], ids=["relative", "absolute", "deep"]
)
def test_a_link_longer_than_names_can_be(outside: Path, text: str) -> None:
    """What no path can be called is not there; a tree must not be able to stop the planner with it."""
    (outside / "long").symlink_to(text)
    with DirectoryView(str(outside)) as view:
        found = resolve(view, "/long/x")
        assert found is not None
        assert found.kind is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere; the next test gives that up")
def test_what_may_not_be_looked_at_is_not_there(outside: Path) -> None:
    (outside / "dir" / "x").touch()
    (outside / "dir").chmod(0)
    with DirectoryView(str(outside)) as view:
        assert view.kind("/dir") is Kind.DIRECTORY
        assert view.kind("/dir/x") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="the test above does it without a change of identity")
def test_what_nobody_may_not_look_at_is_not_there(outside: Path) -> None:
    (outside / "dir" / "x").touch()
    (outside / "dir").chmod(0)
    with DirectoryView(str(outside)) as view:
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os._exit(0 if (view.kind("/dir"), view.kind("/dir/x")) == (Kind.DIRECTORY, None) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_directory_must_be_one(outside: Path) -> None:
    with pytest.raises(NotADirectoryError):
        DirectoryView(str(outside / "file"))
    with pytest.raises(FileNotFoundError):
        DirectoryView(str(outside / "nothing"))


def test_a_view_stays_with_its_directory(outside: Path) -> None:
    """Descriptors, not paths: what is put in the tree's place later is not looked at."""
    with DirectoryView(str(outside)) as view:
        outside.rename(outside.parent / "moved")
        (outside / "other").mkdir(parents=True)
        assert view.kind("/other") is None
        assert view.kind("/file") is Kind.FILE


def test_no_descriptor_is_left(outside: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with DirectoryView(str(outside)) as view:
        for path in ("/dir", "/file", "/nothing", "/file/x"):
            view.kind(path)
        view.entries("/")
    assert len(os.listdir("/proc/self/fd")) == before
    assert isinstance(view, DirectoryView)


def test_nodes_of_the_memory_root() -> None:
    """The Root of these tests: below a link or a file there is nothing."""
    node: Node = link("/x")
    root = Root({"/l": node, "/l/x": "file"}).plus({"/l": node})
    assert root.kind("/l") is Kind.LINK
    assert root.kind("/l/x") is None
