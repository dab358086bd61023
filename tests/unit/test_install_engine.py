"""Changes are made all or none, and taken back exactly: on files below a directory of the test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chosns.errors import ChosError
from chosns.integrate import engine, files
from chosns.integrate.lines import append
from chosns.integrate.model import (
    STATE,
    Change,
    ChangeList,
    FileEdit,
    InstallError,
    Machine,
    Product,
    Request,
    Setting,
    Snippet,
)
from chosns.integrate.scratch import scratch

OURS = ("# ours", "ours")


class Sample(Product):
    """A product with files /etc/sample.d/* and settings in memory."""

    name = "sample"
    parted = True

    def part(self, name: str) -> str:
        return os.path.basename(name)

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.broken: str | signal.Signals = ""

    def snippets(self, request: Request) -> Sequence[Snippet]:
        return ()

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        changes: list[Change] = []
        for name in request.services:
            path = f"/etc/sample.d/{name}"
            before = files.read(machine, path)
            if before is None or "ours\n" not in before:
                changes.append(FileEdit(path, before, append(before, OURS), OURS))
        changes += [Setting(name, self.get(machine, name), "ours") for name in request.queues]
        return ChangeList(tuple(changes))

    def verify(self, machine: Machine, plan: ChangeList) -> None:
        if self.broken == "verify":
            raise InstallError("is broken")
        if isinstance(self.broken, signal.Signals):
            os.kill(os.getpid(), self.broken)

    def get(self, machine: Machine, name: str) -> str:
        return self.values.get(name, "")

    def put(self, machine: Machine, name: str, value: str) -> None:
        if self.broken == name and value == "ours":
            raise InstallError("cannot be set", object=name)
        if isinstance(self.broken, signal.Signals):
            os.kill(os.getpid(), self.broken)
        self.values[name] = value


class Place:
    """The directory, and the sample in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machine = Machine(str(root), (os.getuid(), 0))
        self.product = Sample()
        self.directory = root / "etc/sample.d"
        self.directory.mkdir(parents=True)
        (root / "var/lib").mkdir(parents=True)
        for above in (root, root / "etc", self.directory, root / "var", root / "var/lib"):
            above.chmod(0o755)

    def file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def install(self, *names: str, queues: tuple[str, ...] = ()) -> None:
        plan = self.product.plan(self.machine, Request(services=names, queues=queues))
        engine.install(self.product, self.machine, plan)

    def undo(self) -> tuple[str, ...]:
        plan = engine.plan_undo(self.product, self.machine)
        engine.undo(self.product, self.machine, plan)
        assert list((self.root / STATE.lstrip("/")).iterdir()) == []
        return plan.notes


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("text", ["", "a\n", "a", "a\r\nb", "\udce9\n"])
def test_back_to_the_byte(place: Place, text: str) -> None:
    path = place.directory / "x"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    place.install("x")
    assert path.read_bytes().endswith(b"\n# ours\nours\n") or text == ""
    assert not place.undo()
    assert path.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_file_that_was_not_there(place: Place) -> None:
    place.install("x")
    assert (place.directory / "x").read_text() == "# ours\nours\n"
    place.undo()
    assert not (place.directory / "x").exists()


def test_edited_since(place: Place) -> None:
    """Only our lines go."""
    path = place.file("x", "a\n")
    place.file("y", "")
    place.install("x", "y", "z")
    path.write_text("b\n" + path.read_text() + "c\n")
    (place.directory / "z").write_text("# ours\nours\ntheirs\n")
    (note,) = place.undo()
    assert "z stays" in note and "somebody has added lines" in note
    assert path.read_text() == "b\na\nc\n"
    assert (place.directory / "z").read_text() == "theirs\n"


def test_our_line_was_changed_since(place: Place) -> None:
    path = place.file("x", "a\n")
    place.install("x")
    path.write_text("a\n# ours\nours changed\n")
    assert "changed since" in place.undo()[0]
    assert path.read_text() == "a\nours changed\n"


def test_taken_away_since(place: Place) -> None:
    path = place.file("x", "a\n")
    place.install("x")
    path.unlink()
    assert not place.undo()
    assert not path.exists()


def test_twice_the_same_file(place: Place) -> None:
    """What came second is undone with the first, also when others wrote in between."""
    path = place.file("x", "a\n")
    place.install("x")
    more = ("more",)
    for before in ("", "before\n"):
        text = before + path.read_text()
        path.write_text(text)
        plan = ChangeList((FileEdit("/etc/sample.d/x", text, append(text, more), more),))
        engine.install(place.product, place.machine, plan)
    assert path.read_text() == "before\na\n# ours\nours\nmore\nmore\n"
    assert not place.undo()
    assert path.read_text() == "before\na\n"


def test_our_lines_vanished_and_came_again(place: Place) -> None:
    path = place.file("x", "a\n")
    place.install("x")
    path.write_text("managed\n")
    place.install("x")
    place.undo()
    assert path.read_text() == "managed\n"


def test_settings(place: Place) -> None:
    place.product.values = {"one": "theirs", "two": "", "three": ""}
    place.install(queues=("one", "two", "three"))
    assert place.product.values["one"] == "ours"
    place.product.values["three"] = "changed"
    assert "three has been changed" in place.undo()[0]
    assert place.product.values == {"one": "theirs", "two": "", "three": "changed"}


@pytest.mark.parametrize("broken", ["verify", "q"])
def test_a_failure_takes_everything_back(place: Place, broken: str) -> None:
    path = place.file("x", "a\n")
    place.install("y")
    place.product.broken = broken
    with pytest.raises(ChosError):
        place.install("x", "z", queues=("p", "q"))
    assert path.read_text() == "a\n"
    assert not (place.directory / "z").exists()
    assert place.product.values.get("p", "") == ""
    assert (place.directory / "y").exists()
    place.undo()
    assert not (place.directory / "y").exists()


def test_somebody_else_was_quicker(place: Place) -> None:
    """The loser of a race does not take back what the winner made."""
    place.file("x", "a\n")
    late = place.product.plan(place.machine, Request(services=("x",)))
    place.install("x")
    with pytest.raises(ChosError, match="somebody else"):
        engine.install(place.product, place.machine, late)
    assert "ours" in (place.directory / "x").read_text()
    place.undo()
    assert (place.directory / "x").read_text() == "a\n"


def test_a_backup_that_was_damaged_is_not_used(place: Place) -> None:
    path = place.file("x", "a")
    place.install("x")
    (kept,) = [entry for entry in (place.root / STATE.lstrip("/") / "sample").iterdir() if len(entry.name) == 64]
    kept.write_text("evil\n")
    place.undo()
    assert path.read_text() == "a\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "changes": []}', '{"version": 1, "changes": [{}]}'])
def test_damaged_records(place: Place, text: str) -> None:
    """An error, and nothing changes."""
    path = place.file("x", "a\n")
    place.install("x")
    (place.root / STATE.lstrip("/") / "sample/changes.json").write_text(text)
    with pytest.raises(ChosError) as error:
        place.undo()
    assert "ours" in path.read_text()
    directory = place.root / STATE.lstrip("/") / "sample"
    assert error.value.hint.endswith(f"then: rm -r {STATE}/sample"), "what to do is said, and it helps"
    (kept,) = [entry for entry in directory.iterdir() if len(entry.name) == 64]
    kept.rename(path)
    shutil.rmtree(directory)
    place.install("x")
    place.undo()
    assert path.read_text() == "a\n"


def test_owner_mode_and_attributes_stay(place: Place) -> None:
    path = place.file("x", "a\n")
    path.chmod(0o640)
    try:
        os.setxattr(path, "user.label", b"theirs")
    except OSError:
        pytest.skip("no extended attributes here")
    for step in (lambda: place.install("x"), place.undo):
        inode = path.stat().st_ino
        step()
        assert path.stat().st_mode & 0o7777 == 0o640
        assert os.getxattr(path, "user.label") == b"theirs"
        assert path.stat().st_ino != inode, "it was not replaced by a rename"


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo", "writable", "below", "socket"])
def test_what_is_not_changed(place: Place, kind: str) -> None:
    path = place.directory / "x"
    victim = place.root / "victim"
    victim.write_text("a\n")
    if kind in ("link", "dangling"):
        path.symlink_to("../../victim" if kind == "link" else "../../nowhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, 0o140644)
    else:
        (place.file("x", "a\n") if kind == "writable" else place.directory).chmod(0o777)
    with pytest.raises(ChosError):
        place.install("x")
    assert victim.read_text() == "a\n"
    assert not (place.root / "nowhere").exists()
    assert kind not in ("writable", "below") or not path.exists() or path.read_text() == "a\n"


def test_a_file_that_was_left_behind(place: Place) -> None:
    """A temporary file of a process that was killed, or one that somebody put there as a trap."""
    path = place.file("x", "a\n")
    trap = place.directory / ".x.chosctl-new"
    trap.symlink_to("../../victim")
    place.install("x")
    assert not (place.root / "victim").exists()
    assert not trap.is_symlink()
    assert not path.is_symlink()


@pytest.fixture
def survivor() -> Iterator[None]:
    """A signal that nobody has taken over fails the test, and does not end all of them."""

    def reached(number: int, frame: object) -> None:
        raise AssertionError(f"{signal.Signals(number).name} was not an interruption")

    before = {number: signal.signal(number, reached) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(place: Place, survivor: None, number: signal.Signals) -> None:
    """Of install and of undo: all or none; signals that come while it is put back change nothing."""
    path = place.file("x", "a\n")
    place.product.broken = number
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt):
        place.install("x", "z", queues=("p",))
    assert path.read_text() == "a\n"
    assert not (place.directory / "z").exists()
    assert place.product.values.get("p", "") == ""
    place.product.broken = ""
    place.install("x", queues=("p",))
    place.product.broken = number
    with pytest.raises(KeyboardInterrupt):
        place.undo()
    assert "ours" in path.read_text() and place.product.values["p"] == "ours"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    place.product.broken = ""
    place.undo()
    assert path.read_text() == "a\n"


def test_a_hangup_that_is_ignored_stays_so(place: Place) -> None:
    """nohup(1)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        place.product.broken = signal.SIGHUP
        with contextlib.suppress(KeyboardInterrupt):
            place.install("x", queues=("p",))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert place.product.values["p"] == "ours"


def test_one_of_several_is_taken_back(place: Place) -> None:
    """What was not named stays, and is known still."""
    files_ = {name: place.file(name, "a\n") for name in ("x", "y")}
    place.install("x", "y", queues=("p",))
    request = Request(services=("x", "other"))
    plan = engine.plan_undo(place.product, place.machine, request)
    assert plan.notes == ("other: was not installed by chosctl",)
    engine.undo(place.product, place.machine, plan, request)
    assert files_["x"].read_text() == "a\n"
    assert "ours" in files_["y"].read_text() and place.product.values["p"] == "ours"
    assert not engine.installed(place.product, place.machine, request)
    assert engine.changed(place.product, place.machine) == ("/etc/sample.d/y", "p")
    place.undo()
    assert files_["y"].read_text() == "a\n"


def test_copies_of_a_trial_that_was_killed(place: Place) -> None:
    """They are where the next run finds them, and no product."""
    place.install("x")
    with scratch(place.machine) as directory:
        killed = Path(directory).with_name(Path(directory).name + "-killed")
        shutil.copytree(directory, killed)
        assert killed.parent == place.root / STATE.lstrip("/")
    assert not Path(directory).exists()
    place.undo()
    assert not killed.exists()
