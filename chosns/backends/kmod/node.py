"""The module as a part of the node: brought up before environments are prepared for it, taken down after the last.

Whoever is inside is never moved: what they need stays until they have ended. Called by `node.hands`, under the
registry's lock.
"""

from __future__ import annotations

import os

from chosns.backends.kmod import control, root
from chosns.errors import UnsupportedError
from chosns.model import Site
from chosns.registry.writer import RegistryWriter


def bring_up(site: Site, registry: RegistryWriter) -> list[str]:
    """Load the module and make /chos. Returns what an administrator should know of.

    :raises UnsupportedError: there is no module for this kernel.
    """
    registry.set_module_ours(True)
    try:
        control.load()
    except UnsupportedError:
        registry.set_module_ours(False)  # there is none that would have to be taken down
        raise
    notes = root.make(site)
    if not control.binds():
        notes.append(
            "the loaded module is an older one, with which a user can run set-uid programs of the base with a tree's "
            "libraries; load the installed one (docs/kmod.md, Upgrades)"
        )
    return notes


def settle(registry: RegistryWriter, wanted: bool) -> list[str]:
    """Have the module allow what is published for it; take it down where nothing is to be. Returns notes.

    A module that was never brought up from here is the site's own, and is left alone.
    """
    if not registry.module_is_ours():
        return []
    if not wanted:
        notes = take_down()
        registry.set_module_ours(bool(notes))
        return notes
    if control.is_mounted():
        links = registry.links()
        control.allow([tree for name, tree in registry.module_trees().items() if name in links])
    return []


def withdraw(name: str, registry: RegistryWriter) -> None:
    """Make the module refuse this environment, at once."""
    registry.set_module_tree(name, "")
    settle(registry, wanted="kmod" in registry.backends())


def take_down() -> list[str]:
    """Refuse everybody, and remove everything if no process is inside. Returns why something stays."""
    if not os.path.isdir(f"/sys/module/{control.NAME}"):
        root.remove()
        return []
    if control.is_mounted():
        control.allow(())
    inside = max(control.processes(), len(root.inhabitants()))
    if inside:
        who = f"{inside} process{'es live' if inside > 1 else ' lives'} in /chos"
        return [f"{who}; the module and /chos go with the first `chosctl up` or `down` after that"]
    root.remove()
    why = control.unload()
    return [why] if why else []
