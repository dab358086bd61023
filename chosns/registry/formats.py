"""The text and binary formats of the registry, as docs/registry.md lays them down. Pure but for `base_text`."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from chosns.model import Environment, Jobs, LoginShell
from chosns.system import procfs

_FORMAT = 1
_ACL_GROUP = 0x08


def policy_text(env: Environment, name: str, number: str, root: tuple[int, int]) -> str:
    """The `policy` file of a generation."""
    policy = env.policy
    lines = [
        f"chos-policy {_FORMAT}",
        f"name={name}",
        f"generation={number}",
        f"root={root[0]} {root[1]}",
        f"no_new_privs={int(policy.no_new_privs)}",
    ]
    personality = [word for word, on in (("linux32", policy.linux32), ("uname26", policy.uname26)) if on]
    if personality:
        lines.append("personality=" + ",".join(personality))
    lines += [f"setenv={key}={value}" for key, value in env.variables]
    return "\n".join(lines) + "\n"


def login_text(login: LoginShell) -> str:
    """The `login` file."""
    lines = [f"chos-login {_FORMAT}", f"bashlogin={int(login.bashlogin)}", f"path={int(login.set_path)}"]
    return "\n".join([*lines, *(f"keep={name}" for name in login.keep)]) + "\n"


def jobs_text(jobs: Jobs) -> str:
    """The `jobs` file."""
    said = {"user_file": jobs.user_file, "memory": jobs.memory, "processes": jobs.processes, "file": jobs.file}
    lines = [f"chos-jobs {_FORMAT}", f"syslog={int(jobs.syslog)}"]
    lines += [f"{key}={value}" for key, value in said.items() if value]
    return "\n".join([*lines, *(f"stay={service}" for service in jobs.stay)]) + "\n"


def base_text() -> str:
    """The `base` file, as seen by this process, which must be in the base."""
    root = os.stat("/")
    namespace = os.stat(procfs.of("self", "ns/mnt")).st_ino
    return f"chos-base {_FORMAT}\nns={namespace}\nroot={root.st_dev} {root.st_ino}\n"


def acl(group_ids: Sequence[int]) -> bytes:
    """A POSIX ACL, `u::rwx g::--- g:GID:r-x … m::r-x o::---`, in the kernel's form (linux/posix_acl_xattr.h)."""
    undefined = 0xFFFFFFFF
    user_obj, group_obj, mask, other = 0x01, 0x04, 0x10, 0x20
    entries = [(user_obj, 7, undefined), (group_obj, 0, undefined)]
    entries += [(_ACL_GROUP, 5, gid) for gid in sorted(set(group_ids))]
    entries += [(mask, 5, undefined), (other, 0, undefined)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def acl_groups(entries: bytes) -> set[int]:
    """The groups by number that a POSIX ACL lets enter."""
    return {gid for tag, may, gid in struct.iter_unpack("<HHI", entries[4:]) if tag == _ACL_GROUP and may & 1}
