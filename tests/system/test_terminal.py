"""A terminal: job control, Ctrl-C, Ctrl-Z and hanging up work in an environment as on the base."""

from __future__ import annotations

import os
import pty
import pwd
import re
import select
import time
from collections.abc import Iterator

import pytest
from node import LIMIT, Node

PROMPT = "ready> "
CAT = "sh -c 'echo started; exec cat'"


class Terminal:
    """A shell on a pseudo terminal, as a terminal emulator has it."""

    def __init__(self, command: list[str], user: str = "alice") -> None:
        account = pwd.getpwnam(user)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.initgroups(user, account.pw_gid)
                os.setgid(account.pw_gid)
                os.setuid(account.pw_uid)
                os.chdir(account.pw_dir)
                os.execve(
                    "/usr/bin/chos",
                    command,
                    {"CHOS": "new", "PATH": "/usr/bin:/bin", "HOME": account.pw_dir, "TERM": "vt100", "PS1": PROMPT},
                )
            finally:
                os._exit(99)
        self.seen = ""

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, pattern: str) -> str:
        """Read until `pattern` has come, and return it; whatever came before is dropped."""
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(pattern, self.seen)):
            ready = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"waited in vain for {pattern!r}, got {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 4096).decode(errors="replace").replace("\r", "")
            except OSError:
                raise AssertionError(f"the shell ended before {pattern!r}: {self.seen!r}") from None
        self.seen = self.seen[found.end() :]
        return found[0]

    def run(self, line: str, pattern: str) -> str:
        self.send(line + "\n")
        self.expect(r"\n")  # the echo of what was typed
        return self.expect(pattern)

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(node: Node) -> Iterator[Terminal]:
    """bash of trixie, interactive, as alice."""
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    shell = Terminal(["chos", "bash", "--norc", "--noprofile", "-i"])
    shell.expect(PROMPT)
    yield shell
    os.close(shell.fd)


def test_it_is_the_controlling_terminal(terminal: Terminal) -> None:
    assert terminal.run("tty", r"/dev/\S+").startswith("/dev/pts/")
    terminal.expect(PROMPT)
    terminal.run("echo typed >/dev/tty", "typed\n")
    terminal.expect(PROMPT)
    terminal.run("stty size </dev/tty && echo size-$?", "size-0")


def test_the_shell_has_job_control(terminal: Terminal) -> None:
    assert "m" in terminal.run("echo flags-$-", r"flags-\S+")[6:]
    assert "job control" not in terminal.seen


def test_ctrl_c_ends_the_command_not_the_shell(terminal: Terminal) -> None:
    terminal.run(CAT, "started\n")
    terminal.send("\x03")
    terminal.expect(PROMPT)
    terminal.run("echo status-$?", "status-130")


def test_ctrl_z_fg_and_bg(terminal: Terminal) -> None:
    terminal.run(CAT, "started\n")  # what is typed before that may still be the shell's
    terminal.run("hello", "hello\n")
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.expect(PROMPT)
    terminal.run("jobs", r"\[1\]\+ +Stopped +sh -c")
    terminal.expect(PROMPT)
    terminal.run("fg", "cat'\n")
    terminal.run("again", "again\n")
    terminal.send("\x04")
    terminal.expect(PROMPT)
    terminal.run("echo status-$?", "status-0")


def test_ctrl_c_reaches_chos_below_a_shell(terminal: Terminal) -> None:
    """From an environment into another place and back, with the same terminal."""
    terminal.run(f"CHOS=root chos {CAT}", "started\n")
    terminal.send("\x03")
    terminal.expect(PROMPT)
    terminal.run("echo status-$?", "status-130")


def test_a_stopped_chos_goes_on(terminal: Terminal) -> None:
    terminal.run(f"CHOS=new chos {CAT}", "started\n")
    terminal.run("one", "one\n")
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.expect(PROMPT)
    terminal.run("fg", "cat'\n")
    terminal.run("two", "two\n")
    terminal.send("\x04")
    terminal.expect(PROMPT)


def test_window_size_changes_are_told(terminal: Terminal) -> None:
    import fcntl
    import struct
    import termios

    terminal.run("trap 'echo resized' WINCH; echo set-$?", "set-0")
    terminal.expect(PROMPT)
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    terminal.run("stty size", "33 99")


def test_hanging_up_ends_the_shell(node: Node) -> None:
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    shell = Terminal(["chos", "bash", "--norc", "--noprofile", "-i"])
    shell.expect(PROMPT)
    os.close(shell.fd)
    assert shell.status() in (-1, 0, 1, 129)


def test_exit_status_and_login_shell(node: Node) -> None:
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    shell = Terminal(["chos"])
    shell.expect(r"[$#>] ")
    shell.run("grep CODENAME /etc/os-release; exit 42", "trixie")
    assert shell.status() == 42
    os.close(shell.fd)
