"""The worked examples of docs/integrations, executed: what an administrator copies from the page works.

Every ```sh block of a page runs, in order, in one bash that stops at the first failure. An ```output block must equal
what the block before it printed; a line `…` stands for any lines, `…` within a line for any text.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "docs" / "integrations"
LIMIT = 120
_BLOCK = re.compile(r"^```(sh|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--end of block {}--"


def run(page: str) -> None:
    """Run the example of docs/integrations/PAGE.md as root on this node; fails where it says something else."""
    blocks = _BLOCK.findall((PAGES / f"{page}.md").read_text())
    assert any(kind == "sh" for kind, _ in blocks), f"{page}.md has no example"
    script, expected = "set -eu\nexec 2>&1\n", []
    for kind, text in blocks:
        if kind == "sh":
            script += f"{text}\nprintf '%s\\n' '{_MARK.format(len(expected))}'\n"
            expected.append("…\n")
        else:
            expected[-1] = text
    done = subprocess.run(
        ["bash", "-c", script], text=True, capture_output=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    rest = done.stdout
    for number, wanted in enumerate(expected):
        said, end, rest = rest.partition(_MARK.format(number) + "\n")
        assert end, f"{page}.md, block {number + 1} ended with status {done.returncode}:\n{said}"
        assert _pattern(wanted).fullmatch(said), f"{page}.md, block {number + 1}: expected\n{wanted}\ngot\n{said}"


def _pattern(text: str) -> re.Pattern[str]:
    lines = (
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in text.splitlines()
    )
    return re.compile("".join(lines))
