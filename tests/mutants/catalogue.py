"""The list of mutations (mutants.toml): read, judged, and shown as the table of rules in docs/security.md.

A mutation is a small change to code that holds privilege, or that decides for it, and the test that must fail with it.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")
PAGE = ROOT / "docs/security.md"
_ID = re.compile(r"(tests/[\w/]+\.c|tests/[\w/]+\.py(?=::))(?:(?<!\.c)::(test_\w+)(\[[^]]+\])?)?")
BEGIN, END = "<!-- made by tools/mutants --table -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Mutant:
    """`old`, which is in `file` once, becomes `new`; then `test` fails. `rules` says what is broken."""

    name: str
    rules: tuple[int, ...]
    file: str
    old: str
    new: str
    test: str

    @property
    def kind(self) -> str:
        """How its test is run: `c`, `unit`, `node` or `guest`."""
        folder = self.test.split("/")[1]
        return {"c": "c", "unit": "unit", "kmod": "guest"}.get(folder, "node")


@dataclass(frozen=True)
class Rule:
    """A rule for privileged code. `also`: in words, what attacks it besides the tests that kill mutations."""

    number: int
    title: str
    also: str = ""


def read(path: Path = LIST) -> tuple[list[Rule], list[Mutant]]:
    """Rules and mutations in their order. :raises KeyError: a key is missing or unknown."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = [Rule(row.pop("number"), row.pop("title"), row.pop("also", "")) for row in document["rule"]]
    mutants = [
        Mutant(
            row.pop("name"),
            tuple(row.pop("rules")),
            row.pop("file"),
            row.pop("old"),
            row.pop("new"),
            row.pop("test"),
        )
        for row in document["mutant"]
    ]
    unknown = sorted({key for row in document["rule"] + document["mutant"] for key in row})
    if unknown:
        raise KeyError(f"{path.name}: unknown keys {unknown}")
    return rules, mutants


def apply(mutant: Mutant, text: str) -> str:
    """The mutated text of its file. :raises ValueError: what it changes is not there exactly once."""
    count = text.count(mutant.old)
    if count != 1:
        raise ValueError(f"{mutant.name}: what it changes is in {mutant.file} {count} times, not once")
    return text.replace(mutant.old, mutant.new)


def problems(mutant: Mutant, root: Path = ROOT) -> list[str]:
    """What keeps a mutation from being tried at all."""
    found = []
    try:
        if apply(mutant, (root / mutant.file).read_text(encoding="utf-8")) == "":
            found.append(f"{mutant.name}: nothing is left of {mutant.file}")
    except (OSError, ValueError) as error:
        found.append(str(error))
    wrong = _wrong_test(mutant.test, root)
    return [*found, f"{mutant.name}: {wrong}"] if wrong else found


def _wrong_test(test: str, root: Path) -> str:
    """What is wrong with the id of a test, as far as its file shows, or "". tests/unit/test_mutants.py asks pytest."""
    parts = _ID.fullmatch(test)
    if not parts:
        return f"{test} is not the id of a test: FILE.c, or FILE.py::FUNCTION, or FILE.py::FUNCTION[PARAMETERS]"
    file, function, parameters = parts.groups()
    if not (root / file).is_file():
        return f"there is no test {test}"
    if not function:
        return ""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    if not found:
        return f"there is no test {test}"
    decorators = {ast.unparse(one).partition("(")[0] for one in found[0].decorator_list}
    if parameters and not any(name.endswith("parametrize") for name in decorators):
        return f"{test}: {function} has no parameters"
    # What is tried by chance kills a mutation most times, and lets it survive one day.
    if "given" in decorators and "example" not in decorators:
        return f"{test} tries values by chance: give it an @example that kills the mutation each time"
    return ""


def table(rules: list[Rule], mutants: list[Mutant]) -> str:
    """Markdown: each rule, the tests that attack it, and how many mutations they are known to kill."""
    lines = ["| rule | attacked by | mutations killed |", "| --- | --- | --- |"]
    for rule in rules:
        own = [mutant for mutant in mutants if rule.number in mutant.rules]
        killers = _joined(list(dict.fromkeys(mutant.test.partition("[")[0] for mutant in own)))
        text = "; ".join(part for part in (killers, rule.also) if part)
        lines.append(f"| {rule.number} {rule.title} | {text} | {len(own) or ''} |")
    return "\n".join(lines) + "\n"


def _joined(tests: list[str]) -> str:
    """Tests of one file side by side."""
    files: dict[str, list[str]] = {}
    for test in tests:
        file, _, function = test.removeprefix("tests/system/").partition("::")
        files.setdefault(file, []).append(f"`{function}`" if function else "")
    parts = [
        f"`{file}`" + (": " if any(names) else "") + ", ".join(filter(None, names)) for file, names in files.items()
    ]
    return "; ".join(parts)


def page(text: str, rules: list[Rule], mutants: list[Mutant]) -> str:
    """docs/security.md with the table as it is to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(rules, mutants)}{END}{after}"
