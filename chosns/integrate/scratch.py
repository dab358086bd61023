"""Private directories for trials, below /var/lib/chos/install: what dies leaves them for the next run to remove.

Called by `engine`, `pam_trial` and `slurm`, under the lock of `record`.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator

from chosns.config.trusted import display_path
from chosns.integrate import files
from chosns.integrate.model import STATE, Machine

_PREFIX = ".trial-"  # no product's name, and hidden from `install/*/`


@contextlib.contextmanager
def scratch(machine: Machine) -> Iterator[str]:
    """A directory of root's own; removed afterwards. :raises InstallError: what is written into it has no room."""
    with files.errors(machine, STATE):
        above = display_path(machine.root, STATE)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=above) as directory:
            yield directory


def sweep(machine: Machine) -> None:
    """Remove what trials that were killed have left."""
    for name in files.listing(machine, STATE):
        if name.startswith(_PREFIX):
            shutil.rmtree(display_path(machine.root, f"{STATE}/{name}"), ignore_errors=True)
