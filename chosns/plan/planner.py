"""make_plan: from an environment, its bind map, an OS tree and a base to an ordered list of operations."""

from __future__ import annotations

from collections.abc import Iterator

from chosns.errors import PlanError, TreeError
from chosns.lazydata import dataclass
from chosns.model import BindMap, Environment, ExtraBind, Launcher, Share, Sysconfig
from chosns.plan.layout import Layout, TopDirectory
from chosns.plan.operations import Bind, Flags, MakeDirectory, MakeRoot, Operation, Pivot, Plan, Reason
from chosns.plan.view import Kind, View, resolve
from chosns.system.paths import join, split

# Never taken from either side: /local is the base's root, /chos leads back to /.
RESERVED = frozenset({"local", "chos", "lost+found"})
# Never the tree's: devices, the kernel's own file systems, and the place of the registry.
NEVER_TREE = frozenset({"proc", "sys", "dev", "run"})
# Always the base's, whatever MAKELINKS says: an environment without them cannot work.
ALWAYS_BASE = NEVER_TREE | {"tmp"}
# The same below /etc, if the base has it: on nodes with SELinux sshd, as root and inside, reads the context of its user
# there.
ETC_ALWAYS_BASE = ("selinux",)


def make_plan(
    env: Environment,
    bindmap: BindMap,
    tree: View,
    base: View,
    *,
    sysconfig: Sysconfig | None = None,
    launcher: Launcher | None = None,
) -> Plan:
    """Plan one environment.

    :param tree: the OS tree's root.
    :param base: the base's root.
    :param launcher: what to show as the launcher inside; None if none is installed.
    :raises TreeError: the tree is not an OS tree.
    :raises PlanError: bind map, tree and base do not fit; names the line.
    """
    if tree.kind("/etc") is not Kind.DIRECTORY:
        raise TreeError(
            "is not an OS tree: its /etc is missing or is not a directory",
            object=env.tree,
            hint="compare the path in /etc/chos with what is on disk",
        )
    layout = Layout(env.name, tree, base, env.policy)
    local = MakeDirectory("/local", Reason("mount point for the base's root"))
    layout.own.append(local)
    layout.link("chos", "/", Reason("/chos/… names the same thing inside and out"))
    _top_of_tree(layout, bindmap, sysconfig)
    _top_of_base(layout, bindmap)
    _rest_of_tree(layout, bindmap, sysconfig)
    _chos_directory(layout, bindmap)
    _identity(layout, bindmap)
    _etc_always(layout)
    _places(layout, [*_shares(layout, bindmap), *_binds(layout, (*_of_sysconfig(sysconfig), *env.binds))])
    for share in sorted(bindmap.base, key=lambda share: len(split(share.path))):
        if share.only:
            layout.hide(share.path, Reason("never taken from the tree, and the base lacks it", share.origin))
    if launcher is not None:
        _launcher(layout, launcher)
    _stray_database(layout, env.tree)
    operations: list[Operation] = [MakeRoot(Reason("the environment's own root")), *layout.operations()]
    operations.append(Pivot("/local", Reason("becomes the root: entering is one setns, and containers work inside")))
    operations.extend(_local_devices(layout, bindmap))
    return Plan(env.name, env.tree, tuple(operations), tuple(layout.notes), tuple(layout.warnings))


def _top_of_tree(layout: Layout, bindmap: BindMap, sysconfig: Sysconfig | None) -> None:
    """The OS's own directories and links, as they are in the tree; then what MAKELINKS adds."""
    bound = _bound(layout, sysconfig)
    for share in bindmap.tree:
        if split(share.path)[0] not in bound:
            _from_tree(layout, split(share.path)[0], Reason("taken from the OS tree", share.origin))
    if sysconfig and sysconfig.make_links:
        for name in sorted(layout.base.entries("/")):
            if name not in bound | RESERVED | ALWAYS_BASE | set(layout.top):
                _from_tree(layout, name, Reason("MAKELINKS=yes", sysconfig.origin))


def _of_sysconfig(sysconfig: Sysconfig | None) -> tuple[ExtraBind, ...]:
    return sysconfig.bind_mounts if sysconfig else ()


def _bound(layout: Layout, sysconfig: Sysconfig | None) -> set[str]:
    """Existing top-level names of the base that BINDMOUNT takes from the base."""
    binds = [bind for bind in _of_sysconfig(sysconfig) if len(split(bind.target)) == 1]
    found = [(split(bind.target)[0], resolve(layout.base, bind.source)) for bind in binds]
    return {name for name, there in found if there is not None and there.kind is not None}


def _from_tree(layout: Layout, name: str, why: Reason) -> None:
    """Show one top-level entry of the tree as it is there; nothing if the tree does not have it."""
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
    why = Reason("everything else is taken from the base", bindmap.base_rest)
    # What is already placed is the tree's, also by MAKELINKS.
    owned = {split(share.path)[0] for share in bindmap.tree} | set(layout.top)
    devices = {share.path for share in bindmap.base if share.devices}
    links = []
    for name, kind in sorted(layout.base.entries("/").items()):
        if name in RESERVED:
            if name == "local":
                layout.notes.append(Reason("the base's own /local is at /local/local inside"))
        elif name in owned:
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
    """A top-level link of the base: unchanged if it leads to the same thing inside, otherwise replaced by its
    target."""
    found = resolve(layout.base, "/" + name)
    if found is None:
        layout.notes.append(Reason(f"/{name} of the base is a loop of links: left out"))
        return
    through_tree = bool((found.visited - {name}) & (owned | RESERVED))
    if not through_tree:
        layout.link(name, layout.base.readlink("/" + name), why)
    elif found.kind is Kind.DIRECTORY and found.path != "/":
        layout.show(name, "base", found.path, Flags(), why)
    else:
        layout.link(name, "/local" + found.path, why)


def _rest_of_tree(layout: Layout, bindmap: BindMap, sysconfig: Sysconfig | None) -> None:
    """Top-level entries that only the tree has."""
    if bindmap.tree_rest is None:
        return
    elsewhere = RESERVED | NEVER_TREE | set(layout.top) | _bound(layout, sysconfig)
    if bindmap.base_rest:  # what the base has, even a broken link, is not taken from the tree
        elsewhere |= set(layout.base.entries("/"))
    for name in sorted(layout.tree.entries("/")):
        if name not in elsewhere:
            _from_tree(layout, name, Reason("only the tree has it", bindmap.tree_rest))


def _chos_directory(layout: Layout, bindmap: BindMap) -> None:
    """Keep paths such as /chos/os/X valid inside: with /chos -> / they need /os, which comes from the base's
    /chos/os."""
    if layout.base.kind("/chos") is not Kind.DIRECTORY:
        return
    taken = (
        RESERVED | {split(share.path)[0] for share in bindmap.tree} | set(layout.base.entries("/")) | set(layout.top)
    )
    for name, kind in sorted(layout.base.entries("/chos").items()):
        if kind is Kind.DIRECTORY and name in taken:
            layout.notes.append(Reason(f"/chos/{name} of the base is at /local/chos/{name} only: /{name} is another"))
        elif kind is Kind.DIRECTORY:
            why = Reason(f"/chos/{name} of the base, by way of /chos -> /")
            layout.show(name, "base", f"/chos/{name}", Flags(), why)


def _identity(layout: Layout, bindmap: BindMap) -> None:
    """Accounts, hosts, resolver: links below /etc that lead to the base's files, current after every rename."""
    for share in bindmap.etc:
        path = join(["etc", *split(share.path)])
        if layout.base.kind(path) is None:
            layout.notes.append(Reason(f"{path}: the base has none", share.origin))
            continue
        layout.add_entry(path, Reason("taken from the base", share.origin), to=_identity_target(layout, path))


def _etc_always(layout: Layout) -> None:
    """What is the base's below /etc in any case, also if the bind map already shows a part of it."""
    etc = layout.top.get("etc")
    if not isinstance(etc, TopDirectory) or etc.side != "tree":
        return
    for path in (join(["etc", name]) for name in ETC_ALWAYS_BASE):
        if layout.base.kind(path) is not None:
            layout.add_entry(path, Reason("always taken from the base"), to=_identity_target(layout, path))


def _identity_target(layout: Layout, path: str) -> str:
    """Where a link inside must point to mean what `path` means on the base.

    Through /local, if that stays correct without our doing. If the base's file is a link whose absolute target would be
    the tree's inside (localtime → /usr/share/zoneinfo/…), it is followed now instead.
    """
    found = resolve(layout.base, path)
    if found is None:
        raise PlanError("is a loop of symbolic links on the base", object=path)

    def is_base(name: str) -> bool:
        place = layout.top.get(name)
        return isinstance(place, TopDirectory) and place.side == "base"

    return "/local" + (path if all(map(is_base, found.jumps)) else found.path)


@dataclass(frozen=True)
class _Place:
    """One thing of the base that is wanted at a place of its own."""

    source: str
    target: str
    flags: Flags
    why: Reason


def _shares(layout: Layout, bindmap: BindMap) -> Iterator[_Place]:
    """Paths that stay the base's below a directory of the tree."""
    for share in bindmap.base:
        found = resolve(layout.base, share.path)
        if found is None or found.kind is None:
            if share.required:
                raise PlanError(
                    f"{share.origin} requires it, but the base has none",
                    object=share.path,
                    hint="create it, or move the line to `share`",
                )
            layout.notes.append(Reason(f"{share.path}: the base has none", share.origin))
            continue
        yield _Place(
            share.path, share.path, Flags(nodev=not share.devices), Reason("taken from the base", share.origin)
        )


def _binds(layout: Layout, binds: tuple[ExtraBind, ...]) -> Iterator[_Place]:
    """Binds of /etc/sysconfig/chos and of the environment itself."""
    for bind in binds:
        found = resolve(layout.base, bind.source)
        if (found is None or found.kind is None) and bind.optional:
            layout.notes.append(Reason(f"{bind.source}: the base has none", bind.origin))
            continue
        flags = Flags(nodev=not bind.devices, read_only=bind.read_only)
        text = "extra bind of what may be anybody's" if bind.untrusted else "extra bind"
        yield _Place(bind.source, bind.target, flags, Reason(text, bind.origin))


def _places(layout: Layout, places: list[_Place]) -> None:
    """Call place_base for each, outer places before those inside them. Errors name the line of configuration."""

    def depth(place: _Place) -> int:
        spot = resolve(layout, place.target, follow_last=False)
        return len(split(spot.path)) if spot else 0

    for place in sorted(places, key=depth):
        try:
            layout.place_base(place.source, place.target, place.flags, place.why)
        except PlanError as error:
            error.hint = f"{error.hint} ({place.why.origin})" if error.hint else f"see {place.why.origin}"
            raise


def _stray_database(layout: Layout, path: str) -> None:
    """rpm of Debian keeps its database in the home directory, so `dnf --installroot` on a Debian base leaves it where
    the tree's own rpm does not look."""
    if layout.tree.kind("/root/.rpmdb") is Kind.DIRECTORY and layout.tree.kind("/var/lib/dpkg/status") is None:
        export = f"rpmdb --root {path} --dbpath /root/.rpmdb --exportdb | chroot {path} rpmdb --importdb"
        layout.warnings.append(
            f"{path}/root/.rpmdb: a database of packages where the tree's own rpm does not look, so `rpm -qa` inside"
            f" shows none of them; `{export}`, then `rm -r {path}/root/.rpmdb`"
        )


def _launcher(layout: Layout, launcher: Launcher) -> None:
    """Show the base's launcher at its own path, whatever the tree has there. It is the only mount that allows
    privilege."""
    why = Reason("the launcher, so that users can go on and back")
    flags = Flags(nosuid=False, nodev=True, read_only=True)
    layout.place_launcher(launcher.path, launcher.links, launcher.scripts, flags, why)


def _local_devices(layout: Layout, bindmap: BindMap) -> list[Operation]:
    """Make devices work below /local too, although the rest of /local is nodev."""
    devices: dict[str, Share] = {}
    for share in bindmap.base:
        found = resolve(layout.base, share.path) if share.devices else None
        if found is not None and found.kind is Kind.DIRECTORY and found.path != "/":
            devices.setdefault(found.path, share)
    return [
        Bind("base", path, "/local" + path, Reason("devices work at this path too", share.origin), Flags(nodev=False))
        for path, share in sorted(devices.items(), key=lambda item: len(split(item[0])))
    ]
