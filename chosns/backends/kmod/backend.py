"""The kmod backend: an environment is a tree that the kernel module allows. There is one /chos for the whole node.

A worker looks at the tree, because that may hang. Settings that only namespaces can fulfil are never ignored silently:
if they restrict, the environment is refused; if they add something, there is a warning. `control` loads the
module and makes /chos.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from chosns.backends import Seen, with_groups
from chosns.backends.kmod import control, node
from chosns.backends.kmod.presence import PRESENCE
from chosns.backends.kmod.root import ROOT, explain_root, is_made, tree_names
from chosns.errors import BuildError, ChosError, UnsafeError
from chosns.model import BindMap, Environment, Policy, Site
from chosns.mounts.worker import Worker
from chosns.plan import Plan
from chosns.plan.planner import ETC_ALWAYS_BASE
from chosns.plan.view import resolve
from chosns.registry.excess import recorded
from chosns.registry.writer import RegistryWriter
from chosns.system import procfs
from chosns.trees.check import open_tree_root, os_name
from chosns.trees.directory import DirectoryView
from chosns.trees.owners import owners_of
from chosns.trees.trust import decided, image_type

_ACL = "system.posix_acl_access"  # acl(5)
_SHOWN = 4  # missing links that a message names


class ModuleBackend:
    """See `backends.Backend`.

    :param limit: seconds that one environment may take.
    """

    traits = PRESENCE.traits

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def require(self) -> None:
        """See Backend."""
        control.require_loadable()

    def explain(self, env: Environment, site: Site) -> Plan:
        """See Backend. Nothing is mounted for one environment: this is /chos, the root of all of them."""
        _require_possible(env, site)
        with open_tree_root(env.tree, owners_of(env.policy)) as tree:
            warnings = _warnings(env, site.bindmaps[env.bindmap], tree)
            trust = decided(env.policy, image_type(tree.fd)).trust
        return Plan(env.name, env.tree, tuple(explain_root(site)), warnings=tuple(warnings), trust=trust)

    @contextmanager
    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> Iterator[ModuleLook]:
        """See Backend."""
        _require_possible(env, site)
        with Worker(lambda worker: _look(worker, env, site), env.name, self._limit) as worker:
            yield ModuleLook(worker, env, group_ids)

    def join(self, env: Environment, site: Site, group_ids: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """See Backend."""
        try:
            with self.look(env, site, group_ids) as look:
                return env.tree, look.see().warnings
        except ChosError as error:
            return "", (f"{error}; so it can be entered by ns only",)

    def bring_up(self, site: Site, registry: RegistryWriter) -> list[str]:
        """See Backend."""
        return node.bring_up(site, registry)

    def withdraw(self, environment: str, registry: RegistryWriter) -> None:
        """See Backend."""
        node.withdraw(environment, registry)

    def let(self, environment: str, tree: str, registry: RegistryWriter) -> None:
        """See Backend."""
        registry.set_module_tree(environment, tree)

    def settle(self, registry: RegistryWriter, wanted: bool) -> list[str]:
        """See Backend."""
        return node.settle(registry, wanted)

    def clear(self) -> list[str]:
        """See Backend."""
        return node.take_down() if is_made() else []


class ModuleLook:
    """See `backends.Look`. Nothing is mounted for a single environment, so only its entry in the registry is made."""

    def __init__(self, worker: Worker, env: Environment, group_ids: Sequence[int]) -> None:
        self._worker = worker
        self._env, self._group_ids = env, group_ids
        self._system = ""

    def see(self) -> Seen:
        """See Look."""
        env = self._env
        # Only now and not ahead of time, because what is decided here is not checked again later.
        self._worker.renew()
        self._worker.tell("look")
        found = self._worker.expect("seen")
        self._worker.finish()
        _require_binding(env, decided(env.policy, found["image"]))
        _require_closed(env, found, self._group_ids)
        self._system = found["os"]
        return Seen(
            ModuleBackend.traits.name,
            env,
            with_groups(f"kmod-{found['identity']}-{env.variables}-{env.policy}", self._group_ids),
            {
                "tree": found["identity"],
                "policy": asdict(env.policy),
                "variables": [list(pair) for pair in env.variables],
            },
            recorded(env),
            tuple(found["warnings"]),
            trees={ModuleBackend.traits.name: env.tree},
        )

    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """See Look."""
        return ()

    def build(
        self, registry: RegistryWriter, generation: str, manifest: Mapping[str, Any], progress: Callable[[str], None]
    ) -> None:
        """See Look."""
        env = self._env
        with registry.making(generation):
            root = os.stat(ROOT)
            made = {"os": self._system, "namespace": 0, "created": time.time()}
            registry.write_generation(generation, env, (root.st_dev, root.st_ino), {**manifest, **made})


def _require_closed(env: Environment, found: dict[str, Any], group_ids: Sequence[int]) -> None:
    """:raises UnsafeError: users who may not enter can look into the tree, and so enter it."""
    open_to_others = found["mode"] & (stat.S_IROTH | stat.S_IXOTH) or found["acl"] or found["group"] not in group_ids
    if env.groups and open_to_others:
        raise UnsafeError(
            "kmod cannot keep users out: who may look into the tree may enter it",
            object=env.name,
            hint=f"give {env.tree} to a group of its `groups`, chmod o-rwx, no ACL; or use the backend ns",
        )


def _require_possible(env: Environment, site: Site) -> None:
    """:raises BuildError: the module cannot fulfil a restriction, or the tree is not visible from /chos."""
    if env.policy.read_only:
        raise BuildError(
            "kmod cannot make a tree read-only", object=env.name, hint="mount it read-only, or use the backend ns"
        )
    _require_binding(env, env.policy)
    top = env.tree.split("/")[1]
    if top in tree_names(site):
        raise BuildError(
            f"kmod cannot show the tree {env.tree}: inside, /{top} is the tree's own",
            object=env.name,
            hint="move the tree to a top-level directory such as /os, or use the backend ns",
        )


def _require_binding(env: Environment, policy: Policy) -> None:
    """:raises UnsafeError: the tree must not be entered without no_new_privs, which the module does not set."""
    if policy.no_new_privs and not control.binds():
        raise UnsafeError(
            "the loaded kernel module is an older one, which does not set no_new_privs",
            object=env.name,
            hint="load the installed one (docs/kmod.md, Upgrades), or use the backend ns",
        )


def _look(worker: Worker, env: Environment, site: Site) -> None:
    """The worker: checks the tree when the parent asks for it, and reports what it lacks."""
    if not worker.wait():
        return
    with open_tree_root(env.tree, owners_of(env.policy)) as tree:
        status = os.fstat(tree.fd)
        worker.send(
            "seen",
            os=os_name(tree),
            image=image_type(tree.fd),
            mode=status.st_mode,
            group=status.st_gid,
            acl=_ACL in os.listxattr(procfs.descriptor(tree.fd)),  # by /proc, because it was opened with O_PATH
            identity=f"{status.st_dev}:{status.st_ino}",
            warnings=_warnings(env, site.bindmaps[env.bindmap], tree),
        )


def _warnings(env: Environment, bindmap: BindMap, tree: DirectoryView) -> list[str]:
    warnings = []
    if not env.policy.nosuid or not env.policy.nodev:
        warnings.append(f"{env.name}: with kmod everything is nosuid, and nodev but for /dev, whatever its policy says")
    if env.binds:
        warnings.append(f"{env.name}: its [[bind]] tables are not shown with kmod")
    in_etc = (*(share.path for share in bindmap.etc), *ETC_ALWAYS_BASE)
    wanted = [f"/etc/{path}" for path in in_etc] + [share.path for share in bindmap.base]
    lacking = [path for path in wanted if os.path.lexists(path) and not _leads_to_base(tree, path)]
    if lacking:
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        warnings.append(
            f"{env.name}: with kmod {', '.join(lacking[:_SHOWN])}{more} are the tree's own, not the base's: "
            f"in {env.tree}, replace each by a link to /local and its path"
        )
    return warnings


def _leads_to_base(tree: DirectoryView, path: str) -> bool:
    found = resolve(tree, path)
    return found is not None and found.path.startswith("/local/")


BACKEND = ModuleBackend
