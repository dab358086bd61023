"""Whom an OS tree is trusted as: chos.toml(5), key `trust`; docs/security.md, rule 34.

A `site` tree is trusted as the base is, where set-uid programs of the base can be reached from inside. A `foreign`
one is trusted with nothing outside: `no_new_privs` is set for whoever enters. Pure but for `image_type`, which asks the
kernel about the tree's mount, and never looks into the tree. Called by the backends when they look at a tree.
"""

from __future__ import annotations

import os
from dataclasses import replace

from chosns.model import FOREIGN, SITE, Policy
from chosns.system.mountinfo import mount_number, read_mounts

# File systems that are made as one file, and never written to afterwards.
_IMAGES = frozenset(
    ("squashfs", "erofs", "cramfs", "romfs", "iso9660", "fuse.squashfuse", "fuse.squashfuse_ll", "fuse.erofsfuse")
)


def default_trust(*, image: bool, origin: str = "") -> str:
    """How a tree is trusted of which the configuration does not say.

    :param image: it is mounted from an image file.
    :param origin: what its manifest says of where it comes from, empty where there is none. No tree of this release
        has one.
    """
    if origin:
        return FOREIGN if origin in ("imported", "captured") else SITE
    return FOREIGN if image else SITE


def decided(policy: Policy, image: str) -> Policy:
    """A policy that says how the tree is trusted, with what follows from that.

    :param image: what `image_type` says of the tree.
    """
    trust = policy.trust or default_trust(image=bool(image))
    return replace(policy, trust=trust, no_new_privs=policy.no_new_privs or trust == FOREIGN)


def image_type(tree: int) -> str:
    """The file system of an OS tree, where that was mounted from an image file; else empty.

    :param tree: descriptor of the tree's root.
    """
    if os.fstat(tree).st_dev == os.stat("/").st_dev:
        return ""  # the base's own, be that an image itself
    number = mount_number(tree)
    for mount in read_mounts():
        if mount.number == number:
            return mount.fstype if mount.fstype in _IMAGES or mount.source.startswith("/dev/loop") else ""
    return ""
