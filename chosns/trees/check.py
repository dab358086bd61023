"""Is this directory an OS tree that root may show to users?"""

from __future__ import annotations

import os
import re
import stat

from chosns.errors import TreeError
from chosns.plan.view import Kind, join, parent, resolve, split
from chosns.trees.view import DirectoryView, open_inside

_STEPS = 1000  # components and links on the way to a tree; more is a loop


def open_tree_root(path: str) -> DirectoryView:
    """Open an OS tree and check it.

    :raises TreeError: it is missing, is not a directory, holds no shell, or others than root may write to it
        (a user's own tree needs a backend without privilege).
    """
    try:
        _check_way(path)
        view = DirectoryView(path)
    except FileNotFoundError:
        raise TreeError(
            "OS tree does not exist", object=path, hint="is its file system mounted? compare with the path in /etc/chos"
        ) from None
    except NotADirectoryError:
        raise TreeError(
            "OS tree is not a directory", object=path, hint="give the directory that holds its /usr"
        ) from None
    except OSError as error:
        raise TreeError(f"OS tree cannot be opened: {error.strerror}", object=path) from None
    try:
        _check_owner(view)
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


def _check_way(path: str) -> None:
    """Refuse a tree that somebody else than root could exchange: every directory on the way to it, links followed.

    Otherwise its owner might mount or link something else there, which only pretends to be root's.
    In a sticky directory nobody can move what is root's.
    """
    done = "/"
    todo = split(path)
    for _ in range(_STEPS):
        status = os.stat(done, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            if status.st_uid != 0:
                raise TreeError(
                    f"the link {done} on the way to the OS tree is not root's", object=path, hint=f"remove {done}"
                )
            target = os.readlink(done)
            done = "/" if target.startswith("/") else parent(done)
            todo = [*split(target), *todo]
            continue
        if not todo:
            return
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or others:
            raise TreeError(
                f"OS tree lies in {done}, which others than root can write",
                object=path,
                hint="they could put another tree in its place: move it, or make the directory root's alone",
            )
        part = todo.pop(0)
        done = parent(done) if part == ".." else join([*split(done), part])
    raise TreeError("OS tree cannot be opened: too many symbolic links", object=path)


def _check_owner(view: DirectoryView) -> None:
    status = os.fstat(view.fd)
    if status.st_uid != 0:
        raise TreeError(
            f"OS tree belongs to uid {status.st_uid}, not to root",
            object=view.path,
            hint="whoever owns the tree decides what its users run: chown it to root",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TreeError("OS tree is writable by others than root", object=view.path, hint=f"chmod go-w {view.path}")


def os_name(view: DirectoryView) -> str:
    """What the tree calls itself (PRETTY_NAME, os-release(5)); empty where it does not say."""
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
