"""Finds files that look like configuration of CHOS but that nothing reads. Pure.

A restriction in such a file has no effect, so the administrator must be told. Files that are obviously copies are left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

READ = ("chos", "chos.conf", "chos.d")  # in /etc
ELSEWHERE = {
    "/etc/default/chos": "it is /etc/sysconfig/chos on every distribution",
    **{f"/usr/local/etc/{name}": "it belongs below /etc, whatever the prefix is" for name in (*READ, "chos.toml")},
}
_OURS = re.compile(r"chos(?:ctl|-?ns|d)?(?:[._].*)?", re.IGNORECASE)
_COPY = re.compile(
    r".*(?:~|[._-](?:bak|back|backup|old|orig|save|saved|swp|tmp|disabled|off|rej|dpkg-old|dpkg-bak|dpkg-tmp|dpkg-backup"
    r"|ucf-old|rpmsave|rpmorig|\d[\d._:T-]*))",
    re.IGNORECASE,
)
_PACKAGED = re.compile(r".*\.(?:rpmnew|dpkg-dist|dpkg-new|ucf-dist|ucf-new|pacnew)")


def near_misses(etc: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Which of the names in /etc are meant for CHOS but not read, with a hint each."""
    for name in sorted(etc):
        if name in READ or not _OURS.fullmatch(name) or _COPY.fullmatch(name):
            continue
        if _PACKAGED.fullmatch(name):
            yield name, "somebody's package brought a newer file: put what it says where it belongs, and remove it"
        elif name.lower().endswith((".toml", ".tml")):
            yield name, f"move it to /etc/chos.d/{name.rpartition('.')[0]}.toml"
        elif re.fullmatch(r"chos(?:ctl|d|-?ns)?[._-]?(?:conf|toml|config)?[._-]?d", name, re.IGNORECASE):
            yield name, "move its files *.toml to /etc/chos.d"
        else:
            yield name, "environments are in /etc/chos, settings in /etc/chos.d/*.toml, login shells in /etc/chos.conf"
