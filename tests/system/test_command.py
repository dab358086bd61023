"""chos(1), as its users and their scripts know it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from node import LIMIT, Node

CONF = "%ENV\nCHOS\nHOME\nTERM\nPATH\nKEPT\n"


@pytest.fixture
def pair(node: Node) -> Node:
    """Two environments, and names of all kinds for the first."""
    node.tree("one")
    node.tree("two")
    node.configure("first:/os/one\none:/os/one\n/auto/one:/os/one\ntwo:/os/two\nleave:/\ndefault:/os/two\n")
    node.up()
    return node


def system(node: Node, name: str, **more: str) -> str:
    """Whose /etc/os-release CHOS=name leads to."""
    text = node.chos(name, "cat", "/etc/os-release", check=True, **more).stdout  # type: ignore[arg-type]
    return text.split('PRETTY_NAME="')[1].split('"')[0]


# --- status, signals, streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 7, 125, 126, 127, 255])
def test_the_commands_own_status(pair: Node, status: int) -> None:
    assert pair.chos("one", "sh", "-c", f"exit {status}").returncode == status


def test_125_when_chos_fails(pair: Node) -> None:
    result = pair.chos("nothing", "true")
    assert result.returncode == 125
    assert result.stderr.startswith("chos: nothing: ")


def test_126_when_it_cannot_be_executed(pair: Node) -> None:
    result = pair.chos("one", "/etc/os-release")
    assert result.returncode == 126
    assert "/etc/os-release" in result.stderr and "cannot be executed" in result.stderr
    assert pair.chos("one", "/etc").returncode == 126


@pytest.mark.parametrize("command", ["no-such-command", "/usr/bin/no-such-command", "./no-such-command"])
def test_127_when_it_is_not_there(pair: Node, command: str) -> None:
    result = pair.chos("one", command)
    assert result.returncode == 127
    assert command in result.stderr and "not found in this environment" in result.stderr


def test_a_program_of_another_system_says_so(pair: Node) -> None:
    """The base's dynamic programs are visible at /local, but their loader is not here."""
    result = pair.chos("one", "/local/usr/bin/env")
    assert result.returncode == 127
    assert "interpreter or loader" in result.stderr


def test_a_script_without_first_line_runs(pair: Node) -> None:
    script = Path("/home/alice/plain")
    script.write_text("echo plain $1\n")
    script.chmod(0o755)
    assert pair.chos("one", "./plain", "x", check=True).stdout == "plain x\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1])
def test_a_signal_ends_it_as_any_command(pair: Node, number: signal.Signals) -> None:
    assert pair.chos("one", "sh", "-c", f"kill -{number.value} $$").returncode == -number
    as_shell_sees = pair.run(["sh", "-c", f"env CHOS=one chos sh -c 'kill -{number.value} $$'; echo $?"])
    assert as_shell_sees.stdout == f"{128 + number}\n"


def test_signals_reach_the_command(pair: Node) -> None:
    job = pair.start(
        ["chos", "sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.01; done"],
        env={"CHOS": "one"},
    )
    assert job.stdout and job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGTERM)
    assert job.communicate(timeout=LIMIT)[0] == "got\n"
    assert job.returncode == 9


def test_ignored_and_blocked_signals_are_inherited(pair: Node) -> None:
    status = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    plain = pair.run(["sh", "-c", f"trap '' USR1 HUP; exec {status}"], check=True).stdout
    inside = pair.run(["sh", "-c", f"trap '' USR1 HUP; exec env CHOS=one chos {status}"], check=True).stdout
    assert inside == plain


def test_it_is_an_exec_not_a_child(pair: Node) -> None:
    job = pair.start(["chos", "sh", "-c", "echo $$ $PPID"], env={"CHOS": "one"})
    assert job.communicate()[0].split() == [str(job.pid), str(os.getpid())]


def test_pipes(pair: Node) -> None:
    assert pair.chos("one", "cat", stdin="a\nb\n", check=True).stdout == "a\nb\n"
    many = "x" * 1_000_000
    assert pair.chos("one", "cat", stdin=many, check=True).stdout == many
    both = pair.chos("one", "sh", "-c", "echo out; echo err >&2", check=True)
    assert (both.stdout, both.stderr) == ("out\n", "err\n")
    piped = pair.run(["sh", "-c", "seq 3 | env CHOS=one chos tac | env CHOS=two chos tr '\\n' ' '"], check=True)
    assert piped.stdout == "3 2 1 "
    closed = pair.run(["sh", "-c", "{ env CHOS=one chos yes; echo $? >status; } | head -1; cat status"])
    assert closed.stdout.split() in (["y", "141"], ["y", "1"])


def test_inherited_descriptors_stay_and_none_is_added(pair: Node) -> None:
    read, write = os.pipe()
    listing = subprocess.run(
        ["chos", "sh", "-c", f"echo hello >&{write}; ls /proc/self/fd"],
        pass_fds=[write],
        env={"CHOS": "one", "PATH": "/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert os.read(read, 100) == b"hello\n"
    assert {int(fd) for fd in listing.stdout.split()} - {0, 1, 2, write} == {3} - {write}, "only ls's own"
    os.close(read)
    os.close(write)


def test_arguments_arrive_as_they_are(pair: Node) -> None:
    words = ["", " ", "a b", "-x", "--", "$HOME", "*", "ä", "\n"]
    result = pair.chos("one", "sh", "-c", 'for word; do echo "[$word]"; done', "sh", *words, check=True)
    assert result.stdout == "".join(f"[{word}]\n" for word in words)


# --- working directory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/", "/tmp", "/home/alice", "/usr/bin", "/proc/1", "/srv"])
def test_the_same_working_directory(pair: Node, place: str) -> None:
    assert pair.chos("one", "sh", "-c", "/bin/pwd", cwd=place, check=True).stdout == f"{os.path.realpath(place)}\n"


@pytest.mark.parametrize("length", [254, 255, 256, 3000])
def test_a_long_working_directory(pair: Node, length: int) -> None:
    """As long as the kernel can tell it: the launcher has room for few bytes, and for more when it needs it."""
    place = "/tmp/long"
    while length - len(place) > 200:
        place += "/" + "d" * 99
    place += "/" + "d" * (length - len(place) - 1)
    assert len(place) == length
    os.makedirs(place)
    assert pair.chos("one", "/bin/pwd", cwd=place, check=True).stdout == f"{place}\n"


def test_a_working_directory_that_is_not_there_inside(pair: Node) -> None:
    Path("/opt/only-base").mkdir(exist_ok=True)
    result = pair.chos("one", "pwd", cwd="/opt/only-base")
    assert (result.returncode, result.stdout) == (0, "/\n")
    assert "/opt/only-base" in result.stderr and "going to /" in result.stderr


def test_a_deleted_working_directory(pair: Node) -> None:
    script = "mkdir /tmp/gone && cd /tmp/gone && rmdir /tmp/gone && CHOS=one chos /bin/pwd"
    result = pair.run(["sh", "-c", script])
    assert (result.returncode, result.stdout) == (0, "/\n")
    assert "going to /" in result.stderr


def test_another_users_private_directory(pair: Node) -> None:
    """Whoever cannot go there by himself is not carried there."""
    private = Path("/srv/private")
    private.mkdir(mode=0o700, exist_ok=True)
    result = subprocess.run(
        ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", "env", "CHOS=one", "chos", "pwd"],
        cwd=private,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "/\n" and "/srv/private" in result.stderr


def test_leaving_from_below_local_keeps_the_place(pair: Node) -> None:
    script = "cd /local/home/alice && CHOS=root chos /bin/pwd; cd /usr/lib && CHOS=root chos /bin/pwd"
    assert pair.chos("one", "sh", "-c", script, check=True).stdout == "/home/alice\n/usr/lib\n"


# --- the environment ----------------------------------------------------------------------------------------------


def test_a_command_gets_the_environment_untouched(pair: Node) -> None:
    variables = {
        "CHOS": "one",
        "PATH": "/bin:/some/where",
        "TMPDIR": "/tmp/mine",
        "LD_LIBRARY_PATH": "/home/alice/lib",
        "LOCPATH": "/x",
        "MALLOC_CHECK_": "3",
        "GCONV_PATH": "/y",
        "NLSPATH": "/z",
        "LD_PRELOAD": "/home/alice/none.so",
        "ODD": "a=b\nc",
        "IFS": "x",
        "RES_OPTIONS": "ndots:3",
        "HOSTALIASES": "/h",
        "lower-case": "1",
    }
    inside, plain = (
        subprocess.run([*command, "env", "-0"], env=variables, capture_output=True, check=True).stdout
        for command in (["/usr/bin/chos", "/bin/busybox"], ["/os/one/bin/busybox"])
    )
    assert inside == plain
    assert dict(item.split("=", 1) for item in inside.decode().rstrip("\0").split("\0")) == variables


@pytest.mark.parametrize("value", [None, ""])
def test_chos_unset(pair: Node, value: str | None) -> None:
    result = pair.chos(value, "true")
    assert result.returncode == 125
    assert "CHOS" in result.stderr and "not set" in result.stderr and "CHOS=NAME" in result.stderr


def shell_script(tree: Path, name: str) -> str:
    """A login shell that tells how it was called."""
    path = tree / "bin" / name
    path.write_text('#!/bin/busybox sh\nprintf "arg0 %s\\n" "$0"\nprintf "arg %s\\n" "$@"\nexec /bin/busybox env\n')
    path.chmod(0o755)
    return f"/bin/{name}"


@pytest.mark.parametrize(
    ("shell", "behaviour", "argument"),
    [("tellsh", "", "-"), ("tellsh", "%BEH\nBASHLOGIN\n", "-l"), ("tellcsh", "", "-l"), ("telltcsh", "", "-l")],
)
def test_a_login_shell(node: Node, shell: str, behaviour: str, argument: str) -> None:
    path = shell_script(node.tree("one"), shell)
    node.configure("one:/os/one\n")
    Path("/etc/chos.conf").write_text(CONF + behaviour)
    node.up()
    subprocess.run(["usermod", "-s", path, "alice"], check=True)
    variables = {
        "KEPT": "yes",
        "DROPPED": "no",
        "LD_LIBRARY_PATH": "/x",
        "TERM": "vt100",
        "PATH": "/usr/bin:/bin:/mine",
    }
    try:
        result = node.chos("one", env=variables, check=True)
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    lines = result.stdout.splitlines()
    assert f"arg {argument}" in lines and sum(line.startswith("arg ") for line in lines) == 1
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    for name in ("SHLVL", "PWD", "OLDPWD", "_"):
        seen.pop(name, None)  # the shell's own
    assert seen == {
        "CHOS": "one",
        "HOME": "/home/alice",
        "TERM": "vt100",
        "KEPT": "yes",
        "PATH": "/bin:/usr/bin:/usr/local/bin",
    }


def test_a_login_shell_without_path_in_the_list(node: Node) -> None:
    path = shell_script(node.tree("one"), "tellsh")
    node.configure("one:/os/one\n")
    Path("/etc/chos.conf").write_text("%ENV\nHOME\n")
    node.up()
    subprocess.run(["usermod", "-s", path, "alice"], check=True)
    try:
        result = node.chos("one", env={"PATH": "/usr/bin:/bin:/mine"}, check=True)
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    assert "PATH=/usr/bin:/bin:/mine" not in result.stdout and "CHOS=" not in result.stdout
    assert "HOME=/home/alice" in result.stdout


def test_a_real_login_shell_reads_its_input(pair: Node) -> None:
    result = pair.chos("one", stdin="cat /etc/os-release; echo $0; exit 5\n")
    assert result.returncode == 5
    assert 'PRETTY_NAME="one"' in result.stdout


def test_a_login_shell_that_the_tree_lacks(pair: Node) -> None:
    subprocess.run(["usermod", "-s", "/usr/bin/fancysh", "alice"], check=True)
    try:
        result = pair.chos("one")
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    assert result.returncode == 127
    assert "/usr/bin/fancysh" in result.stderr and "chos /bin/sh" in result.stderr


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", "one"),
        ("first", "one"),
        ("/auto/one", "one"),
        ("/os/one", "one"),
        ("two", "two"),
        ("default", "two"),
        ("/os/two", "two"),
    ],
)
def test_names_of_all_kinds(pair: Node, name: str, expected: str) -> None:
    assert system(pair, name) == expected


@pytest.mark.parametrize("name", ["nothing", "ONE", "/os/three", "/etc", "/os", "/os/one/", "/os/../os/one"])
def test_an_unknown_name_lists_the_known_ones(pair: Node, name: str) -> None:
    result = pair.chos(name, "true")
    assert result.returncode == 125 and name in result.stderr
    for known in ("one", "first", "two", "default"):
        assert known in result.stderr


@pytest.mark.parametrize("name", ["../gen/one.1", "a b", ".", "..", "-x", "one/../two", "x" * 65, "o\x1b[31mne", "\n"])
def test_an_illegal_name(pair: Node, name: str) -> None:
    result = pair.chos(name, "true")
    assert result.returncode == 125 and "not a legal environment name" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("name", ["root", "leave", "/"])
def test_names_of_the_base(pair: Node, name: str) -> None:
    base = Path("/etc/os-release").read_text()
    assert pair.chos(name, "cat", "/etc/os-release", check=True).stdout == base, "from the base"
    inside = pair.chos("one", "env", f"CHOS={name}", "chos", "cat", "/etc/os-release", check=True)
    assert inside.stdout == base


def test_from_one_to_another_and_back(pair: Node) -> None:
    tell = "grep PRETTY /etc/os-release"
    script = (
        f"{tell}; CHOS=two chos sh -c '{tell}; CHOS=one chos sh -c \"{tell}; "
        f"CHOS=root chos stat -L -c %i /proc/self/ns/mnt\"'; {tell}"
    )
    lines = pair.chos("one", "sh", "-c", script, check=True).stdout.splitlines()
    base = str(os.stat("/proc/self/ns/mnt").st_ino)
    assert lines == ['PRETTY_NAME="one"', 'PRETTY_NAME="two"', 'PRETTY_NAME="one"', base, 'PRETTY_NAME="one"']


def test_from_one_to_itself(pair: Node) -> None:
    assert 'PRETTY_NAME="one"' in pair.chos("one", "chos", "cat", "/etc/os-release", check=True).stdout


def test_as_root(pair: Node) -> None:
    assert system(pair, "one", user="root") == "one"
    assert pair.chos("one", "id", "-u", user="root", check=True).stdout == "0\n"


def test_no_capability_is_left(pair: Node) -> None:
    plain = pair.run(["grep", "^Cap", "/proc/self/status"], check=True).stdout
    assert pair.chos("one", "grep", "^Cap", "/proc/self/status", check=True).stdout == plain


# --- job starter and options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, ""])
def test_job_starter_without_chos_stays_on_the_base(pair: Node, value: str | None) -> None:
    env = {} if value is None else {"CHOS": value}
    result = pair.run(["chos-job-starter", "cat", "/etc/os-release"], env=env, check=True)
    assert result.stdout == Path("/etc/os-release").read_text()


def test_job_starter_with_chos(pair: Node) -> None:
    result = pair.run(["chos-job-starter", "sh", "-c", "cat /etc/os-release; exit 3"], env={"CHOS": "one"})
    assert 'PRETTY_NAME="one"' in result.stdout and result.returncode == 3


def test_job_starter_never_runs_the_job_on_the_base_instead(pair: Node) -> None:
    result = pair.run(["chos-job-starter", "echo", "ran"], env={"CHOS": "nothing"})
    assert (result.returncode, result.stdout) == (125, "")


def test_job_starter_takes_no_options(pair: Node) -> None:
    result = pair.run(["chos-job-starter", "--version"], env={"CHOS": "one"})
    assert result.returncode == 127 and "--version" in result.stderr


def rows(text: str) -> dict[str, str]:
    return dict(line.split(None, 1) for line in text.splitlines())


def test_which(pair: Node) -> None:
    dotfile = Path("/home/alice/.chos")
    dotfile.unlink(missing_ok=True)
    assert rows(pair.chos("one", "--which", check=True).stdout) == {
        "name": "one",
        "generation": pair.generation("first"),
        "backend": "ns",
        "tree": "/os/one",
        "source": "$CHOS",
        "login": "default, from default",
        "batch": "one, from $CHOS",
    }
    default = rows(pair.chos(None, "--which", check=True).stdout)
    assert (default["name"], default["source"], default["tree"]) == ("default", "default", "/os/two")
    dotfile.write_text("one\n")
    try:
        own = rows(pair.chos(None, "--which", check=True).stdout)
        assert (own["name"], own["source"], own["login"]) == ("one", "~/.chos", "one, from ~/.chos")
        assert own["batch"] == "Slurm: one, from ~/.chos" and own["others:"] == "the base, $CHOS is not set"
        dotfile.write_text("nothing\n")
        wrong = rows(pair.chos("one", "--which", check=True).stdout)
        assert wrong["login"] == "nothing, from ~/.chos: no such environment on this node"
        own_name = pair.chos(None, "--which")
        assert own_name.returncode == 125
        assert "chos: nothing (from ~/.chos): no such environment on this node\n" in own_name.stderr
    finally:
        dotfile.unlink()
    base = rows(pair.chos("root", "--which", check=True).stdout)
    assert base["tree"] == "/" and "base" in base["generation"]
    unknown = pair.chos("nothing", "--which")
    assert unknown.returncode == 125
    assert "chos: nothing (from $CHOS): no such environment on this node\n" in unknown.stderr
    assert rows(pair.chos("one", "chos", "--which", check=True).stdout)["name"] == "one", "from inside"


def test_verbose(pair: Node) -> None:
    result = pair.chos("two", "-v", "true", check=True)
    assert result.stdout == ""
    for word in ("two", pair.generation("two"), "ns", "default"):
        assert word in result.stderr
    assert "by way of the base" in pair.chos("one", "env", "CHOS=two", "chos", "-v", "true", check=True).stderr
    assert pair.chos("two", "true", check=True).stderr == ""


@pytest.mark.parametrize("backend", ["ns", "auto"])
def test_backend(pair: Node, backend: str) -> None:
    assert 'PRETTY_NAME="one"' in pair.chos("one", f"--backend={backend}", "cat", "/etc/os-release", check=True).stdout
    assert "ns" in pair.chos("one", f"--backend={backend}", "-v", "true", check=True).stderr


@pytest.mark.parametrize("backend", ["kmod", "userns", "nonsense", ""])
def test_a_backend_that_is_not_here(pair: Node, backend: str) -> None:
    result = pair.chos("one", f"--backend={backend}", "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert f"chos: {backend}: no environment is prepared for this backend" in result.stderr


def test_help_and_version(node: Node) -> None:
    """They need nothing."""
    text = node.run(["chos", "--help"], check=True).stdout
    for word in ("usage:", "--backend=", "--which", "-v", "CHOS=root", "125"):
        assert word in text
    version = node.run(["chos", "--version"], check=True).stdout
    assert version.startswith("chos ") and version.split()[1][0].isdigit()


@pytest.mark.parametrize("option", ["--nonsense", "-x", "--backend", "-", "-vv"])
def test_an_unknown_option(pair: Node, option: str) -> None:
    result = pair.chos("one", option, "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert option in result.stderr and "chos --help" in result.stderr


def test_options_of_the_command_are_its_own(pair: Node) -> None:
    assert pair.chos("one", "echo", "--help", "-v", check=True).stdout == "--help -v\n"
    assert pair.chos("one", "--", "echo", "x", check=True).stdout == "x\n"


def test_a_copy_of_the_launcher_has_no_power(pair: Node) -> None:
    shutil.copyfile("/usr/bin/chos", "/home/alice/chos-copy")
    os.chmod("/home/alice/chos-copy", 0o755)
    result = pair.run(["/home/alice/chos-copy", "echo", "ran"], env={"CHOS": "one"})
    assert (result.returncode, result.stdout) == (125, "")
    assert "capabilities" in result.stderr and "setcap" in result.stderr
