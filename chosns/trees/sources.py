"""The sources of binds that are shown at another place than their own.

A user's directory at its own place is harmless: users know whose it is. Shown at /etc/profile.d or /usr/local/bin it
would decide what others run. So it is checked like the path of an OS tree, unless `untrusted` is set. Called by the
backend ns when it looks at tree and base, in a worker.
"""

from __future__ import annotations

import errno
import os

from chosns.errors import PlanError, UnsafeError
from chosns.model import ExtraBind
from chosns.trees.directory import DirectoryView
from chosns.trees.owners import others, private_fuse

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def check_sources(base: DirectoryView, binds: tuple[ExtraBind, ...]) -> None:
    """Check what is shown at another place.

    :raises UnsafeError: users other than root could change what is shown there.
    :raises PlanError: it cannot be looked at. (The planner reports what is missing.)
    """
    for bind in binds:
        if bind.untrusted or bind.source == bind.target:
            continue
        try:
            found = others(base.fd, bind.source)
        except OSError as error:
            # As in the planner: without root, what the caller may not look at counts as missing.
            if error.errno in _ABSENT or (error.errno == errno.EACCES and os.geteuid() != 0):
                continue
            raise _unseen(bind, error) from None
        if found is None:
            continue
        what = "" if found.last else f"could be exchanged: {found.path} "
        meant = f"where others are meant to decide what everybody finds there, write `untrusted = true` ({bind.origin})"
        raise UnsafeError(
            f"what is shown at {bind.target} {what}{found.why}",
            object=bind.source,
            hint=f"look at what is in it, then `{found.mend} {found.path}`; {meant}",
        )


def _unseen(bind: ExtraBind, error: OSError) -> PlanError:
    where = str(error.filename or bind.source)
    hint = "on NFS with root_squash, let everybody look into the directories on the way"
    if mount := private_fuse(where):
        hint = f"{mount.target} is FUSE without allow_other: mount it with `-o allow_other`"
    return PlanError(
        f"{where} cannot be looked at: {error.strerror}", object=bind.source, hint=f"{hint} ({bind.origin})"
    )
