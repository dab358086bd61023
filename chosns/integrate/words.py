"""The words that our PAM module and our plugin of Slurm take behind their name in a line. Pure.

A wrong one in a file would be an error of every session, or of every job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chosns.integrate.model import InstallError

_SPECIAL = set("#[]\\\"'")  # of pam.d's files
_LONGEST = 600  # seconds
_SWITCH = ("0", "1")
_FILE, _SECONDS, _ALONE = ("FILE",), ("SECONDS",), ()

_BOTH = {"user_conf_file": _FILE, "fail_to_default": _SWITCH, "timeout": _SECONDS}
PAM: Mapping[str, tuple[str, ...]] = {
    **_BOTH,
    "onerr": ("base", "deny"),
    "enter": ("fork", "setcred", "no"),
    "debug": _ALONE,
}
SLURM: Mapping[str, tuple[str, ...]] = {**_BOTH, "submit_check": _SWITCH}


def check(options: Sequence[str], known: Mapping[str, tuple[str, ...]], page: str) -> None:
    """Refuse what the module would not know. :raises InstallError: naming the word."""
    for word in options:
        if not _good(word, known):
            shown = (f"{key}={'|'.join(values)}" if values else key for key, values in known.items())
            raise InstallError("is no option, or no value for it", object=word, hint=f"{page}: {', '.join(shown)}")


def _good(word: str, known: Mapping[str, tuple[str, ...]]) -> bool:
    key, equals, value = word.partition("=")
    if key not in known or not word.isprintable() or " " in word:
        return False
    values = known[key]
    if values == _FILE:  # below the home directory
        return bool(value) and not value.startswith("/") and not _SPECIAL & set(value)
    if values == _SECONDS:
        return value.isascii() and value.isdecimal() and 1 <= int(value) <= _LONGEST
    return value in values if values else not equals


def require_same(asked: Sequence[str], there: Sequence[str], place: str, product: str) -> None:
    """Refuse an existing line with other options than requested. If none were requested, any options will do."""
    if asked and sorted(asked) != sorted(there):
        hint = f"chosctl install {product} --undo, and then again; a line that was written by hand is changed by hand"
        raise InstallError(f"is there with other options: {' '.join(there) or 'none'}", object=place, hint=hint)
