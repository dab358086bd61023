"""The list of mutations is well made; that they are killed, `make mutants` shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutants"))
from catalogue import PAGE, ROOT, Mutant, Rule, apply, page, problems, read, table

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


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("tests/unit/test_mutants.py::test_names[", "is not the id of a test"),
        ("tests/unit/test_mutants.py::test_names[]", "is not the id of a test"),
        ("tests/unit/test_mutants.py::test_names[a", "is not the id of a test"),
        ("tests/unit/test_mutants.py::test_names[a]", "has no parameters"),
        ("tests/unit/test_mutants.py::test_name", "there is no test"),
        ("tests/unit/test_mutants.py::", "is not the id of a test"),
        ("tests/unit/test_mutants.py", "is not the id of a test"),
        ("tests/c/test_names.c::test_x", "is not the id of a test"),
        ("tests/unit/test_view.py::test_split_and_join", "by chance"),
        ("tests/unit/test_mutants.py::test_names", ""),
        ("tests/c/test_names.c", ""),
    ],
)
def test_an_id_that_is_wrong(test: str, said: str) -> None:
    good = MUTANTS[0]
    found = problems(Mutant("x", (1,), good.file, good.old, good.new, test))
    assert len(found) == bool(said), found
    assert said in "".join(found)


@pytest.mark.parametrize("folder", sorted({mutant.test.rpartition("/")[0] for mutant in MUTANTS} - {"tests/c"}))
def test_pytest_knows_the_tests(folder: str) -> None:
    """Parameters included. No conftest.py: most refuse to run on this machine, and none makes parameters."""
    tests = sorted({mutant.test for mutant in MUTANTS if mutant.test.startswith(f"{folder}/test_")})
    helpers = [str(ROOT / name) for name in ("tests/system", "tests/integration", folder)]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "--noconftest", *tests]
    environment = {**os.environ, "PYTHONPATH": ":".join(helpers)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_table() -> None:
    mutants = [
        Mutant("a", (3,), "f", "", "", "tests/system/test_x.py::test_one[a]"),
        Mutant("b", (3, 4), "f", "", "", "tests/system/test_x.py::test_two"),
    ]
    text = table([Rule(3, "pins"), Rule(5, "other", "by hand")], mutants)
    assert "| 3 pins | `test_x.py`: `test_one`, `test_two` | 2 |" in text
    assert "| 5 other | by hand |  |" in text
