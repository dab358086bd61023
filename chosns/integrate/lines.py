"""Lines that are put into a text, and taken out again. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def insert(text: str, at: int, lines: Sequence[str]) -> str:
    """`text` with `lines` before its line number `at`, counted from 0."""
    own = text.splitlines(keepends=True)
    if at >= len(own) > 0 and not own[-1].endswith("\n"):
        own[-1] += "\n"
    return "".join([*own[:at], *(line + "\n" for line in lines), *own[at:]])


def append(text: str | None, lines: Sequence[str]) -> str:
    """`text` with `lines` at its end."""
    return insert(text or "", len((text or "").splitlines()), lines)


def take_out(text: str, lines: Sequence[str], instead: Sequence[str] = ()) -> tuple[str, list[str]]:
    """`text` without `lines`, and those that are not in it any more. As a block where it is one, else one by one.

    The last of equal ones goes: ours came later than what was there. `instead` comes back where the block was.
    """
    own = text.splitlines(keepends=True)
    bare = [line.rstrip("\n") for line in own]
    for start in range(len(own) - len(lines), -1, -1):
        if bare[start : start + len(lines)] == list(lines):
            back = [line + "\n" for line in instead]
            return "".join(own[:start] + back + own[start + len(lines) :]), []
    missing = []
    for line in lines:
        if line in bare:
            at = len(bare) - 1 - bare[::-1].index(line)
            del own[at], bare[at]
        else:
            missing.append(line)
    return "".join(own), missing


def diff(path: str, before: str | None, after: str | None) -> str:
    """A unified diff that patch(1) takes."""
    names = ("/dev/null" if before is None else path, "/dev/null" if after is None else path)
    text = ""
    for line in difflib.unified_diff((before or "").splitlines(True), (after or "").splitlines(True), *names):
        text += line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
    return text
