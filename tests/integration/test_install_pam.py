"""`chosctl install pam` with the real stacks and services of this distribution: it works, it goes, it harms nobody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import worked
from conftest import BASE_ID, Node, Sshd, Stacks, os_id, run, wait_for
from test_services import SHOW, as_alice, check, reboot_jobs, sudoers  # noqa: F401

PAM_D = Path("/etc/pam.d")
STATE = Path("/var/lib/chos/install")
SECURITY = (
    next(Path("/").glob("lib*/*/security")) if list(Path("/").glob("lib*/*/security")) else Path("/lib64/security")
)
MODULE = SECURITY / "pam_chos.so"
SESSION_END = b"default=bad] pam_chos.so"
SESSION = "session required pam_chos.so"
MANY = 200  # more fault points than there are


def chosctl(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return run(["chosctl", "install", "pam", *words], **more)


def contents() -> dict[str, bytes]:
    """Every file of pam.d."""
    return {path.name: path.read_bytes() for path in PAM_D.iterdir() if path.is_file()}


def served(text: bytes) -> bool:
    return b"pam_chos.so" in text


@pytest.fixture(autouse=True)
def pam_d(tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """What pam.d holds; put back after the test, whatever happened to it."""
    copy = tmp_path / "pam.d"
    shutil.copytree(PAM_D, copy, symlinks=True)
    module = MODULE.read_bytes()
    yield contents()
    for path in PAM_D.iterdir():
        subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)
    shutil.copytree(copy, PAM_D, symlinks=True, dirs_exist_ok=True)
    if MODULE.read_bytes() != module:
        MODULE.unlink()
        MODULE.write_bytes(module)
        MODULE.chmod(0o644)
    shutil.rmtree(STATE, ignore_errors=True)


@pytest.fixture
def ready(two: Node, dotfile: Callable[..., Path]) -> Node:
    """alice chose `one`, bob `two`; pam.d is the distribution's."""
    dotfile("alice", "one\n")
    dotfile("bob", "two\n")
    return two


# --- it works, and goes -------------------------------------------------------------------------------------------


def test_sessions(ready: Node, start_sshd: Callable[..., Sshd], sudoers: None, pam_d: dict[str, bytes]) -> None:  # noqa: F811
    """Every service that there is begins sessions in the user's OS; afterwards in the base, to the byte."""
    done = chosctl()
    assert done.returncode == 0, done
    sshd = start_sshd()
    assert sshd.os("alice") == "ID=one"
    assert sshd.os("root") == BASE_ID
    for command in (["su", "alice"], ["su", "-", "alice"], ["runuser", "alice"], ["runuser", "-", "alice"]):
        check(run([*command, "-c", SHOW], cwd="/tmp"), "one", "/home/alice" if "-" in command else "/tmp", "alice")
    done = as_alice("sudo -u bob /bin/cat /etc/os-release")
    assert os_id(done.stdout) == "ID=two", done
    Path("/tmp/cron-os").unlink(missing_ok=True)
    with reboot_jobs({"alice": "cat /etc/os-release >/tmp/cron-os.new; mv /tmp/cron-os.new /tmp/cron-os"}):
        wait_for(Path("/tmp/cron-os").exists, "cron's job")
    assert os_id(Path("/tmp/cron-os").read_text()) == "ID=one"
    assert run(["su", "root", "-c", "cat /etc/os-release"]).stdout

    done = chosctl("--undo")
    assert done.returncode == 0 and not done.stderr, done
    assert contents() == pam_d
    assert os_id(run(["su", "alice", "-c", SHOW]).stdout) == BASE_ID
    assert list(STATE.iterdir()) == []


def test_once(ready: Node, pam_d: dict[str, bytes]) -> None:
    """su-l and runuser-l include theirs; a second time there is nothing to do."""
    chosctl()
    once = contents()
    assert not served(once["su-l"]) and not served(once["runuser-l"]) and served(once["su"])
    for shared in ("common-session", "common-session-noninteractive", "other"):
        assert once[shared] == pam_d[shared]
    again = chosctl()
    assert again.returncode == 0 and "already installed" in again.stdout, again
    assert contents() == once
    assert chosctl("--undo").returncode == 0
    assert contents() == pam_d
    nothing = chosctl("--undo")
    assert nothing.returncode == 0 and "nothing was installed" in nothing.stdout


def test_an_older_installation(ready: Node, start_sshd: Callable[..., Sshd], pam_d: dict[str, bytes]) -> None:
    """sshd's session line alone: such sessions stay on the base; `check` names it, `install` adds the auth line."""
    old = f"{pam_d['sshd'].decode()}{SESSION}\n"
    (PAM_D / "sshd").write_text(old)
    checked = run(["chosctl", "check"])
    assert "/etc/pam.d/sshd: has the session line of pam_chos.so alone" in checked.stdout, checked
    assert checked.returncode == 1
    sshd = start_sshd()
    assert sshd.os("alice") == BASE_ID
    done = chosctl("--service", "sshd")
    assert done.returncode == 0, done
    assert (PAM_D / "sshd").read_text() == f"{old}-auth [default=ignore] pam_chos.so\n"
    assert sshd.os("alice") == "ID=one"
    checked = run(["chosctl", "check"])
    assert checked.returncode == 0 and "pam.d" not in checked.stdout, checked
    assert chosctl("--undo").returncode == 0
    assert (PAM_D / "sshd").read_text() == old


def test_who_is_in_a_jail(
    ready: Node,
    start_sshd: Callable[..., Sshd],
    etc: Callable[[str], Path],
    pam_d: dict[str, bytes],
    stacks: Stacks,
) -> None:
    """bob's ChrootDirectory would be looked up in his tree, where it leads back to the base: he stays on the base."""
    jail = Path("/opt/sftp/bob")
    (jail / "in").mkdir(parents=True)
    for tree in ("one", "two"):
        link = Path("/os") / tree / "opt/sftp/bob"
        link.parent.mkdir(parents=True)
        link.symlink_to("/local")
    ready.up("--renew", "two")
    block = f"Match User bob\n    ChrootDirectory {jail}\n    ForceCommand internal-sftp\n"
    sshd = start_sshd(f"Subsystem sftp internal-sftp\n{block}")

    def what_bob_sees() -> str:
        return run(sshd.command("bob", "-b", "-", "127.0.0.1", program="sftp"), stdin="ls /\n").stdout

    try:
        assert chosctl("--service", "sshd").returncode == 0
        assert what_bob_sees().split()[-2:] != ["/in"], "the harm, while sshd_config does not say"
        config = etc("ssh/sshd_config")
        config.write_text(f"{config.read_text()}\n{block}")
        checked = run(["chosctl", "check"])
        assert checked.returncode == 1 and "pam_succeed_if.so quiet user in bob" in checked.stdout, checked
        again = chosctl("--service", "sshd")
        assert again.returncode == 1 and "pam_succeed_if.so quiet user in bob" in again.stderr, again
        assert chosctl("--undo").returncode == 0
        done = chosctl("--service", "sshd")
        assert done.returncode == 0 and "stay on the base" in done.stderr, done
        assert what_bob_sees().split()[-1] == "/in"
        assert sshd.os("alice") == "ID=one"
        assert run(["chosctl", "check"]).returncode == 0
        config.write_text(f"{config.read_text()}\nMatch all\nChrootDirectory /srv\n")
        assert chosctl("--undo").returncode == 0
        refused(pam_d, said="looked up in the OS tree")
    finally:
        shutil.rmtree("/opt/sftp")


@pytest.mark.parametrize("kind", ["fifo", "writable", "link out"])
def test_unsafe_includes(kind: str, pam_d: dict[str, bytes], tmp_path: Path) -> None:
    """Refused before any session of root's is tried with them."""
    mark = Path("/tmp/included-ran")
    mark.unlink(missing_ok=True)
    script = Path("/tmp/included")
    script.write_text(f"#!/bin/sh\necho >{mark}\n")
    script.chmod(0o755)
    part = PAM_D / "site-part"
    (PAM_D / "su").write_text(f"{pam_d['su'].decode()}\n@include site-part\n")
    if kind == "fifo":
        os.mkfifo(part)
    elif kind == "link out":
        Path("/tmp/part").write_text(f"session required pam_exec.so {script}\n")
        part.symlink_to("/tmp/part")
    else:
        part.write_text(f"session required pam_exec.so {script}\n")
        part.chmod(0o666)
    refused(contents(), said="/etc/pam.d/site-part" if kind != "link out" else "/tmp")
    assert not mark.exists()


def test_some_services_and_then_more(pam_d: dict[str, bytes]) -> None:
    assert chosctl("--service", "sshd", "--option", "onerr=deny").returncode == 0
    assert [name for name, text in contents().items() if served(text)] == ["sshd"]
    assert chosctl("--service", "cron", "--service", "sshd").returncode == 0
    assert {name for name, text in contents().items() if served(text)} == {"cron", "sshd"}
    assert b"onerr=deny" in contents()["sshd"]
    assert chosctl("--undo").returncode == 0
    assert contents() == pam_d


def test_looking_needs_no_privilege(pam_d: dict[str, bytes]) -> None:
    """--dry-run and --print: nothing changes, and anybody may."""
    dry = as_alice("chosctl install pam --dry-run")
    assert dry.returncode == 0 and "+-session [" in dry.stdout and "+++ /etc/pam.d/sshd" in dry.stdout, dry
    shown = as_alice("chosctl install pam --print")
    line = shown.stdout.splitlines()[-1]
    assert f"+{line}" in dry.stdout.splitlines()
    assert line == (Path("/usr/share/chos/pam.d/chos").read_text().splitlines()[-1])
    for refused in ("chosctl install pam", "chosctl install pam --undo"):
        done = as_alice(refused)
        assert done.returncode == 1 and "needs root" in done.stderr, done
        assert not done.stdout
    assert contents() == pam_d
    assert not STATE.exists()


def test_what_dry_run_shows_is_what_is_done(pam_d: dict[str, bytes]) -> None:
    planned = json.loads(chosctl("--dry-run", "--json").stdout)
    assert planned["state"] == "planned" and not STATE.exists()
    for change in planned["changes"]:
        run(["patch", "-s", "-p0", change["object"]], stdin=change["diff"])
    by_hand = contents()
    for name, text in pam_d.items():
        (PAM_D / name).write_bytes(text)
    done = json.loads(chosctl("--json").stdout)
    assert done["state"] == "installed" and done["changes"] == planned["changes"]
    if shutil.which("patch"):
        assert contents() == by_hand


def test_stacks_of_another_distribution(pam_d: dict[str, bytes]) -> None:
    """EL 9's: `include` and `substack` instead of @include; libpam opens root's sessions with them, too."""
    directory = Path("/opt/el9-pam.d")
    shutil.copytree(Path(__file__).resolve().parents[1] / "data/el9-pam.d", directory)
    try:
        done = chosctl("--config", str(directory))
        assert done.returncode == 0 and "was not tried" not in done.stderr, done
        there = sorted(path.name for path in directory.iterdir() if served(path.read_bytes()))
        assert there == ["crond", "sshd", "su", "sudo"]
        assert chosctl("--config", str(directory), "--undo").returncode == 0
        assert not [path for path in directory.iterdir() if served(path.read_bytes())]
        (directory / "system-auth").write_text("session requisite pam_deny.so\n")
        assert "sudo: root's session fails here with and without" in chosctl("--config", str(directory)).stderr
        assert chosctl("--config", str(directory), "--undo").returncode == 0
        assert contents() == pam_d
    finally:
        shutil.rmtree(directory)


def test_edited_since(pam_d: dict[str, bytes]) -> None:
    chosctl()
    (PAM_D / "su").write_bytes(b"# first\n" + (PAM_D / "su").read_bytes() + b"# last\n")
    (PAM_D / "cron").write_bytes((PAM_D / "cron").read_bytes().replace(b"pam_chos.so", b"pam_chos.so debug"))
    done = chosctl("--undo")
    assert done.returncode == 0
    assert (PAM_D / "su").read_bytes() == b"# first\n" + pam_d["su"] + b"# last\n"
    assert "still there, by other hands: /etc/pam.d/cron:" in done.stderr, done


def test_metadata_stays(pam_d: dict[str, bytes]) -> None:
    path = PAM_D / "sshd"
    path.chmod(0o640)
    os.chown(path, 0, 12)
    os.setxattr(path, "trusted.label", b"theirs")
    subprocess.run(["setfacl", "-m", "u:alice:r", str(path)], check=True)
    before = run(["getfacl", "-pn", str(path)]).stdout
    for words in ((), ("--undo",)):
        assert chosctl(*words).returncode == 0
        assert run(["getfacl", "-pn", str(path)]).stdout == before
        assert os.getxattr(path, "trusted.label") == b"theirs"


# --- nobody is locked out -----------------------------------------------------------------------------------------


def refused(pam_d: dict[str, bytes], *words: str, said: str) -> None:
    """It says why, and nothing has changed."""
    done = chosctl(*words)
    assert done.returncode == 1 and said in done.stderr, done
    assert contents() == pam_d
    assert not STATE.exists() or not list(STATE.iterdir())
    assert not [name for name in os.listdir(PAM_D) if "chosctl" in name]


@pytest.mark.parametrize("kind", ["missing", "text", "deny", "crash", "another machine"])
def test_a_module_that_keeps_root_out(kind: str, pam_d: dict[str, bytes], tmp_path: Path) -> None:
    """libpam tries the module with root before any stack names it."""
    content = MODULE.read_bytes()
    MODULE.unlink()
    said = "would keep root out"
    if kind == "text":
        MODULE.write_text("no module\n")
        said = "architecture"
    elif kind == "deny":
        shutil.copy(SECURITY / "pam_deny.so", MODULE)
    elif kind == "crash":
        source = tmp_path / "crash.c"
        source.write_text(
            "int pam_sm_open_session(void) { __builtin_trap(); }\nint pam_sm_close_session(void) { return 0; }\n"
        )
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(MODULE), str(source)], check=True)
    elif kind == "another machine":
        MODULE.write_bytes(content[:18] + b"\xf3\0" + content[20:])
        said = "architecture"
    elif kind == "missing":
        said = "architecture"
    try:
        refused(pam_d, said=said)
    finally:
        MODULE.unlink(missing_ok=True)
        MODULE.write_bytes(content)
        MODULE.chmod(0o644)


def test_a_stack_that_would_break_with_the_line(pam_d: dict[str, bytes], tmp_path: Path) -> None:
    """The module by itself is fine, and the stack too, but not together."""
    source = tmp_path / "together.c"
    source.write_text(
        "#include <security/pam_modules.h>\n"
        "int pam_sm_open_session(pam_handle_t *h, int f, int n, const char **v)\n"
        '{ const void *there; return pam_get_data(h, "there", &there) == PAM_SUCCESS ? PAM_ABORT : PAM_SUCCESS; }\n'
        "int pam_sm_close_session(pam_handle_t *h, int f, int n, const char **v) { return PAM_SUCCESS; }\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(MODULE), str(source), "-lpam"], check=True)
    source.write_text(
        "#include <security/pam_modules.h>\n"
        "int pam_sm_open_session(pam_handle_t *h, int f, int n, const char **v)\n"
        '{ return pam_set_data(h, "there", h, 0); }\n'
        "int pam_sm_close_session(pam_handle_t *h, int f, int n, const char **v) { return PAM_SUCCESS; }\n"
    )
    other = tmp_path / "pam_other.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(other), str(source), "-lpam"], check=True)
    (PAM_D / "other-module").write_text(f"session required {other}\n")
    (PAM_D / "sudo").write_text("session include other-module\n")
    refused(contents(), said="sudo: with the new stack root gets no session")


def test_a_stack_that_is_broken_already(pam_d: dict[str, bytes]) -> None:
    """Root gets no session with or without the line: it is not ours to refuse, but it is said."""
    (PAM_D / "su").write_text("session requisite pam_deny.so\n")
    done = chosctl("--service", "su")
    assert done.returncode == 0 and "with and without the line" in done.stderr, done


def test_a_line_that_nobody_would_read(pam_d: dict[str, bytes]) -> None:
    (PAM_D / "su").write_text("session required pam_permit.so \\")
    refused(contents(), said="ends in a backslash")


@pytest.mark.parametrize(
    "kind", ["link", "link to shadow", "directory", "fifo", "writable", "owner", "directory writable"]
)
def test_unsafe_files(kind: str, pam_d: dict[str, bytes]) -> None:
    """Neither followed nor written; the services that come before it are not changed either."""
    path = PAM_D / "sudo"
    shadow = Path("/etc/shadow").read_bytes()
    path.unlink()
    if kind == "link":
        path.symlink_to("su")
    elif kind == "link to shadow":
        path.symlink_to("/etc/shadow")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(pam_d["sudo"])
        if kind == "writable":
            path.chmod(0o666)
        elif kind == "owner":
            os.chown(path, 1, 1)
        else:
            PAM_D.chmod(0o777)
    try:
        refused(contents(), said="/etc/pam.d")
    finally:
        PAM_D.chmod(0o755)
    assert Path("/etc/shadow").read_bytes() == shadow


# --- whatever happens ---------------------------------------------------------------------------------------------


def whole(*, of: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    """Each file is one of these, and root and alice get sessions."""
    for name, text in contents().items():
        if not name.startswith("."):
            assert text in (of[0][name], of[1][name]), name
    assert run(["su", "root", "-c", "true"]).returncode == 0
    assert os_id(run(["su", "alice", "-c", "cat /etc/os-release"]).stdout) in ("ID=one", BASE_ID)


def test_killed_at_every_point(ready: Node, pam_d: dict[str, bytes]) -> None:
    """kill -9 between any two steps, of install and of undo: whole files, and the next run finishes either way."""
    words = ("--service", "su")
    assert chosctl(*words).returncode == 0
    new = contents()
    assert chosctl("--undo").returncode == 0
    for way, result in (((), new), (("--undo",), pam_d)):
        for number in range(1, MANY):
            if way:
                assert chosctl(*words).returncode == 0
                assert contents() == new
            done = chosctl(*(way or words), env={**os.environ, "CHOS_FAULT_KILL": str(number)})
            whole(of=(pam_d, new))
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done
            if number % 2:
                assert chosctl(*words).returncode == 0
                assert contents() == new
            assert chosctl("--undo").returncode == 0
            assert contents() == pam_d
            assert list(STATE.iterdir()) == []
        assert 5 < number < MANY - 1
        assert contents() == result
        chosctl("--undo")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(number: signal.Signals, pam_d: dict[str, bytes]) -> None:
    """Ctrl-C, a shutdown, a closed terminal while a module takes its time: nothing is changed, and nothing runs on."""
    mark = Path("/tmp/install-started")
    mark.unlink(missing_ok=True)
    script = Path("/tmp/slow-session")
    script.write_text(f"#!/bin/sh\necho $$ >{mark}\nexec sleep 1000\n")
    script.chmod(0o755)
    (PAM_D / "su").write_text(f"session optional pam_exec.so {script}\n")
    before = contents()
    process = subprocess.Popen(
        ["chosctl", "install", "pam"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: mark.exists() and mark.read_text(), "the slow module")
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in errors
    assert contents() == before
    assert not list(STATE.iterdir())
    wait_for(lambda: not Path("/proc", mark.read_text().strip(), "exe").exists(), "the end of the slow module")


def test_a_file_that_cannot_be_replaced(pam_d: dict[str, bytes], node: Node) -> None:
    """The fourth of eight is a mount point, as in a container: the first three are put back."""
    node.mount("--bind", "/etc/pam.d/sudo", "/etc/pam.d/sudo")
    done = chosctl()
    assert done.returncode == 1 and "/etc/pam.d/sudo" in done.stderr and "mount point" in done.stderr, done
    assert contents() == pam_d
    assert not list(STATE.iterdir())


def test_read_only_etc(pam_d: dict[str, bytes], node: Node) -> None:
    node.mount("--bind", "/etc", "/etc")
    node.mount("-o", "remount,bind,ro", "/etc")
    done = chosctl()
    assert done.returncode == 1 and "Read-only" in done.stderr and "--print" in done.stderr, done
    assert contents() == pam_d
    assert not list(STATE.iterdir())


@pytest.mark.parametrize("where", ["/var/lib/chos", "/etc/pam.d"])
def test_full_disk(where: str, pam_d: dict[str, bytes], node: Node) -> None:
    kept = Path("/tmp/kept-pam.d")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(PAM_D, kept)
    Path(where).mkdir(parents=True, exist_ok=True)
    node.mount("-t", "tmpfs", "-o", "size=300k,mode=755", "tmpfs", where)
    if where == "/etc/pam.d":
        shutil.copytree(kept, where, dirs_exist_ok=True)
    filling = Path(where, "filling")
    room = 8192 if where != "/etc/pam.d" else 0
    with filling.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(file.tell() - room)
    before = {**contents()}
    done = chosctl()
    assert done.returncode == 1 and "full" in done.stderr, done
    assert contents() == before
    filling.unlink()
    assert chosctl().returncode == 0
    assert chosctl("--undo").returncode == 0


def test_two_at_once(pam_d: dict[str, bytes]) -> None:
    """One of them does it; the other one says so, or finds it done."""
    both = [
        subprocess.Popen(["chosctl", "install", "pam"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"
    ]
    for process in both:
        process.communicate(timeout=60)
    assert 0 in {process.returncode for process in both}
    assert served((PAM_D / "sshd").read_bytes())
    assert (PAM_D / "sshd").read_bytes().count(SESSION_END) == 1
    assert chosctl("--undo").returncode == 0
    assert contents() == pam_d


def test_nothing_here(node: Node) -> None:
    for words, said in (
        (("--config", "/nowhere"), "no PAM stacks here"),
        (("--service", "nothing"), "no such service"),
        (("--service", "common-session"), "shared"),
    ):
        done = chosctl(*words)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) > 1, done
    assert run(["chosctl", "install", "nothing"]).returncode == 2
    assert chosctl("--queue", "x").returncode == 2
    assert chosctl("--undo", "--print").returncode == 2


def test_the_worked_example(node: Node, dotfile: Callable[..., Path]) -> None:
    node.tree("el9", like="trixie")
    node.configure("debian13:/os/el9\n")
    node.up()
    dotfile("alice", None)
    worked.run("pam")
