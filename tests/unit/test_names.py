"""Which names are published, and what each leads to: never over two hops, never into nothing."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from chosns.model import Environment, Origin, Site, escape_name
from chosns.registry import names

HERE = Origin("/etc/chos", 1)


def links(site: Site, **generations: str) -> dict[str, str]:
    return names.links(site, {escape_name(name): generation for name, generation in generations.items()})


def env(name: str, tree: str = "", *aliases: str) -> Environment:
    return Environment(name, tree or f"/os/{name}", HERE, aliases)


def test_an_empty_site_leads_to_the_base() -> None:
    assert links(Site()) == {"root": "../base", "%2F": "../base"}


def test_name_aliases_and_tree() -> None:
    site = Site((env("el9", "/os/el9", "default", "/auto/el9"),))
    assert links(site, el9="el9.7") == {
        "root": "../base",
        "%2F": "../base",
        "el9": "../gen/el9.7",
        "default": "el9",
        "%2Fauto%2Fel9": "el9",
        "%2Fos%2Fel9": "el9",
    }


def test_what_is_not_prepared_has_no_name() -> None:
    site = Site((env("el9"), env("el8", "", "old")))
    assert set(links(site, el9="el9.1")) == {"root", "%2F", "el9", "%2Fos%2Fel9"}


def test_further_names_of_the_base() -> None:
    assert links(Site(leave=("root", "none", "/")))["none"] == "../base"
    assert links(Site(leave=("none",)))["root"] == "../base"


def test_root_may_be_an_environment() -> None:
    """docs/registry.md: unless /etc/chos says something else of it."""
    assert links(Site((env("root"),), leave=()), root="root.1")["root"] == "../gen/root.1"
    assert links(Site((env("el9", "", "root"),), leave=()), el9="el9.1")["root"] == "el9"


def test_an_environment_whose_name_is_a_path() -> None:
    site = Site((env("/auto/rh73", "/auto/rh73", "rh73"),))
    found = links(site, **{"/auto/rh73": "%2Fauto%2Frh73.1"})
    assert found["%2Fauto%2Frh73"] == "../gen/%2Fauto%2Frh73.1"
    assert found["rh73"] == "%2Fauto%2Frh73"


def test_an_alias_never_takes_the_name_of_an_environment() -> None:
    site = Site((env("a", "", "b"), env("b")))
    assert links(site, a="a.1", b="b.1")["b"] == "../gen/b.1"


def test_a_tree_shared_by_two_environments_names_the_first() -> None:
    site = Site((env("a", "/os/x"), env("b", "/os/x")))
    assert links(site, a="a.1", b="b.1")["%2Fos%2Fx"] == "a"
    assert "%2Fos%2Fx" not in links(site, b="b.1"), "a name leads to its own environment or nowhere"


def test_a_tree_whose_path_is_too_long_for_a_name() -> None:
    site = Site((env("a", "/" + "x" * 300),))
    assert set(links(site, a="a.1")) == {"root", "%2F", "a"}


NAMES = st.sampled_from(["a", "b", "c", "root", "/os/a", "/os/b", "/"])
SITES = st.builds(
    lambda envs, leave: Site(tuple(envs), tuple(leave)),
    st.lists(
        st.builds(
            lambda name, tree, aliases: env(name, tree, *aliases),
            NAMES.filter(lambda name: name != "/"),
            st.sampled_from(["/os/a", "/os/b", "/x y"]),
            st.lists(NAMES, max_size=3),
        ),
        max_size=3,
        unique_by=lambda item: item.name,
    ),
    st.lists(st.sampled_from(["root", "c", "/"]), unique=True),
)


@given(SITES, st.sets(NAMES))
def test_one_hop_and_then_a_generation_or_the_base(site: Site, ready: set[str]) -> None:
    found = links(site, **{name: f"{escape_name(name)}.1" for name in ready})
    for name, text in found.items():
        assert re.fullmatch(r"[A-Za-z0-9._%-]{1,255}", name)
        if not text.startswith("../"):
            assert found[text].startswith("../"), (name, text)
        else:
            assert text == "../base" or text == f"../gen/{name}.1"
    for name in (*site.leave, "/"):
        assert found[escape_name(name)] == "../base"
    for item in site.environments:
        if item.name in ready and item.name not in site.leave:
            assert found[escape_name(item.name)] == f"../gen/{escape_name(item.name)}.1"
