"""Whether what is published allows more than the configuration does now. Pure.

Checked before an environment is prepared: a generation that allows more must not stay if no new one can be made.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from chosns.model import FOREIGN, Environment, Site
from chosns.plan.allowance import allowance, from_json, wider
from chosns.registry.reader import Generation, has_namespace
from chosns.trees.trust import decided

_RESTRICTIONS = ("nosuid", "nodev", "read_only", "no_new_privs")


def recorded(env: Environment) -> dict[str, Any]:
    """What a manifest says of who may enter and what is allowed, for `excess` to compare with later."""
    return {"groups": list(env.groups), "policy": asdict(env.policy)}


def recorded_mounts(env: Environment, site: Site, image: str) -> dict[str, Any]:
    """`recorded`, and what is shown: where the environment has mounts of its own.

    :param image: what `trust.image_type` says of the tree.
    """
    shown = allowance(env, site.bindmaps[env.bindmap], site.sysconfig)
    return {**recorded(env), "image": image, "allows": shown.to_json()}


def excess(generation: Generation, env: Environment, site: Site) -> list[str]:
    """What a published generation shows or allows and the present configuration does not; empty if there is nothing.

    Which groups may enter is not compared here.
    """
    found = policy_excess(generation.manifest, env)
    if not generation.has_namespace:  # nothing is shown for this environment alone
        return found
    shown = from_json(generation.manifest.get("allows"))
    if shown is None:
        return [*found, "an earlier version of chosctl made it and did not write down what it shows"]
    return found + wider(shown, allowance(env, site.bindmaps[env.bindmap], site.sysconfig))


def policy_excess(manifest: dict[str, Any], env: Environment) -> list[str]:
    """What the policy that a generation was made with allows, and the configuration does not.

    If the configuration left a part of the policy open, the generation's policy was completed from what its tree is. So
    the present policy is completed in the same way, for the tree that the generation shows, before they are compared.
    """
    made_with = manifest.get("policy")
    if not isinstance(made_with, dict):
        return ["it does not say with which policy it was made"]
    policy, excess = env.policy, []
    if has_namespace(manifest):  # without one the policy was not made tighter for what the tree is
        if "image" not in manifest and made_with.get("trust") != FOREIGN and not policy.trust:
            excess.append("an earlier version of chosctl made it and did not write down whether its tree is an image")
        policy = decided(policy, str(manifest.get("image", "")))
    excess += [f"{name} is demanded now" for name in _RESTRICTIONS if getattr(policy, name) and not made_with.get(name)]
    if made_with.get("owner") not in (None, "", env.policy.owner):
        excess.append(f"an OS tree of {made_with['owner']}'s is not allowed now")
    return excess
