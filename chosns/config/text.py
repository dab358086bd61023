"""Words for messages, and checks of names and paths, for all readers of the configuration.

Pure. Paths are compared by components, never by the beginnings of strings: `/scratch` is not above `/scratch2`. Must
never look at the file system. Called by the other modules of the package and by `chosns.config.bindmap`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def quoted(text: str) -> str:
    """`text` in quotation marks, shortened, with everything that could disturb a terminal escaped."""
    short = text if len(text) <= 80 else text[:77] + "..."
    return '"' + _CONTROL.sub(lambda match: repr(match.group())[1:-1], short) + '"'


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean "…"?`, or nothing if no known word is similar."""
    import difflib  # here: only a mistake needs it

    near = difflib.get_close_matches(word[:80], list(known), n=1)
    return f"did you mean {quoted(near[0])}?" if near else ""


def alike(word: str, known: Iterable[str]) -> list[str]:
    """The known words that `word` may be a misspelling of; upper and lower case count as one."""
    import difflib

    by_case: dict[str, list[str]] = {}
    for other in known:
        by_case.setdefault(other.casefold(), []).append(other)
    found = difflib.get_close_matches(word[:80].casefold(), list(by_case), n=max(1, len(by_case)))
    return [other for case in found for other in by_case[case]]


def path_fault(path: str) -> str:
    """Why `path` cannot be used as an absolute path, or an empty string.

    Trailing and doubled slashes and `.` are no fault; `normal_path` takes them away.
    """
    if not path.startswith("/"):
        return "is not an absolute path"
    if re.search("[\x00-\x1f\x7f]", path):
        return "contains control characters"
    if ".." in path.split("/"):
        return 'contains ".."'
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in path.split("/")) or len(path) > 4000:
        return "is longer than a path can be"
    return ""


def strict_path_fault(path: str) -> str:
    """As `path_fault`, and it must be written in its normal form and not be `/`."""
    fault = path_fault(path)
    if not fault and path == "/":
        return "is the root itself"
    if not fault and path != normal_path(path):
        return f"is not in its shortest form, {quoted(normal_path(path))}"
    return fault


def normal_path(path: str) -> str:
    """An absolute path without doubled slashes, `.` and a slash at the end."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def is_at_or_below(path: str, top: str) -> bool:
    """Is `path` the same as `top`, or below it? Both absolute and normal."""
    parts, above = path.strip("/").split("/"), top.strip("/").split("/")
    return top == "/" or parts[: len(above)] == above


def reserved(path: str, tops: Iterable[str]) -> str:
    """The first of `tops` that `path` is at or below, or an empty string."""
    return next((top for top in tops if is_at_or_below(path, top)), "")
