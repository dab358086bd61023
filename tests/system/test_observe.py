"""status, list, ps, explain, check: what they say, to whom, in which form."""

from __future__ import annotations

import json
import os
import pty
import time
from pathlib import Path
from typing import Any

import pytest
from node import Node, mount_points


def parsed(node: Node, *arguments: str, user: str = "root") -> Any:
    return json.loads(node.chosctl(*arguments, "--json", check=False, user=user).stdout)


@pytest.fixture
def site(node: Node) -> Node:
    node.tree("one")
    node.tree("two")
    node.configure(
        "one:/os/one\nalias:/os/one\n/auto/one:/os/one\ntwo:/os/two\nroot:/\n",
        site="""
        [environment.one]
        description = "The first one"
        [environment.two]
        groups = ["bob"]
        """,
    )
    return node


# --- ps -----------------------------------------------------------------------------------------------------------


def test_ps(site: Node) -> None:
    site.up()
    started = time.time()
    alice, bob = site.resident("one"), site.resident("two", user="bob")
    found = {entry["pid"]: entry for entry in parsed(site, "ps")}
    assert set(found) == {alice.pid, bob.pid}
    one = found[alice.pid]
    assert (one["user"], one["environment"], one["generation"], one["command"], one["nested"]) == (
        "alice",
        "one",
        "one.1",
        "sh",
        False,
    )
    assert abs(one["started"] - started) < 30
    assert found[bob.pid]["user"] == "bob"
    site.up("--renew", "one")
    second = site.resident("one")
    found = {entry["pid"]: entry for entry in parsed(site, "ps", "one")}
    assert {pid: entry["generation"] for pid, entry in found.items()} == {alice.pid: "one.1", second.pid: "one.2"}
    assert {entry["pid"] for entry in parsed(site, "ps", "one.1")} == {alice.pid}
    for name in ("alias", "/auto/one", "/os/one"):
        assert {entry["pid"] for entry in parsed(site, "ps", name)} == {alice.pid, second.pid}
    assert {entry["pid"] for entry in parsed(site, "ps", "two", user="bob")} == {bob.pid}
    for name in ("nothing", "one.7", "root", "../one", ""):
        wrong = site.chosctl("ps", name, check=False)
        assert (wrong.returncode, wrong.stdout) == (1, "") and "is not prepared" in wrong.stderr, name


def test_ps_for_a_user_shows_his_own(site: Node) -> None:
    site.up()
    alice = site.resident("one")
    site.resident("one", user="bob")
    assert {entry["pid"] for entry in parsed(site, "ps", user="alice")} == {alice.pid}


def test_ps_is_plain_when_piped(site: Node) -> None:
    site.up()
    resident = site.resident("one")
    lines = site.chosctl("ps").stdout.splitlines()
    assert lines[0].split() == ["PID", "USER", "ENVIRONMENT", "GENERATION", "SINCE", "COMMAND"]
    fields = lines[1].split()
    assert fields[:4] == [str(resident.pid), "alice", "one", "one.1"] and fields[-1] == "sh"
    assert len(lines) == 2 and "\x1b" not in "".join(lines)


def test_ps_escapes_what_a_command_line_may_hold(site: Node) -> None:
    site.up()
    evil = site.start(["chos", "sh", "-c", "echo ready; read x", "\x1b[2Jboo\n"], env={"CHOS": "one"})
    assert evil.stdout and evil.stdout.readline() == "ready\n"
    out = site.chosctl("ps").stdout
    assert "boo" in out and "\x1b" not in out and len(out.splitlines()) == 2


def test_ps_sees_containers_inside(node: Node) -> None:
    node.tree("new", like="trixie")
    node.configure("new:/os/new\n")
    node.up()
    if node.chos("new", "unshare", "-Urm", "true").returncode != 0:
        pytest.skip("users may not make user namespaces here")
    container = node.start(["chos", "sh", "-c", "unshare -Urm sh -c 'echo ready; read x'; :"], env={"CHOS": "new"})
    assert container.stdout and container.stdout.readline() == "ready\n"
    nested = [entry for entry in parsed(node, "ps") if entry["nested"]]
    assert len(nested) == 1 and nested[0]["generation"] == "new.1" and "read x" in nested[0]["command"]


def test_a_namespace_without_an_ancestor_inside(site: Node) -> None:
    """`chos` becomes the command, so nobody is left in the environment itself; it is in use all the same."""
    site.up()
    if site.chos("one", "busybox", "unshare", "-Um", "true").returncode != 0:
        pytest.skip("users may not make user namespaces here")
    script = "echo ready; read x; cat /etc/os-release"
    nested = site.start(["chos", "busybox", "unshare", "-Um", "sh", "-c", script], env={"CHOS": "one"})
    assert nested.stdout and nested.stdout.readline() == "ready\n"
    for user in ("root", "alice"):
        assert [(one["pid"], one["generation"], one["nested"]) for one in parsed(site, "ps", user=user)] == [
            (nested.pid, "one.1", True)
        ]
    assert "still used by 1 process" in site.up("--renew", "one").stdout
    one = next(env for env in parsed(site, "status")["environments"] if env["name"] == "one")
    assert {gen["generation"]: gen["processes"] for gen in one["generations"]} == {"one.1": 1, "one.2": 0}
    assert "ID=one" in nested.communicate("\n")[0]
    assert "one.1 is removed" in site.up().stdout


def test_ps_from_inside(site: Node) -> None:
    """The registry is found below /local there; chosctl itself is a program of the base."""
    site.up()
    resident = site.resident("one")
    out = site.ask(resident, "CHOS=root chos chosctl ps")
    assert str(resident.pid) in out


def test_a_table_on_a_terminal(site: Node) -> None:
    """rich draws it; the facts are the same."""
    site.up()
    master, slave = pty.openpty()
    import subprocess

    subprocess.run(
        ["chosctl", "status"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        check=True,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(slave)
    text = os.read(master, 65536).decode()
    os.close(master)
    assert "\x1b[" in text and "one.1" in text and "/os/two" in text


# --- status and list ----------------------------------------------------------------------------------------------


def test_status_json_is_enough_for_monitoring(site: Node) -> None:
    before = parsed(site, "status")
    assert (before["prepared"], before["healthy"]) == (False, False)
    site.up()
    site.resident("one")
    after = parsed(site, "status")
    assert (after["prepared"], after["healthy"], after["backend"]) == (True, True, "ns")
    one = {env["name"]: env for env in after["environments"]}["one"]
    for key, value in {
        "state": "up",
        "tree": "/os/one",
        "os": "one",
        "description": "The first one",
        "aliases": ["alias", "/auto/one"],
        "processes": 1,
        "generation": "one.1",
        "reason": "",
        "groups": [],
    }.items():
        assert one[key] == value, key
    generation = one["generations"][0]
    assert (generation["generation"], generation["processes"], generation["current"]) == ("one.1", 1, True)
    assert abs(generation["created"] - time.time()) < 60


def test_exit_status_of_status(site: Node) -> None:
    nothing = site.chosctl("status", check=False)
    assert nothing.returncode == 1 and "chosctl up" in nothing.stderr and "down" in nothing.stdout
    site.up("one")
    partly = site.chosctl("status", check=False)
    assert partly.returncode == 1
    site.up()
    assert site.chosctl("status", check=False).returncode == 0


def test_status_shows_older_generations(site: Node) -> None:
    site.up()
    site.resident("one")
    site.up("--renew")
    line = next(line for line in site.chosctl("status").stdout.splitlines() if line.startswith("one "))
    assert "one.2" in line and "one.1 (1)" in line


def test_list(site: Node) -> None:
    site.up()
    assert site.chosctl("list", "--names", user="bob").stdout.split() == ["one", "alias", "two"]
    assert site.chosctl("list", "--names", user="alice").stdout.split() == ["one", "alias"]
    assert parsed(site, "list", user="alice") == [
        {"name": "one", "aliases": ["alias", "/auto/one"], "os": "one", "description": "The first one", "state": "up"}
    ]
    everything = parsed(site, "list", "--all", user="alice")
    assert {env["name"]: env["state"] for env in everything} == {"one": "up", "two": "closed"}
    out = site.chosctl("list", user="alice").stdout
    assert "The first one" in out and "\x1b" not in out


def test_what_is_outdated_stays_hidden_from_whom_it_is_closed_to(site: Node) -> None:
    site.up()
    os.rename("/os/two/bin/sh", "/os/two/bin/sh.kept")
    assert site.up("--renew", check=False).returncode == 1
    assert site.chosctl("list", "--names", user="alice").stdout.split() == ["one", "alias"]
    assert site.chosctl("list", "--names", user="bob").stdout.split() == ["one", "alias", "two"]
    states = {
        user: {env["name"]: env["state"] for env in parsed(site, "status", user=user)["environments"]}
        for user in ("alice", "bob", "root")
    }
    assert [states[user]["two"] for user in ("alice", "bob", "root")] == ["closed", "outdated", "outdated"]


def test_list_of_nothing(site: Node) -> None:
    out = site.chosctl("list", user="alice")
    assert "no environment is prepared" in out.stderr


# --- explain and check --------------------------------------------------------------------------------------------


def test_explain_needs_no_privilege_and_does_nothing(site: Node) -> None:
    before = mount_points()
    out = site.chosctl("explain", "one", user="alice").stdout
    for word in ("/os/one", "default.toml:", "/usr", "/local", "nosuid", "passwd"):
        assert word in out, word
    assert mount_points() == before


def test_explain_says_what_up_then_does(site: Node) -> None:
    plan = parsed(site, "explain", "one", user="root")
    site.up()
    manifest = json.loads(Path("/run/chos/gen/one.1/manifest.json").read_text())
    assert manifest["plan"] == plan
    wanted = {op["target"] for op in plan["operations"] if op["operation"] in ("Bind", "Overlay")}
    resident = site.resident("one")
    mounted = {line.split(" ")[4] for line in Path(f"/proc/{resident.pid}/mountinfo").read_text().splitlines()}
    assert wanted and wanted <= mounted


def test_explain_json_has_source_target_flags_and_reason(site: Node) -> None:
    plan = parsed(site, "explain", "alias")
    binds = [op for op in plan["operations"] if op["operation"] == "Bind"]
    assert plan["environment"] == "one" and binds
    for op in binds:
        assert {"side", "source", "target", "flags", "why"} <= set(op), op


def test_explain_of_something_unknown(site: Node) -> None:
    result = site.chosctl("explain", "three", check=False, user="alice")
    assert result.returncode == 1 and "three" in result.stderr and "one, two" in result.stderr
    as_json = parsed(site, "explain", "three", user="alice")
    assert as_json["object"] == "three" and as_json["error"] and "one" in as_json["hint"]


def test_check_of_a_good_site(site: Node) -> None:
    result = site.chosctl("check", user="alice")
    assert "no problem" in result.stdout
    assert parsed(site, "check") == []


def test_check_reports_everything_at_once(site: Node) -> None:
    with open("/etc/chos", "a", encoding="utf-8") as file:
        file.write("no colon here\nbad name:/os/one\n")
    Path("/etc/chos.d/site.toml").write_text(
        '[environment.one]\ngruops = ["x"]\npolicy = { nosuid = "yes" }\n[environment.three]\n'
    )
    result = site.chosctl("check", check=False, user="alice")
    assert result.returncode == 1
    for text in ("/etc/chos:7:", "/etc/chos:8:", "site.toml:2:", "groups", "site.toml:3:", "site.toml:4:"):
        assert text in result.stdout, text
    problems = parsed(site, "check")
    assert {"file", "line", "severity", "environment", "message", "hint"} == set(problems[0])
    assert len(problems) >= 5


def test_check_is_for_whoever_reads_it(site: Node) -> None:
    os.chmod("/etc/chos", 0o666)
    result = site.chosctl("check", check=False, user="alice")
    assert result.returncode == 1 and "/etc/chos" in result.stderr and "chmod" in result.stderr
    refused = site.up(check=False)
    assert refused.returncode == 1
    assert site.chos("one", "true").returncode == 125


def test_wrong_usage(site: Node) -> None:
    for arguments in (["nonsense"], ["up", "--nonsense"], ["explain"]):
        result = site.chosctl(*arguments, check=False)
        assert result.returncode == 2 and "Usage" in result.stderr


def test_every_command_has_help(node: Node) -> None:
    for command in ("up", "down", "reload", "status", "list", "ps", "explain", "check"):
        assert "Usage: chosctl " + command in node.chosctl(command, "--help", user="alice").stdout
