"""The list of mutations is well made; that they are killed, `make mutants` shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutants"))
from catalogue import PAGE, Mutant, Rule, apply, page, problems, read, table

RULES, MUTANTS = read()


def test_every_mutation_can_be_tried() -> None:
    assert [problem for mutant in MUTANTS for problem in problems(mutant)] == []


def test_names() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 60


def test_every_rule_has_some() -> None:
    """But for those that are about how the code is built, which rows of the table name."""
    numbers = {rule.number for rule in RULES}
    assert len(numbers) == len(RULES)
    assert {number for mutant in MUTANTS for number in mutant.rules} <= numbers
    bare = [rule.number for rule in RULES if not rule.also and not any(rule.number in one.rules for one in MUTANTS)]
    assert bare == []


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, RULES, MUTANTS) == text, "run tools/mutants --table --write"


def test_apply() -> None:
    mutant = Mutant("one", (1,), "file", "a", "b", "tests/c/test_names.c")
    assert apply(mutant, "xay") == "xby"
    for text in ("xy", "aa"):
        with pytest.raises(ValueError, match="not once"):
            apply(mutant, text)


def test_problems() -> None:
    good = MUTANTS[0]
    assert problems(Mutant("x", (1,), "no/such/file", "a", "b", "tests/c/test_names.c"))
    assert problems(Mutant("x", (1,), good.file, good.old, good.new, "tests/unit/test_mutants.py::test_nothing"))
    assert problems(Mutant("x", (1,), good.file, "no such text", "", "tests/c/test_names.c"))


def test_table() -> None:
    mutants = [
        Mutant("a", (3,), "f", "", "", "tests/system/test_x.py::test_one[a]"),
        Mutant("b", (3, 4), "f", "", "", "tests/system/test_x.py::test_two"),
    ]
    text = table([Rule(3, "pins"), Rule(5, "other", "by hand")], mutants)
    assert "| 3 pins | `test_x.py`: `test_one`, `test_two` | 2 |" in text
    assert "| 5 other | by hand |  |" in text
