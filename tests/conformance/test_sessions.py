"""pam_chos(8) in su(1), whose calling process is the test."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import LIMIT, Node
from rows import row
from site_of_old import os_id

SECTION = "pam_chos(8)"
Su = Callable[..., subprocess.CompletedProcess[str]]
BASE = os_id(Path("/etc/os-release").read_text())


@pytest.fixture
def su(node: Node, etc: Callable[[str], Path]) -> Su:
    """A session of a user with pam_chos and its options, with `chos` in the environment of who calls."""
    stack = etc("pam.d/su")

    def session(options: str = "", *, chos: str | None = None, user: str = "alice") -> subprocess.CompletedProcess[str]:
        stack.write_text(
            "auth sufficient pam_rootok.so\naccount required pam_permit.so\n"
            f"session required pam_permit.so\nsession required pam_chos.so {options}\n"
        )
        command = "grep ^ID= /etc/os-release; echo CHOS=$CHOS; id -u"
        env = {} if chos is None else {"CHOS": chos}
        return node.run(["su", user, "-c", command], user="root", env=env)

    return session


def seen(result: subprocess.CompletedProcess[str]) -> list[str]:
    """System, $CHOS and user of a session."""
    return [line.partition("=")[2] or line for line in result.stdout.replace("CHOS=\n", "CHOS= \n").split("\n") if line]


@row("`$CHOS` of the calling process comes first", section=SECTION)
def test_variable(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("two\n")
    assert os_id(su(chos="one").stdout) == "one"


@row("then the user's file `~/.chos`", section=SECTION)
def test_file(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("one\n")
    assert os_id(su().stdout) == "one"
    assert os_id(su(chos="").stdout) == "one"


@row("then `default`", section=SECTION)
def test_default(su: Su) -> None:
    assert os_id(su().stdout) == "two"


@row("if there is no `default`: the base", section=SECTION)
def test_none(changed: Node, su: Su) -> None:
    Path("/etc/chos").write_text("%SHELLS\none:/os/one\n")
    changed.up()
    assert os_id(su().stdout) == BASE


@row("`CHOS=name` is in the session's environment", section=SECTION)
def test_environment(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("/auto/one\n")
    assert "CHOS=/auto/one\n" in su().stdout


@row("the session is the user's own", section=SECTION)
def test_identity(node: Node, su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("one\n")
    result = su()
    assert os_id(result.stdout) == "one"
    assert result.stdout.splitlines()[-1] == node.run(["id", "-u"], check=True).stdout.strip()


@row("root is never moved", section=SECTION)
def test_root(su: Su) -> None:
    assert os_id(su(chos="one", user="root").stdout) == BASE


@row("`root` in the file: the base, in spite of a `default`", section=SECTION)
def test_base_by_name(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("root\n")
    assert os_id(su().stdout) == BASE


@row("`user_conf_file=` names another file, relative to the home directory", section=SECTION)
def test_user_conf_file(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("two\n")
    other = Path("/home/alice/.os")
    other.write_text("one\n")
    assert os_id(su("user_conf_file=.os").stdout) == "one"
    other.unlink()


@row("the file is read as the user, so it may be private", section=SECTION)
def test_read_as_the_user(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("one\n")
    secret = Path("/root/secret-environment")
    secret.write_text("one\n")
    secret.chmod(0o600)
    link = Path("/home/alice/.elsewhere")
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    result = su("user_conf_file=.elsewhere")
    assert os_id(result.stdout) == BASE and result.stderr, "root's file was read"
    link.unlink()


@row("an unknown name: a message, and the base; with `fail_to_default=1` it is `default`", section=SECTION)
def test_unknown(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("nowhere\n")
    result = su("fail_to_default=0")
    assert os_id(result.stdout) == BASE and "nowhere" in result.stderr
    assert os_id(su("fail_to_default=1").stdout) == "two"


@row("`onerr=deny`: then there is no session", section=SECTION)
def test_deny(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("nowhere\n")
    result = su("onerr=deny")
    assert result.returncode != 0 and result.stdout == ""


@row("a name with other characters than letters, digits and `- . _ /` is refused", section=SECTION)
def test_characters(su: Su, dotfile: Callable[[str], None]) -> None:
    for text in ("o ne\n", "one;id\n", "$(id)\n", "../one\n"):
        dotfile(text)
        result = su()
        assert os_id(result.stdout) == BASE and result.stderr, text


@contextlib.contextmanager
def syslog() -> Iterator[socket.socket]:
    """What is sent to /dev/log meanwhile."""
    path = Path("/dev/log")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        path.chmod(0o666)
        server.settimeout(LIMIT)
        yield server
    path.unlink()


@row("what happens is logged, facility `authpriv`", section=SECTION)
def test_log(su: Su, dotfile: Callable[[str], None]) -> None:
    dotfile("nowhere\n")
    with syslog() as server:
        su()
        line = server.recv(65536).decode()
        while "nowhere" not in line:
            line = server.recv(65536).decode()
    assert int(line[1 : line.index(">")]) >> 3 == 10, line
