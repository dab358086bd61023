"""pam_chos in what else opens sessions: su, runuser, sudo, login, cron."""

from __future__ import annotations

import contextlib
import grp
import os
import pty
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import BASE_ID, Node, Sshd, Stacks, os_id, run, wait_for

BARE = """[tree]
top = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/var"]
[base]
rest = true
devices = ["/dev"]
[etc]
links = ["passwd", "group", "nsswitch.conf"]
"""
SHOW = "cat /etc/os-release; pwd; id -un; echo CHOS=$CHOS; exit 7"


def as_alice(command: str, **more: object) -> subprocess.CompletedProcess[str]:
    """A command line that alice types, on the base."""
    return run(
        [
            "setpriv",
            "--reuid",
            "alice",
            "--regid",
            "alice",
            "--init-groups",
            "env",
            "-i",
            "PATH=/usr/bin:/bin:/usr/sbin",
            "HOME=/home/alice",
            "/bin/sh",
            "-c",
            command,
        ],
        **more,
    )  # type: ignore[arg-type]


def check(result: subprocess.CompletedProcess[str], name: str, cwd: str, user: str, status: int = 7) -> None:
    lines = result.stdout.splitlines()
    assert os_id(result.stdout) == f"ID={name}", result
    assert lines[-3:] == [cwd, user, f"CHOS={name}"], result
    assert result.returncode == status, result


def in_terminal(command: list[str], typed: str) -> str:
    """What a command shows on a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    output = b""
    os.write(terminal, typed.encode())
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            output += chunk
    os.waitpid(pid, 0)
    return output.decode().replace("\r", "")


@contextlib.contextmanager
def reboot_jobs(jobs: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A cron that has just started, with a job for each of these users."""
    if not Path("/usr/sbin/cron").exists():
        pytest.skip("Debian's cron is not installed (tools/deps test)")
    tab = Path("/etc/cron.d/chos-test")
    Path("/run/crond.reboot").unlink(missing_ok=True)
    tab.write_text("".join(f"@reboot {user} {command}\n" for user, command in jobs.items()))
    tab.chmod(0o644)
    cron = subprocess.Popen(["/usr/sbin/cron", "-f"], stdin=subprocess.DEVNULL, cwd="/")
    try:
        yield cron
    finally:
        cron.terminate()
        cron.wait()
        tab.unlink()


@pytest.fixture
def ready(two: Node, stacks: Stacks, dotfile: Callable[..., Path]) -> Node:
    """alice chose `one`, bob `two`; su, runuser, sudo, login and cron have the module."""
    for service in ("su", "runuser", "sudo", "sudo-i", "login", "cron"):
        if (Path("/etc/pam.d") / service).exists():
            stacks.add(service)
    dotfile("alice", "one\n")
    dotfile("bob", "two\n")
    return two


@pytest.fixture
def sudoers() -> Iterator[None]:
    path = Path("/etc/sudoers.d/chos-test")
    path.write_text("alice ALL=(ALL) NOPASSWD: ALL\n")
    path.chmod(0o440)
    yield
    path.unlink()


def test_su(ready: Node) -> None:
    """The working directory stays with su, and is the home with `su -` (whose stack includes su's)."""
    Path("/tmp/here").mkdir(exist_ok=True)
    check(run(["su", "alice", "-c", SHOW], cwd="/tmp/here"), "one", "/tmp/here", "alice")
    check(run(["su", "-", "bob", "-c", SHOW], cwd="/tmp/here"), "two", "/home/bob", "bob")
    check(run(["su", "--pty", "alice", "-c", SHOW], cwd="/tmp/here"), "one", "/tmp/here", "alice")
    assert not run(["su", "alice", "-c", "true"]).stderr


def test_su_to_root(ready: Node) -> None:
    """Nobody takes root along."""
    Path("/root/.chos").write_text("one")
    try:
        result = run(["su", "root", "-c", "cat /etc/os-release"], env={**os.environ, "CHOS": "two"})
        assert os_id(result.stdout) == BASE_ID
    finally:
        Path("/root/.chos").unlink()


def test_a_directory_that_the_user_may_not_enter(ready: Node) -> None:
    """Rule 8: root's directory is looked up with the user's rights."""
    Path("/root/open").mkdir(mode=0o755, exist_ok=True)
    check(run(["su", "alice", "-c", SHOW], cwd="/root/open"), "one", "/", "alice")


def test_a_directory_that_is_not_inside(ready: Node) -> None:
    Path("/opt/base-only").mkdir(exist_ok=True)
    check(run(["su", "alice", "-c", SHOW], cwd="/opt/base-only"), "one", "/", "alice")


@pytest.mark.parametrize("service", ["su", "runuser", "sudo"])
@pytest.mark.parametrize("where", ["one", "nowhere", "root"])
def test_a_directory_that_root_may_not_enter(
    ready: Node, dotfile: Callable[..., Path], service: str, where: str
) -> None:
    """As on NFS with root_squash: the session is the user's, and so is the directory."""
    home = Path("/tmp/home700")
    home.mkdir(exist_ok=True)
    os.chown(home, os.stat("/home/alice").st_uid, os.stat("/home/alice").st_gid)
    home.chmod(0o700)
    dotfile("alice", where)
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    without += ["--inh-caps", "-dac_override,-dac_read_search"]
    user = ["sudo", "-u", "alice", "/bin/sh"] if service == "sudo" else [service, "alice"]
    done = run([*without, *user, "-c", "cat /etc/os-release; pwd; ls >/dev/null"], cwd=str(home))
    assert os_id(done.stdout) == (BASE_ID if where != "one" else "ID=one"), done
    assert done.stdout.splitlines()[-1] == str(home), done
    assert "remembering this place" not in done.stderr, done
    assert done.returncode == 0, done


def test_the_callers_variable(ready: Node) -> None:
    """$CHOS of the calling process comes before the file of the user that one becomes."""
    env = {**os.environ, "CHOS": "two"}
    check(run(["su", "alice", "-c", SHOW], env=env), "two", "/", "alice")
    check(run(["su", "alice", "-c", SHOW], env={**env, "CHOS": ""}), "one", "/", "alice")


def test_runuser(ready: Node) -> None:
    assert os_id(run(["runuser", "-u", "alice", "--", "cat", "/etc/os-release"]).stdout) == "ID=one"
    check(run(["runuser", "alice", "-c", SHOW], cwd="/tmp"), "one", "/tmp", "alice")
    check(run(["runuser", "-", "bob", "-c", SHOW], cwd="/tmp"), "two", "/home/bob", "bob")


def test_sudo(ready: Node, sudoers: None) -> None:
    """sudo finds the command on the base; it runs in the target user's environment. sudo to root stays in the base."""
    if not Path("/usr/bin/sudo").exists():
        pytest.skip("sudo is not installed (tools/deps test)")
    result = as_alice(f"cd /tmp && sudo -u bob /bin/sh -c '{SHOW}'")
    check(result, "two", "/tmp", "bob")
    for command, answer in (("cat /etc/os-release", "ID=two"), ("pwd", "/home/bob")):
        result = as_alice(f"cd /tmp && sudo -i -u bob /bin/{command}")
        assert os_id(result.stdout).strip() == answer, result
    for command in ("sudo", "sudo -i"):
        assert os_id(as_alice(f"{command} /bin/cat /etc/os-release").stdout) == BASE_ID
    assert os_id(as_alice("CHOS=one sudo /bin/cat /etc/os-release").stdout) == BASE_ID
    # sudo hides the caller's variables from modules too, but for those that it is told to keep.
    assert os_id(as_alice("CHOS=one sudo -u bob /bin/cat /etc/os-release").stdout) == "ID=two"
    with Path("/etc/sudoers.d/chos-test").open("a") as file:
        file.write("Defaults env_keep += CHOS\n")
    assert os_id(as_alice("CHOS=one sudo -u bob /bin/cat /etc/os-release").stdout) == "ID=one"


def test_login(ready: Node) -> None:
    """login -f on a terminal: the tree's shell, the home directory, its exit."""
    text = in_terminal(["/usr/bin/login", "-f", "alice"], "cat /etc/os-release; pwd; id -un; echo CHOS=$CHOS; exit\n")
    assert os_id(text) == "ID=one", text
    assert "/home/alice\nalice\nCHOS=one\n" in text, text


def test_what_the_hosts_child_does_as_root(ready: Node) -> None:
    """Its terminal becomes the user's, and the login is in utmp: done before the child is inside, and the user's."""
    text = in_terminal(["/usr/bin/su", "--pty", "alice"], "ls -ln $(tty); id -u; exit\n")
    assert "change owner" not in text, text
    user, group = str(os.stat("/home/alice").st_uid), str(os.stat("/dev/pts/0").st_gid)
    owners = [line.split()[2:4] for line in text.splitlines() if line.startswith("c")]
    assert owners == [[user, group]], text
    Path("/run/utmp").touch()
    Path("/run/utmp").chmod(0o664)
    text = in_terminal(["/usr/bin/login", "-f", "alice"], "tty; cat /proc/self/status; exit\n")
    who = run(["last", "-w", "-f", "/run/utmp"]).stdout
    terminal = next(line for line in text.splitlines() if line.startswith("/dev/pts/")).removeprefix("/dev/")
    assert any(line.split()[:2] == ["alice", terminal] for line in who.splitlines()), who
    assert "CapPrm:\t0000000000000000" in text and "CapInh:\t0000000000000000" in text, text


def test_a_terminal_that_su_did_not_make(ready: Node) -> None:
    """A script that keeps its output at hand (`exec 3>&1`) does not give root's terminal away."""
    script = "exec 3>&1; su alice -c 'cat /etc/os-release'; stat -L -c 'owner %u' /proc/self/fd/0\n"
    text = in_terminal(["/bin/sh", "-c", script], "")
    assert os_id(text) == "ID=one", text
    assert "owner 0\n" in text, text


MANY = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
for number in range(3, 300):
    os.dup2(2, number, True)
os.execv("/usr/bin/su", ["su", "--pty", "alice", "-c", "stat -L -c 'owner %u' /proc/self/fd/0"])
"""


def test_many_descriptors(ready: Node) -> None:
    """The terminal of su --pty becomes the user's whatever number it gets."""
    text = in_terminal(["/usr/bin/python3", "-c", MANY], "")
    assert f"owner {os.stat('/home/alice').st_uid}" in text, text


OWN = """import os
for leader, slave in [os.openpty() for _ in range(int(os.environ["TERMINALS"]))]:
    os.fchown(slave, int(os.environ["OWNER"]), -1)
    os.set_inheritable(leader, True)
    os.set_inheritable(slave, True)
    last = slave
os.setuid(int(os.environ["OWNER"]))
words = "stat -L -c 'su %%u' /proc/self/fd/0; stat -L -c 'other %%u' /proc/self/fd/%d" % last
os.execv("/usr/bin/su", ["su", "--pty", "alice", "-c", words])
"""


@pytest.mark.parametrize(("owner", "terminals"), [("bob", "1"), ("bob", "2"), ("root", "1")])
def test_terminals_of_the_caller(
    ready: Node, stacks: Stacks, monkeypatch: pytest.MonkeyPatch, owner: str, terminals: str
) -> None:
    """Both ends of others are open, with lower numbers: su's is given to the user, or none if that is unknown."""
    alice, uid = os.stat("/home/alice").st_uid, pwd.getpwnam(owner).pw_uid
    stack = Path("/etc/pam.d/su")
    stacks.write("su", f"auth sufficient pam_permit.so\n{stack.read_text()}")  # bob need not know a password
    monkeypatch.setenv("OWNER", str(uid))
    monkeypatch.setenv("TERMINALS", terminals)
    text = in_terminal(["/usr/bin/python3", "-c", OWN], "")
    assert f"other {uid}\n" in text, text
    assert f"su {alice if owner != 'root' else 0}\n" in text, text


FOREIGN = """import fcntl, os, struct, termios
leader, slave = os.openpty()
number = struct.unpack("i", fcntl.ioctl(leader, 0x80045430, bytes(4)))
os.makedirs("/tmp/devpts", exist_ok=True)
assert os.system("mount -t devpts -o ptmxmode=0666 devpts /tmp/devpts") == 0
while struct.unpack("i", fcntl.ioctl(other := os.open("/tmp/devpts/ptmx", os.O_RDWR), 0x80045430, bytes(4))) < number:
    pass
fcntl.ioctl(other, 0x40045431, bytes(4))
if os.fork() == 0:
    os.dup2(slave, 8)
    os.dup2(other, 9)
    os.execv("/usr/bin/su", ["su", "alice", "-c", "cat /etc/os-release; stat -L -c 'owner %u' /proc/self/fd/8"])
os.wait()
"""


def test_a_leader_of_another_devpts(ready: Node) -> None:
    """Anybody may mount one, with terminals of the same numbers: no other's terminal is given to the user for that."""
    done = run(["unshare", "-m", "/usr/bin/python3", "-c", FOREIGN])
    assert os_id(done.stdout) == "ID=one", done
    assert "owner 0\n" in done.stdout, done


@pytest.mark.parametrize("caller", ["root", "alice"])
def test_words_that_are_not_sus(ready: Node, stacks: Stacks, caller: str) -> None:
    """With POSIXLY_CORRECT su takes no options behind the name: those words are the shell's, and give no group."""
    stack = Path("/etc/pam.d/su").read_text()
    stacks.write("su", f"auth sufficient pam_permit.so\n{stack}")
    command = "POSIXLY_CORRECT=1 su alice -c 'cat /etc/os-release; id -u; id -g; id -G' -g disk"
    done = run(["/bin/sh", "-c", command]) if caller == "root" else as_alice(command)
    assert os_id(done.stdout) == "ID=one", done
    home = os.stat("/home/alice")
    assert done.stdout.split()[-3:] == [str(home.st_uid), str(home.st_gid), str(home.st_gid)], done


@pytest.mark.parametrize(
    "words", [["su", "-g", "disk", "alice"], ["su", "alice", "--pty", "-G", "disk"], ["runuser", "-gdisk", "alice"]]
)
def test_another_group(ready: Node, words: list[str]) -> None:
    """Root may have su give the user another group: it is the user's first one inside, too."""
    done = run([*words, "-c", "cat /etc/os-release; id -u; id -g"])
    assert os_id(done.stdout) == "ID=one", done
    assert done.stdout.split()[-2:] == [str(os.stat("/home/alice").st_uid), str(grp.getgrnam("disk").gr_gid)], done


def test_cron(ready: Node) -> None:
    """A job of a user's, and one of root's, by a real cron. (@reboot jobs run when cron starts.)"""
    for user in ("alice", "root"):
        Path(f"/tmp/cron-{user}").unlink(missing_ok=True)
    show = "(cat /etc/os-release; pwd; id -un; echo CHOS=$CHOS)"
    jobs = {
        user: f"{show} >/tmp/cron-{user}.new; mv /tmp/cron-{user}.new /tmp/cron-{user}" for user in ("alice", "root")
    }
    with reboot_jobs(jobs) as cron:
        before = os.stat(f"/proc/{cron.pid}/ns/mnt").st_ino
        wait_for(lambda: all(Path(f"/tmp/cron-{user}").exists() for user in jobs), "cron's jobs")
        assert os.stat(f"/proc/{cron.pid}/ns/mnt").st_ino == before
    lines = Path("/tmp/cron-alice").read_text()
    assert os_id(lines) == "ID=one"
    assert lines.splitlines()[-3:] == ["/home/alice", "alice", "CHOS=one"]
    assert os_id(Path("/tmp/cron-root").read_text()) == BASE_ID


@pytest.mark.parametrize("service", ["su", "runuser", "sudo"])
@pytest.mark.parametrize("cause", ["unknown", "pin", "registry", "option"])
@pytest.mark.parametrize("onerr", ["base", "deny"])
def test_what_a_failure_means(
    ready: Node, stacks: Stacks, dotfile: Callable[..., Path], sudoers: None, service: str, cause: str, onerr: str
) -> None:
    """onerr=base: in the base, and told why, once. onerr=deny: nothing runs. Root is let in either way."""
    stacks.add(service, f"onerr={onerr}" + (" nonsense" if cause == "option" else ""))
    reason = "no environment is prepared"
    if cause == "unknown":
        dotfile("bob", "nowhere")
        reason = "nowhere: no such environment"
    elif cause == "pin":
        subprocess.run(["umount", f"/run/chos/gen/{ready.generation('two')}/ns"], check=True)
        reason = "two: the prepared environment is gone"
    elif cause == "registry":
        ready.chosctl("down")
    else:
        reason = "not configured correctly"
    command = {
        "su": ["su", "bob", "-c", "cat /etc/os-release"],
        "runuser": ["runuser", "bob", "-c", "cat /etc/os-release"],
        "sudo": ["sudo", "-u", "bob", "/bin/cat", "/etc/os-release"],
    }[service]
    result = run(command)
    assert result.stderr.count(reason) == 1, result
    if onerr == "base":
        assert os_id(result.stdout) == BASE_ID
        assert result.returncode == 0
        assert "is in the base system" in result.stderr
    else:
        assert result.stdout == ""
        assert result.returncode != 0
        assert "is refused" in result.stderr
    root = run(["root" if word == "bob" else word for word in command])
    assert os_id(root.stdout) == BASE_ID, root
    assert root.stderr == ""


@pytest.mark.parametrize("service", ["sshd", "su", "runuser", "sudo", "login", "cron"])
def test_a_tree_gives_no_groups(
    node: Node, stacks: Stacks, dotfile: Callable[..., Path], start_sshd: Callable[..., Sshd], service: str
) -> None:
    """A tree that says (to nss_systemd, in a host that asks once inside) that its user is in the group disk.

    The shipped bind maps hide such files; a site's own need not.
    """
    tree = node.tree("one")
    for place in ("usr/lib/userdb", "usr/local/lib/userdb", "etc/userdb"):
        (tree / place).mkdir(parents=True)
        for group in ("disk", "sudo", "shadow"):
            (tree / place / f"alice:{group}.membership").write_text("{}")
    node.configure("one:/os/one\n", one='[environment.one]\nbindmap = "bare"\n')
    Path("/etc/chos.d/bindmaps").mkdir()
    Path("/etc/chos.d/bindmaps/bare.toml").write_text(BARE)
    node.up()
    stacks.add(service)
    dotfile("alice", "one")
    subprocess.run(["groupadd", "-f", "-g", "4711", "-U", "alice", "extra"], check=True)
    result = Path("/tmp/groups-seen")
    result.unlink(missing_ok=True)
    command = f"(cat /etc/os-release; id -G) >{result}.new && mv {result}.new {result}"
    try:
        if service == "sshd":
            start_sshd().ssh("alice", command)
        elif service == "sudo":
            run(["sudo", "-u", "alice", "/bin/sh", "-c", command])
        elif service == "login":
            in_terminal(["/usr/bin/login", "-f", "alice"], f"{command}; exit\n")
        elif service == "cron":
            with reboot_jobs({"alice": command}):
                wait_for(result.exists, "the job")
        else:
            run([service, "alice", "-c", command])
        text = result.read_text()
        assert os_id(text) == "ID=one"
        assert sorted(text.splitlines()[-1].split()) == sorted([str(os.stat("/home/alice").st_gid), "4711"])
    finally:
        subprocess.run(["groupdel", "extra"], check=True)


def test_the_module_is_missing_or_replaced(two: Node, stacks: Stacks, dotfile: Callable[..., Path]) -> None:
    """With the line of `chosctl install pam`: without the module sessions are on the base; a new one counts at once."""
    [module] = Path("/usr/lib").glob("*/security/pam_chos.so")
    kept, copy = module.with_name("kept"), module.with_name("copy")
    stacks.write("su", Path("/etc/pam.d/su").read_text())  # put back afterwards
    show = ["su", "-", "alice", "-c", "cat /etc/os-release"]
    assert run(["chosctl", "install", "pam", "--service", "su"]).returncode == 0
    dotfile("alice", "one")
    try:
        assert os_id(run(show).stdout) == "ID=one"
        module.chmod(0o600)
        assert os_id(run(show).stdout) == "ID=one", "root loads it"
        shutil.copy(module, copy)
        copy.rename(module)
        assert os_id(run(show).stdout) == "ID=one"
        module.rename(kept)
        done = run(show)
        assert (done.returncode, os_id(done.stdout)) == (0, BASE_ID), done
        module.write_text("no module\n")
        done = run(show)
        assert (done.returncode, os_id(done.stdout)) == (0, BASE_ID), done
    finally:
        if kept.exists():
            kept.replace(module)
        module.chmod(0o644)
        run(["chosctl", "install", "pam", "--undo"])
