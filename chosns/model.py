"""What the configuration says, as frozen data: the words of the project, in one place.

Pure: no file is read here. `config` and `bindmap` make these objects; `plan` and everything above it
only read them.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum
from functools import lru_cache

from chosns.lazydata import dataclass

REGISTRY = "/run/chos"  # where what is prepared on this node is written down; libchos has it, too
SITE, FOREIGN = "site", "foreign"  # how an OS tree is trusted
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ESCAPED_MAX = 255


@dataclass(frozen=True)
class Origin:
    """Where something was said: a file and a 1-based line (0: the file as a whole)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Severity(str, Enum):
    """An `error` makes something unusable; a `warning` does not; a `note` is no mistake, but good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Problem:
    """One finding of `chosctl check`, printed as `file:line: message — hint`.

    `environment` names the one environment that it makes unusable; empty means that it concerns all.
    """

    origin: Origin
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    environment: str = ""

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" + (f" — {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class Policy:
    """What may be done in an environment (chos.toml(5), table `policy`).

    `trust` is empty where the configuration does not say; `chosns.trees.trust` decides then, from what the tree is.
    `owner` is an account that may own a foreign tree, beside root.
    """

    nosuid: bool = True
    nodev: bool = True
    read_only: bool = False
    no_new_privs: bool = False
    linux32: bool = False
    uname26: bool = False
    trust: str = ""
    owner: str = ""


@dataclass(frozen=True)
class ExtraBind:
    """A file or directory of the base, shown at a place of the environment's choosing.

    `untrusted`: what is shown at another place than its own may be anybody's.
    """

    source: str
    target: str
    read_only: bool = False
    optional: bool = False
    devices: bool = False
    origin: Origin = Origin("")
    untrusted: bool = False


@dataclass(frozen=True)
class Environment:
    """A name that users choose, and what stands behind it.

    `name` is the primary name, `aliases` are further ones that lead to the same environment (absolute
    paths among them, unescaped). `groups` empty means that everyone may enter.
    """

    name: str
    tree: str
    origin: Origin
    aliases: tuple[str, ...] = ()
    bindmap: str = "default"
    groups: tuple[str, ...] = ()
    policy: Policy = Policy()
    binds: tuple[ExtraBind, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    description: str = ""
    settings: Origin = Origin("")


@dataclass(frozen=True)
class LoginShell:
    """/etc/chos.conf: the environment of a login shell started by `chos` without a command."""

    keep: tuple[str, ...] = ()
    set_path: bool = True
    bashlogin: bool = False


@dataclass(frozen=True)
class Jobs:
    """What every job gets from chos-job-starter, where entries are recorded, who stays (chos.toml(5)).

    user_file: below the home directory, read where a job has no $CHOS; empty: none is
    memory:    address space of a process in bytes (RLIMIT_AS of getrlimit(2)); 0: not limited
    processes: of the job's user (RLIMIT_NPROC); 0: not limited
    syslog:    a line for each entry
    file:      where else, an absolute path; empty: nowhere
    stay:      PAM services whose sessions are never moved
    """

    user_file: str = ""
    memory: int = 0
    processes: int = 0
    syslog: bool = True
    file: str = ""
    stay: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sysconfig:
    """/etc/sysconfig/chos, where a site has one."""

    bind_mounts: tuple[ExtraBind, ...] = ()
    make_links: bool = False
    origin: Origin = Origin("")


@dataclass(frozen=True)
class Share:
    """A line of a bind map about one path: its place in the base and inside are the same."""

    path: str
    origin: Origin
    devices: bool = False
    required: bool = False
    only: bool = False  # where the base has none, the tree's is not shown either


@dataclass(frozen=True)
class BindMap:
    """What an environment takes from its tree and what from the base (bindmap(5)).

    tree:       top-level names that are the OS's own, `/usr`; never taken from the base
    tree_rest:  further top-level entries that only the tree has are shown too
    base_rest:  every other top-level entry of the base is shown, live (where not None)
    base:       paths that are the base's even below a directory of the tree, `/var/spool`
    etc:        names below /etc that are the base's, shown as links into /local/etc
    """

    name: str
    origin: Origin
    description: str = ""
    tree: tuple[Share, ...] = ()
    tree_rest: Origin | None = None
    base_rest: Origin | None = None
    base: tuple[Share, ...] = ()
    etc: tuple[Share, ...] = ()


@dataclass(frozen=True)
class Site:
    """All that the configuration says, and all that is wrong with it.

    `backends` are those of `[node]`, the default first, said at `backends_origin`; empty where it does not say.
    `leave` holds the aliases that mean "back to the base". `bindmaps` holds every map that some
    environment names, `sysconfig` is None where /etc/sysconfig/chos does not exist. `blocked` is the problem for
    which nothing may be prepared at all, where there is one.
    """

    environments: tuple[Environment, ...] = ()
    leave: tuple[str, ...] = ("root",)
    login: LoginShell = LoginShell()
    jobs: Jobs = Jobs()
    backends: tuple[str, ...] = ()
    backends_origin: Origin | None = None
    sysconfig: Sysconfig | None = None
    bindmaps: dict[str, BindMap] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    blocked: Problem | None = None

    def find(self, name: str) -> Environment | None:
        """The environment that `name` (primary, alias or tree path) leads to, or None."""
        for env in self.environments:
            if name == env.name or name in env.aliases:
                return env
        return next((env for env in self.environments if name == env.tree), None)


@lru_cache(maxsize=4096)  # asked for the same names again with each environment
def escape_name(name: str) -> str:
    """The registry's file name for an alias: itself, or `%2F…` for an absolute path.

    :raises ValueError: when it is neither a legal name nor an absolute path that fits in 255 bytes.
    """
    if NAME_PATTERN.fullmatch(name):
        return name
    if not name.startswith("/") or "\0" in name or "\n" in name:
        raise ValueError(f"not a legal environment name: {name!r}")
    safe = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    escaped = "".join(chr(b) if b in safe else f"%{b:02X}" for b in name.encode("utf-8", "surrogateescape"))
    if len(escaped) > ESCAPED_MAX:
        raise ValueError(f"path alias is longer than {ESCAPED_MAX} bytes when escaped")
    return escaped


@dataclass(frozen=True)
class Launcher:
    """The launcher on the base, to be found under the same name inside; and what comes along with it.

    `scripts`: name and content. chosctl itself needs the base's Python, so inside it is called by way of the base.
    """

    path: str
    links: tuple[str, ...] = ("chos-job-starter",)
    scripts: tuple[tuple[str, str], ...] = (("chosctl", '#!/bin/sh\nexec env CHOS=root chos chosctl "$@"\n'),)
