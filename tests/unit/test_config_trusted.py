"""Reading files that only root can have written: who is refused, and what is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chosns.config.trusted import MAX_SIZE, display_path, list_trusted, read_trusted
from chosns.errors import ConfigError

ME = (os.getuid(),)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with /etc/chos, safe in every respect (what is above it does not count)."""
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/chos").write_text("text")
    for path in (top, top / "etc"):
        path.chmod(0o755)
    (top / "etc/chos").chmod(0o644)
    return top


def read(root: Path, path: str = "/etc/chos") -> str | None:
    return read_trusted(str(root), path, ME)


def refusal(root: Path, path: str = "/etc/chos") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(root, path)
    error: ConfigError = caught.value
    return error


def test_a_safe_file_is_read(root: Path) -> None:
    assert read(root) == "text"


def test_bytes_that_are_not_utf8(root: Path) -> None:
    (root / "etc/chos").write_bytes(b"\xff")
    assert read(root) == "\udcff"


@pytest.mark.parametrize("path", ["/etc/none", "/none/chos", "/etc/chos.d/x"])
def test_missing_is_none(root: Path, path: str) -> None:
    assert read(root, path) is None
    assert list_trusted(str(root), path, ME) == []


def test_missing_root_is_none(root: Path) -> None:
    assert read(root / "none") is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622])
def test_writable_file_is_refused(root: Path, mode: int) -> None:
    (root / "etc/chos").chmod(mode)
    error = refusal(root)
    assert error.message == "is writable by others than its owner"
    assert error.object == f"{root}/etc/chos" and error.hint == f"chmod go-w {root}/etc/chos"


@pytest.mark.parametrize("directory", ["", "etc"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_writable_directory_above_is_refused(root: Path, directory: str, mode: int) -> None:
    (root / directory).chmod(mode)
    assert refusal(root).object == str(root / directory)
    with pytest.raises(ConfigError):
        list_trusted(str(root), "/etc", ME)


def test_foreign_owner_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="belongs to user"):
        read_trusted(str(root), "/etc/chos", (os.getuid() + 1,))


@pytest.mark.skipif(os.getuid() != 0, reason="giving files away needs root")
@pytest.mark.parametrize("path", ["etc/chos", "etc", ""])
def test_any_foreign_owner_on_the_way_is_refused(root: Path, path: str) -> None:
    os.chown(root / path, 12345, -1)
    assert refusal(root).message == "belongs to user 12345, not to root"


@pytest.mark.skipif(os.getuid() != 0, reason="giving links away needs root")
def test_foreign_link_is_refused(root: Path) -> None:
    (root / "etc/link").symlink_to("chos")
    assert read(root, "/etc/link") == "text"
    os.chown(root / "etc/link", 12345, -1, follow_symlinks=False)
    assert refusal(root, "/etc/link").object == f"{root}/etc/link"


@pytest.mark.parametrize("target", ["chos", "/etc/chos", "../etc/./chos", "../../../etc/chos", "/usr/../etc//chos"])
def test_links_are_followed_inside_the_root(root: Path, target: str) -> None:
    (root / "usr").mkdir(mode=0o755)
    (root / "etc/link").symlink_to(target)
    assert read(root, "/etc/link") == "text"


def test_a_link_does_not_lead_out_of_the_root(root: Path) -> None:
    (root.parent / "secret").write_text("secret")
    (root / "etc/link").symlink_to(root.parent / "secret")
    (root / "etc/up").symlink_to("../../secret")
    assert read(root, "/etc/link") is None
    assert read(root, "/etc/up") is None


def test_a_directory_link_is_followed_and_its_target_judged(root: Path) -> None:
    (root / "conf").mkdir(mode=0o755)
    (root / "conf/file").write_text("there")
    (root / "conf/file").chmod(0o644)
    (root / "etc/dir").symlink_to("/conf")
    assert read(root, "/etc/dir/file") == "there"
    assert list_trusted(str(root), "/etc/dir", ME) == ["file"]
    (root / "conf").chmod(0o777)
    assert refusal(root, "/etc/dir/file").object == str(root / "conf")


def test_a_loop_of_links_ends(root: Path) -> None:
    (root / "etc/a").symlink_to("b")
    (root / "etc/b").symlink_to("a")
    assert refusal(root, "/etc/a").message == "too many symbolic links"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: os.mkfifo(path, 0o644), "not a regular file"),
        (lambda path: os.mkdir(path, 0o755), "not a regular file"),
    ],
)
def test_only_regular_files(root: Path, make: Callable[[Path], None], message: str) -> None:
    make(root / "etc/odd")
    assert refusal(root, "/etc/odd").message == message


def test_a_file_is_no_directory(root: Path) -> None:
    assert refusal(root, "/etc/chos/x").message == "not a directory"
    with pytest.raises(ConfigError, match="not a directory"):
        list_trusted(str(root), "/etc/chos", ME)


def test_size_is_limited(root: Path) -> None:
    (root / "etc/chos").write_bytes(b"x" * MAX_SIZE)
    assert len(read(root) or "") == MAX_SIZE
    (root / "etc/chos").write_bytes(b"x" * (MAX_SIZE + 1))
    assert refusal(root).message == "is larger than 1 MiB"


def test_the_root_itself_is_listed(root: Path) -> None:
    assert list_trusted(str(root), "/", ME) == ["etc"]


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    read(root)
    list_trusted(str(root), "/etc", ME)
    refusal(root, "/etc/chos/x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_how_paths_are_shown() -> None:
    assert display_path("/", "/etc/chos") == "/etc/chos"
    assert display_path("/srv/next", "/etc/chos") == "/srv/next/etc/chos"
