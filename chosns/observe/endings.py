"""Notices when processes end: by the kernel's process events, or by looking every second.

Process events (the connector of Linux, by pyroute2's ProcEventSocket) exist only for root in the machine's own network,
PID and user namespaces. Importing pyroute2 takes longer than most commands, so only this module imports it, and this
module is imported for `--wait` only. Nothing is decided here: the caller looks at the node again.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

from chosns.system import procfs

_INTERVAL = 1.0  # seconds between two looks without events
_RECHECK = 10.0  # seconds; look again after this time in any case, because a process may also leave without ending
_ANSWER = 1.0  # seconds; the kernel answers while the subscription is being sent, or never
# Inode numbers of the machine's own namespaces, fixed in the kernel (include/linux/proc_ns.h)
_OWN = {"user": 0xEFFFFFFD, "pid": 0xEFFFFFFC}
# Offsets in a message of the connector (nlmsghdr, cn_msg, proc_event): what happened, and the error in an answer.
_WHAT, _ERROR = 36, 52


class NoEvents(Exception):
    """The kernel's process events are not available here; the message says why."""


class Endings(Protocol):
    """Waits for processes. `why`: why there are no events; empty if there are."""

    why: str

    def __enter__(self) -> Endings: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def wait(self, pids: set[int], seconds: float) -> None:
        """Return when none of these processes is left, after so many seconds, or earlier. Look again then."""


def watch() -> Endings:
    """The best way that is available here. Ends are noticed from now on, so look at the processes after this call."""
    try:
        return Events()
    except NoEvents as error:
        return Polling(str(error))


class Polling:
    """Looks again every second."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __enter__(self) -> Polling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def wait(self, pids: set[int], seconds: float) -> None:
        """See Endings."""
        time.sleep(min(_INTERVAL, seconds))


class Events:
    """Gets events from the kernel. :raises NoEvents: they are not available here."""

    why = ""

    def __init__(self) -> None:
        for name, number in _OWN.items():
            if os.stat(procfs.of("self", f"ns/{name}")).st_ino != number:  # the kernel would not even answer
                raise NoEvents(f"this is not the machine's own {name} namespace")
        try:
            from pyroute2.netlink.connector import cn_proc
        except ImportError as error:
            raise NoEvents(f"pyroute2 0.7.12 or later is not installed ({error})") from error
        self._names = cn_proc
        try:
            self._socket: Any = cn_proc.ProcEventSocket()
        except OSError as error:
            raise NoEvents(f"the kernel has no connector ({error.strerror})") from error
        try:
            self._socket.bind()
            self._subscribe()
        except OSError as error:
            self._socket.close()
            why = {
                errno.ECONNREFUSED: "this is not the machine's own net namespace, or the kernel has no events",
                errno.EPERM: "that takes the capability CAP_NET_ADMIN",
                errno.ETIMEDOUT: "the kernel did not answer",
            }.get(error.errno or 0, os.strerror(error.errno or 0))
            raise NoEvents(why) from error

    def __enter__(self) -> Events:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(OSError):
            self._ask(self._names.PROC_CN_MCAST_IGNORE)
        self._socket.close()

    def wait(self, pids: set[int], seconds: float) -> None:
        """See Endings. Children of these processes are waited for, too."""
        left = set(pids)
        deadline = time.monotonic() + min(seconds, _RECHECK)
        while left and self._readable(deadline - time.monotonic()):
            try:
                message = os.read(self._socket.fileno(), 65536)
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some events are lost
                    return
                raise
            self._follow(message, left)

    def _follow(self, message: bytes, left: set[int]) -> None:
        """Handle an event. Most are of no interest, and are not parsed."""
        (what,) = struct.unpack_from("=I", message, _WHAT)
        if what not in (self._names.PROC_EVENT_EXIT, self._names.PROC_EVENT_FORK):
            return
        for event in self._socket.marshal.parse(message):
            if what == self._names.PROC_EVENT_EXIT:
                if event["process_pid"] == event["process_tgid"]:
                    left.discard(event["process_tgid"])
            elif event["parent_tgid"] in left:
                left.add(event["child_tgid"])

    def _readable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return bool(poll.poll(max(seconds, 0) * 1000))

    def _subscribe(self) -> None:
        """ProcEventSocket.control() would wait for an answer for ever."""
        self._ask(self._names.PROC_CN_MCAST_LISTEN)
        deadline = time.monotonic() + _ANSWER
        while self._readable(deadline - time.monotonic()):
            answer = os.read(self._socket.fileno(), 65536)
            if struct.unpack_from("=I", answer, _WHAT)[0] == self._names.PROC_EVENT_NONE:
                (code,) = struct.unpack_from("=I", answer, _ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                return
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _ask(self, what: int) -> None:
        message = self._names.proc_event_control()
        message["action"] = what
        message["idx"], message["val"] = self._names.CN_IDX_PROC, self._names.CN_VAL_PROC
        message["len"] = 4
        message["header"]["type"] = 3  # NLMSG_DONE
        message.encode()
        # Not put(): the newer pyroute2 does that in a loop of its own, which prints what goes wrong.
        os.write(self._socket.fileno(), bytes(message.data))
