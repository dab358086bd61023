"""`chosctl install kmod`: DKMS builds the module from this installation's source, for this kernel and those to come."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from chosns import __version__
from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.command import attempt, find
from chosns.integrate.ensure import require
from chosns.integrate.model import ChangeList, InstallError, Machine, Product, Request, Setting, Snippet
from chosns.system import procfs
from chosns.system.installed import module_source

# A step is a setting of this name; DKMS says whether it is done. The kernel is in it: undo may come under another one.
_ADD, _BUILD, _INSTALL = "dkms add {}", "dkms build {} -k {}", "dkms install {} -k {}"
_STEP = re.compile(r"dkms (?P<verb>add|build|install) (?P<module>chos/\S+)(?: -k (?P<kernel>\S+))?")
_BACK = {"add": "remove", "build": "unbuild", "install": "uninstall"}
_STATES = {"add": ("added", "built", "installed"), "build": ("built", "installed"), "install": ("installed",)}
_DONE = "done"
_LIMIT = 900.0  # seconds that a compiler may take on a busy node
_LOG = "/var/lib/dkms/{}/build/make.log"


class KernelModule(Product):
    """chos.ko, of the backend kmod."""

    name = "kmod"
    after = 'chosctl up --backend=kmod loads it (always: backends = ["kmod"] in /etc/chos.d); do the same on every node'
    after_undo = "the loaded module stays until it is unloaded: chosctl up --backend=ns"

    def snippets(self, request: Request) -> Sequence[Snippet]:
        module, kernel = f"chos/{__version__}", "$(uname -r)"
        add = f"dkms add --sourcetree {os.path.dirname(module_source())} {module}"
        steps = [add, *(step.format(module, f'"{kernel}"') for step in (_BUILD, _INSTALL))]
        make = [f"make -C kmod KDIR=/lib/modules/{kernel}/build", "insmod kmod/chos.ko"]
        return [
            Snippet("with DKMS, as root", "\n".join(steps)),
            Snippet("without DKMS, in the source of CHOS, as root; again for each kernel", "\n".join(make)),
        ]

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        _require_kernel(machine)
        _dkms()
        _require_source(machine)
        module, kernel = f"chos/{__version__}", os.uname().release
        steps = [step.format(module, kernel) for step in (_ADD, _BUILD, _INSTALL)]
        done = [step for step in steps if self.get(machine, step)]
        if len(done) < len(steps) and not os.path.exists(display_path(machine.root, _headers(kernel))):
            hint = f"Debian: apt install linux-headers-{kernel}; EL: dnf install kernel-devel-{kernel}; then again"
            raise InstallError("the running kernel's headers are missing", object=_headers(kernel), hint=hint)
        return ChangeList(tuple(Setting(step, "", _DONE) for step in steps if step not in done), tuple(done))

    def verify(self, machine: Machine, plan: ChangeList) -> None:
        kernel = os.uname().release
        found = _ask(["modinfo", "-k", kernel, "-F", "version", "chos"])
        if found.strip() != __version__:
            path = _ask(["modinfo", "-k", kernel, "-n", "chos"]).strip()
            hint = "another chos.ko comes first: take it away, then: depmod"
            raise InstallError(f"is version {found.strip()}, not {__version__}", object=path, hint=hint)
        _ask(["modprobe", "-n", "-S", kernel, "chos"])

    def get(self, machine: Machine, name: str) -> str:
        """Whether DKMS has done this step, for this kernel where it has one."""
        step = _step(name)
        for line in _ask(["dkms", "status", step["module"]]).splitlines():
            # chos/1.0, 6.1.0-1-amd64, x86_64: installed (a warning); before DKMS 3: chos, 1.0, …
            names, _, state = line.partition(": ")
            words = names.replace("/", ", ", 1).split(", ")
            right = words[:2] == step["module"].split("/") and step["kernel"] in ("", *words[2:3])
            if right and state.split(" ")[0] in _STATES[step["verb"]]:
                return _DONE
        return ""

    def put(self, machine: Machine, name: str, value: str) -> None:
        step = _step(name)
        verb = step["verb"] if value else _BACK[step["verb"]]
        words = ["-k", step["kernel"]] if step["kernel"] else [] if value else ["--all"]
        if verb == "add":
            words = ["--sourcetree", os.path.dirname(module_source())]
        try:
            _ask(["dkms", verb, step["module"], *words])
        except InstallError as error:
            log = (files.read(machine, _LOG.format(step["module"])) or "") if verb == "build" else ""
            said = [line for line in log.splitlines() if re.search(r"(?i)\berror\b|\*\*\*", line)]
            if not said:
                raise
            # The log goes with the steps that are taken back.
            hint = f"to see the whole log, go the steps of chosctl install {self.name} --print by hand"
            raise InstallError(said[0].strip(), object=error.object, hint=hint) from error


def _step(name: str) -> dict[str, str]:
    match = _STEP.fullmatch(name)
    assert match, name
    return match.groupdict("")


def _headers(kernel: str) -> str:
    return f"/lib/modules/{kernel}/build"


def _require_kernel(machine: Machine) -> None:
    if not os.path.exists(display_path(machine.root, procfs.MODULES)):
        hint = "boot a kernel with CONFIG_MODULES; or use the backend ns, which needs no module"
        raise InstallError("takes no modules", object=f"Linux {os.uname().release}", hint=hint)


def _require_source(machine: Machine) -> None:
    """Refuse a source that others could have changed, because root compiles it and the kernel runs it."""
    source = module_source()
    names = files.listing(machine, source) if os.path.isdir(display_path(machine.root, source)) else ()
    if "dkms.conf" not in names:
        hint = "install the package chos-dkms; or CHOS with it: meson configure build -Ddkms=true && make install"
        raise InstallError("the module's source is not installed", object=source, hint=hint)
    for name in names:
        require(machine, f"{source}/{name}")


def _dkms() -> str:
    program = find("dkms")
    if not program:
        hint = (
            f"Debian: apt install dkms linux-headers-{os.uname().release}; EL: dnf install epel-release, then dkms "
            f"kernel-devel-{os.uname().release}; --print shows how to do without"
        )
        raise InstallError("is not installed", object="dkms", hint=hint)
    return program


def _ask(words: Sequence[str]) -> str:
    """What a program of DKMS or kmod prints. :raises InstallError: it fails."""
    program = _dkms() if words[0] == "dkms" else find(words[0])
    if not program:
        raise InstallError("is not installed", object=words[0], hint="install kmod")
    status, output, errors = attempt([program, *words[1:]], limit=_LIMIT)
    said = [line.strip() for line in (errors or output).splitlines() if line.strip()]
    wrong = next((number for number, line in enumerate(said) if line.startswith("Error!")), 0)
    # dkms status ends with 0 where a source is gone.
    if status != 0 or (said and said[wrong].startswith("Error!")):
        message = said[wrong] if said else f"ended with status {status}"
        raise InstallError(message, object=" ".join(words), hint=" ".join(said[wrong + 1 :]))
    return output
