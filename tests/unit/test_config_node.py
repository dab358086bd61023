"""The tables `jobs`, `records` and `pam`: what they say, and that a mistake in them closes no environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chosns.backends.wanted import checked
from chosns.config import broken, read_site
from chosns.config.sections import SectionFile, parse_sections
from chosns.model import Jobs, Origin, Site

FILE = "/etc/chos.d/a.toml"
WHOLE = """\
[jobs]
user_file = ".chos"
memory = "4G"
processes = 1000
[records]
syslog = false
file = "/var/log/chos/entries"
[pam]
stay = ["sudo", "sudo-i", "sudo"]
"""


def read(text: str) -> SectionFile:
    return parse_sections(text, FILE)


def test_all_of_it() -> None:
    said = read(WHOLE)
    assert said.problems == () and said.unread is None and said.node and said.node.origin == Origin(FILE, 1)
    assert said.node.jobs == Jobs(".chos", 4 * 2**30, 1000, False, "/var/log/chos/entries", ("sudo", "sudo-i"))


def test_nothing_said() -> None:
    assert read("").node is None
    for line in ("[jobs]", "[records]", "[node]", "[pam]"):
        said = read(line)
        assert said.node and said.node.jobs == Jobs() and said.node.backends == ()


def test_backends() -> None:
    said = read('node.backends = ["kmod", "ns"]')
    assert said.node and said.node.backends == ("kmod", "ns") and not said.problems


@pytest.mark.parametrize(
    ("said", "message"), [(("kmodd",), 'backends: "kmodd" is none'), (("ns", "ns"), "is there twice"), (("ns",), "")]
)
def test_backends_that_there_are(said: tuple[str, ...], message: str) -> None:
    """Asked of the backends themselves, for the configuration does not know them."""
    site = checked(Site(backends=said, backends_origin=Origin(FILE, 7)))
    if message:
        assert message in site.problems[0].message and site.problems[0].origin == Origin(FILE, 7)
        assert site.backends == ()
    else:
        assert not site.problems and site.backends == said


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [("1K", 2**10), ("3m", 3 * 2**20), ("2 G", None), ("2GB", 2**31), ("1T", 2**40), ("1TiB", 2**40)],
)
def test_sizes(size: str, bytes_: int | None) -> None:
    said = read(f'jobs.memory = "{size}"')
    assert said.node and said.node.jobs.memory == (bytes_ or 0)
    assert bool(said.problems) is (bytes_ is None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('jobs.user_file = "/etc/shadow"', "is not below the home directory"),
        ('jobs.user_file = "../bob/.chos"', "is not below the home directory"),
        ('jobs.user_file = "a//b"', "is not below the home directory"),
        ('jobs.user_file = ".chos\\nfile=/x"', "must not contain control characters"),
        ('jobs.memory = "lots"', "is not a size"),
        ('jobs.memory = "0G"', "is not a size"),
        ('jobs.memory = "9999999999T"', "is not a size"),
        ("jobs.memory = 4", "must be a string, not a number"),
        ("jobs.processes = 0", "between 1 and"),
        ("jobs.processes = -1", "between 1 and"),
        ("jobs.processes = true", "must be a number, not true or false"),
        ("jobs.proceses = 1", 'unknown key "proceses" in [jobs]'),
        ('records.file = "entries"', "absolute"),
        ('records.file = "/"', "is the root itself"),
        ("records.syslog = 1", "must be true or false"),
        ("jobs = 1", "must be a table"),
        ('node.backends = "ns"', "must be an array"),
        ('pam.stay = ["Sudo"]', 'stay: "Sudo" is not the name of a PAM service'),
        ('pam.stay = ["/etc/pam.d/sudo"]', "is not the name of a PAM service"),
        ('pam.stay = [""]', "is not the name of a PAM service"),
        ('pam.stay = ["sudo\\n"]', "is not the name of a PAM service"),
        ('pam.stay = "sudo"', "must be an array"),
        ("pam.stay = [" + ",".join(f'"s{n}"' for n in range(33)) + "]", "33 services; at most 32"),
        ('pam.services = ["sudo"]', 'unknown key "services" in [pam]'),
    ],
)
def test_mistakes(line: str, message: str) -> None:
    said = read(line)
    assert len(said.problems) == 1 and message in said.problems[0].message, said.problems
    assert said.problems[0].environment == "" and (said.node is None or said.node.jobs == Jobs())


def site(tmp_path: Path, **chosd: str) -> Path:
    (tmp_path / "etc/chos.d").mkdir(parents=True)
    (tmp_path / "etc/chos").write_text("%SHELLS\nel9:/os/el9\n")
    for name, text in chosd.items():
        (tmp_path / f"etc/chos.d/{name}.toml").write_text(text)
    return tmp_path


def test_a_site_has_one(tmp_path: Path, shipped_maps: list[str]) -> None:
    root = site(tmp_path, a=WHOLE, b="[records]\nsyslog = true\n")
    read = read_site(str(root), bindmap_dirs=shipped_maps, trusted_uids=(0, os.getuid()))
    assert read.jobs.processes == 1000 and not read.jobs.syslog
    assert [(problem.environment, problem.message) for problem in read.problems] == [
        ("", f"[node], [jobs], [records] and [pam] belong together; some are in {root}/etc/chos.d/a.toml:1")
    ]


def test_a_mistake_closes_nobody_out(tmp_path: Path, shipped_maps: list[str]) -> None:
    root = site(tmp_path, a="[jobs]\nmemory = 1\n")
    read = read_site(str(root), bindmap_dirs=shipped_maps, trusted_uids=(0, os.getuid()))
    assert list(broken(read)) == [""]
