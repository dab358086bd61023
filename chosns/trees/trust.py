"""How far an OS tree is trusted: chos.toml(5), key `trust`; docs/security.md, rule 34.

A `site` tree is trusted like the base, because set-uid programs of the base may be reachable from inside. A `foreign`
tree is trusted with nothing outside: `no_new_privs` is set for every process that enters. Pure, except `image_type`,
which asks the kernel about the tree's mount and never looks into the tree. Called by the backends when they look at a
tree.
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
    """How far a tree is trusted if the configuration does not say it.

    :param image: it is mounted from an image file.
    :param origin: its origin from its manifest, empty if there is none. No tree of this release has a manifest.
    """
    if origin:
        return FOREIGN if origin in ("imported", "captured") else SITE
    return FOREIGN if image else SITE


def decided(policy: Policy, image: str) -> Policy:
    """The policy, completed by how far the tree is trusted and what follows from that.

    :param image: what `image_type` says of the tree.
    """
    trust = policy.trust or default_trust(image=bool(image))
    return replace(policy, trust=trust, no_new_privs=policy.no_new_privs or trust == FOREIGN)


def image_type(tree: int) -> str:
    """The type of the file system of an OS tree that was mounted from an image file; otherwise empty.

    :param tree: descriptor of the tree's root.
    """
    if os.fstat(tree).st_dev == os.stat("/").st_dev:
        return ""  # the base's own file system, even if that is an image itself
    number = mount_number(tree)
    for mount in read_mounts():
        if mount.number == number:
            return mount.fstype if mount.fstype in _IMAGES or mount.source.startswith("/dev/loop") else ""
    return ""
