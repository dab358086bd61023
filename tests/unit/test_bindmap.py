"""Bind maps: the format, `extends`, and any text at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config.bindmap import MAX_DEPTH, MapFile, parse_bind_map, resolve_bind_map
from chosns.model import BindMap, Origin, Problem, Share

FILE = "/m/default.toml"
SHIPPED = Path(__file__).parents[2] / "bindmaps"

WHOLE = """\
description = "all"
[tree]
top = ["/usr",
  "/etc"]
rest = true
[base]
rest = true
share = ["/var/tmp", "/dev"]
require = ["/var/tmp"]
only = ["/var/lib/sss"]
devices = ["/dev", "/srv/dev"]
[etc]
links = ["passwd", "ssh/ssh_known_hosts"]
"""


def resolve(name: str, *texts: tuple[str, str]) -> tuple[BindMap | None, tuple[Problem, ...]]:
    """Resolve `name` among maps given as (name, text); they must have no fault of their own."""
    library: dict[str, list[MapFile]] = {}
    for number, (of, text) in enumerate(texts):
        found, problems = parse_bind_map(text, f"/m{number}/{of}.toml", of)
        assert problems == ()
        library.setdefault(of, []).append(found)
    return resolve_bind_map(name, library)


def test_the_whole_format() -> None:
    found, problems = resolve("default", ("default", WHOLE))
    file = "/m0/default.toml"
    assert problems == ()
    assert found == BindMap(
        name="default",
        origin=Origin(file),
        description="all",
        tree=(Share("/usr", Origin(file, 3)), Share("/etc", Origin(file, 4))),
        tree_rest=Origin(file, 5),
        base_rest=Origin(file, 7),
        base=(
            Share("/var/tmp", Origin(file, 8), required=True),
            Share("/dev", Origin(file, 8), devices=True),
            Share("/var/lib/sss", Origin(file, 10), only=True),
            Share("/srv/dev", Origin(file, 11), devices=True),
        ),
        etc=(Share("passwd", Origin(file, 13)), Share("ssh/ssh_known_hosts", Origin(file, 13))),
    )


def test_what_is_not_said_is_not_so() -> None:
    found, _ = resolve("a", ("a", '[tree]\ntop = ["/usr"]\n'))
    assert found and (found.tree_rest, found.base_rest, found.base, found.etc) == (None, None, (), ())


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("desc = 1", 1, 'unknown key "desc" in the file', ""),
        ("[trees]", 1, 'unknown key "trees" in the file', 'did you mean "tree"?'),
        ("[tree]\nlinks = []", 2, 'unknown key "links" in [tree]', "belongs into [etc]"),
        ("share = []", 1, 'unknown key "share" in the file', "belongs into [base]"),
        ("[base]\nshared = []", 2, 'unknown key "shared" in [base]', 'did you mean "share"?'),
        ("tree = 1", 1, "tree must be a table, not a number", ""),
        ("[tree]\nrest = 1", 2, "rest must be true or false, not a number", ""),
        ("[tree]\ntop = '/usr'", 2, "top must be an array, not a string", ""),
        ("[tree]\ntop = [\n'/usr', 1]", 3, "top must hold strings, not a number", ""),
        ("[tree]\ntop = [\n'usr']", 3, '"usr" is not an absolute path', ""),
        ("[tree]\ntop = ['/usr/bin']", 2, '"/usr/bin" is not directly below /', ""),
        ("[tree]\ntop = ['/']", 2, '"/" is the root itself', ""),
        ("[tree]\ntop = ['/proc']", 2, '"/proc" is not the tree\'s to give', ""),
        ("[tree]\ntop = ['/dev']", 2, '"/dev" is not the tree\'s to give', ""),
        ("[tree]\ntop = ['/sys']", 2, '"/sys" is not the tree\'s to give', ""),
        ("[tree]\ntop = ['/run']", 2, '"/run" is not the tree\'s to give', ""),
        ("[base]\nshare = ['/run/chos']", 2, '"/run/chos" is at or below /run/chos', ""),
        ("[tree]\ntop = ['/local']", 2, '"/local" is not the tree\'s to give', ""),
        ("[base]\nshare = ['/local/x']", 2, '"/local/x" is at or below /local', ""),
        ("[base]\nrequire = ['/chos']", 2, '"/chos" is at or below /chos', ""),
        ("[base]\ndevices = ['/dev/']", 2, '"/dev/" is not in its shortest form, "/dev"', ""),
        ("[base]\nshare = ['/var/../etc']", 2, '"/var/../etc" contains ".."', ""),
        ("[etc]\nlinks = ['/etc/passwd']", 2, '"/etc/passwd" is an absolute path', "leave out the /etc/"),
        ("[etc]\nlinks = ['../passwd']", 2, '"../passwd" contains ".."', ""),
        ("[etc]\nlinks = ['a//b']", 2, '"a//b" is not a plain name below /etc', ""),
        ("[etc]\nlinks = ['']", 2, '"" is not a plain name below /etc', ""),
        ("extends = 'a/b'", 1, '"a/b" is not the name of a bind map', ""),
        ("extends = 1", 1, "extends must be a string, not a number", ""),
        ("x = ", 1, "not TOML: Invalid value", ""),
    ],
)
def test_errors(text: str, line: int, message: str, hint: str) -> None:
    found, problems = parse_bind_map(text + "\n", FILE, "default")
    assert any(
        (p.origin.line, p.origin.file) == (line, FILE) and message in p.message and hint in p.hint for p in problems
    )
    assert not found.usable
    assert resolve_bind_map("default", {"default": [found]}) == (None, ())


@pytest.mark.parametrize("path", ["/local2", "/chosen/x", "/processes"])
def test_prefixes_are_compared_by_component(path: str) -> None:
    assert parse_bind_map(f"[base]\nshare = ['{path}']\n", FILE, "a")[1] == ()


UNDER = (
    "description='u'\n[tree]\ntop=['/usr']\nrest=true\n[base]\nrest=true\nshare=['/var/a']\n[etc]\nlinks=['passwd']\n"
)


def test_extends_joins_lists_and_overrides_scalars() -> None:
    over = "extends='u'\n[base]\nrest=false\nshare=['/var/b']\nrequire=['/var/a']\n[etc]\nlinks=['group','passwd']\n"
    found, problems = resolve("o", ("u", UNDER), ("o", over))
    assert problems == () and found
    assert (found.name, found.description, found.base_rest) == ("o", "u", None)
    assert found.tree_rest == Origin("/m0/u.toml", 4)
    assert [(s.path, s.required, s.origin.file) for s in found.base] == [
        ("/var/a", True, "/m0/u.toml"),
        ("/var/b", False, "/m1/o.toml"),
    ]
    assert [share.path for share in found.etc] == ["passwd", "group"]


def test_what_any_line_demands_of_a_path_holds() -> None:
    under = "[tree]\ntop=['/usr']\n[base]\nrequire=['/a']\ndevices=['/dev']\n"
    found, _ = resolve("o", ("u", under), ("o", "extends='u'\n[base]\nshare=['/dev','/a']\n"))
    assert found and [(s.path, s.required, s.devices) for s in found.base] == [
        ("/a", True, False),
        ("/dev", False, True),
    ]


def test_a_map_may_extend_the_next_of_its_name() -> None:
    own = "extends = 'default'\n[base]\nshare=['/var/own']\n"
    found, problems = resolve("default", ("default", own), ("default", UNDER))
    assert problems == () and found and [share.path for share in found.base] == ["/var/a", "/var/own"]


def test_others_extend_the_first_of_a_name() -> None:
    found, _ = resolve("c", ("default", UNDER), ("default", UNDER), ("c", "extends='default'"))
    assert found and found.tree[0].origin.file == "/m0/default.toml"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([("a", "extends='b'"), ("b", "extends='a'")], 'bind map "a" extends itself by way of others'),
        ([("a", "extends='a'")], 'there is no further bind map "a"'),
        ([("a", "extends='bb'"), ("bbb", UNDER)], 'there is no bind map "bb"'),
        ([("a", "extends='c'"), ("a", UNDER), ("c", "extends='a'")], 'bind map "a" extends itself by way of others'),
        ([("a", "description='x'")], "takes nothing from the tree"),
        ([("a", UNDER.replace("/var/a", "/usr"))], "\"/usr\" is the base's here and the tree's in /m0/a.toml:3"),
        ([("a", UNDER.replace("'passwd'", "'ssh','ssh/x'"))], '"ssh/x" is below "ssh", which is a link as well'),
    ],
)
def test_what_cannot_be_put_together(texts: list[tuple[str, str]], message: str) -> None:
    found, problems = resolve("a", *texts)
    assert found is None and [problem.message for problem in problems] == [message]


def test_depth_is_limited() -> None:
    chain = [(f"a{n}", f"extends='a{n + 1}'") for n in range(MAX_DEPTH - 1)] + [(f"a{MAX_DEPTH - 1}", UNDER)]
    assert resolve("a0", *chain)[0] is not None
    found, problems = resolve("b", ("b", "extends='a0'"), *chain)
    assert found is None and problems[0].message == "extends more than 7 maps, one by another"


def test_one_unusable_map_spoils_the_chain() -> None:
    good, _ = parse_bind_map("extends='bad'\n" + UNDER, "g", "good")
    bad, _ = parse_bind_map("nonsense=1\n", "b", "bad")
    assert resolve_bind_map("good", {"good": [good], "bad": [bad]}) == (None, ())


def shipped(name: str) -> BindMap:
    names = [path.stem for path in SHIPPED.glob("*.toml")]
    found, problems = resolve(name, *((each, (SHIPPED / f"{each}.toml").read_text()) for each in names))
    assert problems == () and found
    return found


def test_the_default_map_keeps_the_originals_promises() -> None:
    found = shipped("default")
    assert {share.path for share in found.tree} >= {"/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr", "/opt", "/var"}
    assert found.base_rest and found.tree_rest
    accounts = "passwd group shadow gshadow hosts resolv.conf nsswitch.conf localtime motd chos chos.conf ldap.conf"
    assert {share.path for share in found.etc} >= {*accounts.split(), "ssh/ssh_known_hosts"}
    assert {share.path for share in found.base} >= {
        f"/var/{name}" for name in ("tmp", "cache", "db", "run", "lock", "spool")
    }
    assert [share.path for share in found.base if share.devices] == ["/dev"]
    assert not [share.path for share in found.base if share.required]


def test_the_cluster_map_repeats_nothing() -> None:
    default, cluster = shipped("default"), shipped("cluster")
    assert cluster.base_rest == default.base_rest
    tops = {share.path for share in cluster.tree}
    paths = [share.path.split("/") for share in cluster.base]
    for path in paths:
        assert "/".join(path[:2]) in tops or path == ["", "dev"], f"{path} comes by rest = true"
        assert not [above for above in paths if above != path and path[: len(above)] == above], (
            f"{path} is shared already"
        )
    assert {share.path for share in cluster.base} >= {"/var/lib/sss", "/var/lib/condor", "/usr/share/gridengine"}
    assert {share.path for share in cluster.etc} >= {"krb5.conf", "slurm", "machine-id", "passwd"}
    assert not [share.path for share in cluster.etc if share.path.startswith("munge")]


def test_every_listed_file_is_legal() -> None:
    for path in SHIPPED.glob("*.toml"):
        assert parse_bind_map(path.read_text(), str(path), path.stem)[1] == ()


WORDS = st.sampled_from(["/usr", "/var/a", "/var", "/dev", "passwd", "ssh", "ssh/x", "/local", "..", "", "é", "/a//b"])
LISTS = st.lists(WORDS, max_size=4).map(lambda words: "[" + ",".join(f"'{word}'" for word in words) + "]")
MAPS = st.builds(
    "[tree]\ntop={}\n[base]\nshare={}\nrequire={}\nonly={}\ndevices={}\n[etc]\nlinks={}\n".format,
    *[LISTS] * 6,
)


@given(st.one_of(st.text(), MAPS, st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_any_text_is_judged_and_what_is_accepted_is_consistent(text: str) -> None:
    file, problems = parse_bind_map(text, FILE, "a")
    assert file.usable == (not problems)
    assert all(problem.origin.line <= text.count("\n") + 1 for problem in problems)
    found, _ = resolve_bind_map("a", {"a": [file]})
    if found is None:
        return
    for share in (*found.tree, *found.base):
        assert share.path.startswith("/") and not {"", ".", ".."} & set(share.path.split("/")[1:])
    for link in found.etc:
        assert not {"", ".", ".."} & set(link.path.split("/"))
    for kind in (found.tree, found.base, found.etc):
        assert len({share.path for share in kind}) == len(kind)
    assert not {share.path for share in found.tree} & {share.path for share in found.base}


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcdx"), min_size=1, max_size=3)))
def test_extends_always_ends(graph: dict[str, list[str]]) -> None:
    library = {
        name: [parse_bind_map(f"extends='{to}'", f"{n}/{name}", name)[0] for n, to in enumerate(targets)]
        for name, targets in graph.items()
    }
    for name in library:
        found, problems = resolve_bind_map(name, library)
        assert found is None and len(problems) == 1
