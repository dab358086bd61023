"""The ns backend: each environment in a mount namespace of its own, pinned in the registry.

For each environment a child process looks at the tree and plans. If the parent decides that a new generation is needed,
the child builds it in a namespace of its own, and the parent pins that. The parent never touches the tree. So a tree
that hangs (a dead NFS server) delays its own environment only, by the time limit.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from chosns.backends import Seen, WithoutService, with_groups
from chosns.backends.ns import calls
from chosns.backends.ns.confine import unused_id
from chosns.backends.ns.presence import PRESENCE
from chosns.backends.ns.trial import new_mount_namespace, try_shell
from chosns.errors import BuildError, ChangedError, UnsupportedError
from chosns.lazydata import complete
from chosns.model import Environment, Launcher, Site
from chosns.mounts.base import require_kernel
from chosns.mounts.execute import Executor
from chosns.mounts.verify import verify
from chosns.mounts.worker import Worker
from chosns.plan import Plan, make_plan
from chosns.registry import PATH
from chosns.registry.excess import recorded_mounts
from chosns.registry.writer import RegistryWriter
from chosns.system import fault, syscalls
from chosns.system.installed import find_launcher
from chosns.trees.check import open_tree_root, os_name
from chosns.trees.directory import DirectoryView
from chosns.trees.owners import owners_of
from chosns.trees.sources import check_sources
from chosns.trees.trust import decided, image_type


class NamespaceBackend(WithoutService):
    """See `backends.Backend`.

    :param limit: seconds that one environment may take.
    """

    traits = PRESENCE.traits

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._id = 0

    def shell_id(self) -> int:
        """The uid for trials of a shell. Trials run one after another, so they can share it. If a worker could not be
        ended, its uid is not used again."""
        calls.program(os.uname().machine)  # cached, so that later workers need not make it again
        self._id = self._id or unused_id()
        return self._id

    def require(self) -> None:
        """See Backend."""
        require_kernel()

    def explain(self, env: Environment, site: Site) -> Plan:
        """See Backend."""
        return _look(env, site).plan

    @contextmanager
    def look(self, env: Environment, site: Site, group_ids: Sequence[int]) -> Iterator[NamespaceLook]:
        """See Backend."""
        complete("chosns.model", "chosns.plan")
        worker = Worker(lambda worker: _work(worker, env, site), env.name, self._limit)
        try:
            with worker:
                yield NamespaceLook(self, worker, env, site, group_ids)
        finally:
            if worker.left_alone:
                self._id = 0


class NamespaceLook:
    """See `backends.Look`. The worker has planned and waits for orders."""

    def __init__(
        self, backend: NamespaceBackend, worker: Worker, env: Environment, site: Site, group_ids: Sequence[int]
    ) -> None:
        self._backend = backend
        self._worker = worker
        self._env, self._site, self._group_ids = env, site, group_ids

    def see(self) -> Seen:
        """See Look."""
        planned = self._worker.expect_first("planned")
        self._env = replace(self._env, policy=decided(self._env.policy, planned["image"]))
        return Seen(
            self._backend.traits.name,
            self._env,
            with_groups(planned["fingerprint"], self._group_ids),
            planned["made_of"],
            recorded_mounts(self._env, self._site, planned["image"]),
            tuple(planned["warnings"]),
        )

    def operations(self) -> tuple[Mapping[str, Any], ...]:
        """See Look."""
        self._worker.tell("show")
        return tuple(self._worker.expect("plan")["operations"])

    def build(
        self, registry: RegistryWriter, generation: str, manifest: Mapping[str, Any], progress: Callable[[str], None]
    ) -> None:
        """See Look."""
        env = self._env
        with registry.making(generation):
            namespace = _pin(self._worker, registry, generation, env, progress)
            self._worker.tell(f"build {self._backend.shell_id()}")
            report = self._worker.expect("built")
            self._worker.finish()
            device, inode = report["root"]
            made = {"os": report["os"], "namespace": namespace, "created": time.time(), "plan": report["plan"]}
            registry.write_generation(generation, env, (int(device), int(inode)), {**manifest, **made})


def _pin(
    worker: Worker, registry: RegistryWriter, generation: str, env: Environment, progress: Callable[[str], None]
) -> int:
    """Let the worker make a namespace, and pin it while it is still empty. Returns its inode number.

    Some kernels refuse the pin by mistake: they compare the age of two namespaces by counters that differ between CPUs.
    Then another namespace is made, on each CPU in turn.
    """
    for cpu in ("any", *map(str, sorted(os.sched_getaffinity(0)))):
        worker.tell(f"namespace {cpu}")
        worker.expect("namespace")
        try:
            return registry.pin(generation, worker.pid)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise BuildError(f"cannot pin its namespace: {error.strerror}", object=env.name) from error
        progress(f"{env.name}: the kernel refused the pin (EINVAL), trying on another CPU")
    raise BuildError(
        "the kernel refuses to pin its namespace: EINVAL on every CPU",
        object=env.name,
        hint="Linux 6.18 may do that: run `chosctl up` again, or a kernel from 6.19 on",
    )


class _Looked(NamedTuple):
    """The result of looking at tree and base. `image`: see `trust.image_type`. `fingerprint`: of everything on which a
    generation depends. `made_of`: see `backends.Seen`."""

    plan: Plan
    image: str
    fingerprint: str
    made_of: dict[str, Any]


def _look(env: Environment, site: Site) -> _Looked:
    """Look at tree and base, and plan."""
    launcher = find_launcher()
    with open_tree_root(env.tree, owners_of(env.policy)) as tree, DirectoryView("/") as base:
        check_sources(base, env.binds)
        plan = make_plan(env, site.bindmaps[env.bindmap], tree, base, sysconfig=site.sysconfig, launcher=launcher)
        judged = _judged(tree.fd, launcher)
    image = str(judged["image"])
    policy = decided(env.policy, image)
    identities = [judged["tree"], *([judged["launcher"]] if launcher else [])]
    fingerprint = plan.fingerprint(
        *identities, str(judged["mount"]), str(sorted(asdict(policy).items())), str(env.variables)
    )
    plan = replace(plan, trust=policy.trust, warnings=(*plan.warnings, *_untold_trust(env, image)))
    made_of = {**judged, "policy": asdict(policy), "variables": [list(pair) for pair in env.variables]}
    return _Looked(plan, image, fingerprint, made_of)


def _judged(tree: int, launcher: Launcher | None) -> dict[str, Any]:
    """The facts that decide how far a tree is trusted, and with which flags it is shown. Compared again when building.

    :param tree: descriptor of its root.
    """
    status = os.fstat(tree)
    beside = os.stat(launcher.path) if launcher else None
    return {
        "tree": f"{status.st_dev}:{status.st_ino}",
        "launcher": f"{beside.st_dev}:{beside.st_ino}" if beside else "",
        # A bind keeps the mount flags that the tree had when the bind was made. So a remounted tree counts as changed.
        "mount": os.fstatvfs(tree).f_flag,
        "image": image_type(tree),
    }


def _untold_trust(env: Environment, image: str) -> list[str]:
    """A warning if the tree's kind decided how far it is trusted, because the configuration does not say it."""
    if not image or env.policy.trust:
        return []
    return [
        f"{env.name}: its OS tree is an image ({image}) without a manifest, so it is foreign: no_new_privs is set, and "
        "nobody gets from it to another environment or back to the base; to have it so, or otherwise, write "
        f'`trust = "foreign"`, or "site" for one that you trust as the base, below [environment.{env.name}.policy]'
    ]


def _work(worker: Worker, env: Environment, site: Site) -> None:
    """The worker: plan, and send the plan if it is asked for; make namespaces until one is pinned; build in it, check
    the result, and end as the environment's shell."""
    plan, image, fingerprint, made_of = _look(env, site)
    worker.send("planned", fingerprint=fingerprint, warnings=plan.warnings, image=image, made_of=made_of)
    cpus = os.sched_getaffinity(0)
    while (order := worker.wait()).startswith(("show", "namespace")):
        if order == "show":
            worker.send("plan", operations=plan.to_json()["operations"])
            continue
        cpu = order.split()[1]
        if cpu != "any":
            os.sched_setaffinity(0, {int(cpu)})
        _new_namespace(env)
        worker.send("namespace")
    if order.startswith("build"):
        os.sched_setaffinity(0, cpus)
        _build(worker, plan, made_of, env, int(order.split()[1]))


def _new_namespace(env: Environment) -> None:
    """Enter a new mount namespace that receives mounts from the base and passes none back."""
    new_mount_namespace(env.name)
    syscalls.mount("", "/", syscalls.MS_REC | syscalls.MS_SLAVE)
    fault.point()


def _build(worker: Worker, plan: Plan, made_of: Mapping[str, Any], env: Environment, uid: int) -> None:
    """Carry out the plan in this process's namespace, check the result, try the tree's shell, and end as that does.

    Other environments may have been built since this one was looked at, so everything is checked again.

    :param made_of: see `backends.Seen`.
    :raises ChangedError: the tree or the launcher is not the one that was looked at.
    """
    with open_tree_root(env.tree, owners_of(env.policy)) as tree, DirectoryView("/") as base:
        check_sources(base, env.binds)
        now = _judged(tree.fd, find_launcher())
        if any(made_of[key] != value for key, value in now.items()):
            raise ChangedError("its tree was replaced, or mounted otherwise, since it was looked at", object=env.name)
        # After the pivot, an import would load a module of the tree and run it as root. So everything must be loaded
        # now, and nothing is imported later. (Codecs are imported when they are first used.)
        sys.meta_path.clear()
        executor = Executor(plan, tree.fd, base.fd, f"{PATH}/stage")
        executor.run()
        verify(plan, executor.root, executor.shown, executor.numbers)
        name = os_name(tree)
        root = os.stat("/")
        # Not earlier, because keys may be needed to read the tree (AFS, Kerberos).
        _leave_keys(env)
        _check_null(env)
        fault.point()

        def announce() -> None:
            worker.send("built", plan=plan.to_json(), os=name, root=[root.st_dev, root.st_ino])

        try_shell(worker, plan, tree.fd, uid, announce)


def _check_null(env: Environment) -> None:
    """Check /dev/null of the environment. Users need it, and it shows whether /dev is the base's.

    It is not opened, and no link is followed: opening a device that others have put there could have effects.
    """
    try:
        fd = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status, mount_flags = os.fstat(fd), os.fstatvfs(fd).f_flag
        finally:
            os.close(fd)
        why = _null_fault(status, bool(mount_flags & os.ST_NODEV))
    except OSError as error:
        why = error.strerror or ""
    if why:
        raise BuildError(
            f"its /dev/null cannot be used: {why}", object=env.name, hint="what does the configuration put at /dev?"
        )


def _null_fault(status: os.stat_result, nodev: bool) -> str:
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        return "is not that device"
    if nodev:
        return "devices do not work there (`devices = true` is not said)"
    return "" if status.st_mode & 0o666 == 0o666 else f"its mode is {stat.S_IMODE(status.st_mode):04o}, not 0666"


def _leave_keys(env: Environment) -> None:
    """Give the tree's shell an empty session keyring, so that it finds none of root's keys."""
    try:
        syscalls.leave_session_keyring()
    except OSError as error:
        raise UnsupportedError(
            f"cannot keep root's keys from the tree's shell: {error.strerror}: {error.filename}", object=env.name
        ) from error


BACKEND = NamespaceBackend
