"""Reading mountinfo as the kernel writes it, whatever names users gave their mount points."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.system.mountinfo import Mount, read_mounts

PLAIN = "36 35 98:0 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


def read(tmp_path: Path, text: str) -> list[Mount]:
    file = tmp_path / "mountinfo"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return read_mounts(str(file))


def test_one_line(tmp_path: Path) -> None:
    line = "40 36 0:50 /sub /mnt/x ro,nosuid,nodev master:7 - nfs4 server:/vol rw,vers=4.2\n"
    wanted = Mount(
        "/mnt/x", "/sub", ["ro", "nosuid", "nodev"], ["master:7"], "nfs4", "0:50", 40, 36, "server:/vol", "rw,vers=4.2"
    )
    root = Mount("/", "/", ["rw", "relatime"], ["shared:1"], "ext4", "98:0", 36, 35, "/dev/sda1", "rw")
    assert read(tmp_path, PLAIN + line) == [root, wanted]


@pytest.mark.parametrize(
    "tags", ["", "shared:1", "master:2", "shared:1 master:2", "master:2 propagate_from:3", "unbindable"]
)
def test_optional_fields(tmp_path: Path, tags: str) -> None:
    line = " ".join(filter(None, ["36 35 98:0 / / rw", tags, "- ext4 /dev/sda1 rw"])) + "\n"
    assert read(tmp_path, line)[0].propagation == tags.split()
    assert read(tmp_path, line)[0].fstype == "ext4"


def test_a_dash_is_only_a_separator_after_the_flags(tmp_path: Path) -> None:
    mount = read(tmp_path, "36 35 98:0 - - rw,x - - - rw\n")[0]
    assert (mount.root, mount.target, mount.propagation, mount.fstype) == ("-", "-", [], "-")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"/a\040b", "/a b"),
        (r"/a\011b", "/a\tb"),
        (r"/a\012b", "/a\nb"),
        (r"/a\134b", "/a\\b"),
        (r"/a\134040", r"/a\040"),
        (r"/a\043", "/a#"),
        ("/a\rb", "/a\rb"),
        ("/a\x0b\x0c\x1c\x85\u2028", "/a\x0b\x0c\x1c\x85\u2028"),
        ("/\udcff", "/\udcff"),
        ("/a - b".replace(" ", r"\040"), "/a - b"),
        ("/é", "/é"),
        ("/gone//deleted", "/gone//deleted"),
    ],
)
def test_names(tmp_path: Path, written: str, meant: str) -> None:
    """A carriage return is not escaped: whoever may mount (FUSE) could otherwise break a line in two."""
    found = read(tmp_path, f"{PLAIN}37 36 0:1 {written} {written} rw - tmpfs none rw\n{PLAIN}")
    assert [mount.target for mount in found] == ["/", meant, "/"]
    assert found[1].root == meant


def _escaped(name: str) -> str:
    """As seq_path does it, fs/proc_namespace.c."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\n\\#" else char for char in name)


@given(st.text(st.characters(min_codepoint=1, blacklist_categories=["Cs"]), max_size=8))
def test_every_name_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    line = f"37 36 0:1 / /{_escaped(name)} rw - tmpfs none rw\n"
    assert [mount.target for mount in read(tmp_path_factory.mktemp("m"), line)] == ["/" + name]


def test_this_machine() -> None:
    mounts = read_mounts()
    assert "/" in [mount.target for mount in mounts]
    assert any(mount.fstype == "proc" for mount in mounts)
