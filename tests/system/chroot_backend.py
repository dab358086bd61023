"""A backend that does a chroot: what one takes, in a few lines. Test of chosns/backends, and no part of CHOS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chosns.backends import Seen, Traits, WithoutService, with_groups
from chosns.model import Environment, Site
from chosns.mounts.worker import Worker
from chosns.plan import Plan
from chosns.registry import Generation
from chosns.registry.excess import recorded
from chosns.registry.writer import RegistryWriter
from chosns.trees.check import open_tree_root, os_name
from chosns.trees.owners import owners_of


class Chroot(WithoutService):
    traits = Traits("chroot")

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def require(self) -> None: ...

    def explain(self, env: Environment, site: Site) -> Plan:
        return Plan(env.name, env.tree, ())

    @contextmanager
    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> Iterator[Look]:
        def work(worker: Worker) -> None:
            with open_tree_root(env.tree, owners_of(env.policy)) as tree:
                status = os.fstat(tree.fd)
                worker.send("seen", os=os_name(tree), root=[status.st_dev, status.st_ino])

        with Worker(work, env.name, self._limit) as worker:
            yield Look(worker, env, group_ids)

    def homes(self, generations: Sequence[Generation]) -> Chroot:
        self._trees = {str(generation.manifest.get("tree")): generation for generation in generations}
        return self

    def of(self, pid: int | str, namespace: int) -> tuple[Generation, bool] | None:
        found = self._trees.get(os.readlink(f"/proc/{pid}/root")) if os.path.exists(f"/proc/{pid}/root") else None
        return (found, False) if found else None


class Look:
    def __init__(self, worker: Worker, env: Environment, group_ids: Sequence[int]) -> None:
        self._worker, self._env, self._group_ids = worker, env, group_ids

    def see(self) -> Seen:
        self._found = self._worker.expect("seen")
        self._worker.finish()
        fingerprint = with_groups(f"chroot-{self._found['root']}-{self._env.policy}", self._group_ids)
        return Seen("chroot", self._env, fingerprint, {"tree": str(self._found["root"])}, recorded(self._env))

    def operations(self) -> tuple[()]:
        return ()

    def build(self, registry: RegistryWriter, generation: str, manifest: dict[str, Any], progress: object) -> None:
        device, inode = self._found["root"]
        made = {"os": self._found["os"], "namespace": 0, "created": time.time()}
        with registry.making(generation):
            registry.write_generation(generation, self._env, (device, inode), {**manifest, **made})


PRESENCE, BACKEND = Chroot(0), Chroot
