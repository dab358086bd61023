"""Root never stands inside: no process that is root, or could be, opens or executes a file of the tree.

A row is a host, and something that happens to it. The tree has a trap wherever a process of root's could step
(`traps.py`), and the kernel holds whoever opens one until it is known who that is (`watcher.py`).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import traps
from daemons import AUTH, Sshd, Stacks, end, wait_for
from root_outside import INSIDE, LIMIT, NAME, SERVICES, SESSION, Place, end_all, end_sleepers, trapped

SLEEP = "cat /etc/os-release; sleep 1000"
ID = f"ID={NAME}"
SUDOERS = Path("/etc/sudoers.d/chos-test")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for name in ("alice", "bob"):
        if not Path(f"/home/{name}").is_dir():
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)
    with trapped(tmp_path_factory.mktemp("traps")) as place:
        yield place


@pytest.fixture
def place(prepared: Place, stacks: Stacks) -> Iterator[Place]:
    """The module as the last session line of everything, in sshd's as the last auth line, too."""
    for service in SERVICES:
        if (Path("/etc/pam.d") / service).exists():
            install(stacks, service)
    prepared.stacks = stacks
    SUDOERS.write_text("alice ALL=(ALL) NOPASSWD: ALL\n")
    SUDOERS.chmod(0o440)
    prepared.watch.take()
    traps.reset()
    yield prepared
    end_all()
    SUDOERS.unlink(missing_ok=True)


def install(stacks: Stacks, service: str, above: str = "", below: str = "") -> None:
    """Our lines with others around them. Of the auth lines ours is the last: `chosctl install pam` says so."""
    stacks.add(service, line=f"{SESSION}\n{below}\n")
    stacks.write(service, f"{above}\n{(Path('/etc/pam.d') / service).read_text()}")


def clean(place: Place, text: str, inside: bool = True) -> None:
    """Nobody was caught, and the session was in the tree where it should be."""
    seen = place.watch.take()
    wrong = [access for access in seen if access.privileged]
    loaded = traps.sprung()
    shown = "\n".join(dict.fromkeys(str(access) for access in wrong))
    assert not wrong and not loaded, f"root stood inside:\n{shown}\nloaded by root: {loaded}\n{text}"
    if inside:
        assert ID in text, text
        assert seen, "the watcher saw nothing at all"


# --- su, runuser --------------------------------------------------------------------------------------------------

WITHOUT_A_TERMINAL = {
    "su": ("su", "alice", "-c"),
    "su -": ("su", "-", "alice", "-c"),
    "su --pty": ("su", "--pty", "alice", "-c"),
    "runuser": ("runuser", "alice", "-c"),
    "runuser -": ("runuser", "-", "alice", "-c"),
    "runuser -u": ("runuser", "-u", "alice", "--", "/bin/sh", "-c"),
    "sudo": ("sudo", "-u", "alice", "/bin/sh", "-c"),
    "sudo -i": ("sudo", "-i", "-u", "alice", "/bin/sh", "-c"),
}


@pytest.mark.parametrize("host", WITHOUT_A_TERMINAL)
def test_command(place: Place, host: str) -> None:
    clean(place, place.run(*WITHOUT_A_TERMINAL[host], INSIDE))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
@pytest.mark.parametrize("host", WITHOUT_A_TERMINAL)
def test_signal(place: Place, host: str, number: signal.Signals) -> None:
    """The host is told to end while its user's command runs; su says so, in the user's language."""
    words = [*WITHOUT_A_TERMINAL[host], SLEEP]
    clean(place, place.signalled(number, *words), inside=number != signal.SIGKILL)


@pytest.mark.parametrize("how", ["TERM", "KILL", "SEGV"])
@pytest.mark.parametrize("host", WITHOUT_A_TERMINAL)
def test_the_command_is_killed(place: Place, host: str, how: str) -> None:
    """The host says how it ended."""
    clean(place, place.run(*WITHOUT_A_TERMINAL[host], f"{INSIDE}; kill -{how} $$"))


MISSING = {
    "su": ("su", "alice", "-s", "/usr/bin/perl", "-c", "1"),
    "su -": ("su", "-", "alice", "-s", "/usr/bin/perl"),
    "su --pty": ("su", "--pty", "alice", "-s", "/usr/bin/perl", "-c", "1"),
    "runuser": ("runuser", "alice", "-s", "/usr/bin/perl", "-c", "1"),
    "runuser -u": ("runuser", "-u", "alice", "--", "/usr/bin/perl", "-v"),
    "sudo": ("sudo", "-u", "alice", "/usr/bin/perl", "-v"),
}


@pytest.mark.parametrize("host", MISSING)
def test_a_program_that_the_tree_lacks(place: Place, host: str) -> None:
    """The host's child says so, in the user's language, as the user."""
    clean(place, place.run(*MISSING[host]), inside=False)


@pytest.mark.parametrize("host", ["su -", "runuser -", "sudo -i", "login"])
def test_a_home_directory_that_is_not_there(place: Place, host: str) -> None:
    home, away = Path("/home/alice"), Path("/home/away")
    home.rename(away)
    try:
        words = ("/usr/bin/login", "-f", "alice") if host == "login" else (*WITHOUT_A_TERMINAL[host], INSIDE)
        text = place.terminal(*words, typed=f"{INSIDE}; exit\n", CHOS=NAME)
        clean(place, text, inside=False)
    finally:
        away.rename(home)


@pytest.mark.parametrize("host", ["su", "su -", "su --pty", "runuser", "runuser -", "sudo", "sudo -i"])
@pytest.mark.parametrize("end", ["exit", "interrupt", "hang up"])
def test_terminal(place: Place, host: str, end: str) -> None:
    """On a terminal that is typed at, interrupted, or that goes away."""
    words = WITHOUT_A_TERMINAL[host][:-1]
    words = words if words[-1] != "/bin/sh" else (*words, "-i")
    clean(place, on_a_terminal(place, end, *words))


def on_a_terminal(place: Place, end: str, *words: str) -> str:
    if end == "exit":
        return place.terminal(*words, typed=f"{INSIDE}; exit\n")
    shown: list[bytes] = []

    def act(pid: int, terminal: int) -> None:
        os.write(terminal, f"{SLEEP}\n".encode())
        place.wait_until_inside()
        if end == "interrupt":
            os.write(terminal, b"\x03")
            os.write(terminal, b"exit\n")
        else:
            while ID.encode() not in b"".join(shown) and select.select([terminal], [], [], LIMIT)[0]:
                shown.append(os.read(terminal, 65536))  # the kernel hands over what was written piece by piece
            os.close(terminal)
            end_all()  # that a shell ignores it is not what is tried

    text = place.terminal(*words, after=act)
    return text + (b"".join(shown)).decode(errors="replace")


# --- sudo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "defaults",
    ["use_pty", "!use_pty", "log_output", "log_input", "command_timeout=1", "pam_setcred", "!pam_session", "noexec"],
)
def test_sudo_settings(place: Place, defaults: str) -> None:
    SUDOERS.write_text(f"Defaults {defaults}\nalice ALL=(ALL) NOPASSWD: ALL\n")
    command = SLEEP if "timeout" in defaults else INSIDE
    inside = defaults != "!pam_session"
    clean(place, place.terminal("sudo", "-u", "alice", "/bin/sh", "-c", command), inside=inside)


@pytest.mark.parametrize("end", ["exit", "interrupt", "hang up"])
def test_sudos_monitor(place: Place, end: str) -> None:
    """On a terminal of sudo's own the command's parent is a process of root's that is not the first one."""
    SUDOERS.write_text("Defaults use_pty, log_output\nalice ALL=(ALL) NOPASSWD: ALL\n")
    clean(place, on_a_terminal(place, end, "sudo", "-u", "alice", "/bin/sh", "-i"))


# --- login --------------------------------------------------------------------------------------------------------

LOGIN = ("/usr/bin/login", "-f", "alice")


@pytest.mark.parametrize("end", ["exit", "interrupt", "hang up"])
def test_login(place: Place, end: str) -> None:
    clean(place, on_a_terminal(place, end, *LOGIN))


def test_login_gives_no_groups(place: Place) -> None:
    """pam_group acts in login's setcred, after the session has been opened: it reads the base's file."""
    text = place.terminal(*LOGIN, typed="cat /etc/os-release; id -G; exit\n")
    clean(place, text)
    numbers = next(line for line in text.splitlines() if line.replace(" ", "").isdigit())
    assert numbers.split() == [str(os.stat("/home/alice").st_gid)]


def test_login_is_terminated(place: Place) -> None:
    def act(pid: int, terminal: int) -> None:
        os.write(terminal, f"{SLEEP}\n".encode())
        place.wait_until_inside()
        os.kill(pid, signal.SIGTERM)
        end_all()

    clean(place, place.terminal(*LOGIN, after=act))


# --- sshd ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sshd(place: Place, start_sshd: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sshd]:
    """A function that starts sshd with the traps' locale."""
    for name, value in traps.VARIABLES.items():
        monkeypatch.setenv(name, value)
    return start_sshd


def settled(sshd: Sshd) -> None:
    """Nobody is left; whoever still runs the command that never ends is ended."""
    end_sleepers()
    sshd.settle()


def test_ssh_command(place: Place, sshd: Callable[..., Sshd]) -> None:
    server = sshd("AcceptEnv LANG LC_* LANGUAGE")
    done = server.ssh("alice", INSIDE, options=("-o", "SendEnv=LC_ALL", "-o", "SendEnv=LANGUAGE"))
    settled(server)
    clean(place, done.stdout + done.stderr)


def test_ssh_terminal(place: Place, sshd: Callable[..., Sshd]) -> None:
    server = sshd("PrintLastLog yes\nPrintMotd yes")
    text = place.terminal(*server.command("alice"), typed=f"{INSIDE}; exit\n")
    settled(server)
    clean(place, text)


@pytest.mark.parametrize("subsystem", ["internal-sftp", "/usr/lib/openssh/sftp-server"])
def test_sftp(place: Place, sshd: Callable[..., Sshd], subsystem: str, tmp_path: Path) -> None:
    server = sshd(f"Subsystem sftp {subsystem}")
    words = server.command("alice", "-b", "-", "127.0.0.1", program="sftp")
    text = place.run(*words, stdin=f"get /etc/os-release {tmp_path}/got\n")
    settled(server)
    text += (tmp_path / "got").read_text() if (tmp_path / "got").exists() else ""
    clean(place, text, inside=subsystem == "internal-sftp")


def test_scp(place: Place, sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    server = sshd()
    text = place.run(*server.command("alice", "-O", "127.0.0.1:/etc/os-release", str(tmp_path / "got"), program="scp"))
    settled(server)
    clean(place, text, inside=False)


@pytest.mark.parametrize("way", ["password", "keyboard-interactive"])
def test_ssh_password(place: Place, sshd: Callable[..., Sshd], way: str) -> None:
    """The stack's auth lines are called to ask for it, and again to set credentials."""
    server = sshd(
        "Match User alice\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\nPubkeyAuthentication no"
    )
    ask = Path("/tmp/askpass")
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o755)
    old = subprocess.run(["getent", "shadow", "alice"], text=True, capture_output=True, check=True).stdout.split(":")[1]
    subprocess.run(["chpasswd"], input="alice:secret\n", text=True, check=True)
    try:
        command = server.command("alice", INSIDE)
        options = ("-o", "BatchMode=no", "-o", f"PreferredAuthentications={way}")
        text = place.run(
            *command[:1], *options, *command[1:], SSH_ASKPASS=str(ask), SSH_ASKPASS_REQUIRE="force", DISPLAY="x"
        )
    finally:
        subprocess.run(["usermod", "-p", old, "alice"], check=True)
    settled(server)
    clean(place, text)


def test_second_session_of_a_connection(place: Place, sshd: Callable[..., Sshd]) -> None:
    server = sshd("MaxSessions 10")
    master = ("-o", "ControlPath=/tmp/control")
    server.ssh("alice", options=("-M", "-N", "-f", *master))
    try:
        texts = [server.ssh("alice", INSIDE, options=master).stdout for _ in range(2)]
        texts.append(
            place.terminal(
                *server.command("alice")[:3], *master, *server.command("alice")[3:], typed=f"{INSIDE}; exit\n"
            )
        )
    finally:
        server.ssh("alice", options=("-O", "exit", *master))
    settled(server)
    for text in texts[1:]:
        assert ID in text
    clean(place, texts[0])


@pytest.mark.parametrize("terminal", [False, True])
def test_ssh_disconnects(place: Place, sshd: Callable[..., Sshd], terminal: bool) -> None:
    """The client is killed while the command runs."""
    server = sshd("ClientAliveInterval 1\nClientAliveCountMax 1")
    command = server.command("alice", SLEEP)
    with subprocess.Popen(
        [*command[:3], *(["-tt"] if terminal else []), *command[3:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as client:
        place.wait_until_inside()
        client.kill()
        text = client.stdout.read().decode() if client.stdout else ""
    settled(server)
    clean(place, text)


def test_ssh_client_that_no_longer_answers(place: Place, sshd: Callable[..., Sshd]) -> None:
    """sshd's own time limit ends the session."""
    server = sshd("ClientAliveInterval 1\nClientAliveCountMax 1")
    with subprocess.Popen(server.command("alice", SLEEP), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        place.wait_until_inside()
        client.send_signal(signal.SIGSTOP)
        settled(server)
        client.kill()
    clean(place, "", inside=False)


def test_ssh_time_to_log_in(place: Place, sshd: Callable[..., Sshd]) -> None:
    server = sshd("LoginGraceTime 1")
    with socket.create_connection(("127.0.0.1", server.port)):
        wait_for(server.children, "the connection")
        settled(server)
    clean(place, "", inside=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ssh_monitor_is_ended(place: Place, sshd: Callable[..., Sshd], number: signal.Signals) -> None:
    server = sshd()
    with subprocess.Popen(server.command("alice", SLEEP), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        place.wait_until_inside()
        for pid in server.children():
            os.kill(pid, number)
        settled(server)
        text = client.stdout.read().decode() if client.stdout else ""
    clean(place, text)


@pytest.mark.parametrize("what", ["shell", "command", "forwarding", "X11", "agent"])
def test_ssh_others(place: Place, sshd: Callable[..., Sshd], what: str) -> None:
    """A shell or a command that the tree lacks; ports, displays and agents: what sshd does beside the command."""
    server = sshd("X11Forwarding yes\nAllowAgentForwarding yes\nPermitUserEnvironment yes")
    if what == "shell":
        subprocess.run(["usermod", "-s", "/usr/bin/bash", "alice"], check=True)
    command = server.command("alice", "/usr/bin/perl -v" if what == "command" else INSIDE)
    options = {
        "forwarding": ["-L", "0:127.0.0.1:9", "-R", "0:127.0.0.1:9"],
        "X11": ["-X", "-o", "ForwardX11Trusted=yes", "-tt"],
        "agent": ["-A"],
    }.get(what, [])
    try:
        text = place.run(*command[:1], *options, *command[1:], DISPLAY=":99")
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    settled(server)
    clean(place, text, inside=what in ("X11", "agent"))


# --- cron, at -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cron() -> Iterator[Callable[[str], None]]:
    """A function that gives cron a job of alice's, and waits until cron has done all that belongs to it."""
    started: list[subprocess.Popen[bytes]] = []
    tab = Path("/etc/cron.d/chos-test")

    def start(text: str) -> None:
        if not Path("/usr/sbin/cron").exists():
            pytest.skip("Debian's cron is not installed (tools/deps test)")
        Path("/run/crond.reboot").unlink(missing_ok=True)
        tab.write_text(text)
        tab.chmod(0o644)
        env = {**os.environ, **traps.VARIABLES}
        started.append(subprocess.Popen(["/usr/sbin/cron", "-f"], stdin=subprocess.DEVNULL, cwd="/", env=env))
        wait_for(Path("/tmp/cron-ran").exists, "the job")
        task = Path(f"/proc/{started[0].pid}/task/{started[0].pid}/children")
        wait_for(lambda: not task.read_text().strip(), "the end of what cron does for it")

    Path("/tmp/cron-ran").unlink(missing_ok=True)
    yield start
    for daemon in started:
        daemon.terminate()
        daemon.wait(20)
    tab.unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["quiet", "mail", "input", "killed", "missing shell"])
def test_cron(place: Place, cron: Callable[[str], None], how: str) -> None:
    """A job: silent; whose output is mailed; with standard input; that is killed; whose shell the tree lacks."""
    into = "/tmp/cron-ran.new; mv /tmp/cron-ran.new /tmp/cron-ran"
    job = f"(cat /etc/os-release) >{into}"
    if how == "mail":
        job += "; echo printed"
    elif how == "input":
        job = f"cat /etc/os-release - >{into}%line%line"
    elif how == "killed":
        job += "; kill -9 $$"
    shell = ""
    if how == "missing shell":
        shell = "SHELL=/usr/bin/bash\n"
        job = "true"
        Path("/tmp/cron-ran").touch()
    cron(f"MAILTO=alice\n{shell}@reboot alice {job}\n")
    clean(place, Path("/tmp/cron-ran").read_text(), inside=how != "missing shell")


@pytest.mark.parametrize("how", ["quiet", "mail", "killed"])
def test_at(place: Place, how: str) -> None:
    if not Path("/usr/sbin/atd").exists():
        pytest.skip("atd is not installed (tools/deps batch)")
    ran = Path("/tmp/at-ran")
    ran.unlink(missing_ok=True)
    env = {**os.environ, **traps.VARIABLES}
    daemon = subprocess.Popen(["/usr/sbin/atd", "-f"], stdin=subprocess.DEVNULL, cwd="/", env=env)
    try:
        pid_file = Path("/run/atd.pid")
        wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() == str(daemon.pid), "atd")
        last = {"mail": "echo printed", "killed": "kill -9 $$"}.get(how, ":")
        job = f"cat /etc/os-release >{ran}.new\nmv {ran}.new {ran}\n{last}\n"
        mail = ["-m"] if how == "mail" else ["-M"]
        place.node.run(["at", *mail, "now"], cwd="/tmp", stdin=job, check=True)
        wait_for(ran.exists, "the job")
        task = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
        wait_for(lambda: not task.read_text().strip(), "the end of what atd does for it")
    finally:
        end(daemon)
    clean(place, ran.read_text())


# --- modules around ours ------------------------------------------------------------------------------------------

AROUND = {
    "pam_exec": "session optional pam_exec.so seteuid /bin/cat /etc/login.defs",
    "pam_exec auth": "auth optional pam_exec.so seteuid /bin/cat /etc/login.defs",
    "pam_group": "auth optional pam_group.so",
    "pam_cap": "auth optional pam_cap.so",
    "pam_env": "session required pam_env.so readenv=1",
    "pam_env auth": "auth optional pam_env.so readenv=1",
    "pam_mkhomedir": "session optional pam_mkhomedir.so skel=/etc/skel",
    "pam_lastlog": "session optional pam_lastlog.so showfailed",
    "pam_motd": "session optional pam_motd.so",
    "pam_mail": "session optional pam_mail.so dir=/var/mail",
    "pam_limits": "session optional pam_limits.so",
    "pam_xauth": "session optional pam_xauth.so",
    "pam_umask": "session optional pam_umask.so",
    "pam_faillock": "auth optional pam_faillock.so authsucc",
}


# Of the auth lines ours is the last.
PLACES = [
    (name, where) for name, line in AROUND.items() for where in ("above", "below") if (line[0], where) != ("a", "below")
]


@pytest.mark.parametrize(("module", "where"), PLACES)
def test_modules_around(place: Place, stacks: Stacks, sshd: Callable[..., Sshd], module: str, where: str) -> None:
    """Each in su, login and sshd: what it opens when the session begins, in setcred, and when it ends."""
    for service in ("su", "login", "sshd"):
        install(stacks, service, **{where: AROUND[module]})
    text = place.run("su", "alice", "-c", INSIDE)
    assert ID in text, text
    text = place.terminal(*LOGIN, typed=f"{INSIDE}; exit\n")
    assert ID in text, text
    server = sshd()
    done = server.ssh("alice", INSIDE)
    settled(server)
    clean(place, done.stdout + done.stderr)


# --- hosts of another kind ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host() -> str:
    program = Path("/usr/local/bin/forking_host")
    source = Path(__file__).parent / "forking_host.c"
    subprocess.run(["gcc", "-O1", "-o", str(program), str(source), "-lpam", "-lpthread"], check=True)
    return str(program)


# The first child of a host that is said to fork must be the one that becomes the user: of `twice` it is not.
HOWS = ("fork", "helper", "twice", "none", "vfork", "spawn", "thread", "early")


@pytest.mark.parametrize("how", HOWS)
def test_a_host_that_nobody_knows(place: Place, stacks: Stacks, host: str, how: str) -> None:
    """A service whose processes come about in a way that is not known: nobody is privileged inside."""
    stacks.write("trapped", f"auth required pam_permit.so\n{AUTH}\naccount required pam_permit.so\n{SESSION}\n")
    clean(place, place.run(host, "trapped", "alice", how, INSIDE), inside=False)


@pytest.mark.parametrize("how", ["fork", "spawn", "vfork", "thread", "none"])
@pytest.mark.parametrize("option", ["enter=fork", "enter=no"])
def test_a_host_that_is_said_to_fork(place: Place, stacks: Stacks, host: str, how: str, option: str) -> None:
    """What can be said of a service of the site's own."""
    stacks.write("trapped", f"auth required pam_permit.so\naccount required pam_permit.so\n{SESSION} {option}\n")
    clean(place, place.run(host, "trapped", "alice", how, INSIDE), inside=(option, how) == ("enter=fork", "fork"))
