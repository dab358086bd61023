"""A child process that does the work for one environment. If it hangs or dies, nothing else is affected.

Parent and child exchange lines of JSON. The child ends with its parent, and its own children end with it. The parent
never waits longer than the time limit. A process that is stuck in the kernel cannot be killed; it is then left alone.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from chosns import errors
from chosns.errors import BuildError, ChosError, as_chos_error
from chosns.system import procfs, syscalls

_KILL_GRACE = 2.0  # seconds until a killed process is gone, unless it is stuck in the kernel
_LAST_WORDS = 4096  # bytes of the program's output that are kept; the rest is ignored


class Worker:
    """Runs `main` in a child. `expect`, `tell` and `finish` are the parent's side, `send` and `wait` the child's.

    :param environment: what the work is for.
    :param limit: seconds for the whole work.
    """

    def __init__(self, main: Callable[[Worker], None], environment: str, limit: float) -> None:
        self._main = main
        self.environment = environment
        self._deadline = time.monotonic() + limit
        self._limit = limit
        self._buffer = b""
        self.pid = 0
        self.left_alone = False  # whether it is stuck in the kernel; it may continue later

    def __enter__(self) -> Worker:
        syscalls.require_prctl()
        with contextlib.ExitStack() as undo:
            report, self._report = os.pipe()
            undo.callback(os.close, report)
            with contextlib.ExitStack() as childs:
                childs.callback(os.close, self._report)
                self._orders, orders = os.pipe()
                undo.callback(os.close, orders)
                childs.callback(os.close, self._orders)
                parent = os.getpid()
                self.pid = os.fork()
                if self.pid == 0:
                    os.close(report)
                    os.close(orders)
                    self._run(parent)
            try:
                self._pidfd = os.pidfd_open(self.pid)
            except OSError:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise
            undo.pop_all()
        self._report, self._orders = report, orders
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.pid:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # type: ignore[attr-defined,unused-ignore]
            if _readable(self._pidfd, _KILL_GRACE):
                os.waitpid(self.pid, 0)
                # Its children end with it, a moment later. Only then is the tree no longer in use.
                _readable(self._report, _KILL_GRACE, 0)
            else:
                self.left_alone = True
        os.close(self._report)
        os.close(self._orders)
        os.close(self._pidfd)

    # The child's side.

    def _run(self, parent: int) -> None:
        """The child: never returns."""
        try:
            syscalls.name_process(f"chos:{self.environment}")  # so that one that hangs is recognised in `ps`
            os.setsid()  # the program that it executes must not type on root's terminal (TIOCSTI)
            syscalls.die_with_parent(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self._close_others()
            # It lives for a short time, and a collection would copy every page that is shared with the parent.
            gc.disable()
            self._main(self)
            os._exit(0)
        except ChosError as error:
            self._confess(error)
        except OSError as error:
            self._confess(as_chos_error(error, self.environment))
        except BaseException as error:
            self._confess(BuildError(f"{type(error).__name__}: {error}", object=self.environment))
        finally:
            os._exit(1)

    def _close_others(self) -> None:
        """Close everything of the parent's. A child that is stuck for ever would keep the parent's lock and output
        pipe, and the program that it executes must not get descriptors that our caller left open."""
        null = os.open("/dev/null", os.O_RDWR)
        for target in range(3):
            os.dup2(null, target)
        for fd in procfs.own_descriptors():
            if fd > 2 and fd not in (self._report, self._orders):
                with contextlib.suppress(OSError):  # the listing's own
                    os.close(fd)

    def _confess(self, error: ChosError) -> None:
        self.send("error", type=type(error).__name__, **error.to_json())

    def send(self, what: str, **content: Any) -> None:
        """Report to the parent."""
        line = json.dumps({"what": what, **content}).encode() + b"\n"
        while line:
            line = line[os.write(self._report, line) :]

    def wait(self) -> str:
        """Wait for the parent's next order; empty if there is nothing more to do."""
        return os.read(self._orders, 64).decode().strip()

    def become(self, path: str, arguments: list[str], environment: dict[str, str], null: int) -> None:
        """Execute a program in place of the child. `finish` reads its output. It gets no other descriptor.

        :param null: /dev/null, its standard input.
        """
        for target, source in ((0, null), (1, self._report), (2, self._report)):
            os.dup2(source, target)
        try:
            os.execve(path, arguments, environment)
        except OSError as error:
            os.write(2, f"{path}: {error.strerror}\n".encode())
            os._exit(127)

    # The parent's side.

    def tell(self, order: str) -> None:
        """Let the child continue. If it is dead, the next `expect` says how it ended."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, order.encode() + b"\n")

    def expect_first(self, what: str) -> dict[str, Any]:
        """`expect` for a parent that was busy with other children: a report that has arrived is never too late, and the
        time limit for the rest of the work begins now."""
        report = self.expect(what, late=True)
        self.renew()
        return report

    def renew(self) -> None:
        """Start the time limit again."""
        self._deadline = time.monotonic() + self._limit

    def expect(self, what: str, *, late: bool = False) -> dict[str, Any]:
        """The child's next report, which must be `what`.

        :param late: accept a report that has already arrived even after the time limit.
        :raises ChosError: the child reported this failure.
        :raises BuildError: the child died, or took too long.
        """
        line = self._read_line(late)
        if not line:
            raise BuildError(f"its builder ended unexpectedly ({self._ending()})", object=self.environment)
        report: dict[str, Any] = json.loads(line)
        if report["what"] == "error":
            kind = getattr(errors, str(report["type"]), BuildError)
            raise kind(report["error"], object=report["object"], hint=report["hint"])
        assert report["what"] == what, report
        return report

    def finish(self) -> None:
        """Wait for the program that the child executed. :raises BuildError: it failed; with its last output."""
        words = self._buffer
        while chunk := self._read():
            words = (words + chunk)[-_LAST_WORDS:]
        ending = self._ending()
        if ending != "status 0":
            text = words.decode(errors="replace").strip()
            raise BuildError(
                f"its shell does not run ({ending})" + (f": {text[-200:]}" if text else ""),
                object=self.environment,
                hint="may everybody read and execute its /bin/sh, loader and libraries? compare their modes"
                if "Permission denied" in text
                else "is the tree complete, and of this machine's architecture?",
            )

    def _read_line(self, late: bool) -> bytes:
        while b"\n" not in self._buffer:
            chunk = self._read(late)
            if not chunk:
                return b""
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _read(self, late: bool = False) -> bytes:
        left = self._deadline - time.monotonic()
        # The time is over, also if the program keeps writing.
        if (left <= 0 and not late) or not _readable(self._report, max(left, 0)):
            raise BuildError(
                f"no answer within {self._limit:.0f} s",
                object=self.environment,
                hint="is its tree, or a file system of the base, on a server that does not answer?",
            )
        return os.read(self._report, 65536)

    def _ending(self) -> str:
        if not _readable(self._pidfd, _KILL_GRACE):
            return "still running"
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        return f"status {code}" if code >= 0 else f"killed by signal {-code}"


def _readable(fd: int, seconds: float, what: int = select.POLLIN) -> bool:
    """Wait until there is something to read, or until the process of a pidfd has ended. If `what` is 0: until the other
    end of a pipe is closed everywhere. Not with select(2), because `fd` may be large."""
    poll = select.poll()
    poll.register(fd, what)
    return bool(poll.poll(seconds * 1000))
