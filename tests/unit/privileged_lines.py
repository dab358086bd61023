"""How many lines of code hold privilege, by room: the table of docs/design.md, which `--write` puts there.

A line counts if it has code. Comments, blank lines, lines that are nothing but a text (messages), and what is compiled
for tests only (CHOS_FAULT) do not count. Declarations do. A file that holds privilege in one function counts whole.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/design.md"
BEGIN, END = "<!-- made by tests/unit/privileged_lines.py -->\n", "<!-- end of the count -->\n"


@dataclass(frozen=True)
class Room:
    """`files` are patterns below the checkout; of those, `without` does not count."""

    name: str
    what: str
    files: tuple[str, ...]
    without: tuple[str, ...] = ()


ROOMS = (
    Room(
        "launcher",
        "the caller's uid and three capabilities, until the environment is entered: `libchos/` without `host/`, and the"
        " three files of `launcher/` that run before the capabilities are dropped. The rest of `launcher/` has none",
        (
            "libchos/*.h",
            "libchos/*/*.[ch]",
            "launcher/chos.c",
            "launcher/options.c",
            "launcher/workdir.c",
            "launcher/launcher.h",
        ),
        ("libchos/host/", "libchos/enter/jobs.c", "libchos/enter/record.c", "libchos/format/dotfile.c"),
    ),
    Room(
        "hosts",
        "root, in another program's process: `libchos/host/`, and the files of `libchos/` that the launcher's"
        " room does not have",
        ("libchos/host/*.[ch]", "libchos/enter/jobs.c", "libchos/enter/record.c", "libchos/format/dotfile.c"),
    ),
    Room("pam_chos", "root, in sshd, su, sudo, login, cron, at: `pam/`", ("pam/*.[ch]",)),
    Room("SPANK", "root, in slurmstepd: `starters/slurm/`", ("starters/slurm/*.[ch]",)),
    Room(
        "job starters",
        "root, where TORQUE is told to start jobs as root: `starters/pam/`, and the guard and `no-chroot` of"
        " `starters/torque/`. The other starters have the user's rights",
        ("starters/pam/*.[ch]", "starters/torque/no_chroot.c", "starters/torque/guard"),
    ),
    Room("kmod", "the kernel: `kmod/`, on nodes that load chos.ko", ("kmod/*.[ch]",)),
)

_TOKEN = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
_FAULT = re.compile(r"^#ifdef CHOS_FAULT\n.*?^#(?:else|endif)\b", re.M | re.S)


def _plain(match: re.Match[str]) -> str:
    """A comment leaves its line breaks, a text leaves a mark."""
    return "\0" if match[0][0] == '"' else "'" if match[0][0] == "'" else "\n" * match[0].count("\n")


def _is_code(line: str) -> bool:
    """Not one that consists of texts, and what joins or ends them."""
    return bool(re.sub(r"[\0\s,;()\\]", "", line))


def code_lines(text: str, shell: bool = False) -> int:
    """How many lines of a file count."""
    if shell:
        return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())
    return sum(_is_code(line) for line in _FAULT.sub("", _TOKEN.sub(_plain, text)).splitlines())


def count(room: Room) -> int:
    """Of all files of a room."""
    paths = {path for pattern in room.files for path in ROOT.glob(pattern)}
    kept = [path for path in paths if not str(path.relative_to(ROOT)).startswith(room.without or ("\0",))]
    return sum(code_lines(path.read_text(), shell=path.suffix not in (".c", ".h")) for path in kept)


def table() -> str:
    """Rounded to tens, so that not every change makes it untrue."""
    rows = [f"| {room.name} | {round(count(room), -1):,} | {room.what} |\n" for room in ROOMS]
    return "| room | lines | which rights, and which files |\n| --- | --- | --- |\n" + "".join(rows)


def said(page: str) -> dict[str, int]:
    """What the page says of each room."""
    text = page.partition(BEGIN)[2].partition(END)[0]
    return {
        name: int(number.replace(",", "")) for name, number in re.findall(r"^\| ([^|]+) \| ([\d,]+) \|", text, re.M)
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
    else:
        sys.stdout.write(table())
