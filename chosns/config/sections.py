"""/etc/chos.d/*.toml: what an administrator says about an environment beyond its tree (chos.toml(5)).

Pure: text in, sections and problems out; never raises. A file that cannot be read, or not all of it understood,
might have restricted an environment to a group, so `Unread` remembers what it may have been about. Must never let
such a restriction fall silently. Called by `site`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from chosns.config.node import TABLES as NODE_TABLES
from chosns.config.node import NodeSettings, parse_node
from chosns.config.text import VARIABLE, nearest, quoted, reserved, strict_path_fault
from chosns.config.tomldoc import Document, Fields, parse_toml
from chosns.lazydata import dataclass
from chosns.model import FOREIGN, NAME_PATTERN, REGISTRY, SITE, ExtraBind, Origin, Policy, Problem

GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+ -]{0,254}\$?")
PERSONALITIES = ("linux32", "uname26")
TRUST = (SITE, FOREIGN)
FORBIDDEN_TARGETS = ("/local", "/proc", "/chos", REGISTRY)
MAX_VARIABLES = 32
MAX_POLICY_BYTES = 8191 - 1024  # what the registry's file `policy` has room for beside its other lines


@dataclass(frozen=True)
class Section:
    """`[environment.NAME]`, as it was written.

    `strays` are the names that its unknown keys spell: `el9.2` of `[environment.el9.2]`, which ought to be quoted.
    """

    name: str
    origin: Origin
    description: str = ""
    bindmap: str = "default"
    bindmap_origin: Origin = Origin("")
    groups: tuple[str, ...] = ()
    policy: Policy = Policy()
    binds: tuple[ExtraBind, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    strays: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A file of /etc/chos.d that could not be read, or not be understood completely.

    `text` is empty if it could not be read. `unknown`: if only a part was not understood, the names and strings in that
    part.
    """

    file: str
    text: str = ""
    unknown: str = ""

    @property
    def fault(self) -> str:
        """Why it cannot be applied."""
        return "is not understood" if self.unknown else "cannot be read"

    def may_concern(self, names: tuple[str, ...]) -> bool:
        """May it hold a section with one of these names? A backslash may spell any name in TOML."""
        return not self.text or _occurs(names, self.text)

    def must_concern(self, names: tuple[str, ...]) -> bool:
        """Does one of these names stand in the very part that was not understood?"""
        return _occurs(names, self.unknown or self.text)


def _occurs(names: tuple[str, ...], text: str) -> bool:
    if "\\" in text:
        return True
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.ASCII) for name in names)


@dataclass(frozen=True)
class SectionFile:
    """What one file of /etc/chos.d says."""

    sections: tuple[Section, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: Unread | None = None
    node: NodeSettings | None = None


def parse_sections(text: str, file: str) -> SectionFile:
    """Read one file of /etc/chos.d."""
    document = parse_toml(text, file)
    if isinstance(document, Problem):
        return SectionFile((), (document,), Unread(file, text))
    problems: list[Problem] = []
    top = Fields(document, (), document.data, "the file", problems)
    environments = top.sub("environment")
    top.known += NODE_TABLES
    top.close({"environments": "write [environment.NAME]"})
    unread = None
    if problems:
        unknown = (key for key in top.table if key not in top.known or not isinstance(top.table[key], dict))
        said = [name for key in unknown for name in _names_in(top.table[key], key)]
        unread = Unread(file, text, "\n".join(said))
    node = parse_node(top)
    found = [_section(document, name, environments.table[name], problems) for name in environments.table]
    return SectionFile(tuple(found), tuple(problems), unread, node)


def _names_in(value: object, path: str) -> Iterator[str]:
    """The dotted names of the keys in a value that was not understood, and its strings."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _names_in(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _names_in(inner, path)
    elif isinstance(value, str):
        yield value


def _section(document: Document, name: str, table: object, problems: list[Problem]) -> Section:
    what = f"[environment.{name if NAME_PATTERN.fullmatch(name) and '.' not in name else quoted(name)}]"
    fields = Fields(document, ("environment", name), table, what, problems, name)
    origin = fields.origin()
    if name == "root":
        fields.report('"root" is the base and has no settings', "remove the section")
    section = Section(
        name=name,
        origin=origin,
        description=fields.text("description"),
        bindmap=fields.text("bindmap", "default"),
        bindmap_origin=fields.origin("bindmap") if fields.has("bindmap") else origin,
        groups=_groups(fields),
        policy=_policy(fields.sub("policy")),
        binds=_binds(fields.tables("bind")),
        variables=_variables(fields.sub("env")),
    )
    if not NAME_PATTERN.fullmatch(section.bindmap):
        message = f"{quoted(section.bindmap)} is not the name of a bind map"
        fields.report(message, "give the name, not the file", "bindmap")
    hints = {"tree": "the tree is named in /etc/chos, in the line NAME:TREE"}
    for key in fields.table:
        if key[:1].isdigit():
            hints[key] = f'quote a name that has a dot: [environment."{name}.{key}"]'
    fields.close(hints)
    strays = (stray for key in fields.table if key not in fields.known for stray in _strays(name, key, fields))
    return replace(section, strays=tuple(dict.fromkeys(strays)))


def _strays(name: str, key: str, fields: Fields) -> Iterator[str]:
    return (said for said in _names_in(fields.table[key], f"{name}.{key}") if said.startswith(f"{name}."))


def _groups(fields: Fields) -> tuple[str, ...]:
    listed = fields.strings("groups")
    if fields.has("groups") and not fields.table["groups"]:
        fields.report("groups is empty", "leave it out to admit everyone; name a group to admit its members", "groups")
    for number, (group, _) in enumerate(listed):
        if not GROUP.fullmatch(group):
            fields.report(f"{quoted(group)} is not the name of a group", "", "groups", number)
    return tuple(dict.fromkeys(group for group, _ in listed))


def _policy(fields: Fields) -> Policy:
    """`[environment.NAME.policy]`. A value of the wrong type leaves the default and an error."""
    names: list[tuple[str, Origin]] = []
    if isinstance(fields.table.get("personality"), list):
        names = fields.strings("personality")
    elif fields.text("personality"):
        names = [(fields.table["personality"], fields.origin("personality"))]
    for name, _ in names:
        if name not in PERSONALITIES:
            hint = nearest(name, PERSONALITIES) or f"known: {', '.join(PERSONALITIES)}"
            fields.report(f"unknown personality {quoted(name)}", hint, "personality")
    chosen = {name for name, _ in names}
    trust = _trust(fields)
    policy = Policy(
        nosuid=fields.flag("nosuid", True),
        nodev=fields.flag("nodev", True),
        read_only=fields.flag("read_only", False),
        no_new_privs=fields.flag("no_new_privs", False) or trust == FOREIGN,
        linux32="linux32" in chosen,
        uname26="uname26" in chosen,
        trust=trust,
        owner=_owner(fields, trust),
    )
    fields.close()
    return policy


def _trust(fields: Fields) -> str:
    """How far the tree is trusted; empty if it is not set. A foreign tree is always entered with no_new_privs."""
    trust = fields.text("trust")
    if trust and trust not in TRUST:
        fields.report(f"unknown trust {quoted(trust)}", nearest(trust, TRUST) or f"known: {', '.join(TRUST)}", "trust")
        return FOREIGN
    if trust == FOREIGN and fields.table.get("no_new_privs") is False:
        message = 'no_new_privs = false contradicts trust = "foreign"'
        fields.report(message, "a foreign tree is entered with no_new_privs: remove one of the two", "no_new_privs")
    return trust


def _owner(fields: Fields, trust: str) -> str:
    """The account that may own the tree. Only for a foreign tree, because that account decides what users run."""
    owner = fields.text("owner")
    if owner and not GROUP.fullmatch(owner):
        fields.report(f"{quoted(owner)} is not the name of an account", "", "owner")
        return ""
    if owner and trust != FOREIGN:
        message = f'owner = {quoted(owner)} needs trust = "foreign"'
        fields.report(message, "who owns a tree decides what is in it: it cannot be trusted as the base is", "owner")
        return ""
    return owner


def _binds(tables: list[Fields]) -> tuple[ExtraBind, ...]:
    binds: list[ExtraBind] = []
    first: dict[str, Origin] = {}
    for fields in tables:
        source = fields.text("source")
        bind = ExtraBind(
            source=source,
            target=fields.text("target", source),
            read_only=fields.flag("read_only", False),
            optional=fields.flag("optional", False),
            devices=fields.flag("devices", False),
            origin=fields.origin(),
            untrusted=fields.flag("untrusted", False),
        )
        fields.close()
        if _check_bind(fields, bind, first):
            first[bind.target] = bind.origin
            binds.append(bind)
    return tuple(binds)


def _check_bind(fields: Fields, bind: ExtraBind, first: dict[str, Origin]) -> bool:
    """Report what is wrong with a bind; True if nothing is wrong."""
    if not fields.has("source"):
        fields.report(f"{fields.what} has no source", 'say what to show: source = "/path/on/the/base"')
        return False
    fault = strict_path_fault(bind.source)
    if fault:
        hint = "the base's root is at /local already" if bind.source == "/" else "write the path in full"
        fields.report(f"source {quoted(bind.source)} {fault}", hint, "source")
        return False
    fault = target_fault(bind.target)
    if bind.target == "/run" and bind.source != "/run":
        fault = f"is above {REGISTRY}, which CHOS itself needs"
    if fault:
        fields.report(f"target {quoted(bind.target)} {fault}", "choose another place", "target")
        return False
    if bind.target in first:
        fields.report(f"target {quoted(bind.target)} again; first in {first[bind.target]}", "remove one", "target")
        return False
    return True


def target_fault(target: str) -> str:
    """Why nothing may be bound at `target`, or an empty string."""
    fault = strict_path_fault(target)
    taken = reserved(target, FORBIDDEN_TARGETS)
    return fault or (f"is at or below {taken}, which CHOS itself needs" if taken else "")


def _variables(fields: Fields) -> tuple[tuple[str, str], ...]:
    """`[environment.NAME.env]`: every key is a variable."""
    found = []
    for name, value in fields.table.items():
        if not VARIABLE.fullmatch(name):
            fields.report(f"{quoted(name)} is not the name of a variable", "letters, digits and _", name)
        elif name == "CHOS":
            fields.report("CHOS is set by chos itself", "remove the line", name)
        elif not isinstance(value, str):
            fields.report(f"{name} must be a string", f'write {name} = "…"', name)
        elif "\0" in value or "\n" in value:
            fields.report(f"{name} must not contain a newline or NUL", "write it on one line", name)
        else:
            found.append((name, value))
    if len(found) > MAX_VARIABLES:
        fields.report(f"{len(found)} variables; at most {MAX_VARIABLES} can be set", "set the rest in a profile")
    if sum(len(f"setenv={name}={value}\n".encode()) for name, value in found) > MAX_POLICY_BYTES:
        fields.report(f"the variables are longer than {MAX_POLICY_BYTES} bytes", "set the rest in a profile")
    return tuple(found)
