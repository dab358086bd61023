"""Comparing the mounts of a generation with its plan."""

from __future__ import annotations

import pytest

from chosns.errors import RegistryError
from chosns.mounts import late
from chosns.mounts.late import Wanted, at_once, automounts, compare, on_base, tops, uppermost, wanted_by
from chosns.system.mountinfo import Mount
from chosns.system.syscalls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

NOSUID, NODEV, RO = MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY
BOTH = NOSUID | NODEV


def operation(kind: str, target: str, flags: list[str] | None, **more: str) -> dict[str, object]:
    return {"operation": kind, "target": target, "why": "", **({} if flags is None else {"flags": flags}), **more}


MANIFEST = {
    "plan": {
        "operations": [
            operation("MakeRoot", "/", ["nosuid", "nodev"]),
            operation("MakeDirectory", "/local", None),
            operation("Bind", "/usr", ["nodev"], side="tree"),
            operation("Bind", "/srv", ["nosuid", "nodev"], side="base"),
            operation("Bind", "/dev", ["nosuid"], side="base"),
            operation("Overlay", "/etc", ["nosuid", "nodev", "ro"]),
            operation("Bind", "/my dir", ["nosuid", "nodev", "ro"], side="base"),
            operation("Bind", "/usr/bin/chos", ["nodev", "ro"], side="base"),
            {"operation": "Pivot", "put_old": "/local", "flags": ["nosuid", "nodev"], "why": ""},
            operation("Bind", "/local/dev", ["nosuid"], side="base"),
        ]
    }
}
WANTED = wanted_by(MANIFEST)


def line(target: str, flags: str, number: int = 5, fstype: str = "tmpfs", root: str = "/") -> bytes:
    return f"{number} 1 0:7 {root} {target} {flags} master:3 - {fstype} source rw\n".encode()


def test_what_a_plan_wants() -> None:
    assert WANTED.launcher == "/usr/bin/chos"
    assert WANTED.at("/srv/a/b") == BOTH
    assert WANTED.at("/srv2") == BOTH, "not below /srv, but everything is below /"
    assert WANTED.at("/usr/lib") == NODEV, "a tree whose policy is nosuid = false"
    assert WANTED.at("/usr/bin/chos") == NODEV | RO
    assert WANTED.at("/dev/x") == WANTED.at("/local/dev/x") == NOSUID
    assert WANTED.at("/local/x") == BOTH
    assert WANTED.everywhere_below("/local") == NOSUID
    assert WANTED.everywhere_below("/srv") == BOTH
    assert WANTED.everywhere_below("/") == 0


@pytest.mark.parametrize("manifest", [{}, {"plan": None}, {"plan": {}}, {"plan": {"operations": []}}])
def test_a_manifest_that_says_nothing(manifest: dict[str, object]) -> None:
    """The strictest there is."""
    assert wanted_by(manifest).at("/x/y") == BOTH


@pytest.mark.parametrize(
    "plan",
    [7, "x", [], {"operations": None}, {"operations": {}}, {"operations": ["Bind"]}]
    + [{"operations": [{"target": target, "flags": flags}]} for target, flags in ((7, []), ("/x", 7), ("/x", "ro"))],
)
def test_a_damaged_manifest(plan: object) -> None:
    """Nothing is guessed from it."""
    with pytest.raises(RegistryError) as caught:
        wanted_by({"plan": plan}, "one.1")
    assert str(caught.value) == "one.1: its manifest.json is damaged"


@pytest.mark.parametrize(
    ("target", "flags", "lacking"),
    [
        ("/srv/a", "rw,nosuid,nodev", ""),
        ("/srv/a", "rw,relatime", "nosuid,nodev"),
        ("/srv/a", "rw,nosuid", "nodev"),
        ("/srv/a", "ro,nodev", "nosuid"),
        ("/dev/a", "rw,nosuid", ""),
        ("/dev/a", "rw", "nosuid"),
        ("/usr/bin/chos", "ro,nodev", ""),
        ("/usr/bin/chosctl", "ro,nodev", ""),
        ("/etc/a", "rw,nosuid,nodev", "ro"),
        ("/etcetera", "rw,nosuid,nodev", ""),
        (r"/my\040dir/a", "rw,nosuid,nodev", "ro"),
        (r"/my\040dir2", "rw,nosuid,nodev", ""),
        ("/srv/a\rb", "rw", "nosuid,nodev"),
        ("/srv/\udcff", "rw", "nosuid,nodev"),
    ],
)
def test_what_a_mount_lacks(target: str, flags: str, lacking: str) -> None:
    text = f"5 1 0:7 / {target} {flags} master:3 - tmpfs source rw\n".encode("utf-8", "surrogateescape")
    assert [found.names for found in compare(text, WANTED)] == ([lacking] if lacking else [])


def test_the_places_of_automounters() -> None:
    text = b"".join(
        line(target, "rw", fstype="autofs")
        for target in ("/auto", "/local/auto", "/proc/sys/fs/binfmt_misc", "/dev/hugepages")
    )
    assert automounts(text + line("/srv/autofs", "rw")) == {"/auto"}


def test_names_of_the_base() -> None:
    assert [on_base(place) for place in ("/local/srv/a", "/srv/a", "/local", "/locality")] == [
        "/srv/a",
        "/srv/a",
        "/",
        "/locality",
    ]


def test_the_uppermost() -> None:
    text = line("/a", "rw", 5) + line("/a/b", "rw", 7) + line(r"/a\040b", "rw", 8)
    # Two at one place, either way round: which of them is on the other.
    text += b"20 1 0:7 / /c rw - tmpfs s rw\n21 20 0:7 / /c rw - tmpfs s rw\n"
    text += b"30 31 0:7 / /d rw - tmpfs s rw\n31 1 0:7 / /d rw - tmpfs s rw\n"
    for target, number in (("/a", 5), ("/a b", 8), ("/c", 21), ("/d", 30)):
        found = uppermost(text, target)
        assert found is not None and found.number == number
    assert uppermost(text, "/") is None


def test_most_lines_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 65,000 in each of very many generations."""
    monkeypatch.setattr(late, "parse_mount", lambda _: pytest.fail("looked at closely"))
    assert list(compare(line("/srv/a", "rw,nosuid,nodev") * 3, Wanted(WANTED.places))) == []


def test_where_a_flag_is_set_for_all_below() -> None:
    """The launcher is below /, devices are below /local: there, nodev is set on each mount by itself."""
    tree = [
        (1, 1, "/", "rw,nosuid,nodev"),
        (2, 1, "/srv", "rw,nosuid,nodev"),
        (3, 2, "/srv/a", "rw"),
        (4, 3, "/srv/a/b", "rw"),
    ]
    tree += [(5, 1, "/local", "rw,nosuid,nodev"), (6, 5, "/local/srv/a", "rw"), (7, 6, "/local/srv/a/b", "rw")]
    tree += [(8, 1, "/usr", "rw,nodev"), (9, 8, "/usr/bin/chos", "ro,nodev"), (10, 8, "/usr/late", "rw")]
    text = b"".join(f"{n} {p} 0:7 / {where} {flags} master:3 - tmpfs s rw\n".encode() for n, p, where, flags in tree)
    assert targets(tops(text, WANTED, NOSUID)) == {"/srv", "/local"}
    assert targets(tops(text, WANTED, NODEV)) == {"/srv", "/local/srv/a", "/usr"}
    assert tops(text, WANTED, RO) == []


def targets(mounts: list[Mount]) -> set[str]:
    return {mount.target for mount in mounts}


def test_what_can_be_restricted_at_once() -> None:
    """The plan's own mounts, that can be seen: not what came later, and nothing for which a server may be asked."""

    def chosen(*tree: tuple[int, int, str, str], device: str = "0:1") -> set[str]:
        lines = [f"{n} {p} 0:7 / {where} rw master:3 - {fstype} s rw\n" for n, p, where, fstype in tree]
        return targets(at_once("".join(lines).encode(), WANTED, NOSUID, device))

    root, srv, local = (1, 1, "/", "tmpfs"), (2, 1, "/srv", "ext4"), (3, 1, "/local", "ext4")
    assert chosen(root, srv, local) == {"/srv", "/local"}
    assert chosen(root, srv, (4, 2, "/srv/later", "tmpfs")) == {"/srv"}
    assert chosen(root, srv, (4, 2, "/srv", "tmpfs")) == set(), "covered: its path leads to what came later"
    assert chosen(root, (4, 1, "/later", "tmpfs")) == set(), "an open descriptor would keep it on the base"
    for fstype in ("nfs4", "fuse.sshfs", "overlay"):
        assert chosen(root, local, (2, 1, "/srv", fstype)) == {"/local"}
        assert chosen((1, 1, "/", fstype), srv) == set(), "the way there goes through it"
        assert chosen(root, (2, 1, "/srv", fstype), device="0:7") == {"/srv"}, "it is what the base itself stands on"
