"""What is published must not allow more than the configuration does by now, also when nothing new can be made.

Called by `lifecycle` before it prepares an environment. Only closes: whom the configuration lets in from now on
waits for what is made for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chosns.model import Environment
from chosns.registry_writer import RegistryWriter

_RESTRICTIONS = ("nosuid", "nodev", "read_only", "no_new_privs")


def recorded(env: Environment) -> dict[str, Any]:
    """What a manifest says of who may enter and what is allowed, for `restrict` to compare with later."""
    return {"groups": list(env.groups), "policy": asdict(env.policy)}


def restrict(env: Environment, registry: RegistryWriter, group_ids: Sequence[int] | None) -> bool:
    """Close the published generation of `env` to all whom the configuration does not name any more.

    :param group_ids: who may enter, empty for everyone; None where a group is unknown.
    :returns: whether it may stay when no new one can be made: somebody may enter it still, and nothing is restricted
        now that was not when it was made.
    """
    published = registry.published(env.name)
    generation = registry.generation(published) if published else None
    if generation is None:
        return False
    if group_ids is None:
        # A name service may be away for a while: for the groups that it was opened to it stays open.
        left = generation.manifest.get("groups") == list(env.groups)
    else:
        left = registry.narrow(str(generation), group_ids)
    made_with = generation.manifest.get("policy")
    if not isinstance(made_with, dict):
        return False
    return left and all(made_with.get(name) or not getattr(env.policy, name) for name in _RESTRICTIONS)
