"""What is published already, as every backend asks before it makes something new."""

from __future__ import annotations

from collections.abc import Sequence

from chosns.model import Environment
from chosns.registry_writer import RegistryWriter


def current(registry: RegistryWriter, env: Environment) -> tuple[str, str] | None:
    """The published generation, when it is whole, and its fingerprint."""
    published = registry.published(env.name)
    generation = registry.generation(published) if published else None
    if generation and generation.complete and registry.intact(generation, env):
        return str(generation), str(generation.manifest.get("fingerprint"))
    return None


def with_groups(fingerprint: str, group_ids: Sequence[int]) -> str:
    """A fingerprint that says who may enter, too."""
    return "-".join([fingerprint, *map(str, sorted(group_ids))])
