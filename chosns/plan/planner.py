"""make_plan: from an environment, its bind map, an OS tree and a base to an ordered list of operations."""

from __future__ import annotations

from dataclasses import dataclass

from chosns.errors import PlanError, TreeError
from chosns.model import Bind as ExtraBind
from chosns.model import BindMap, Environment, Share, Sysconfig
from chosns.plan.layout import Layout, Shown
from chosns.plan.operations import Bind, Flags, MakeDirectory, MakeRoot, Operation, Pivot, Plan, Reason
from chosns.plan.view import Kind, View, join, parent, resolve, split

# Never taken from either side: /local is the base's root, /chos leads back to /.
RESERVED = frozenset({"local", "chos", "lost+found"})
# Always the base's, whatever MAKELINKS says: an environment without them cannot work.
ALWAYS_BASE = frozenset({"proc", "sys", "dev", "tmp", "run"})


@dataclass(frozen=True)
class Launcher:
    """The launcher on the base, to be found under the same name inside."""

    path: str
    links: tuple[str, ...] = ("chos-job-starter",)


def make_plan(env: Environment, bindmap: BindMap, tree: View, base: View, *,
              sysconfig: Sysconfig | None = None, launcher: Launcher | None = None) -> Plan:
    """Plan one environment.

    :param tree: the OS tree's root.
    :param base: the base's root.
    :param launcher: what to show as the launcher inside; None where none is installed.
    :raises TreeError: the tree is not an OS tree.
    :raises PlanError: bind map, tree and base do not fit; names the line.
    """
    if tree.kind("/etc") is not Kind.DIRECTORY:
        raise TreeError("is not an OS tree: its /etc is missing or is not a directory", object=env.tree,
                        hint="compare the path in /etc/chos with what is on disk; `chosctl explain` shows what was found")
    layout = Layout(env.name, tree, base, env.policy)
    local = MakeDirectory("/local", Reason("place of the base's root"))
    layout.own.append(local)
    layout.link("chos", "/", Reason("/chos/… names the same thing inside and out"))
    _top_of_tree(layout, bindmap, sysconfig)
    _top_of_base(layout, bindmap)
    _rest_of_tree(layout, bindmap)
    _chos_directory(layout)
    _identity(layout, bindmap)
    _shares(layout, bindmap)
    _binds(layout, (*(sysconfig.bind_mounts if sysconfig else ()), *env.binds))
    if launcher is not None:
        _launcher(layout, launcher)
    operations: list[Operation] = [MakeRoot(Reason("the environment's own root")), *layout.operations()]
    operations.append(Pivot("/local", Reason("entering is one setns; containers still work inside")))
    operations.extend(_local_devices(layout, bindmap))
    return Plan(env.name, env.tree, tuple(operations), tuple(layout.notes))


def _top_of_tree(layout: Layout, bindmap: BindMap, sysconfig: Sysconfig | None) -> None:
    """The OS's own directories and links, as the tree has them; then what MAKELINKS adds."""
    bound = {split(bind.target)[0] for bind in (sysconfig.bind_mounts if sysconfig else ())
             if len(split(bind.target)) == 1}
    for share in bindmap.tree:
        if split(share.path)[0] not in bound:
            _from_tree(layout, split(share.path)[0], Reason("the OS's own", share.origin))
    if sysconfig and sysconfig.make_links:
        for name in layout.base.entries("/"):
            if name not in bound | RESERVED | ALWAYS_BASE | set(layout.top):
                _from_tree(layout, name, Reason("MAKELINKS=yes", sysconfig.origin))


def _from_tree(layout: Layout, name: str, why: Reason) -> None:
    """Show one top-level entry of the tree as it is there; nothing where the tree has none."""
    kind = layout.tree.kind("/" + name)
    if kind is Kind.DIRECTORY:
        layout.show(name, "tree", "/" + name, layout.tree_flags, why)
    elif kind is Kind.LINK:
        layout.link(name, layout.tree.readlink("/" + name), why)
    elif kind is not None:
        layout.notes.append(Reason(f"/{name} of the tree is neither a directory nor a link: left out"))


def _top_of_base(layout: Layout, bindmap: BindMap) -> None:
    """Every other top-level entry of the base, live."""
    if bindmap.base_rest is None:
        return
    why = Reason("everything else is the base's", bindmap.base_rest)
    owned = {split(share.path)[0] for share in bindmap.tree}
    devices = {share.path for share in bindmap.base if share.devices}
    links = []
    for name, kind in sorted(layout.base.entries("/").items()):
        if name in RESERVED:
            if name == "local":
                layout.notes.append(Reason("the base's own /local is at /local/local inside"))
        elif name in owned or name in layout.top:
            continue
        elif kind is Kind.DIRECTORY:
            layout.show(name, "base", "/" + name, Flags(nodev="/" + name not in devices), why)
        elif kind is Kind.LINK:
            links.append(name)
        elif kind is Kind.FILE:
            layout.link(name, f"/local/{name}", why)
    # Links last: whether one can be shown as it is depends on what its target will be inside.
    for name in links:
        _base_link(layout, name, owned, why)


def _base_link(layout: Layout, name: str, owned: set[str], why: Reason) -> None:
    """A top-level link of the base: as it is where it leads to the same thing inside, else what it leads to."""
    found = resolve(layout.base, "/" + name)
    if found is None:
        layout.notes.append(Reason(f"/{name} of the base is a loop of links: left out"))
        return
    through_tree = bool((found.visited - {name}) & (owned | RESERVED))
    if not through_tree:
        layout.link(name, layout.base.readlink("/" + name), why)
    elif found.kind is Kind.DIRECTORY:
        layout.show(name, "base", found.path, Flags(), why)
    else:
        layout.link(name, "/local" + found.path, why)


def _rest_of_tree(layout: Layout, bindmap: BindMap) -> None:
    """Top-level entries that only the tree has."""
    if bindmap.tree_rest is None:
        return
    for name in sorted(layout.tree.entries("/")):
        if name not in RESERVED and name not in layout.top:
            _from_tree(layout, name, Reason("only the tree has it", bindmap.tree_rest))


def _chos_directory(layout: Layout) -> None:
    """What the base keeps in /chos (OS trees, mostly) under the same path, which /chos -> / makes /os inside."""
    if layout.base.kind("/chos") is not Kind.DIRECTORY:
        return
    for name, kind in sorted(layout.base.entries("/chos").items()):
        if kind is Kind.DIRECTORY and name not in RESERVED and name not in layout.top:
            layout.show(name, "base", f"/chos/{name}", Flags(), Reason(f"/chos/{name} of the base, by way of /chos -> /"))


def _identity(layout: Layout, bindmap: BindMap) -> None:
    """Accounts, hosts, resolver: links below /etc that lead to the base's files, current after every rename."""
    for share in bindmap.etc:
        path = join(["etc", *split(share.path)])
        if layout.base.kind(path) is None:
            layout.notes.append(Reason(f"{path}: the base has none", share.origin))
            continue
        layout.add_entry(path, Reason("the base's", share.origin), to=_identity_target(layout, path))


def _identity_target(layout: Layout, path: str) -> str:
    """Where a link inside must point to mean what `path` means on the base.

    Through /local as long as that stays true by itself; a base link whose absolute target is the tree's
    inside (localtime → /usr/share/zoneinfo/…) is followed now instead.
    """
    found = resolve(layout.base, path)
    if found is None:
        raise PlanError("is a loop of symbolic links on the base", object=path)

    def is_base(target: str) -> bool:
        place = layout.top.get(split(target)[0]) if split(target) else None
        return isinstance(place, Shown) and place.side == "base"

    return "/local" + (path if all(map(is_base, found.jumps)) else found.path)


def _shares(layout: Layout, bindmap: BindMap) -> None:
    """Paths that stay the base's below a directory of the tree."""
    for share in bindmap.base:
        found = resolve(layout.base, share.path)
        if found is None or found.kind is None:
            if share.required:
                raise PlanError(f"{share.origin} requires it, but the base has none", object=share.path,
                                hint="create it, or move the line to `share`")
            layout.notes.append(Reason(f"{share.path}: the base has none", share.origin))
            continue
        _place(layout, share.path, share.path, Flags(nodev=not share.devices), Reason("the base's", share.origin))


def _binds(layout: Layout, binds: tuple[ExtraBind, ...]) -> None:
    """Binds of /etc/sysconfig/chos and of the environment itself."""
    for bind in binds:
        found = resolve(layout.base, bind.source)
        if (found is None or found.kind is None) and bind.optional:
            layout.notes.append(Reason(f"{bind.source}: the base has none", bind.origin))
            continue
        _place(layout, bind.source, bind.target, Flags(nodev=not bind.devices, read_only=bind.read_only),
               Reason("extra bind", bind.origin))


def _place(layout: Layout, source: str, target: str, flags: Flags, why: Reason) -> None:
    """place_base, with the line of configuration added to what goes wrong."""
    try:
        layout.place_base(source, target, flags, why)
    except PlanError as error:
        error.hint = f"{error.hint} ({why.origin})" if error.hint else f"see {why.origin}"
        raise


def _launcher(layout: Layout, launcher: Launcher) -> None:
    """The base's launcher at its own path, whatever the tree has there; the one mount that allows privilege."""
    why = Reason("the way on and back, same name inside")
    spot = layout.add_entry(launcher.path, why, file=True)
    for name in launcher.links:
        layout.add_entry(join([*split(parent(launcher.path)), name]), why, to=split(launcher.path)[-1])
    layout.nested.append(Bind("base", launcher.path, spot, why, Flags(nosuid=False, nodev=True, read_only=True)))


def _local_devices(layout: Layout, bindmap: BindMap) -> list[Operation]:
    """Device directories work below /local too, though the rest of it is nodev."""
    devices: list[Share] = [share for share in bindmap.base if share.devices]
    return [
        Bind("base", share.path, "/local" + share.path, Reason("devices work there too", share.origin), Flags(nodev=False))
        for share in devices if layout.base.kind(share.path) is Kind.DIRECTORY
    ]

