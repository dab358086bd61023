"""The module as a part of the node: brought up before environments are prepared for it, taken down after the last.

Whoever is inside is never moved: what they need stays until they have ended. Called by `lifecycle`, under its lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from chosns.model import Site
from chosns.module import control, root
from chosns.registry_writer import RegistryWriter


def bring_up(site: Site) -> list[str]:
    """Load the module and make /chos. Returns what an administrator should know of.

    :raises UnsupportedError: there is no module for this kernel.
    """
    control.load()
    return root.make(site)


def settle(registry: RegistryWriter, backends: Sequence[str]) -> list[str]:
    """Have the module allow what is published for it; take it down where nothing is to be. Returns notes."""
    if "kmod" not in backends:
        return _take_down()
    links = registry.links()
    control.allow([tree for name, tree in registry.module_trees().items() if name in links])
    return []


def _take_down() -> list[str]:
    """Let nobody enter any more, and remove all of it where nobody is inside. Returns why something stays."""
    if not os.path.isdir(f"/sys/module/{control.NAME}"):
        return []
    if control.is_mounted():
        control.allow(())
    inside = len(root.inhabitants())
    if inside:
        who = f"{inside} process{'es live' if inside > 1 else ' lives'} in /chos"
        return [f"{who}; the module and /chos go with the first `chosctl up` or `down` after that"]
    if root.is_made():
        root.remove()
    why = control.unload()
    return [why] if why else []
