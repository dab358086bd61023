"""Bind maps: TOML files that say what an environment takes from its tree and what from the base (bindmap(5)).

`parse_bind_map` reads one file, `resolve_bind_map` follows `extends` and makes the `BindMap` that the planner
reads. Pure: which files there are is `chosns.config`'s business. Must never raise for bad content, nor use a map of
which a part was not understood. Called by `chosns.config.site`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chosns.config.text import nearest, path_fault, quoted, reserved, strict_path_fault
from chosns.config.tomldoc import Fields, parse_toml
from chosns.lazydata import dataclass
from chosns.model import NAME_PATTERN, REGISTRY, BindMap, Origin, Problem, Share

MAX_DEPTH = 8
RESERVED = ("/local", "/chos", REGISTRY)
# Devices, what the kernel says, and the place of the registry: another's could mislead who looks there with privilege.
_NEVER_THE_TREES = ("/dev", "/proc", "/run", "/sys")
_ELSEWHERE = {
    "top": "it belongs into [tree]",
    "rest": "it belongs into [tree] or [base]",
    "share": "it belongs into [base]",
    "require": "it belongs into [base]",
    "only": "it belongs into [base]",
    "devices": "it belongs into [base]",
    "links": "it belongs into [etc]",
}


@dataclass(frozen=True)
class MapFile:
    """One bind map as it was written, before `extends` is followed.

    A `rest` is None where the file does not say; `usable` is False where it has errors.
    """

    name: str
    origin: Origin
    extends: str = ""
    description: str = ""
    tree: tuple[Share, ...] = ()
    tree_rest: bool | None = None
    tree_rest_origin: Origin = Origin("")
    base: tuple[Share, ...] = ()
    base_rest: bool | None = None
    base_rest_origin: Origin = Origin("")
    etc: tuple[Share, ...] = ()
    usable: bool = True


Library = Mapping[str, Sequence[MapFile]]
"""Every map by its name; of several with one name the first is meant, and may extend the next."""


def parse_bind_map(text: str, file: str, name: str) -> tuple[MapFile, tuple[Problem, ...]]:
    """Read one bind map. A map with any error is not `usable`: it might show too much."""
    origin = Origin(file)
    document = parse_toml(text, file)
    if isinstance(document, Problem):
        return MapFile(name, origin, usable=False), (document,)
    problems: list[Problem] = []
    top = Fields(document, (), document.data, "the file", problems)
    description, extends = top.text("description"), top.text("extends")
    if extends and not NAME_PATTERN.fullmatch(extends):
        top.report(f"{quoted(extends)} is not the name of a bind map", "give the name, not the file", "extends")
    tree, base, etc = top.sub("tree"), top.sub("base"), top.sub("etc")
    tree_shares = tuple(_top_level(tree))
    tree_rest = tree.flag("rest", False)
    base_rest = base.flag("rest", False)
    shares = _base(base)
    links = tuple(_links(etc))
    for fields in (tree, base, etc, top):
        fields.close(_ELSEWHERE)
    found = MapFile(
        name=name,
        origin=origin,
        extends=extends,
        description=description,
        tree=tree_shares,
        tree_rest=tree_rest if tree.has("rest") else None,
        tree_rest_origin=tree.origin("rest"),
        base=shares,
        base_rest=base_rest if base.has("rest") else None,
        base_rest_origin=base.origin("rest"),
        etc=links,
        usable=not problems,
    )
    return found, tuple(problems)


def resolve_bind_map(name: str, library: Library) -> tuple[BindMap | None, tuple[Problem, ...]]:
    """The map of this name with all that it extends: lists joined, the bases first; scalars from the last.

    Problems are those of putting it together; a file's own were reported when it was read. None where it
    cannot be used.
    """
    chain, problem = _chain(name, library)
    if problem:
        return None, (problem,)
    if not all(file.usable for file in chain):
        return None, ()
    whole = MapFile(name, chain[0].origin)
    for file in reversed(chain):
        whole = _add(whole, file)
    problems = _conflicts(whole)
    if problems:
        return None, tuple(problems)
    return (
        BindMap(
            name=name,
            origin=whole.origin,
            description=whole.description,
            tree=whole.tree,
            tree_rest=whole.tree_rest_origin if whole.tree_rest else None,
            base_rest=whole.base_rest_origin if whole.base_rest else None,
            base=whole.base,
            etc=whole.etc,
        ),
        (),
    )


def _chain(name: str, library: Library) -> tuple[list[MapFile], Problem | None]:
    """The map and what it extends, outermost first. A map that extends its own name means the next so named."""
    chain: list[MapFile] = []
    level = 0
    wanted_by = Origin("")
    while name:
        files = library.get(name, ())
        if level >= len(files):
            hint = nearest(name, library) or f"known: {', '.join(sorted(library)) or 'none'}"
            return chain, Problem(wanted_by, f"there is no {'further ' if level else ''}bind map {quoted(name)}", hint)
        file = files[level]
        if file in chain:
            message = f"bind map {quoted(name)} extends itself by way of others"
            return chain, Problem(file.origin, message, "break the loop")
        if len(chain) == MAX_DEPTH:
            message = f"extends more than {MAX_DEPTH - 1} maps, one by another"
            return chain, Problem(chain[0].origin, message, "join some of them")
        chain.append(file)
        if not file.usable:
            return chain, None
        wanted_by = file.origin
        level = level + 1 if file.extends == name else 0
        name = file.extends
    return chain, None


def _add(under: MapFile, over: MapFile) -> MapFile:
    return replace(
        under,
        description=over.description or under.description,
        tree=_joined(under.tree + over.tree),
        tree_rest=under.tree_rest if over.tree_rest is None else over.tree_rest,
        tree_rest_origin=under.tree_rest_origin if over.tree_rest is None else over.tree_rest_origin,
        base=_joined(under.base + over.base),
        base_rest=under.base_rest if over.base_rest is None else over.base_rest,
        base_rest_origin=under.base_rest_origin if over.base_rest is None else over.base_rest_origin,
        etc=_joined(under.etc + over.etc),
    )


def _joined(shares: Sequence[Share]) -> tuple[Share, ...]:
    """Each path once, where it was first said; what any line demands of it holds."""
    by_path: dict[str, Share] = {}
    for share in shares:
        first = by_path.setdefault(share.path, share)
        by_path[share.path] = replace(
            first,
            devices=first.devices or share.devices,
            required=first.required or share.required,
            only=first.only or share.only,
        )
    return tuple(by_path.values())


def _conflicts(whole: MapFile) -> list[Problem]:
    """What cannot be true at once."""
    problems = []
    if not whole.tree and not whole.tree_rest:
        hint = 'add [tree] with top = ["/usr", …], or extends = "default"'
        problems.append(Problem(whole.origin, "takes nothing from the tree", hint))
    tops = {share.path: share.origin for share in whole.tree}
    for share in whole.base:
        if share.path in tops:
            message = f"{quoted(share.path)} is the base's here and the tree's in {tops[share.path]}"
            problems.append(Problem(share.origin, message, "remove one of the two"))
    links = {share.path for share in whole.etc}
    for share in whole.etc:
        parts = share.path.split("/")
        above = next((top for n in range(1, len(parts)) if (top := "/".join(parts[:n])) in links), "")
        if above:
            message = f"{quoted(share.path)} is below {quoted(above)}, which is a link as well"
            problems.append(Problem(share.origin, message, "remove one of the two"))
    return problems


def _top_level(fields: Fields) -> list[Share]:
    """`tree.top`: names directly below the root."""
    found = []
    for number, (path, origin) in enumerate(fields.strings("top")):
        fault = strict_path_fault(path)
        if not fault and path.count("/") != 1:
            fault = "is not directly below /"
        if not fault and reserved(path, (*RESERVED, *_NEVER_THE_TREES)):
            fault = "is not the tree's to give"
        if fault:
            fields.report(f"{quoted(path)} {fault}", 'name top-level directories, such as "/usr"', "top", number)
        else:
            found.append(Share(path, origin))
    return list(_joined(found))


def _base(fields: Fields) -> tuple[Share, ...]:
    """`base.share`, `base.require`, `base.only` and `base.devices`; a path may stand in several."""
    found = []
    for key in ("share", "require", "only", "devices"):
        for number, (path, origin) in enumerate(fields.strings(key)):
            fault = strict_path_fault(path)
            if not fault and (taken := reserved(path, RESERVED)):
                fault = f"is at or below {taken}, which CHOS itself needs"
            if fault:
                fields.report(f"{quoted(path)} {fault}", "name a path on the base", key, number)
            else:
                found.append(Share(path, origin, key == "devices", key == "require", key == "only"))
    return _joined(found)


def _links(fields: Fields) -> list[Share]:
    """`etc.links`: names below /etc, without it."""
    found = []
    for number, (name, origin) in enumerate(fields.strings("links")):
        if name.startswith("/"):
            hint = "leave out the /etc/ in front"
            fields.report(f"{quoted(name)} is an absolute path", hint, "links", number)
        elif path_fault(f"/{name}") or strict_path_fault(f"/{name}"):
            fault = path_fault(f"/{name}") or "is not a plain name below /etc"
            fields.report(f"{quoted(name)} {fault}", 'such as "passwd" or "ssh/ssh_known_hosts"', "links", number)
        else:
            found.append(Share(name, origin))
    return list(_joined(found))
