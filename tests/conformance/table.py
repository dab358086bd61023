#!/usr/bin/python3
"""The table backend × behaviour, from what the tests declare, and how the last runs went.

table.py                            write it into docs/backends.md and chos-backends(7), between their markers
table.py --check                    say whether they are up to date
table.py --results BUILD BACKEND…   print how tools/conformance went
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from itertools import groupby
from pathlib import Path

PLACE = Path(__file__).resolve().parent
REPO = PLACE.parents[1]
sys.path[:0] = [str(PLACE), str(PLACE.parent / "system")]
from rows import BACKENDS, ROWS, Row  # noqa: E402

MARKDOWN, MANUAL = REPO / "docs/backends.md", REPO / "docs/man/chos-backends.7"
_MARKS = {
    MARKDOWN: ("<!-- table: tests/conformance -->\n", "<!-- end of table -->\n"),
    MANUAL: ('.\\" table: tests/conformance\n', '.\\" end of table\n'),
}


def declared() -> list[tuple[str, list[Row]]]:
    """Every section with its rows, in the order of the files and of the tests in them."""
    for path in sorted(PLACE.glob("test_*.py")):
        importlib.import_module(path.stem)
    return [(section, list(rows)) for section, rows in groupby(ROWS, key=lambda row: row.section)]


def _reasons() -> list[str]:
    """Every reason once; its place is its number."""
    return list(
        dict.fromkeys(row.but[name] for _, rows in declared() for row in rows for name in BACKENDS if name in row.but)
    )


def markdown() -> str:
    """For docs/backends.md."""
    numbers = {reason: number for number, reason in enumerate(_reasons(), 1)}
    lines = [f"| | {' | '.join(BACKENDS)} |", "| --- |" + " --- |" * len(BACKENDS)]
    for section, rows in declared():
        lines.append(f"| **{section}** |" + " |" * len(BACKENDS))
        for row in rows:
            marks = [f"no, {numbers[row.but[name]]}" if name in row.but else "yes" for name in BACKENDS]
            lines.append(f"| {row.text} | {' | '.join(marks)} |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for reason, number in numbers.items())]) + "\n"


def manual() -> str:
    """For the manual page, mdoc(7)."""
    numbers = {reason: number for number, reason in enumerate(_reasons(), 1)}
    lines = []
    for section, rows in declared():
        width = " ".join('"no (10)"' for _ in BACKENDS)
        lines += [
            f".Ss {_mdoc(section)}",
            f".Bl -column {width}",
            ".It " + " Ta ".join(f"Sy {n}" for n in BACKENDS) + " Ta",
        ]
        for row in rows:
            marks = [f"no ({numbers[row.but[name]]})" if name in row.but else "yes" for name in BACKENDS]
            lines.append(f".It {' Ta '.join(marks)} Ta {_mdoc(row.text)}")
        lines.append(".El")
    lines += [".Ss Why not", ".Bl -enum"]
    for reason in numbers:
        lines += [".It", _mdoc(reason)]
    return "\n".join([*lines, ".El"]) + "\n"


def _mdoc(text: str) -> str:
    r"""Plain text: nothing in it is a macro or an escape. Markdown's `code` is shown in quotes."""
    plain = re.sub(r"`([^`]*)`", r"‘\1’", text).replace("\\", "\\e").replace("**", "")
    plain = plain.replace("‘", "\\(oq").replace("’", "\\(cq").replace("~", "\\(ti").replace("'", "\\(aq")
    return " ".join(f"\\&{word}" if word[:1] in ".'" or word in _MACROS else word for word in plain.split(" "))


_MACROS = {"An", "No", "In", "It", "Is", "As", "At", "Ta", "Do", "So", "Or"}


def _with_table(path: Path, table: str) -> str:
    """The page with this table between its markers."""
    begin, end = _MARKS[path]
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"{path}: the markers of the table are not there")
    return f"{before}{begin}{table}{end}{after}"


def out_of_date() -> list[Path]:
    """The pages whose table is not what the tests declare."""
    tables = {MARKDOWN: markdown(), MANUAL: manual()}
    return [path for path, table in tables.items() if path.read_text(encoding="utf-8") != _with_table(path, table)]


def print_results(build: Path, backends: list[str]) -> None:
    """How each row went: `no` is as declared."""
    found = {}
    for name in backends:
        path = build / f"conformance-{name}.json"
        found[name] = json.loads(path.read_text()) if path.exists() else {}
    print("".join(f"{name:9}" for name in backends))
    for section, rows in declared():
        print(f"\n{section}")
        for row in rows:
            print("".join(f"{found[name].get(row.test, '-'):9}" for name in backends) + row.text)
    reasons = {name: {row.but[name] for _, rows in declared() for row in rows if name in row.but} for name in backends}
    for name in backends:
        counts = {went: list(found[name].values()).count(went) for went in ("yes", "no", "skipped", "FAILED")}
        told = ", ".join(f"{count} {went}" for went, count in counts.items() if count)
        print(f"\n{name}: {told or 'did not run'}; `no`: {'; '.join(sorted(reasons[name])) or 'none'}")


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--results"]:
        print_results(Path(arguments[1]), arguments[2:])
        return 0
    stale = out_of_date()
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(REPO)}: run tests/conformance/table.py")
        return 1 if stale else 0
    for path, table in ((MARKDOWN, markdown()), (MANUAL, manual())):
        path.write_text(_with_table(path, table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
