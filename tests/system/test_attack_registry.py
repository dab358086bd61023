"""Attacks on what the launcher reads: rules 3, 4 and 9 of docs/security.md.

Only root can tamper with the registry; these are the mistakes and half-done repairs of an administrator, and what would
be left if somebody had become root elsewhere. Each must be refused, and nothing may run.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack_tools import Marker, build_launcher, one, refuse, spawn
from node import REGISTRY, REPO, Node

GEN = REGISTRY / "gen/one.1"


def sh(script: str) -> None:
    """A script of the tampering root's."""
    subprocess.run(["/bin/bash", "-ec", script], check=True, cwd="/", timeout=20, stdin=subprocess.DEVNULL)


@pytest.fixture
def up(node: Node) -> Iterator[Node]:
    """Two environments, so that one can be passed off as the other."""
    node.tree("one")
    node.tree("two")
    node.configure("one:/os/one\ntwo:/os/two\n")
    node.up()
    yield node


def each(node: Node, cases: list[str], name: str = "one") -> None:
    """Tamper in each way with a fresh registry: entering `name` is refused, without a hang, and nothing runs."""
    for case in cases:
        sh(case)
        try:
            refuse(name)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"after: {case}\n{error}") from error
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        for point in sorted((line.split()[4] for line in mounts), reverse=True):
            if point.startswith("/run/chos"):
                subprocess.run(["umount", "-l", point], check=False)
        sh("rm -rf /run/chos /tmp/forged")
        node.up()


def test_a_directory_that_others_can_write(up: Node) -> None:
    """Rule 3: a registry or a generation that is not root's alone is not trusted."""
    changes = ("chmod 0777", "chmod g+w", "chmod 1777", "chown alice", "chown bob:alice")
    each(up, [f"{change} {directory}" for directory in ("/run/chos", GEN) for change in changes])


def test_a_pin_that_is_none(up: Node) -> None:
    """Rule 3: a link out, a FIFO, a plain file, a device, another kind of namespace: none is entered, none hangs."""
    pin = f"umount {GEN}/ns; rm {GEN}/ns; "
    kinds = ("uts", "net", "ipc", "pid", "user", "cgroup")
    each(
        up,
        [
            pin + f"ln -s /proc/1/ns/mnt {GEN}/ns",
            pin + f"ln -s ../two.1/ns {GEN}/ns",
            pin + f"ln -s /proc/self/ns/mnt {GEN}/ns",
            pin + f"mkfifo -m 666 {GEN}/ns",
            pin + f"echo mnt >{GEN}/ns",
            pin + f"mkdir {GEN}/ns",
            pin + f"mknod {GEN}/ns c 1 5",
            pin,
            f"umount {GEN}/ns",
            *(f"umount {GEN}/ns; mount --bind /proc/self/ns/{kind} {GEN}/ns" for kind in kinds),
            f"umount {GEN}/ns; mount --bind /etc/passwd {GEN}/ns",
            f"umount {GEN}/ns; mount --bind /dev/null {GEN}/ns",
        ],
    )


def test_a_pin_of_another_kind_is_called_damaged(up: Node) -> None:
    """The kernel would refuse it, too, but nobody would know why."""
    sh(f"umount {GEN}/ns")
    for kind in ("/proc/self/ns/uts", "/etc/passwd"):
        sh(f"mount --bind {kind} {GEN}/ns")
        result = up.chos("one", "true")
        sh(f"umount {GEN}/ns")
        assert result.returncode == 125
        # An ordinary file is what a pin looks like in a namespace that is younger.
        assert ("is damaged" if kind.startswith("/proc") else "is gone") in result.stderr, result


def test_a_pin_of_something_else(up: Node) -> None:
    """Rules 3 and 4: a real pin of the wrong namespace is entered by nobody: the root is compared with the record."""
    each(
        up,
        [
            f"umount {GEN}/ns; mount --bind {REGISTRY}/gen/two.1/ns {GEN}/ns",
            # Some kernels refuse the pin on the wrong CPU.
            f"umount {GEN}/ns; for cpu in 0 1 0 1 0 1 0 1; do "
            "taskset -c $cpu unshare -m --propagation private sleep 600 & "
            'until [ "$(readlink /proc/$!/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep .01; done; '
            f"mount --bind /proc/$!/ns/mnt {GEN}/ns && break; done; mountpoint -q {GEN}/ns",
            f"sed -i 's/^root=.*/root=1 2/' {GEN}/policy",
            f"sed -i \"s/^root=.*/root=$(stat -c '%d %i' /)/\" {GEN}/policy",
        ],
    )


def test_a_hostile_link(up: Node) -> None:
    """Rule 3: the text of a link is data, checked before it is used; two hops are one too many."""
    link = REGISTRY / "env/one"
    texts = [
        "../../etc",
        "/etc",
        "/run/chos/gen/one.1",
        "../gen/../gen/one.1",
        "../gen/one.1/",
        "../gen/one.1/../two.1",
        "../gen/one",
        "../gen/one.0",
        "../gen/one.01",
        "../gen/one.+1",
        "../gen/one.1 ",
        "../gen/one.9999999999",
        "../gen/.1",
        "../gen/..",
        "../gen/",
        "..",
        ".",
        "../base/",
        "../",
        "one",
        "%2f",
        "../gen/two.1x",
        "../gen/one.2",
        "x" * 300,
        "../gen/" + "x" * 300 + ".1",
        "../gen/" + "x" * 250 + ".1",
        "\none",
        "two\n",
        "../gen/one.1\n",
    ]
    for text in texts:
        link.unlink()
        link.symlink_to(text)
        try:
            refuse("one")
        except AssertionError as error:
            raise AssertionError(f"{text!r}: {error}") from error
    each(
        up,
        [
            f"rm {link}; {make}"
            for make in (
                f"cd {REGISTRY}/env; ln -s b one; ln -s c b; ln -s ../gen/one.1 c",
                f"echo ../gen/one.1 >{link}",
                f"mkdir {link}",
                f"mkfifo {link}",
            )
        ],
    )


def test_a_generation_elsewhere(up: Node) -> None:
    """Rule 3: no link leads out of the registry, though everything there looks right."""
    gone = f"umount {REGISTRY}/gen/*/ns {REGISTRY}; rmdir {REGISTRY}; "
    each(
        up,
        [
            f"umount {GEN}/ns; cp -a --no-target-directory {GEN} /tmp/forged; rm -r {GEN}; "
            f"chown -R alice /tmp/forged; ln -s /tmp/forged {GEN}",
            f"umount {GEN}/ns; mv {GEN} {REGISTRY}/gen/x; ln -s x {GEN}",
            f"umount {REGISTRY}/gen/*/ns; mv {REGISTRY}/gen /tmp/forged; ln -s /tmp/forged {REGISTRY}/gen",
            f"mkdir /tmp/forged; cp -a {REGISTRY}/base {REGISTRY}/env /tmp/forged; {gone} ln -s /tmp/forged {REGISTRY}",
            f"mkdir /tmp/forged; cp -a {REGISTRY}/base {REGISTRY}/env /tmp/forged; {gone} "
            f"chown -R alice /tmp/forged; ln -s /tmp/forged {REGISTRY}",
            f"{gone} echo >{REGISTRY}",
            f"{gone} mkfifo {REGISTRY}",
            gone,
        ],
    )


def test_links_to_what_is_right(up: Node) -> None:
    """Rule 3: where all that is behind it is the environment's own, a link is refused for being one."""
    each(
        up,
        [
            f"touch {REGISTRY}/real; mount --bind {GEN}/ns {REGISTRY}/real; umount {GEN}/ns; rm {GEN}/ns; "
            f"ln -s ../../real {GEN}/ns",
            # A pin that is not there is looked for on the base, so the process has to be one that can be seen there.
            "CHOS=one setpriv --reuid alice --regid alice --init-groups chos sleep 600 & "
            f"until [ $(stat -L -c %i /proc/$!/ns/mnt) = $(stat -c %i {GEN}/ns) ]; do sleep .01; done; "
            f"umount {GEN}/ns; rm {GEN}/ns; ln -s /proc/$!/ns/mnt {GEN}/ns",
            f"mv {GEN}/policy {REGISTRY}/real; ln -s ../../real {GEN}/policy",
            f"mv {GEN}/policy /tmp/forged; ln -s /tmp/forged {GEN}/policy",
            f"mv {REGISTRY}/gen {REGISTRY}/real; ln -s real {REGISTRY}/gen",
            f"mv {GEN} {REGISTRY}/gen/real; ln -s real {GEN}",
        ],
    )


JAIL = """
mount -t tmpfs -o mode=755 jail /srv/jail
mkdir /srv/jail/proc /srv/jail/usr /srv/jail/tmp
mount --rbind --make-rslave /proc /srv/jail/proc
mount --rbind --make-rslave /usr /srv/jail/usr
mount --rbind --make-rslave /tmp /srv/jail/tmp
ln -s usr/bin usr/lib usr/lib64 /srv/jail/
"""


@pytest.mark.usefixtures("up")
def test_a_registry_by_way_of_a_magic_link() -> None:
    """Rule 3: what lies behind a link of /proc is whatever a process has made it; the registry is not read there."""
    Path("/srv/jail").mkdir(exist_ok=True)
    sh(JAIL)
    alice = pwd.getpwnam("alice")
    enter = ("chroot", f"--userspec=+{alice.pw_uid}:+{alice.pw_gid}", "/srv/jail", "/usr/bin/chos")
    link = Path("/srv/jail/run")
    for target in ("/proc/1/root/run", "/proc/self/root/proc/1/root/run"):
        link.symlink_to(target)
        refuse("one", "Symbolic link loop", command=enter, user="root")
        link.unlink()


def test_the_files_of_the_registry(up: Node) -> None:
    """Rules 3 and 9: `base` and `policy` as links, FIFOs, directories, empty, cut short, of another kind."""
    for path, name in ((REGISTRY / "base", "root"), (GEN / "policy", "one")):
        each(
            up,
            [
                f"rm {path}; {make}"
                for make in (
                    f"ln -s /etc/passwd {path}",
                    f"mkfifo {path}",
                    f"mkdir {path}",
                    f":>{path}",
                    f"echo >{path}",
                    f"head -c 100000 /dev/zero >{path}",
                    f"for i in $(seq 3000); do echo x=y; done >{path}",
                    f"mknod {path} c 1 5",
                    ":",
                )
            ],
            name,
        )


# What is added at the end of a policy.
BAD_LINES = {
    "an unknown key": "nosuchkey=1\n",
    "a key twice": "no_new_privs=0\n",
    "the name twice": "name=one\n",
    "no final newline": "setenv=A=b",
    "a blank line": "\n",
    "a comment": "# harmless\n",
    "white space": " setenv=A=b\n",
    "no value": "personality\n",
    "a bad personality": "personality=linux64\n",
    "a variable without name": "setenv==x\n",
    "a digit first": "setenv=1A=x\n",
    "a variable without value": "setenv=A\n",
    "a NUL": "setenv=A=\x00\n",
    "too many variables": "setenv=A=b\n" * 33,
    "too long": ("setenv=A=" + "b" * 990 + "\n") * 9,
    "carriage returns": "setenv=A=b\r\npersonality=linux32\r\n",
}
BAD_VALUES = {
    "version 2": ("chos-policy 1", "chos-policy 2"),
    "version 1x": ("chos-policy 1", "chos-policy 1x"),
    "another kind": ("chos-policy 1", "chos-base 1"),
    "no header": ("chos-policy 1\n", ""),
    "generation 0": ("generation=1", "generation=0"),
    "another generation": ("generation=1", "generation=2"),
    "a sign": ("generation=1", "generation=+1"),
    "a leading zero": ("generation=1", "generation=01"),
    "hexadecimal": ("generation=1", "generation=0x1"),
    "an overflow": ("generation=1", "generation=18446744073709551617"),
    "another name": ("name=one", "name=two"),
    "no name": ("name=one\n", ""),
    "a path for a name": ("name=one", "name=../one"),
    "a flag of 2": ("no_new_privs=0", "no_new_privs=2"),
    "a flag of yes": ("no_new_privs=0", "no_new_privs=yes"),
    "an empty flag": ("no_new_privs=0", "no_new_privs="),
    "no flag": ("no_new_privs=0\n", ""),
    "no root": ("root=", "toor="),
    "blanks": ("root=", "root= "),
    "a negative root": ("root=", "root=-"),
    "a tab": ("name=one", "name=one\t"),
}


def test_bad_policies(up: Node) -> None:
    """Rule 9: an unknown key or version, a bad number or flag, a duplicate, a missing or long line refuses the file."""
    policy = (GEN / "policy").read_text()
    texts = {why: policy + line for why, line in BAD_LINES.items()}
    for why, (old, new) in BAD_VALUES.items():
        assert old in policy, why
        texts[why] = policy.replace(old, new, 1)
    for why, text in texts.items():
        (GEN / "policy").write_text(text)
        try:
            refuse("one", "is damaged")
        except AssertionError as error:
            raise AssertionError(f"{why}: {error}") from error
    (GEN / "policy").write_text(policy)
    assert up.chos("one", "true").returncode == 0


def test_hostile_reasons_and_names_in_messages(up: Node) -> None:
    """Rule 10: what the registry says of failures is escaped too, and odd file names there are not printed."""
    (REGISTRY / "failed/three").write_text("\x1b[2Jevil\x07\n")
    (REGISTRY / "env/\x1b[2J").symlink_to("../gen/one.1")
    refuse("three", "\\x1b[2Jevil\\x07")
    refuse("four", "known here")


@pytest.fixture(scope="module")
def faulty() -> None:
    """The launcher built so that CHOS_FAULT=step makes a step fail, with file capabilities and set-uid root."""
    build_launcher("/usr/bin/chos-fault", "-DCHOS_FAULT")
    build_launcher("/usr/bin/chos-fault-suid", "-DCHOS_FAULT", capabilities=False, mode=0o4755)


def steps() -> list[str]:
    """Every step that the sources let fail, and the files that are read."""
    text = "".join(path.read_text() for folder in ("libchos/*", "launcher") for path in REPO.glob(f"{folder}/*.c"))
    found = set(re.findall(r'chos_fault\("([^"]+)"\)', text)) | {"base", "backend", "policy", "login", "tree"}
    for pair in re.findall(r'chos_fault\([^"()]*\? "([^"]+)" : "([^"]+)"\)', text):
        found |= set(pair)
    return sorted(found)


SETTINGS = """
[environment.one.policy]
no_new_privs = true
personality = "linux32"
[environment.one.env]
A = "b"
"""


# Which starts get as far as a step; the others do every step. `back` and `chdir` belong to processes that were root
# already, `tree` to --which and the kernel module, as all of `kmod`; a login shell's variables, CHOS_FAULT among them,
# are gone before the last two.
REACHED_BY: dict[str, set[str]] = {
    "back": set(),
    "kmod": set(),
    "chdir": set(),
    "tree": set(),
    "ancestor": {"private"},
    "base": {"private"},
    "login": {"login"},
    "setenv": {"command", "private"},
    "exec": {"command", "private"},
}


@pytest.mark.usefixtures("faulty")
def test_every_step_may_fail(node: Node) -> None:
    """Rule 4: a failure at any step, however the launcher was started, executes nothing."""
    one(node, one=SETTINGS)
    alice = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups"]
    private = ["unshare", "-m", "--propagation", "slave"]  # where pins cannot be seen: by way of the base
    starts = {"command": ([], False), "login": ([], True), "private": (private, False)}
    programs = ("/usr/bin/chos-fault", "/usr/bin/chos-fault-suid")
    refused: dict[str, list[str]] = {step: [] for step in steps()}
    for step in steps():
        for program in programs:
            for start, (wrapper, login) in starts.items():
                marker = Marker()
                result = spawn(
                    [*wrapper, *alice, program, *([] if login else marker.command)],
                    user="root",
                    env={"CHOS": "one", "CHOS_FAULT": step, "HOME": "/home/alice"},
                    stdin=None,
                    input=f"echo ran >{marker.path}\n",
                )
                if result.returncode == 0:
                    assert marker.ran, (step, program, wrapper, login, result)
                    continue
                refused[step].append(start)
                marker.refused(result, status=None)
                assert result.returncode in (125, 126, 127), (step, result)
    for step, ways in refused.items():
        assert ways == [start for _ in programs for start in starts if start in REACHED_BY.get(step, starts)], step
    # That the list is read from the sources keeps it complete; these it must hold.
    assert {
        "registry",
        "generation",
        "link",
        "pin",
        "setns",
        "root",
        "drop",
        "verify",
        "setuid",
        "no_new_privs",
        "exec",
    } <= set(refused)


def test_a_copy_of_the_pins_cannot_be_carried_along(node: Node) -> None:
    """Rule 3: a recursive bind of /run, on the base or by way of /local inside, never shows a pin."""
    one(node)
    Path("/mnt/copy").mkdir(exist_ok=True)
    node.mount("--rbind", "/run", "/mnt/copy")
    assert not os.path.ismount("/mnt/copy/chos/gen/one.1/ns")
    inside = node.chos(
        "one", "sh", "-c", "grep nsfs /proc/self/mountinfo; cat /local/run/chos/gen/one.1/ns; ls /run/chos"
    )
    assert "nsfs" not in inside.stdout
    assert "mnt:" not in inside.stdout


def test_a_name_whose_environment_is_just_gone(node: Node) -> None:
    """Names are taken away one by one: an alias that leads nowhere is not one that was never there."""
    node.tree("one")
    node.configure("one:/os/one\ndefault:/os/one\n")
    node.up()
    os.unlink(REGISTRY / "env/one")
    result = node.chos("default", "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "") and "is gone" in result.stderr
