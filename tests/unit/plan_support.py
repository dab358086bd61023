"""What the tests of plans share: roots made of a dictionary, and a machine that carries plans out on them.

The machine obeys the rules of `chosns.mounts.execute`: sources and mount points are looked up without following
links, what is made before the pivot is made in the tmpfs, and an overlay shows its entries over the tree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Union

from chosns.config.bindmap import parse_bind_map, resolve_bind_map
from chosns.model import BindMap, Environment, ExtraBind, Launcher, Origin, Policy, Share, Sysconfig
from chosns.plan import Bind, Hide, Kind, MakeDirectory, MakeRoot, MakeSymlink, Overlay, Pivot, Plan, make_plan
from chosns.plan.view import resolve
from chosns.system.paths import join, parent, split

Node = Union[str, tuple]  # "dir", "file", "other" or ("link", text)
_KINDS = {"dir": Kind.DIRECTORY, "file": Kind.FILE, "other": Kind.OTHER}
HERE = Origin("/etc/chos.d/test.toml", 7)


class Root:
    """A root directory in memory. What is missing above an entry is a directory."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes: dict[str, Node] = {}
        for path, node in nodes.items():
            for number in range(1, len(split(path))):
                self.nodes.setdefault(join(split(path)[:number]), "dir")
            self.nodes[path] = node

    def kind(self, path: str) -> Kind | None:
        if path == "/":
            return Kind.DIRECTORY
        node = self.nodes.get(path)
        # As on a real root, nothing is below what is not a directory.
        if node is None or any(self.nodes.get(above) != "dir" for above in _above(path)):
            return None
        return Kind.LINK if isinstance(node, tuple) else _KINDS[node]

    def readlink(self, path: str) -> str:
        node = self.nodes[path]
        assert isinstance(node, tuple), path
        return str(node[1])

    def entries(self, path: str) -> dict[str, Kind]:
        assert self.kind(path) is Kind.DIRECTORY, path
        found = {split(name)[-1]: self.kind(name) for name in self.nodes if parent(name) == path and name != "/"}
        return {name: kind for name, kind in found.items() if kind is not None}

    def without(self, *paths: str) -> Root:
        """The same root, less these and what is below them."""
        return Root(
            {
                name: node
                for name, node in self.nodes.items()
                if not any(name == path or name.startswith(path + "/") for path in paths)
            }
        )

    def plus(self, nodes: dict[str, Node]) -> Root:
        """The same root with these in it, in the place of what was there."""
        return Root({**self.without(*nodes).nodes, **nodes})


def _above(path: str) -> list[str]:
    return [join(split(path)[:number]) for number in range(1, len(split(path)))]


def link(to: str) -> Node:
    """A symbolic link."""
    return ("link", to)


MERGED = Root(
    {
        "/usr/bin/sh": "file",
        "/usr/sbin": "dir",
        "/usr/lib": "dir",
        "/usr/lib64": "dir",
        "/usr/share/zoneinfo/UTC": "file",
        "/bin": link("usr/bin"),
        "/sbin": link("usr/sbin"),
        "/lib": link("usr/lib"),
        "/lib64": link("usr/lib64"),
        "/etc/passwd": "file",
        "/etc/os-release": "file",
        "/etc/ssh/ssh_config": "file",
        "/opt": "dir",
        "/var/lib": "dir",
        "/var/tmp": "dir",
        "/var/spool": "dir",
        "/var/run": link("../run"),
        "/var/log/wtmp": "file",
        "/home": "dir",
        "/proc": "dir",
        "/sys": "dir",
        "/dev": "dir",
        "/tmp": "dir",
        "/run": "dir",
        "/root": "dir",
    }
)

UNMERGED = Root(
    {
        "/bin/sh": "file",
        "/sbin/init": "file",
        "/lib/libc.so": "file",
        "/usr/bin/env": "file",
        "/etc/passwd": "file",
        "/var/run/utmp": "file",
        "/var/tmp": "dir",
        "/opt": "dir",
        "/proc": "dir",
        "/nix/store": "dir",
    }
)

BASE = Root(
    {
        "/usr/bin/chos": "file",
        "/usr/share/zoneinfo/Europe/Berlin": "file",
        "/bin": link("usr/bin"),
        "/lib": link("usr/lib"),
        "/lib64": link("usr/lib64"),
        "/usr/lib": "dir",
        "/usr/lib64": "dir",
        "/usr/local": "dir",
        "/etc/passwd": "file",
        "/etc/group": "file",
        "/etc/hosts": "file",
        "/etc/chos": "file",
        "/etc/ssh/ssh_known_hosts": "file",
        "/etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf"),
        "/etc/localtime": link("/usr/share/zoneinfo/Europe/Berlin"),
        "/run/systemd/resolve/stub-resolv.conf": "file",
        "/run/munge/socket": "other",
        "/var/tmp": "dir",
        "/var/spool/slurmd": "dir",
        "/var/log": "dir",
        "/var/run": link("/run"),
        "/var/lock": link("/run/lock"),
        "/run/lock": "dir",
        "/opt": "dir",
        "/home/anna": "dir",
        "/proc/self": "dir",
        "/sys/fs": "dir",
        "/dev/null": "other",
        "/dev/shm": "dir",
        "/tmp": "dir",
        "/root": "dir",
        "/scratch": "dir",
        "/gpfs/data": "dir",
    }
)


def shares(*paths: str, devices: bool = False, required: bool = False, only: bool = False) -> tuple[Share, ...]:
    """Lines of a bind map."""
    lines = enumerate(paths, 1)
    return tuple(Share(path, Origin("test-map.toml", number), devices, required, only) for number, path in lines)


def shipped(name: str) -> BindMap:
    """A bind map as it ships."""
    files = (Path(__file__).parents[2] / "bindmaps").glob("*.toml")
    found, problems = resolve_bind_map(
        name, {file.stem: [parse_bind_map(file.read_text(encoding="utf-8"), file.name, file.stem)[0]] for file in files}
    )
    assert found is not None and not problems, problems
    return found


DEFAULT = shipped("default")


def plan_for(
    tree: Root = MERGED,
    base: Root = BASE,
    bindmap: BindMap = DEFAULT,
    *,
    binds: tuple[ExtraBind, ...] = (),
    policy: Policy | None = None,
    sysconfig: Sysconfig | None = None,
    launcher: Launcher | None = None,
) -> Plan:
    """make_plan for an environment of no interest."""
    env = Environment("el9", "/srv/os/el9", Origin("/etc/chos", 3), policy=policy or Policy(), binds=binds)
    return make_plan(env, bindmap, tree, base, sysconfig=sysconfig, launcher=launcher)


def bind(source: str, target: str = "", **options: bool) -> ExtraBind:
    """A line of configuration that binds something."""
    return ExtraBind(source, target or source, origin=HERE, **options)


class Refused(AssertionError):
    """The machine could not do an operation: the plan is wrong."""


class Machine:
    """Carries a plan out; afterwards it is a View of the inside, /local included.

    Everything has an identity: (`tree`, `base` or `own`, path there).
    """

    def __init__(self, plan: Plan, tree: Root, base: Root) -> None:
        self.sides = {"tree": tree, "base": base}
        self.own: dict[str, Node] = {}
        self.mounts: list[tuple[str, object]] = []
        self.pivoted = False
        for operation in plan.operations:
            try:
                self._do(operation)
            except Refused as error:
                raise Refused(f"{operation.describe()}: {error}") from None
        assert self.pivoted

    def _do(self, op: object) -> None:
        if isinstance(op, MakeRoot):
            self._need(not self.own and not self.mounts, "not the first")
        elif isinstance(op, (MakeDirectory, MakeSymlink)):
            self._need(not self.mounts, "made on something mounted")
            self._need(parent(op.target) == "/" or self.own.get(parent(op.target)) == "dir", "no directory to hold it")
            self._need(op.target not in self.own, "is there already")
            made: Node = link(op.to) if isinstance(op, MakeSymlink) else "file" if op.file else "dir"
            self.own[op.target] = made
        elif isinstance(op, Bind):
            self._source(op.side, op.source, (Kind.DIRECTORY, Kind.FILE))
            self._mount(op, self.sides[op.side].kind(op.source))
        elif isinstance(op, Overlay):
            self._source("tree", op.lower, (Kind.DIRECTORY,))
            self._layer(op)
            self._mount(op, Kind.DIRECTORY)
        elif isinstance(op, Hide):
            self._mount(op, Kind.DIRECTORY)
        else:
            assert isinstance(op, Pivot), op
            self._need(self.kind(op.put_old) is Kind.DIRECTORY, "nowhere to put the base")
            self.mounts.append((op.put_old, op))
            self.pivoted = True

    def _need(self, condition: bool, why: str) -> None:
        if not condition:
            raise Refused(why)

    def _source(self, side: str, path: str, kinds: tuple[Kind, ...]) -> None:
        """No component of a source is a link, and it is there."""
        for step in [*_above(path), path]:
            self._need(self.sides[side].kind(step) is not Kind.LINK, f"{side}:{step} is a link")
        self._need(self.sides[side].kind(path) in kinds, f"{side}:{path} is not there")

    def _layer(self, op: Overlay) -> None:
        """Entries do not get into each other's way: making one never walks through another that is a link."""
        paths = [entry.path for entry in op.entries]
        self._need(len(set(paths)) == len(paths), "an entry twice")
        for entry in op.entries:
            self._need(bool(entry.path) and ".." not in split(entry.path), "a bad entry")
            solid = [other.path for other in op.entries if other.kind is not Kind.DIRECTORY]
            inside = any(step[1:] in solid for step in _above("/" + entry.path))
            self._need(not inside, f"{entry.path} below a non-directory")
            for step in _above("/" + entry.path):
                lower = self.sides["tree"].kind(join([*split(op.lower), *split(step)]))
                self._need(lower in (Kind.DIRECTORY, None), f"{entry.path} hides what the tree has at {step}")

    def _mount(self, op: object, kind: Kind | None) -> None:
        target = op.target  # type: ignore[attr-defined]
        self._need(target != "/", "over the root")
        self._need(
            not any(
                place != target and split(place)[: len(split(target))] == split(target) for place, _ in self.mounts
            ),
            "hides an earlier mount",
        )
        if len(split(target)) == 1:
            self.own.setdefault(target, "dir")
        for step in _above(target):
            self._need(self.kind(step) is Kind.DIRECTORY, f"{step} is {self.kind(step)}")
        there = self.kind(target)
        self._need(there is kind, f"a {kind} on a {there}")
        self.mounts.append((target, op))

    # A View of the inside.

    def where(self, path: str) -> tuple[str, str]:
        """Side and path there of what is at `path`, which is looked up without following links."""
        around = [(place, op) for place, op in self.mounts if split(path)[: len(split(place))] == split(place)]
        if not around:
            return "own", path
        place, op = max(reversed(around), key=lambda item: len(split(item[0])))  # the last of equals is on top
        rest = split(path)[len(split(place)) :]
        if isinstance(op, Overlay):
            for entry in op.entries:
                if split(entry.path) == rest:
                    return "entry", entry.to or ("file" if entry.kind is Kind.FILE else "dir")
            there = join([*split(op.lower), *rest])
            holds = any(split(entry.path)[: len(rest)] == rest for entry in op.entries)
            if holds and self.sides["tree"].kind(there) is None:
                return "entry", "dir"
            return "tree", there
        if isinstance(op, Pivot):
            return "base", join(rest)
        if isinstance(op, Hide):
            return "entry", "" if rest else "dir"
        assert isinstance(op, Bind)
        return op.side, join([*split(op.source), *rest])

    def kind(self, path: str) -> Kind | None:
        if path == "/":
            return Kind.DIRECTORY
        side, there = self.where(path)
        if side == "entry":
            return _KINDS.get(there, Kind.LINK) if there else None
        if side == "own":
            node = self.own.get(there)
            return None if node is None else Kind.LINK if isinstance(node, tuple) else _KINDS[node]
        return self.sides[side].kind(there)

    def readlink(self, path: str) -> str:
        side, there = self.where(path)
        if side == "entry":
            return there
        return str(self.own[there][1]) if side == "own" else self.sides[side].readlink(there)

    def entries(self, path: str) -> dict[str, Kind]:
        raise NotImplementedError

    def follow(self, path: str) -> tuple[str, str] | None:
        """What a user gets who opens `path`; None where that is nothing."""
        found = resolve(self, path)
        if found is None or found.kind is None:
            return None
        return ("own", "/") if found.path == "/" else self.where(found.path)


def built(tree: Root = MERGED, base: Root = BASE, bindmap: BindMap = DEFAULT, **options: object) -> Machine:
    """Plan and carry out."""
    return Machine(plan_for(tree, base, bindmap, **options), tree, base)  # type: ignore[arg-type]
