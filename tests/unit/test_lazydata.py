"""Classes whose methods are made late behave as the standard library's do."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from typing import Any

import pytest

from chosns.lazydata import complete, dataclass


def make_classes() -> tuple[type, type]:
    """New ones, of which no object has been made: a base, and a class of two more fields."""

    @dataclass(frozen=True)
    class Base:
        name: str
        size: int = 1

    @dataclass(frozen=True)
    class More(Base):
        tags: tuple[str, ...] = ()
        notes: list[str] = field(default_factory=list, compare=False)

    return Base, More


def test_an_object() -> None:
    base, more = make_classes()
    made = more("a", tags=("t",))
    assert made == more("a", 1, ("t",)) != more("b") and made != base("a")
    assert repr(made).endswith("More(name='a', size=1, tags=('t',), notes=[])")
    assert hash(made) == hash(more("a", tags=("t",)))
    assert dataclasses.replace(made, size=2).size == 2
    assert made.notes is not more("a").notes
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.size = 3


def test_wrong_words() -> None:
    base, _ = make_classes()
    with pytest.raises(TypeError, match="name"):
        base()
    with pytest.raises(TypeError, match="unexpected"):
        base("a", nosuch=1)


def test_a_class_that_has_no_object_yet() -> None:
    _, more = make_classes()
    assert dataclasses.is_dataclass(more)
    assert [at.name for at in dataclasses.fields(more)] == ["name", "size", "tags", "notes"]
    made: Any = more
    assert made("a").size == 1


def test_a_class_of_the_librarys_own_below() -> None:
    base, _ = make_classes()

    @dataclasses.dataclass(frozen=True)
    class Below(base):  # type: ignore[misc, valid-type]
        last: int = 3

    assert Below("a") == Below("a", 1, 3)


def test_a_class_below_that_says_nothing() -> None:
    base, _ = make_classes()

    class Plain(base):  # type: ignore[misc, valid-type]
        pass

    assert Plain("a").name == "a" and base("a").size == 1


def test_its_own_init_stays() -> None:
    @dataclass
    class Own:
        name: str

        def __init__(self) -> None:
            self.name = "own"

    assert Own() == Own() and Own().name == "own"


def test_after_init() -> None:
    @dataclass
    class After:
        name: str

        def __post_init__(self) -> None:
            self.name += "!"

    assert After("a").name == "a!" == After("a").name


def test_completed_ahead() -> None:
    """All of a package, and no other's."""
    base, more = make_classes()
    complete("nowhere")
    assert "__eq__" not in vars(base) and "__eq__" not in vars(more)
    complete(__name__)
    assert "__eq__" in vars(base) and "__eq__" in vars(more)
    assert more("a") == more("a")
