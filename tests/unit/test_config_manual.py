"""The examples in the manual pages are true: each is read without a problem and means what the page says."""

from __future__ import annotations

from pathlib import Path

from chosns.config.allowlist import parse_allow_list
from chosns.config.bindmap import parse_bind_map, resolve_bind_map
from chosns.config.grouping import group
from chosns.config.sections import parse_sections

ROOT = Path(__file__).parents[2]


def examples(page: str) -> list[str]:
    """The literal displays in the section EXAMPLES."""
    text = (ROOT / "docs/man" / page).read_text().partition(".Sh EXAMPLES")[2]
    return [part.partition(".Ed\n")[0] for part in text.split(".Bd -literal -offset indent\n")[1:]]


def test_chos_toml() -> None:
    listing, settings = examples("chos.toml.5")
    allowed = parse_allow_list(listing, "/etc/chos")
    said = parse_sections(settings, "/etc/chos.d/site.toml")
    assert allowed.problems == said.problems == ()
    el9, sl6 = group(allowed.entries, {section.name: section for section in said.sections})
    assert (el9.aliases, el9.bindmap, el9.binds[0].target) == (("default",), "cluster", "/scratch/node")
    assert (sl6.groups, sl6.policy.read_only, sl6.policy.uname26) == (("run1",), True, True)


def test_bindmap() -> None:
    default = parse_bind_map((ROOT / "bindmaps/default.toml").read_text(), "default.toml", "default")[0]
    for example in examples("bindmap.5"):
        file, problems = parse_bind_map(example, "example.toml", "default")
        assert problems == () and file.usable
        found, problems = resolve_bind_map("default", {"default": [file, default]})
        assert problems == () and found
    own = resolve_bind_map(
        "default", {"default": [parse_bind_map(examples("bindmap.5")[0], "e", "default")[0], default]}
    )
    assert own[0] and [share.path for share in own[0].base if share.required] == ["/opt/compilers"]
