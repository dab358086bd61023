"""Is this directory an OS tree that root may show to users?"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection

from chosns.errors import TreeError, UnsafeError, as_chos_error
from chosns.plan.view import Kind, resolve
from chosns.system.inside import open_inside
from chosns.system.paths import join, split
from chosns.trees.directory import DirectoryView
from chosns.trees.owners import ROOT, Others, is_private, mount_of, others, others_inside, private_fuse

_MACHINE = os.uname().machine
# What every login shell, root's too, runs or reads first: the shell, its loader and libraries, the directories of PATH,
# the profile. Not the whole tree, because it may have a million files on a slow server.
_JUDGED = (
    "/bin/sh",
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib64/libc.so.6",
    f"/lib/{_MACHINE}-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib64/ld64.so.2",
    f"/lib/ld-musl-{_MACHINE}.so.1",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/environment",
)
_ANSWERS = "is its file system mounted? compare with the path in /etc/chos"


def open_tree_root(path: str, owners: Collection[int] = ROOT) -> DirectoryView:
    """Open an OS tree and check it.

    :param owners: who may own the tree and write in it.
    :raises TreeError: it is missing, is not a directory, contains no shell, or users cannot read it.
    :raises UnsafeError: accounts other than `owners` can write into it, or could replace it
        (a user's own tree would need a backend without privilege).
    """
    try:
        _check_way(path, owners)
        view = DirectoryView(path)
    except FileNotFoundError:
        raise TreeError("OS tree does not exist", object=path, hint=_ANSWERS) from None
    except NotADirectoryError:
        raise TreeError(
            "OS tree is not a directory", object=path, hint="give the directory that holds its /usr"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise as_chos_error(error, path) from None
        if error.errno == errno.ELOOP:
            raise TreeError("OS tree cannot be opened: too many symbolic links", object=path) from None
        raise _closed(path, error) from None
    try:
        _check_public(view)
        _check_content(view, owners)
        shell = resolve(view, "/bin/sh")
        if shell is None or shell.kind is not Kind.FILE:
            raise TreeError(
                "is not an OS tree: it has no /bin/sh",
                object=path,
                hint="is the directory empty, or its file system not mounted?",
            )
        return view
    except BaseException:
        view.close()
        raise


def _closed(path: str, error: OSError) -> TreeError:
    """Why root may not look at a tree."""
    where = str(error.filename or path)
    message = f"OS tree cannot be opened: {error.strerror}"
    if error.errno not in (errno.EACCES, errno.EPERM):
        return TreeError(message, object=path)
    if mount := private_fuse(where):
        return TreeError(f"{message}: {mount.target} is FUSE without allow_other", object=path, hint=_ALLOW_OTHER)
    if os.geteuid() != 0:
        return TreeError(message, object=path, hint="become root")
    hint = f"{where} keeps root out: on NFS with root_squash, let everybody look into it"
    return TreeError(message, object=path, hint=hint)


_ALLOW_OTHER = "mount it with `-o allow_other` (who is not root needs user_allow_other in /etc/fuse.conf)"


def _check_public(view: DirectoryView) -> None:
    """Refuse a tree on a FUSE file system that only root may read, because users could not run its shell."""
    if os.fstat(view.fd).st_dev == os.stat("/").st_dev:
        return
    mount = mount_of(view.fd)
    if mount and is_private(mount):
        raise TreeError(
            f"users cannot look into the OS tree: {mount.target} is FUSE without allow_other",
            object=view.path,
            hint=_ALLOW_OTHER,
        )


def _check_way(path: str, owners: Collection[int]) -> None:
    """Refuse a tree that an account other than `owners` could replace. Checks every directory of the path, and follows
    links.

    Otherwise the owner of such a directory might mount or link something else there that only seems to be root's.
    """
    base = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = others(base, path, owners)
    finally:
        os.close(base)
    if found and found.last:
        raise UnsafeError(f"OS tree {found.why}", object=path, hint=_mend(path, found._replace(path="/")))
    if found:
        hint = f"they could put another tree in its place: move it, or `{found.mend} {found.path}`"
        raise UnsafeError(f"OS tree lies in {found.path}, which {found.why}", object=path, hint=hint)


def _check_content(view: DirectoryView, owners: Collection[int]) -> None:
    """Check the opened tree, which may have been mounted only by opening it (autofs), and the paths of _JUDGED in
    it."""
    found = others_inside(view.fd, ("/", *_JUDGED), owners)
    if found:
        what = "OS tree" if found.path == "/" else f"{found.path} of the OS tree"
        raise UnsafeError(f"{what} {found.why}", object=view.path, hint=_mend(view.path, found))


def _mend(tree: str, found: Others) -> str:
    if not found.why.startswith("belongs"):
        return f"{found.mend} {join([*split(tree), *split(found.path)])}"
    mend = f"look at what is in it, then `chown -hR root:root {tree}`"
    return (
        f"who owns it decides what users run, and root: {mend}; to let an account own it (CVMFS): `owner`, chos.toml(5)"
    )


def os_name(view: DirectoryView) -> str:
    """The name that the tree gives itself (PRETTY_NAME, os-release(5)); empty if there is none."""
    try:
        fd = open_inside(view.fd, "/etc/os-release", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        text = os.read(fd, 4096).decode(errors="replace") if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)
    match = re.search(r"^PRETTY_NAME=[\"']?([^\"'\n]*)", text, re.MULTILINE)
    return match[1] if match else ""
