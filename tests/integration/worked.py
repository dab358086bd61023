"""The examples of the documentation, executed: what somebody copies from a page of docs works.

Every ```sh block of a page runs, in order, in one bash that stops at the first failure. An ```output block must equal
what the block before it printed; a line `…` stands for any lines, `…` within a line for any text.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
LIMIT = 120
_BLOCK = re.compile(r"^```(sh|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "--end of block {}--"


def run(page: str, *, user: str = "") -> None:
    """Run the example of docs/integrations/PAGE.md as root on this node; fails where it says something else.

    In a directory that users may enter, wherever this checkout is.

    With `user`: of docs/PAGE.md, as that user, whose home directory is the working directory.
    """
    path, become = DOCS / "integrations" / f"{page}.md", []
    more: dict[str, Any] = {"cwd": "/"}
    if user:
        account = pwd.getpwnam(user)
        path = DOCS / f"{page}.md"
        become = ["setpriv", "--reuid", user, "--regid", str(account.pw_gid), "--init-groups"]
        more = {
            "cwd": account.pw_dir,
            "env": {"PATH": os.environ["PATH"], "HOME": account.pw_dir, "USER": user, "SHELL": account.pw_shell},
        }
    blocks = _BLOCK.findall(path.read_text())
    assert any(kind == "sh" for kind, _ in blocks), f"{page}.md has no example"
    script = "set -eu\nexec 2>&1\n"
    expected: list[str] = []
    for kind, text in blocks:
        if kind == "sh":
            script += f"{text}\nprintf '%s\\n' '{_MARK.format(len(expected))}'\n"
            expected.append("…\n")
        else:
            expected[-1] = text
    done = subprocess.run(
        [*become, "bash", "-c", script],
        text=True,
        capture_output=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        **more,
    )
    rest = done.stdout
    for number, wanted in enumerate(expected):
        said, end, rest = rest.partition(_MARK.format(number) + "\n")
        assert end, f"{page}.md, block {number + 1} ended with status {done.returncode}:\n{said}"
        assert _pattern(wanted).fullmatch(said), f"{page}.md, block {number + 1}: expected\n{wanted}\ngot\n{said}"


def _pattern(text: str) -> re.Pattern[str]:
    any_lines, any_text = r"(?:.*\n)*", ".*"
    lines = (
        any_lines if line == "…" else any_text.join(map(re.escape, line.split("…"))) + r"\n"
        for line in text.splitlines()
    )
    return re.compile("".join(lines))
