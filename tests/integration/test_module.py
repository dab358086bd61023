"""pam_chos by itself, in a host process that says what was done to it (host.c): options, order, policy, attacks."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from daemons import LINE, Node, Stacks, run, silent_file_system

SUCCESS, ABORT = 0, 26
HOST = Path("/tmp/pam-host")


@dataclass
class Seen:
    """What the host said."""

    stdout: str
    stderr: str = ""
    codes: dict[str, int] = field(default_factory=dict)
    shows: list[dict[str, str]] = field(default_factory=list)
    children: list[dict[str, str]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="session")
def program() -> Path:
    source = Path(__file__).with_name("host.c")
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-O1", "-pthread", str(source), "-lpam", "-o", str(HOST)], check=True)
    return HOST


Host = Callable[..., Seen]


@pytest.fixture
def host(program: Path, stacks: Stacks) -> Host:
    """A function: options of the module, then the words of host.c; and by name what is below."""

    def call(
        options: str,
        *words: str,
        user: str = "alice",
        env: dict[str, str] | None = None,
        cwd: str = "/",
        service: str = "chos-test",
        wrapper: tuple[str, ...] = (),
        line: str = LINE,
        moment: str = "enter=fork",
    ) -> Seen:
        with_moment = re.sub(r"(?m)^(-?session.*pam_chos\S*)", rf"\1 {moment}", line)
        stacks.write(service, f"{with_moment} {options}\n")
        result = run(
            [
                *wrapper,
                str(program),
                service,
                user,
                *(words or ("show", "open", "show", "child", "env", "close", "show")),
            ],
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            cwd=cwd,
        )
        assert result.returncode == 0, result
        seen = Seen(result.stdout, result.stderr)
        message = ""
        for text in result.stdout.splitlines():
            kind, _, rest = text.partition(": ")
            if kind in ("open", "close", "reopen"):
                seen.codes[kind] = int(rest)
            elif kind in ("show", "child"):
                shown = seen.shows if kind == "show" else seen.children
                shown.append(dict(word.split("=", 1) for word in rest.split()))
            elif kind == "ended":
                seen.ended.append(int(rest))
            elif kind == "env":
                name, _, value = rest.partition("=")
                seen.env[name] = value
            elif kind == "took":
                seen.took[rest.split()[0]] = float(rest.split()[1])
            elif kind == "message":
                message = rest
                seen.messages.append(message)
            elif seen.messages:
                seen.messages[-1] += "\n" + text
        return seen

    return call


def inside(node: Node, seen: Seen, name: str) -> None:
    """The host's child was in this environment, quietly; the host itself never was, and is what it was."""
    assert seen.codes["open"] == SUCCESS, seen
    assert seen.messages == [] and seen.ended == []
    assert int(seen.children[0]["ns"]) == node.pin(node.generation(name)), seen
    for show in seen.shows[1:]:
        unmoved(seen, show)


def unmoved(seen: Seen, show: dict[str, str] | None = None, but: tuple[str, ...] = ()) -> None:
    """The host is what it was: namespace, root, working directory, ids; no child, no descriptor, no signal."""
    now = show or seen.shows[1]
    assert now == {**seen.shows[0], **{key: now[key] for key in but}}, seen


def refused(seen: Seen, *words: str, code: int = SUCCESS, but: tuple[str, ...] = ()) -> None:
    """Left in the base, and told so, once; so is the host's child."""
    assert seen.codes["open"] == code, seen
    assert len(seen.messages) == 1, seen
    for word in words:
        assert word in seen.messages[0], seen
    assert all(char == "\n" or " " <= char <= "~" for char in seen.messages[0]), seen
    assert "CHOS" not in seen.env
    for show in (*seen.shows[1:], *seen.children):
        unmoved(seen, show, but)


# --- order and options --------------------------------------------------------------------------------------------


def test_the_order(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """$CHOS, the file, `default`, nothing."""
    assert host("").env == {}
    two.configure("one:/os/one\ntwo:/os/two\nthree:/os/one\ndefault:/os/two\n")
    two.up()
    inside(two, host(""), "two")
    dotfile("alice", "one")
    inside(two, host(""), "one")
    inside(two, host("", env={"CHOS": "two"}), "two")
    inside(two, host("", env={"CHOS": ""}), "one")
    dotfile("alice", " \n\t\n")
    inside(two, host(""), "two")


def test_what_the_session_gets(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "one")
    seen = host("")
    assert seen.env == {"CHOS": "one", "CHOS_GENERATION": "one.1"}
    assert seen.children[0]["uid"] == "0"


def test_an_alias_and_a_path(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """The variable keeps what the user wrote; the generation is the environment's."""
    dotfile("alice", "/os/two")
    seen = host("")
    inside(two, seen, "two")
    assert seen.env == {"CHOS": "/os/two", "CHOS_GENERATION": "two.1"}


def test_the_base_by_name(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """`root` in the file: the base, in spite of a default; and nothing moves, not even the working directory."""
    two.configure("one:/os/one\ndefault:/os/one\n")
    two.up()
    dotfile("alice", "root")
    seen = host("", cwd="/usr")
    assert seen.env == {"CHOS": "root"}
    for show in (*seen.shows[1:], *seen.children):
        unmoved(seen, show)


def test_user_conf_file(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "two")
    other = Path("/home/alice/.config/os")
    other.parent.mkdir(exist_ok=True)
    other.write_text("one")
    inside(two, host("user_conf_file=.config/os"), "one")
    for wrong in ("user_conf_file=/etc/hostname", "user_conf_file="):
        refused(host(wrong), "not configured correctly")


def test_fail_to_default(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Only for names that nobody knows; the user is told."""
    two.configure("one:/os/one\ndefault:/os/one\n")
    two.up()
    dotfile("alice", "nowhere")
    refused(host("fail_to_default=0"), "nowhere: no such environment")
    for name in ("nowhere", "no/name", "../gen/one.1"):
        dotfile("alice", name)
        seen = host("fail_to_default=1")
        assert int(seen.children[0]["ns"]) == two.pin(two.generation("one"))
        assert seen.env["CHOS"] == "default"
        assert len(seen.messages) == 1 and "tries `default` instead" in seen.messages[0]
        unmoved(seen, seen.shows[2])


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "fail_to_default=2",
        "fail_to_default",
        "onerr=maybe",
        "enter=maybe",
        "timeout=0",
        "timeout=1e3",
        "Debug",
        "debug=1",
    ],
)
def test_wrong_options(two: Node, host: Host, log: Callable[[str], list[str]], wrong: str) -> None:
    """Said in the log with the word, and not ignored."""
    refused(host(wrong), "not configured correctly", "in the base system", but=("fds",))  # libc's, to the log
    assert [line for line in log("unknown option") if wrong in line]
    assert host(f"{wrong} onerr=deny").codes["open"] == ABORT
    assert host(wrong, user="root").codes["open"] == SUCCESS


def test_deny(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "nowhere")
    refused(host("onerr=deny"), "nowhere", "refused", code=ABORT)


def test_silence_is_not_for_errors(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "nowhere")
    assert len(host("", "silent", "open").messages) == 1


def test_nothing_prepared(node: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Where CHOS is not up, who asked for nothing is not disturbed, not even with onerr=deny; who asked is told."""
    for options in ("", "onerr=deny"):
        seen = host(options)
        assert seen.codes["open"] == SUCCESS and seen.messages == []
        unmoved(seen)
    dotfile("alice", "one")
    refused(host(""), "no environment is prepared")
    refused(host("onerr=deny"), code=ABORT)


def test_the_log(two: Node, host: Host, dotfile: Callable[..., Path], log: Callable[[str], list[str]]) -> None:
    """authpriv, one line, escaped."""
    dotfile("alice", "bad\x1b[2J/name")
    seen = host("debug")
    assert "\\x1b" in seen.messages[0]
    lines = log("not a legal environment name")
    assert len(lines) == 1
    assert int(lines[0][1 : lines[0].index(">")]) >> 3 == 10
    assert "\n" not in lines[0] and "\x1b" not in lines[0]
    assert log("looking at a name that is none")


# --- policy -------------------------------------------------------------------------------------------------------


def test_policy(node: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """no_new_privs, personality and variables; of the child, not of the host."""
    node.tree("one")
    node.configure(
        "one:/os/one\n",
        site='[environment.one]\npolicy = { no_new_privs = true, personality = "linux32" }\n'
        '[environment.one.env]\nLANG = "C"\nEMPTY = ""\n',
    )
    node.up()
    dotfile("alice", "one")
    seen = host("")
    inside(node, seen, "one")
    assert seen.env == {"CHOS": "one", "CHOS_GENERATION": "one.1", "LANG": "C", "EMPTY": ""}
    assert (seen.children[0]["nnp"], seen.children[0]["personality"]) == ("1", "8")


def test_the_working_directory(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "one")
    for directory, expected in (("/home/alice", "/home/alice"), ("/root", "/"), ("/usr", "/usr"), ("/tmp", "/tmp")):
        seen = host("", cwd=directory)
        assert seen.children[0]["cwd"] == expected
        inside(two, seen, "one")


# --- the host -----------------------------------------------------------------------------------------------------


def test_root_is_never_moved(two: Node, host: Host) -> None:
    """By uid, not by name; whatever is broken."""
    two.configure("default:/os/one\n")
    two.up()
    subprocess.run(["useradd", "-o", "-u", "0", "-d", "/home/alice", "toor"], check=True)
    try:
        for user in ("root", "toor"):
            for env in ({}, {"CHOS": "default"}, {"CHOS": "nowhere"}):
                seen = host("onerr=deny", user=user, env=env)
                assert seen.codes["open"] == SUCCESS and seen.messages == [] and seen.env == {}
                unmoved(seen)
    finally:
        subprocess.run(["userdel", "-f", "toor"], check=False, capture_output=True)


def test_what_could_not_be_prepared(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """It is configured, so it is no unknown name: the reason is told, also of a default; nothing takes its place."""
    Path("/os/bad").mkdir()
    two.configure("one:/os/one\nbad:/os/bad\ndefault:/os/bad\n")
    two.up(check=False)
    reason = "could not be prepared on this node: /os/bad: is not an OS tree"
    for options in ("", "fail_to_default=1"):
        refused(host(options), f"default: {reason}", "chosctl up")
    dotfile("alice", "bad")
    two.configure("one:/os/one\nbad:/os/bad\ndefault:/os/one\n")
    two.up(check=False)
    for options in ("", "fail_to_default=1"):
        refused(host(options), f"bad: {reason}")
    refused(host("onerr=deny"), f"bad: {reason}", "refused", code=ABORT)


def test_sessions_one_after_the_other(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Closing is symmetric and may be repeated; the next session of the same process begins in the base."""
    dotfile("alice", "one")
    words = (
        "show",
        "open",
        "close",
        "close",
        "show",
        "child",
        "open",
        "child",
        "close",
        "reopen",
        "child",
        "close",
        "show",
    )
    seen = host("", *words)
    assert set(seen.codes.values()) == {SUCCESS}
    unmoved(seen)
    unmoved(seen, seen.children[0])
    assert [int(child["ns"]) for child in seen.children[1:]] == [two.pin("one.1")] * 2
    unmoved(seen, seen.shows[2])


def test_one_child_of_a_session(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """The first that the host forks is the user's; what it makes later, or without fork(2), is its own."""
    dotfile("alice", "one")
    seen = host("", "show", "open", "helper", "child", "child", "helper", "close", "child")
    inside(two, seen, "one")
    for child in seen.children[1:]:
        unmoved(seen, child)
    helpers = re.findall(r"^helper: (\d+)", seen.stdout, re.MULTILINE)
    assert helpers == [seen.shows[0]["ns"]] * 2


def test_a_child_of_another_module(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """pam_exec forks as root, behind the module when it opens and before it when it closes: never inside."""
    dotfile("alice", "one")
    script = Path("/tmp/pam-exec")
    script.write_text("#!/bin/sh\nstat -L -c $PAM_TYPE=%i /proc/self/ns/mnt >>/tmp/pam-exec-said\n")
    script.chmod(0o755)
    said = Path("/tmp/pam-exec-said")
    said.unlink(missing_ok=True)
    around = f"session optional pam_exec.so {script}"
    seen = host("", line=f"{around}\n{LINE}\n{around}\n{LINE}")
    inside(two, seen, "one")
    own = seen.shows[0]["ns"]
    assert sorted(said.read_text().split()) == [f"close_session={own}"] * 2 + [f"open_session={own}"] * 2


def test_a_session_without_a_child(
    two: Node, host: Host, dotfile: Callable[..., Path], log: Callable[[str], list[str]]
) -> None:
    """Where the host makes no process by fork(2), nobody enters; the log says so."""
    dotfile("alice", "one")
    unmoved(host("", "show", "open", "helper", "close", "show"), but=("fds",))  # libc's, to the log
    assert len(log("nobody has entered")) == 1


def test_two_sessions_at_once(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Of one process: the second is refused, for its child could be the first one's."""
    dotfile("alice", "one")
    seen = host("", "show", "open", "second", "child")
    assert len(seen.messages) == 1 and "is open" in seen.messages[0], seen
    assert int(seen.children[0]["ns"]) == two.pin("one.1")


OWN_GROUPS = """[tree]
top = ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/var"]
[base]
rest = true
devices = ["/dev"]
[etc]
links = ["passwd", "nsswitch.conf"]
"""


@pytest.mark.parametrize("between", [(), ("second",), ("other-close",)])
def test_another_handle_and_the_groups(
    two: Node, host: Host, dotfile: Callable[..., Path], between: tuple[str, ...]
) -> None:
    """What another handle does takes nothing from the first one's child: it asks no tree for its user's groups."""
    Path("/etc/chos.d/bindmaps").mkdir(parents=True, exist_ok=True)
    Path("/etc/chos.d/bindmaps/own.toml").write_text(OWN_GROUPS)
    two.configure("one:/os/one\ntwo:/os/two\n", one='[environment.one]\nbindmap = "own"\n')
    (Path("/os/one/etc/group")).write_text("root:x:0:\ndisk:x:6:alice\n")
    two.up()
    dotfile("alice", "one")
    seen = host("", "show", "open", *between, "childs-groups")
    assert f"childs-ns: {two.pin(two.generation('one'))}" in seen.stdout, seen
    assert f"groups: {os.stat('/home/alice').st_gid}\n" in seen.stdout, seen


def test_three_handles(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """More than can be watched: nobody enters."""
    dotfile("alice", "one")
    seen = host("", "show", "open", "second", "other-close", "child")
    unmoved(seen, seen.children[0])
    assert "more than two PAM handles" in seen.stderr and "in the base system" in seen.stderr, seen


def test_three_handles_and_deny(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """onerr=deny: no process goes on, neither the first nor a later one, because one of them is the session's."""
    dotfile("alice", "one")
    seen = host("onerr=deny", "show", "open", "second", "other-close", "child", "child")
    assert seen.children == [] and seen.stdout.count("ended: 125\n") == 2, seen
    assert "this session is refused" in seen.stderr, seen


def test_nobody_has_entered_and_deny(
    two: Node, host: Host, dotfile: Callable[..., Path], log: Callable[[str], list[str]]
) -> None:
    """The host's only process was made in a way that this module does not see; the log says so."""
    dotfile("alice", "one")
    host("onerr=deny", "open", "helper", "close")
    assert len(log("although onerr=deny")) == 1


@pytest.mark.parametrize("words", ["open second", "open second second-close", "open second-setcred second"])
def test_a_module_of_another_handle(two: Node, host: Host, dotfile: Callable[..., Path], words: str) -> None:
    """What pam_exec forks in another handle's stack is no process of the first one's host."""
    dotfile("alice", "one")
    said = Path("/tmp/pam-exec-said")
    script = Path("/tmp/pam-exec")
    script.write_text(f"#!/bin/sh\nstat -L -c %i /proc/self/ns/mnt >>{said}\n")
    script.chmod(0o755)
    said.unlink(missing_ok=True)
    around = f"session optional pam_exec.so {script}\nauth optional pam_chos.so"
    seen = host("", "show", *words.split(), "child", line=f"{LINE}\n{around}")
    own = seen.shows[0]["ns"]
    assert said.read_text().split() == [own] * (3 if "second-close" in words else 2), seen
    assert int(seen.children[0]["ns"]) == two.pin("one.1"), seen


def test_an_unknown_service(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Nobody enters where it is not known when a process of the host may: told, or refused."""
    dotfile("alice", "one")
    refused(host("", moment=""), "enter= in pam_chos(8)")
    refused(host("onerr=deny", moment=""), code=ABORT)
    dotfile("alice", None)
    seen = host("onerr=deny", moment="")
    assert seen.codes["open"] == SUCCESS and seen.messages == []


def test_enter_no(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "one")
    seen = host("onerr=deny", moment="enter=no")
    assert seen.codes["open"] == SUCCESS and seen.messages == [] and seen.env == {}
    unmoved(seen, seen.children[0])


def test_a_host_that_enters_itself(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """enter=host: what was chosen is checked and told to the host; nobody is moved."""
    dotfile("alice", "one")
    seen = host("", moment="enter=host")
    assert seen.codes["open"] == SUCCESS and seen.env == {"CHOS": "one", "CHOS_GENERATION": "one.1"}
    unmoved(seen, seen.children[0])
    dotfile("alice", "nowhere")
    refused(host("onerr=deny", moment="enter=host"), "nowhere", code=ABORT)


def test_a_service_that_stays(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """The site has this one on the base, whatever its users chose; others are as ever."""
    dotfile("alice", "one")
    two.configure("one:/os/one\ntwo:/os/two\n", site='[pam]\nstay = ["chos-test"]\n')
    two.up()
    for options in ("", "onerr=deny"):
        seen = host(options, env={"CHOS": "two"})
        assert seen.codes["open"] == SUCCESS and seen.messages == [] and seen.env == {}
        unmoved(seen, seen.children[0])
    inside(two, host("", service="chos-other"), "one")


@pytest.mark.parametrize("change", ["taken away", "closed"])
@pytest.mark.parametrize("onerr", ["base", "deny"])
def test_what_changed_meanwhile(
    two: Node, host: Host, dotfile: Callable[..., Path], etc: Callable[[str], Path], change: str, onerr: str
) -> None:
    """What the host found, its child looks up again: it stays on the base, told why, or ends before anything else."""
    dotfile("alice", "one")
    closed = '[environment.one]\ngroups = ["root"]\n'
    script = f"printf '{closed}' >/etc/chos.d/closed.toml; chosctl up" if change == "closed" else "chosctl down"
    Path("/etc/chos.d").mkdir(exist_ok=True)
    Path("/tmp/meanwhile").write_text(script.replace("\n", "\\n") + "\n")
    seen = host(f"onerr={onerr}", "show", "open", "meanwhile", "child", "env", "close", "show")
    assert seen.codes["open"] == SUCCESS and seen.messages == []
    assert "has not allowed you" in seen.stderr if change == "closed" else "no environment is prepared" in seen.stderr
    if onerr == "base":
        unmoved(seen, seen.children[0])
    else:
        assert seen.children == [] and seen.ended == [125]


def test_an_old_sshd_line(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """sshd's second line is missing: nobody enters, and what to do is said; with it, in the child, at setcred."""
    dotfile("alice", "one")
    refused(host("", moment="enter=setcred"), "chosctl install pam")
    auth = "auth optional pam_chos.so\n"
    words = ("show", "setcred", "open", "show", "setcred", "show", "child", "childs-setcred", "close", "show")
    seen = host("", *words, moment="enter=setcred", line=auth + LINE)
    assert seen.codes["open"] == SUCCESS and seen.messages == []
    unmoved(seen, seen.children[0])
    assert int(seen.children[1]["ns"]) == two.pin("one.1")
    for show in seen.shows[1:]:
        unmoved(seen, show)


def test_sshd_without_its_second_line(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """sshd calls pam_setcred before it opens a session, so a line that was not called then is not in use."""
    dotfile("alice", "one")
    auth = "auth optional pam_chos.so\n"
    refused(host("", service="sshd", moment="", line=auth + LINE), "chosctl install pam")
    seen = host("", "show", "setcred", "open", "childs-setcred", service="sshd", moment="", line=auth + LINE)
    assert int(seen.children[0]["ns"]) == two.pin("one.1"), seen


@pytest.mark.parametrize("onerr", ["base", "deny"])
def test_settings_that_cannot_be_read(two: Node, host: Host, dotfile: Callable[..., Path], onerr: str) -> None:
    """Whether the service stays on the base cannot be told then: said, and not taken for a no. Root is let in."""
    dotfile("alice", "one")
    Path("/run/chos/jobs").write_text("nonsense\n")
    refused(host(f"onerr={onerr}"), "/run/chos/jobs", code=ABORT if onerr == "deny" else SUCCESS)
    assert host(f"onerr={onerr}", user="root").codes["open"] == SUCCESS


def test_a_service_that_stays_from_now_on(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """The process that enters looks again: a site that has said so meanwhile is obeyed, silently."""
    dotfile("alice", "one")
    Path("/etc/chos.d").mkdir(exist_ok=True)
    text = '[pam]\\nstay = ["chos-test"]\\n'
    Path("/tmp/meanwhile").write_text(f"printf '{text}' >/etc/chos.d/stay.toml; chosctl up\n")
    seen = host("onerr=deny", "show", "open", "meanwhile", "child", "close", "show")
    unmoved(seen, seen.children[0])
    assert seen.ended == [] and "chos" not in seen.stderr, seen


def test_named_twice(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """A stack that names it twice (su-l includes su) neither moves nor tells twice."""
    dotfile("alice", "one")
    inside(two, host("", line=f"{LINE}\n{LINE}"), "one")
    dotfile("alice", "nowhere")
    refused(host("", line=f"{LINE}\n{LINE}"), "nowhere")


@pytest.mark.parametrize("word", ["ignore", "count"])
def test_the_hosts_children(two: Node, host: Host, dotfile: Callable[..., Path], word: str) -> None:
    """Rule 14: a host that ignores or handles SIGCHLD gets none for ours, and nobody is left to be waited for."""
    dotfile("alice", "one")
    inside(two, host("", word, "show", "open", "show", "child", "close", cwd="/tmp"), "one")


def test_threads_and_slurm(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Stepping aside is silent, also with onerr=deny."""
    dotfile("alice", "one")
    for seen in (host("onerr=deny", "thread", "show", "open", "show"), host("onerr=deny", service="slurm")):
        assert seen.codes["open"] == SUCCESS and seen.messages == [] and seen.env == {}
        unmoved(seen)


def test_a_module_that_is_missing(two: Node, host: Host) -> None:
    """The snippet that is installed lets everybody in where the module is not there; nobody is locked out."""
    snippet = Path("/usr/share/chos/pam.d/chos").read_text()
    [line] = [line for line in snippet.splitlines() if not line.startswith("#")]
    permit = "session required pam_permit.so\n"
    for user in ("alice", "root"):
        seen = host("", user=user, line=permit + line.replace("pam_chos.so", "pam_chos_gone.so"))
        assert seen.codes["open"] == SUCCESS
    env = {"CHOS": "nowhere"}
    assert host("onerr=deny", env=env, line=permit + line).codes["open"] == ABORT
    assert host("onerr=deny", env=env, line=permit + line, user="root").codes["open"] == SUCCESS
    inside(two, host("", env={"CHOS": "one"}, line=permit + line), "one")


def test_few_descriptors(two: Node, host: Host, program: Path, dotfile: Callable[..., Path]) -> None:
    """Without descriptors to spare it is an error like others; at no number is the host left elsewhere."""
    dotfile("alice", "one")
    entered, told = 0, 0
    host("")  # writes the stack
    for number in range(4, 30):
        limit = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number})); "
        command = ["python3", "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])", str(program), "chos-test", "alice"]
        result = run([*command, "open", "ns", "childs-ns", "close", "ns"])
        spaces = re.findall(r"^ns: (\d+)", result.stdout, re.MULTILINE)
        if "open: 0" not in result.stdout:
            continue
        assert "close: 0" in result.stdout, (number, result)
        assert {int(space) for space in spaces} == {os.stat("/proc/self/ns/mnt").st_ino}, (number, result)
        [child] = re.findall(r"^childs-ns: (\d+)", result.stdout, re.MULTILINE)
        if int(child) == two.pin("one.1"):
            entered += 1
        else:
            told += "in the base system" in result.stdout + result.stderr
            assert child == spaces[0], (number, result)
    assert entered
    assert told


def test_nothing_is_opened_inside_as_root(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Rules 5 and 27: the host calls no setns; its child opens no file of the environment."""
    dotfile("alice", "one")
    trace = Path("/tmp/pam-trace")
    words = ("open", "childs-ns", "close")
    host(
        "", *words, wrapper=("strace", "-ff", "-o", str(trace), "-e", "trace=setns,/open,/exec,/mmap,/stat,getdents64")
    )
    files = sorted(Path("/tmp").glob("pam-trace.*"), key=lambda path: int(path.suffix[1:]))
    entered = [path for path in files if "setns(" in path.read_text()]
    assert len(entered) == 1 and entered[0] != files[0]
    calls = entered[0].read_text().splitlines()
    rest = calls[next(i for i, call in enumerate(calls) if call.startswith("setns(")) + 1 :]
    # The root directory's identity, the registry by its descriptor; then what host.c says of itself.
    assert [call.split("(")[0] for call in rest if "/proc/self/ns/mnt" not in call and '/"' in call] == [
        "newfstatat"
    ], rest
    of_registry = re.compile(r'openat2\((\d+, "gen/one\.1(/policy)?|AT_FDCWD, "policy)", .*RESOLVE_BENEATH')
    assert [call for call in rest if "open" in call and not of_registry.match(call)] == [], rest
    for path in files:
        path.unlink()


# --- who may enter ------------------------------------------------------------------------------------------------


def test_a_closed_environment(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """The host is root and could; the user may not, so it does not. The groups are the account's."""
    subprocess.run(["groupadd", "-f", "secret"], check=True)
    two.configure("one:/os/one\ntwo:/os/two\n", two='[environment.two]\ngroups = ["secret"]\n')
    two.up()
    dotfile("alice", "two")
    refused(host(""), "two: the administrator has not allowed you")
    refused(host("fail_to_default=1"), "has not allowed")
    refused(host("onerr=deny"), code=ABORT)
    refused(host("", env={"CHOS": "/os/two"}), "has not allowed")
    assert two.chos("two", "true").returncode == 125
    subprocess.run(["usermod", "-a", "-G", "secret", "alice"], check=True)
    try:
        inside(two, host(""), "two")
    finally:
        subprocess.run(["gpasswd", "-d", "alice", "secret"], check=True, capture_output=True)
    subprocess.run(["setfacl", "-m", "u:alice:rx", f"/run/chos/gen/{two.generation('two')}"], check=True)
    inside(two, host(""), "two")


def test_an_account_with_many_groups(
    two: Node, host: Host, dotfile: Callable[..., Path], etc: Callable[[str], Path]
) -> None:
    """More than fit at first."""
    names = [f"many{number}" for number in range(300)]
    with etc("group").open("a") as file:
        file.writelines(f"{name}:x:{70000 + number}:alice\n" for number, name in enumerate(names))
    two.configure("one:/os/one\ntwo:/os/two\n", two='[environment.two]\ngroups = ["many299"]\n')
    two.up()
    dotfile("alice", "two")
    inside(two, host(""), "two")


# --- attacks on the user's file -----------------------------------------------------------------------------------

SECRET = "root:secret-that-must-not-be-seen"
FILES = {
    "FIFO": "mkfifo .chos",
    "device": "mknod .chos c 1 5",
    "terminal": "mknod .chos c 5 0",
    "directory": "mkdir .chos",
    "socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\".chos\")'",
    "link to a secret": "ln -s /root/secret .chos",
    "link to shadow": "ln -s /etc/shadow .chos",
    "link to a program": "ln -s /proc/self/exe .chos",
    "link to the process's root": "ln -s /proc/self/root/etc/hostname .chos",
    "link to itself": "ln -s .chos .chos",
    "no permission": "echo one >.chos; chmod 000 .chos",
    "root's": "echo one >.chos; chmod 600 .chos; chown root .chos",
    "a name that is too long": "head -c 5000 /dev/zero | tr '\\0' a >.chos",
    "a path": "echo ../../etc >.chos",
    "a generation": "echo ../gen/two.1 >.chos",
    "an escaped path": "echo %2Fos%2Fone >.chos",
    "control characters": "printf 'a\\033]0;b\\007\\n' >.chos",
    "NUL": "printf 'one\\0two' >.chos",
    "zeros": "truncate -s 1G .chos",
    "random": "head -c 4096 /dev/urandom >.chos",
    "an option": "echo --backend=ns >.chos",
}


@pytest.mark.parametrize("what", FILES)
def test_attacks_on_the_file(two: Node, host: Host, dotfile: Callable[..., Path], what: str) -> None:
    """Rule 12: none hangs or breaks a login or shows what root could read; the host is as it was."""
    path = dotfile("alice", None)
    Path("/root/secret").write_text(SECRET + "\n")
    Path("/root/secret").chmod(0o600)
    subprocess.run(["/bin/sh", "-ec", f"{FILES[what]}; chown -h alice .chos || true"], cwd="/home/alice", check=True)
    if what == "root's":
        os.chown(path, 0, 0)
    seen = host("")
    assert "secret" not in seen.stdout and "root:" not in seen.stdout
    assert seen.took["open"] < 2
    refused(seen)
    assert host("onerr=deny").codes["open"] == ABORT


def test_a_link_to_a_file_of_the_users(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Dotfiles are often links into a repository."""
    path = dotfile("alice", None)
    target = Path("/home/alice/dotfiles-chos")
    target.write_text("one")
    path.symlink_to(target)
    inside(two, host(""), "one")
    target.unlink()
    assert host("").messages == [], "a link that leads nowhere is no file"


def test_a_home_that_is_missing(two: Node, host: Host) -> None:
    subprocess.run(["useradd", "-M", "-d", "/nonexistent/home", "homeless"], check=False)
    for home in ("/nonexistent/home", "/etc/passwd"):
        subprocess.run(["usermod", "-d", home, "homeless"], check=True)
        seen = host("", user="homeless")
        assert seen.codes["open"] == SUCCESS and seen.messages == []


@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "swallows"])
def test_a_home_that_hangs(two: Node, host: Host, reads: bool) -> None:
    """A stopped server: the login goes on after the time limit, in the base, and nothing of the host hangs."""
    subprocess.run(["useradd", "-M", "-d", "/hung", "hung"], check=False)
    with silent_file_system(Path("/hung"), reads):
        seen = host("timeout=1", "show", "open", "show", user="hung")
        # A process whose request was taken cannot even be killed: it stays until the server answers or goes.
        refused(seen, "home directory does not answer", but=("children",) if reads else ())
        assert 0.9 < seen.took["open"] < 3
        seen = host("timeout=1 onerr=deny", "show", "open", "show", user="hung", cwd="/")
        assert seen.codes["open"] == ABORT
        # Who names the environment himself needs no home, and a working directory that hangs is left.
        inside(two, host("timeout=1", user="hung", env={"CHOS": "one"}), "one")


def test_a_child_that_is_killed(two: Node, host: Host) -> None:
    """The user may kill, stop or limit the child that has his uid; it is an error like others, or the time limit."""
    subprocess.run(["useradd", "-M", "-d", "/hung", "hung"], check=False)
    for signal, words in (("KILL", "nobody could be asked"), ("STOP", "does not answer")):
        with silent_file_system(Path("/hung"), False):
            done, problems = threading.Event(), []

            def attack(signal: str = signal, done: threading.Event = done, problems: list[str] = problems) -> None:
                while not done.is_set():
                    if found := run(["pgrep", "-u", "hung"]).stdout.split():
                        problems += look_and_kill(found[0], signal)
                        return
                    time.sleep(0.01)
                problems.append("the child was not seen")

            thread = threading.Thread(target=attack)
            thread.start()
            seen = host("timeout=2", "show", "open", "show", user="hung")
            done.set()
            thread.join()
            assert not problems
            refused(seen, words)


def look_and_kill(pid: str, signal: str) -> list[str]:
    """What the user `hung` could read of a process of its uid; then the signal."""
    as_user = ["setpriv", "--reuid", "hung", "--regid", "hung", "--clear-groups"]
    seen = []
    for path in ("mem", "environ", "fd", "root", "maps"):
        command = f"cat /proc/{pid}/{path} || ls /proc/{pid}/{path}/"
        if run([*as_user, "sh", "-c", command]).stdout:
            seen.append(path)
    if run([*as_user, "strace", "-p", pid]).returncode == 0:
        seen.append("strace")
    if run([*as_user, "kill", f"-{signal}", pid]).returncode != 0:
        seen.append("no signal")
    return seen


# --- by pamtester, and from unusual places ------------------------------------------------------------------------


def test_pamtester(two: Node, stacks: Stacks, dotfile: Callable[..., Path]) -> None:
    dotfile("alice", "one")
    stacks.write("chos-test", f"{LINE}\n")
    result = run(["pamtester", "chos-test", "alice", "open_session", "close_session"])
    assert result.returncode == 0, result
    assert "successfully opened" in result.stdout and "has successfully been closed" in result.stdout
    dotfile("alice", "nowhere")
    assert run(["pamtester", "chos-test", "alice", "open_session"]).returncode == 0
    stacks.write("chos-test", f"{LINE} onerr=deny\n")
    assert run(["pamtester", "chos-test", "alice", "open_session"]).returncode != 0


def test_private_mounts_and_a_chroot(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """From a namespace of its own the host comes back to that one, from a chroot into the chroot."""
    dotfile("alice", "one")
    for wrapper in (
        ("unshare", "--mount", "--propagation", "private"),
        ("unshare", "--mount", "--propagation", "slave", "sh", "-c", 'mount -t tmpfs x /mnt; cd /usr; exec "$0" "$@"'),
    ):
        inside(two, host("", wrapper=wrapper), "one")
        dotfile("alice", "nowhere")
        refused(host("", wrapper=wrapper), "nowhere")
        dotfile("alice", "one")


def test_the_user_in_a_user_namespace(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """Root of a user namespace is not root: the kernel refuses, the session goes on where it is."""
    dotfile("alice", "one")
    seen = host("", "show", "open", "show", "child", wrapper=("unshare", "--user", "--map-root-user"))
    assert seen.codes["open"] == SUCCESS
    assert len(seen.messages) == 1
    unmoved(seen)


def test_damaged_generations(two: Node, host: Host, dotfile: Callable[..., Path]) -> None:
    """A broken pin, a damaged policy, a wrong root: told, and the host is where it was."""
    dotfile("alice", "one")
    policy = Path("/run/chos/gen/one.1/policy")
    text = policy.read_text()
    policy.write_text(text + "unknown=1\n")
    refused(host(""), "is damaged")
    # What only entering shows, the child tells.
    policy.write_text(re.sub("root=.*", "root=1 1", text))
    seen = host("")
    assert "does not contain what the registry says" in seen.stderr and "is in the base system" in seen.stderr
    unmoved(seen, seen.children[0])
    assert host("onerr=deny").ended == [125]
    policy.write_text(text)
    inside(two, host(""), "one")
    subprocess.run(["umount", "/run/chos/gen/one.1/ns"], check=True)
    refused(host(""), "is gone")


def test_each_session_leaves_a_record(
    two: Node, host: Host, dotfile: Callable[..., Path], log: Callable[[str], list[str]]
) -> None:
    """In the log and the file, opened on the base: who entered what by which service; none of who entered nothing."""
    entries = Path("/var/log/chos/entries")
    two.configure("one:/os/one\ntwo:/os/two\n", records=f'[records]\nfile = "{entries}"\n')
    two.up()
    try:
        dotfile("alice", "two")
        inside(two, host(""), "two")
        dotfile("alice", "nowhere")
        refused(host(""), "nowhere", but=("fds",))  # libc keeps its connection to the log
        host("", user="root")
        record = r"user=alice uid=\d+ environment=two generation=two\.1 service=chos-test job=- pid=\d+"
        assert re.fullmatch(rf"time=\S+Z {record}\n", entries.read_text())
        lines = log("environment=")
        assert len(lines) == 1 and re.fullmatch(f"<86>chos: {record}", lines[0])
    finally:
        subprocess.run(["chattr", "-a", entries], check=False, capture_output=True)
        entries.unlink()
