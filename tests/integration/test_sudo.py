"""sudo, whose caller has rights over it: his descriptors, his words and variables, and signals to its processes.

Whoever calls sudo for another user must not bring root into that user's environment, nor his own editor.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import traps
from daemons import Stacks, os_id
from root_outside import INSIDE, NAME, SESSION, Place, end_all, end_sleepers, trapped
from test_services import as_alice

ID = f"ID={NAME}"
SLEEP = "cat /etc/os-release; sleep 1000"
SUDOERS = Path("/etc/sudoers.d/chos-test")
EDITOR, SAID = Path("/tmp/editor"), Path("/tmp/editor-said")
LINKED = Path("/tmp/a=b")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, users: None) -> Iterator[Place]:
    with trapped(tmp_path_factory.mktemp("traps")) as place:
        yield place


@pytest.fixture
def place(prepared: Place, stacks: Stacks) -> Iterator[Place]:
    if not Path("/usr/bin/sudo").exists():
        pytest.skip("sudo is not installed (tools/deps test)")
    for service in ("sudo", "sudo-i"):
        stacks.add(service, line=SESSION)
    allow("ALL")
    prepared.watch.take()
    traps.reset()
    yield prepared
    end_all("bob")
    SUDOERS.unlink(missing_ok=True)


def allow(what: str, defaults: str = "use_pty") -> None:
    """alice may do this as bob, and bob as alice."""
    SUDOERS.write_text(f"Defaults {defaults}\nalice ALL=(bob) NOPASSWD: {what}\nbob ALL=(alice) NOPASSWD: {what}\n")
    SUDOERS.chmod(0o440)


def clean(place: Place, text: str, inside: bool = True) -> None:
    """Nobody privileged was caught; the command was in the tree, or was not."""
    seen = place.watch.take()
    wrong = dict.fromkeys(str(access) for access in seen if access.privileged)
    assert not wrong and not traps.sprung(), "\n".join(["root stood inside:", *wrong, *traps.sprung(), text])
    assert (ID in text) == inside, text


# --- the editor ---------------------------------------------------------------------------------------------------

EDITS = {
    "-e": (["-e"], {}),
    "its other name": (["sudoedit"], {}),
    "a long line": (["-p", "x" * 70000, "-e"], {}),
    "behind --": (["--", "sudoedit"], {}),
    "a path with =": ([f"{LINKED}/sudoedit"], {}),
    "both": (["--", f"{LINKED}/sudoedit"], {}),
    "-s": (["-s"], {"SHELL": f"{LINKED}/sudoedit"}),
    "-s and a second one": (["-s"], {"OTHER": "SHELL=/bin/sh", "SHELL": f"{LINKED}/sudoedit"}),
}


@pytest.mark.parametrize("invoker", ["root", "bob"])
@pytest.mark.parametrize("how", EDITS)
def test_an_editor(place: Place, how: str, invoker: str) -> None:
    """However sudo is told to edit: the editor is the invoker's, and is neither root nor the invoker in the tree."""
    words, variables = EDITS[how]
    edit(place, words, variables, invoker)


@pytest.mark.parametrize(("option", "whose"), [("-s", "bob"), ("-i", "alice")])
def test_an_account_whose_shell_is_called_so(place: Place, option: str, whose: str) -> None:
    """Without $SHELL, -s runs the caller's shell of passwd(5), and -i the target's: some sites let users set theirs."""
    usual = pwd.getpwnam(whose).pw_shell
    subprocess.run(["usermod", "-s", f"{LINKED}/sudoedit", whose], check=True)
    try:
        edit(place, [option], {"SHELL": ""}, "bob")
    finally:
        subprocess.run(["usermod", "-s", usual, whose], check=True)


def edit(place: Place, words: list[str], variables: dict[str, str], invoker: str) -> None:
    """Edit a file of alice's with an editor of the invoker's, which says where it is and who."""
    allow("sudoedit", f"use_pty, editor={EDITOR}")  # -i has none of the caller's variables
    LINKED.mkdir(exist_ok=True)
    (LINKED / "sudoedit").write_text("#!/bin/sh\n")
    (LINKED / "sudoedit").chmod(0o755)
    SAID.unlink(missing_ok=True)
    EDITOR.write_text(f"#!/bin/sh\n(cat /etc/os-release; id -u) >{SAID}\n")
    EDITOR.chmod(0o755)
    file = Path("/home/alice/edited")
    file.write_text("text\n")
    shutil.chown(file, "alice", "alice")
    command = ("sudo", "-n", "-u", "alice", *words, str(file))
    if invoker == "bob":
        command = ("setpriv", "--reuid", "bob", "--regid", "bob", "--init-groups", *command)
    text = place.run(*command, SUDO_EDITOR=str(EDITOR), CHOS=NAME, **variables)
    assert SAID.exists(), text  # this sudo does take it for editing
    clean(place, SAID.read_text(), inside=False)
    assert SAID.read_text().splitlines()[-1] == ("0" if invoker == "root" else str(pwd.getpwnam("bob").pw_uid))


# --- descriptors --------------------------------------------------------------------------------------------------

# What the caller has open when sudo starts.
OPEN = {
    "nothing": "",
    "a leader": "m = os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY); os.dup2(m, 9, True)",
    "a terminal": "m, s = os.openpty(); os.dup2(m, 9, True); os.dup2(s, 10, True)",
    "sockets": "import socket; a, b = socket.socketpair(); os.dup2(a.fileno(), 9, True); os.dup2(b.fileno(), 10, True)",
    "300 files": (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))\n"
        "n = os.open('/dev/null', os.O_RDWR)\n"
        "for i in range(3, 300): os.dup2(n, i, True) if i != n else os.set_inheritable(n, True)"
    ),
}
CALLER = """import os, sys
{opens}
os.execvp("sudo", ["sudo", "-n", "-u", "bob", "/bin/sh", "-c", sys.argv[1]])
"""


def caller(opens: str, command: str) -> list[str]:
    path = Path("/tmp/caller.py")
    path.write_text(CALLER.format(opens=OPEN[opens]))
    alice = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups"]
    return [*alice, "/usr/bin/python3", str(path), command]


@pytest.mark.parametrize("defaults", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("opens", OPEN)
def test_descriptors_of_the_caller(place: Place, opens: str, defaults: str) -> None:
    """They bring sudo's monitor, which is root, not into the environment, and keep the command not out of it."""
    allow("ALL", defaults)

    def act(pid: int, terminal: int) -> None:
        try:
            place.wait_until_inside("bob")
        except BaseException:
            os.close(terminal)
            raise
        end_sleepers("bob")

    clean(place, place.terminal(*caller(opens, SLEEP), after=act))


@pytest.mark.parametrize(
    "defaults", ["log_output", "log_input", "log_input,log_output,!use_pty", "!use_pty", "!use_pty,closefrom=200"]
)
@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_logged(place: Place, defaults: str, terminal: bool) -> None:
    """Where sudo logs what goes through pipes it has a monitor also without a terminal."""
    allow("ALL", defaults)
    words = caller("nothing", INSIDE if terminal else SLEEP)
    clean(place, place.terminal(*words) if terminal else place.signalled(signal.SIGCONT, *words, user="bob"))


# --- signals ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host() -> str:
    program = Path("/usr/local/bin/forking_host")
    source = Path(__file__).parent / "forking_host.c"
    subprocess.run(["gcc", "-O1", "-o", str(program), str(source), "-lpam", "-lpthread"], check=True)
    return str(program)


@pytest.mark.parametrize("how", ["orphan", "pipes"])
def test_a_monitor(place: Place, host: str, how: str) -> None:
    """sudo's caller may kill sudo while its monitor is stopped: who the parent is says nothing then."""
    clean(place, place.run(host, "sudo", "alice", how, INSIDE))


def test_a_variable_counts_after_env_keep(place: Place) -> None:
    assert os_id(as_alice("CHOS=root sudo -n -u bob /bin/cat /etc/os-release").stdout) == ID
    with SUDOERS.open("a") as file:
        file.write("Defaults env_keep += CHOS\n")
    assert os_id(as_alice("CHOS=root sudo -n -u bob /bin/cat /etc/os-release").stdout) != ID
