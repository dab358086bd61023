"""How a tree is trusted: what the configuration says, else what the tree is."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict

import pytest

from chosns.backends.kmod import backend as kmod
from chosns.config.sections import parse_sections
from chosns.errors import UnsafeError
from chosns.model import Environment, Origin, Policy
from chosns.system.mountinfo import parse_mount
from chosns.trees import trust

LINE = "77 1 {} / /os/image ro,relatime shared:1 - {} {} ro"


def section(policy: str) -> tuple[Policy, list[str]]:
    read = parse_sections(f"[environment.a.policy]\n{policy}\n", "/etc/chos.d/a.toml")
    return read.sections[0].policy, [f"{problem.origin.line}: {problem.message}" for problem in read.problems]


@pytest.mark.parametrize(
    ("said", "policy", "problems"),
    [
        ("", Policy(), []),
        ('trust = "site"', Policy(trust="site"), []),
        ('trust = "foreign"', Policy(trust="foreign", no_new_privs=True), []),
        ('trust = "foreign"\nno_new_privs = true', Policy(trust="foreign", no_new_privs=True), []),
        ('trust = "site"\nno_new_privs = true', Policy(trust="site", no_new_privs=True), []),
        (
            'trust = "foreign"\nno_new_privs = false',
            Policy(trust="foreign", no_new_privs=True),
            ['3: no_new_privs = false contradicts trust = "foreign"'],
        ),
        # What is spelt wrong may have been a restriction: it is one until that is mended.
        ('trust = "foriegn"', Policy(trust="foreign", no_new_privs=True), ['2: unknown trust "foriegn"']),
        ("trust = true", Policy(), ["2: trust must be a string, not true or false"]),
    ],
)
def test_what_is_said(said: str, policy: Policy, problems: list[str]) -> None:
    assert section(said) == (policy, problems)


@pytest.mark.parametrize(
    ("image", "origin", "expected"),
    [
        (False, "", "site"),
        (True, "", "foreign"),
        (False, "imported", "foreign"),
        (False, "captured", "foreign"),
        (True, "imported", "foreign"),
        (False, "built", "site"),
        (True, "built", "site"),
    ],
)
def test_the_default(image: bool, origin: str, expected: str) -> None:
    assert trust.default_trust(image=image, origin=origin) == expected


@pytest.mark.parametrize("image", ["", "squashfs"])
@pytest.mark.parametrize("said", ["", "site", "foreign"])
@pytest.mark.parametrize("strict", [False, True])
def test_what_follows(image: str, said: str, strict: bool) -> None:
    """Foreign means no_new_privs; nothing takes that away where it was asked for, and nothing else changes."""
    policy = Policy(nosuid=False, read_only=True, no_new_privs=strict, linux32=True, trust=said)
    decided = trust.decided(policy, image)
    foreign = said == "foreign" or (not said and bool(image))
    assert decided.trust == ("foreign" if foreign else "site")
    assert decided.no_new_privs == (foreign or strict)
    changed = {key for key, value in asdict(decided).items() if value != asdict(policy)[key]}
    assert changed <= {"trust", "no_new_privs"}


@pytest.mark.parametrize(
    ("fstype", "source", "expected"),
    [
        ("squashfs", "/dev/loop3", "squashfs"),
        ("erofs", "/images/el9.erofs", "erofs"),
        ("ext4", "/dev/loop3", "ext4"),
        ("fuse.squashfuse", "squashfuse", "fuse.squashfuse"),
        ("ext4", "/dev/sda3", ""),
        ("nfs4", "server:/os", ""),
        ("fuse", "cvmfs2", ""),
        ("overlay", "overlay", ""),
    ],
)
def test_what_is_an_image(monkeypatch: pytest.MonkeyPatch, fstype: str, source: str, expected: str) -> None:
    tree = os.open("/proc/self", os.O_PATH)  # on another file system than /
    try:
        others = ["1 0 8:1 / / rw - ext4 /dev/loop9 rw", "78 1 7:1 / /os rw - squashfs /dev/loop1 rw"]
        mounts = [parse_mount(line) for line in (*others, LINE.format("7:0", fstype, source))]
        monkeypatch.setattr(trust, "read_mounts", lambda: mounts)
        monkeypatch.setattr(trust, "mount_number", lambda _: 77)
        assert trust.image_type(tree) == expected
    finally:
        os.close(tree)


def test_a_directory_of_the_bases_own_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may boot from an image: what lies in its own root is no image."""
    monkeypatch.setattr(trust, "read_mounts", lambda: pytest.fail("there is nothing to ask"))
    root = os.open("/", os.O_PATH)
    try:
        assert trust.image_type(root) == ""
    finally:
        os.close(root)


@pytest.mark.parametrize(
    ("image", "said", "binds", "refused"),
    [
        ("squashfs", "", False, True),
        ("squashfs", "", True, False),
        ("squashfs", "site", False, False),
        ("", "", False, False),
        ("", "foreign", False, True),
    ],
)
def test_an_older_kernel_module(
    monkeypatch: pytest.MonkeyPatch, image: str, said: str, binds: bool, refused: bool
) -> None:
    """It does not set no_new_privs, so nobody enters a foreign tree by it."""
    monkeypatch.setattr(kmod.control, "binds", lambda: binds)  # type: ignore[attr-defined]
    env = Environment("one", "/os/one", Origin("/etc/chos", 2), policy=section(f'trust = "{said}"' if said else "")[0])
    with pytest.raises(UnsafeError, match="older one") if refused else contextlib.nullcontext():
        kmod._require_binding(env, trust.decided(env.policy, image))
