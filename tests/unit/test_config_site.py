"""A whole configuration: what belongs together, what is broken, and that nothing opens by mistake."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chosns.config import broken, check_groups, read_site, require_usable, shipped_bindmap_dirs
from chosns.config.allowlist import AllowedLine
from chosns.config.grouping import group, leaving, name_problems
from chosns.config.login import BUILTIN
from chosns.config.sections import Section
from chosns.errors import ConfigError
from chosns.model import LoginShell, Origin, Policy, Problem, Severity, Site

MapOf = dict[str, str]
Reader = Callable[..., Site]
MINIMAL = '[tree]\ntop = ["/usr"]\n'


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Write files (by path below the root), read the site. With `shipped`, bind maps beside it."""

    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(files: MapOf, shipped: MapOf | None = None, unsafe: tuple[str, ...] = ()) -> Site:
        root, maps = tmp_path / "root", tmp_path / "maps"
        for name, text in files.items():
            write(root / name, text)
        for name, text in ({"default.toml": MINIMAL} if shipped is None else shipped).items():
            write(maps / name, text)
        for directory, _, names in os.walk(tmp_path):
            os.chmod(directory, 0o755)
            for name in names:
                os.chmod(os.path.join(directory, name), 0o644)
        for name in unsafe:
            os.chmod(root / name, 0o777)
        return read_site(str(root), bindmap_dirs=[str(maps)], trusted_uids=(os.getuid(),))

    return read


def lines(site: Site) -> list[str]:
    """`file:line: message` without the root in front."""
    return [f"{str(p.origin).partition('/root/')[2] or p.origin}: {p.message}" for p in site.problems]


ALLOWED = "%SHELLS\ndefault:/os/el9\nel9:/os/el9\nel8:/os/el8\nlocal:/\n"


def test_the_least_there_can_be(reader: Reader) -> None:
    site = reader({"etc/chos": "%SHELLS\nel9:/os/el9\n"})
    assert site.problems == ()
    assert [env.name for env in site.environments] == ["el9"]
    assert site.leave == ("root",)
    assert site.login == BUILTIN and site.sysconfig is None
    assert list(site.bindmaps) == ["default"]


def test_everything_together(reader: Reader) -> None:
    site = reader(
        {
            "etc/chos": ALLOWED,
            "etc/chos.conf": "%ENV\nHOME\n",
            "etc/sysconfig/chos": 'BINDMOUNT="/scratch"\n',
            "etc/chos.d/10-el9.toml": '[environment.el9]\ngroups = ["g"]\nbindmap = "big"\npolicy.read_only = true\n',
            "etc/chos.d/bindmaps/big.toml": 'extends = "default"\n[base]\nshare = ["/var/x"]\n',
            "etc/chos.d/.hidden.toml": "not = [read",
        }
    )
    assert site.problems == () and broken(site) == {}
    el9, el8 = site.environments
    assert (el9.name, el9.aliases, el9.tree, el9.groups) == ("el9", ("default",), "/os/el9", ("g",))
    assert el9.policy == Policy(read_only=True) and el9.bindmap == "big"
    assert el9.origin.line == 3 and el9.settings.file.endswith("etc/chos.d/10-el9.toml") and el9.settings.line == 1
    assert (el8.name, el8.aliases, el8.bindmap, el8.settings) == ("el8", (), "default", Origin(""))
    assert site.leave == ("root", "local")
    assert site.login == LoginShell(("HOME",), False, False)
    assert site.sysconfig and [bind.source for bind in site.sysconfig.bind_mounts] == ["/scratch"]
    assert [share.path for share in site.bindmaps["big"].base] == ["/var/x"]
    assert site.find("default") is el9 and site.find("/os/el8") is el8


def test_missing_allow_list(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="/etc/chos: does not exist") as caught:
        read_site(str(tmp_path), trusted_uids=(os.getuid(),))
    assert caught.value.object == f"{tmp_path}/etc/chos"
    assert caught.value.hint.endswith("%SHELLS\nel9:/os/el9")


@pytest.mark.parametrize("name", ["etc/chos", "etc"])
def test_unsafe_allow_list_is_refused(reader: Reader, name: str) -> None:
    with pytest.raises(ConfigError, match="is writable by others"):
        reader({"etc/chos": ALLOWED, "etc/chos.conf": "%ENV\n"}, unsafe=(name,))


def test_unsafe_login_settings_hide_nothing_and_block_up(reader: Reader) -> None:
    files = {"etc/chos": ALLOWED + "no colon\n", "etc/chos.conf": "%ENV\n", "etc/chos.d/a.toml": "x = 1\n"}
    require_usable(reader(files))
    site = reader(files, unsafe=("etc/chos.conf",))
    said = lines(site)
    assert "etc/chos.conf: is writable by others than its owner" in said
    assert 'etc/chos:6: no colon in "no colon", skipped' in said and any("a.toml:1" in line for line in said)
    assert site.login == BUILTIN
    with pytest.raises(ConfigError, match="etc/chos.conf: is writable by others"):
        require_usable(site)


def test_unsafe_sysconfig_is_ignored_with_an_error(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/sysconfig/chos": "MAKELINKS=yes\n"}, unsafe=("etc/sysconfig/chos",))
    assert site.sysconfig is None
    assert lines(site) == ["etc/sysconfig/chos: is writable by others than its owner"]
    assert list(broken(site)) == [""]


RESTRICTED = '[environment.el9]\ngroups = ["secret"]\n'


@pytest.mark.parametrize("unsafe", ["etc/chos.d/a.toml", "etc/chos.d"])
def test_what_an_unsafe_file_may_restrict_is_broken(reader: Reader, unsafe: str) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": RESTRICTED}, unsafe=(unsafe,))
    assert {"el9", "el8"} <= set(broken(site))
    assert all(env.groups == () for env in site.environments)


def test_what_a_file_with_a_syntax_error_may_restrict_is_broken(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": RESTRICTED + "x = = 1\n"})
    assert set(broken(site)) == {"", "el9"}
    assert "etc/chos.d/a.toml:3: not TOML" in lines(site)[0]


def test_an_alias_is_enough_to_be_concerned(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": "[environment.default]\n="})
    assert set(broken(site)) == {"", "el9"}


# Whose restriction may have been lost: ALLOWED and these sections → the environments that are not prepared.
@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ('[enviroment.el9]\ngroups = ["phys"]\n', {"el9"}),
        ('[enviroment.default]\ngroups = ["phys"]\n', {"el9"}),
        ('[enviroment.el99]\ngroups = ["phys"]\n', {"el9", "el8"}),
        ('[environment.el8]\n[enviroment.el99]\ngroups = ["phys"]\n', {"el9", "el8"}),
        ('[environment.el9]\n[enviroment.el8]\ngroups = ["phys"]\n', {"el9", "el8"}),
        ('[[environment]]\nname = "el9"\ngroups = ["phys"]\n', {"el9"}),
        ('[el9]\ngroups = ["phys"]\n', {"el9"}),
        ('el9.groups = ["phys"]\n', {"el9"}),
        ('groups = ["phys"]\n', {"el9", "el8"}),
        ('[environment.el99]\ngroups = ["phys"]\n', {"el9"}),
        ('[environment.EL9]\ngroups = ["phys"]\n', {"el9", "el8"}),
        ('[environment.defualt]\ngroups = ["phys"]\n', {"el9"}),
        ('[environment.el9]\n[environment.el88]\ngroups = ["phys"]\n', {"el8"}),
        ('[environment.xyzzy]\ngroups = ["phys"]\n', set()),
        ("[environment.tinny\n", {"el9", "el8"}),
    ],
)
def test_a_misspelt_restriction_opens_nothing(reader: Reader, text: str, closed: set[str]) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": text})
    assert set(broken(site)) == closed | {""}, lines(site)


def test_a_dot_without_quotation_marks_opens_nothing(reader: Reader) -> None:
    allowed = "%SHELLS\nel9:/os/el9\nel9.2:/os/el92\nel9.2.x:/os/x\nother:/os/other\n"
    site = reader({"etc/chos": allowed, "etc/chos.d/a.toml": '[environment.el9.2]\ngroups = ["phys"]\n'})
    assert set(broken(site)) == {"el9", "el9.2"}
    site = reader({"etc/chos": allowed, "etc/chos.d/a.toml": '[environment.el9.2.x]\ngroups = ["phys"]\n'})
    assert {"el9", "el9.2.x"} <= set(broken(site)) and "other" not in broken(site)


def test_files_with_another_ending_are_remarked_upon(reader: Reader) -> None:
    files = {"etc/chos": ALLOWED, "etc/chos.d/el9.tml": RESTRICTED, "etc/chos.d/bindmaps/x.toml~": "", "etc/y": ""}
    site = reader({**files, "etc/chos.d/.el9.toml.swp": ""})
    assert lines(site) == [
        f"etc/chos.d/{name}: is not read: not a file *.toml" for name in ("el9.tml", "bindmaps/x.toml~")
    ]
    assert broken(site) == {}


def test_broken_environments_are_listed(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": "[environment.el9]\nfoo = 1\n"})
    assert [env.name for env in site.environments] == ["el9", "el8"]
    assert {name: [p.origin.line for p in found] for name, found in broken(site).items()} == {"el9": [2]}


def test_two_sections_with_one_name(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": RESTRICTED, "etc/chos.d/b.toml": "\n[environment.el9]\n"})
    (problem,) = site.problems
    assert problem.message.startswith("two environments with one name") and "chos.d/a.toml:1" in problem.message
    assert problem.origin.file.endswith("b.toml") and problem.origin.line == 2 and problem.environment == "el9"
    assert site.environments[0].groups == ("secret",)


def test_sections_without_a_home(reader: Reader) -> None:
    text = "[environment.el99]\n[environment.local]\n[environment.zzz]\n[environment.root]\n"
    site = reader({"etc/chos": ALLOWED + "bad:rel\n", "etc/chos.d/a.toml": text + "[environment.bad]\n"})
    found: dict[int, tuple[str, str]] = {}
    for p in site.problems:
        if p.origin.file.endswith("a.toml"):
            found.setdefault(p.origin.line, (p.message, p.hint))
    assert found[1] == ('"el99" is not in /etc/chos', 'did you mean "el9"?')
    assert found[2][0] == '"local" leads to the base and has no settings'
    assert found[3] == ('"zzz" is not in /etc/chos', "add a line zzz:/path/of/the/tree there")
    assert found[4][0] == '"root" is the base and has no settings'
    assert 5 not in found


def test_unknown_bind_map(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": '[environment.el9]\n\nbindmap = "defualt"\n'})
    (problem,) = site.problems
    assert (problem.origin.line, problem.environment) == (3, "el9")
    assert (problem.message, problem.hint) == ('there is no bind map "defualt"', 'did you mean "default"?')


def test_no_bind_map_at_all(reader: Reader) -> None:
    assert set(broken(reader({"etc/chos": ALLOWED}, shipped={}))) == {"el9", "el8"}


def test_the_sites_own_map_wins_and_may_extend_the_shipped_one(reader: Reader) -> None:
    own = 'extends = "default"\n[base]\nrest = true\n'
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/bindmaps/default.toml": own})
    assert site.problems == ()
    found = site.bindmaps["default"]
    assert found.base_rest and found.base_rest.line == 3 and [s.path for s in found.tree] == ["/usr"]


@pytest.mark.parametrize("text", ["foo = 1\n" + MINIMAL, "[", '[tree]\ntop = ["usr"]\n', ""])
def test_a_broken_own_map_does_not_uncover_the_shipped_one(reader: Reader, text: str) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/bindmaps/default.toml": text})
    assert site.bindmaps == {} and set(broken(site)) == {"", "el9", "el8"}


@pytest.mark.parametrize("unsafe", ["etc/chos.d/bindmaps/default.toml", "etc/chos.d/bindmaps"])
def test_an_unsafe_own_map_does_not_uncover_the_shipped_one(reader: Reader, unsafe: str) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/bindmaps/default.toml": MINIMAL}, unsafe=(unsafe,))
    assert {"el9", "el8"} <= set(broken(site))


def test_an_unsafe_map_spoils_those_that_extend_it(reader: Reader) -> None:
    files = {"etc/chos": ALLOWED, "etc/chos.d/bindmaps/b.toml": 'description = "b"\n'}
    files["etc/chos.d/a.toml"] = '[environment.el9]\nbindmap = "a"\n'
    maps = {"default.toml": MINIMAL, "a.toml": 'extends = "b"\n' + MINIMAL}
    assert broken(reader(files, shipped=maps)) == {}
    assert set(broken(reader(files, shipped=maps, unsafe=("etc/chos.d/bindmaps/b.toml",)))) == {"", "el9"}


@pytest.mark.parametrize(
    ("package", "maps"),
    [
        ("lib/python3/site-packages/chosns", "lib/python3/site-packages/chosns/bindmaps"),
        ("src/chosns", "src/bindmaps"),
        ("lib/chos/python/chosns", "share/chos/bindmaps"),
        ("lib/python3.11/site-packages/chosns", "share/chos/bindmaps"),
        ("lib/chosns", "elsewhere"),
    ],
)
def test_where_shipped_maps_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, maps: str
) -> None:
    (tmp_path / package).mkdir(parents=True)
    (tmp_path / maps).mkdir(parents=True, exist_ok=True)
    (tmp_path / maps / "default.toml").touch()
    monkeypatch.setattr("chosns.__file__", str(tmp_path / package / "__init__.py"))
    assert shipped_bindmap_dirs() == (() if maps == "elsewhere" else (str(tmp_path / maps),))


def test_illegal_map_name(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/bindmaps/a b.toml": MINIMAL})
    assert lines(site) == ['etc/chos.d/bindmaps/a b.toml: "a b" is not a legal name of a bind map']


def test_a_loop_breaks_those_who_use_it(reader: Reader) -> None:
    maps = {"default.toml": MINIMAL, "a.toml": 'extends = "b"', "b.toml": 'extends = "a"'}
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": '[environment.el9]\nbindmap = "a"\n'}, shipped=maps)
    assert set(broken(site)) == {"", "el9"} and list(site.bindmaps) == ["default"]


def test_shipped_maps_are_found_and_right(reader: Reader, tmp_path: Path, shipped_maps: list[str]) -> None:
    reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": '[environment.el9]\nbindmap = "cluster"\n'})
    (directory,) = shipped_bindmap_dirs()
    assert {"default.toml", "cluster.toml"} <= set(os.listdir(directory))
    site = read_site(str(tmp_path / "root"), bindmap_dirs=shipped_maps, trusted_uids=(os.getuid(),))
    assert site.problems == () and sorted(site.bindmaps) == ["cluster", "default"]


def test_unknown_groups(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": '[environment.el9]\ngroups = ["here", "gone"]\n'})
    (problem,) = check_groups(site, {"here": 1}.__getitem__)
    assert problem.message == 'group "gone" does not exist on this node' and "getent" in problem.hint
    assert problem.environment == "el9" and problem.origin.line == 1 and problem.severity is Severity.ERROR


def test_a_real_lookup(reader: Reader) -> None:
    site = reader({"etc/chos": ALLOWED, "etc/chos.d/a.toml": '[environment.el9]\ngroups = ["no-such-group-here"]\n'})
    assert len(check_groups(site)) == 1


def entries(*pairs: tuple[str, str]) -> list[AllowedLine]:
    return [AllowedLine(alias, path, Origin("f", n)) for n, (alias, path) in enumerate(pairs, 1)]


def sections(*names: str) -> dict[str, Section]:
    return {name: Section(name, Origin("d", 1)) for name in names}


@pytest.mark.parametrize(
    ("aliases", "owners", "wanted"),
    [
        (["el9"], [], {"el9": ()}),
        (["default"], [], {"default": ()}),
        (["default", "/os/a", "el9", "x"], [], {"el9": ("default", "/os/a", "x")}),
        (["/os/a", "default"], [], {"/os/a": ("default",)}),
        (["default", "el9", "x"], ["x"], {"x": ("default", "el9")}),
        (["default", "el9", "x"], ["default"], {"default": ("el9", "x")}),
        (["default", "a", "b", "c"], ["b", "c"], {"b": ("default", "a"), "c": ()}),
        (["/os/a", "b"], ["/os/a"], {"/os/a": ("b",)}),
    ],
)
def test_who_shares_an_environment(aliases: list[str], owners: list[str], wanted: dict[str, tuple[str, ...]]) -> None:
    found = group(entries(*((alias, "/os/a") for alias in aliases)), sections(*owners))
    assert {env.name: env.aliases for env in found} == wanted


ALIASES = st.sampled_from(["default", "root", "a", "b", "c", "/os/a", "/os/b"])
ENTRIES = st.dictionaries(ALIASES, st.sampled_from(["/", "/os/a", "/os/b"])).map(lambda d: entries(*d.items()))


@given(ENTRIES, st.sets(ALIASES))
def test_every_alias_leads_to_its_tree_and_to_one_environment(listed: list[AllowedLine], owners: set[str]) -> None:
    found = group(listed, sections(*owners))
    names = [name for env in found for name in (env.name, *env.aliases)]
    assert sorted(names) == sorted(entry.alias for entry in listed if entry.path != "/")
    site = Site(environments=found)
    for entry in listed:
        env = site.find(entry.alias)
        if entry.path == "/":
            assert entry.alias in leaving(listed)
            assert env is None or entry.alias.startswith("/")
            continue
        assert env is not None and env.tree == entry.path
        assert entry.alias not in owners or env.name == entry.alias
    assert ("root" in leaving(listed)) == ("root" not in names)


def test_a_primary_name_needs_room_for_its_generation() -> None:
    fits, not_ = "/" + "a" * 242, "/" + "b" * 243
    problems: list[Problem] = name_problems(group(entries((fits, "/x"), (not_, "/y")), {}))
    assert [problem.environment for problem in problems] == [not_]


NEAR = [
    "etc/chos.toml",
    "etc/CHOS.toml",
    "etc/chosctl.toml",
    "etc/chos.conf.d/el9.toml",
    "etc/chosd/el9.toml",
    "etc/chos.d.toml",
    "etc/chos.cfg",
    "etc/chos.yaml",
    "etc/chos.rpmnew",
    "etc/chos.conf.dpkg-dist",
    "etc/chos.d/el9.toml.rpmnew",
    "etc/chos.d/el9.toml.dpkg-dist",
    "etc/chos.d/el9.conf",
    "etc/chos.d/conf.d/el9.toml",
    "etc/default/chos",
    "usr/local/etc/chos.d/el9.toml",
    "usr/local/etc/chos",
]


@pytest.mark.parametrize("name", NEAR)
def test_a_file_in_a_place_that_is_not_read(reader: Reader, name: str) -> None:
    """It is named, once, and is no reason to stop."""
    site = reader({"etc/chos": ALLOWED, name: '[environment.el9]\ngroups = ["physics"]\n'})
    [problem] = [p for p in site.problems if "is not read" in p.message]
    assert f"/{name}".startswith(str(problem.origin).partition("/root")[2])
    assert problem.severity is Severity.WARNING and problem.hint
    assert broken(site) == {}


@pytest.mark.parametrize(
    "name",
    [
        "etc/chos~",
        "etc/chos.bak",
        "etc/chos.old",
        "etc/chos.rpmsave",
        "etc/chos.conf.dpkg-old",
        "etc/chos.2024-05-01",
        "etc/chos.conf.orig",
        "etc/chosen",
        "etc/init.d/chos",
        "etc/.chos.chosctl-new",
        "etc/echos.toml",
    ],
)
def test_copies_and_strangers_are_left_alone(reader: Reader, name: str) -> None:
    assert reader({"etc/chos": ALLOWED, name: "x"}).problems == ()


def test_a_directory_instead_of_the_list(reader: Reader) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        reader({"etc/chos/el9.toml": ""})
