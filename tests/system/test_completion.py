"""Names of environments, commands and options at the Tab key: in bash and zsh at a terminal, and in fish."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import Node
from typed import Typed

After = Callable[[str], "list[str]"]


@pytest.fixture
def prepared(node: Node) -> Node:
    """Environments el8, with the alias old, and el9, into which only a group may go; alice is not in it."""
    node.tree("el8")
    node.tree("el9")
    node.configure("el8:/os/el8\nel9:/os/el9\nold:/os/el8", el9='[environment.el9]\ngroups = ["bin"]\n')
    node.up()
    return node


@pytest.fixture(params=["bash", "zsh", "fish"])
def after(request: pytest.FixtureRequest, prepared: Node, tmp_path: Path) -> Iterator[After]:
    """Tells the words of a line once everything that could stand at its end is there; run by root."""
    if request.param == "fish":
        if not shutil.which("fish"):
            pytest.skip("fish is not installed")
        (tmp_path / "home").mkdir()

        def fish(line: str) -> list[str]:
            environment = {"HOME": str(tmp_path / "home")}
            command = ["fish", "-c", f"complete -C {line!r}"]
            output = prepared.run(command, user="root", cwd=str(tmp_path), env=environment, check=True).stdout
            return [offer.split("\t")[0] for offer in output.splitlines()]

        yield fish
        return
    shell = Typed(request.param, tmp_path)
    yield shell.after
    shell.close()


def _names(words: list[str]) -> set[str]:
    """What stands after the last `=` of each word."""
    return {re.split("=", word)[-1] for word in words}


def test_the_value_of_chos_after_env(after: After) -> None:
    assert {"el8", "el9", "old"} <= _names(after("env CHOS="))
    assert _names(after("env CHOS=el")) >= {"el8", "el9"}
    assert "old" not in _names(after("env CHOS=el"))
    assert {"old"} <= _names(after("env -i HOME=/ CHOS=ol"))


# What a shell has for these commands without us.
_OWN = {
    "bash": "complete -r env export; complete -F _longopt env",
    "zsh": "compdef _env env",
}


@pytest.mark.parametrize("shell", _OWN)
def test_what_else_stands_after_env_is_completed_as_before(shell: str, prepared: Node, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/visible").touch()
    lines = [
        "env ./vis",
        "env HOME=./vis",
        "env --ign",
        "env -u HOM",
        "env CHOS=el8 ./vis",
        "export HOM",
        "export A=./vis",
    ]
    found = []
    for more in ("", _OWN[shell]):
        typed = Typed(shell, tmp_path / "home", more)
        found.append([typed.after(line) for line in lines])
        typed.close()
    assert found[0] == found[1]
    assert "./visible" in found[0][0] and "--ignore-environment" in " ".join(found[0][2])


def test_fish_completes_the_rest_of_env_as_before(prepared: Node, tmp_path: Path) -> None:
    """As after another variable; and its options."""
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    (tmp_path / "visible").touch()

    def fish(line: str) -> str:
        command = ["fish", "-c", f"complete -C {line!r}"]
        return prepared.run(command, user="root", cwd=str(tmp_path), env={"HOME": str(tmp_path)}, check=True).stdout

    for rest in ("./vis", "chmo", "cat ./vis", "OTHER=./vis"):
        assert fish(f"env CHOS=el8 {rest}") == fish(f"env FOO=el8 {rest}")
    assert "visible" in fish("env CHOS=el8 cat ./vis")
    assert "--ignore-environment" in fish("env --ignore-env")


def test_names_of_environments_with_a_path_or_closed_are_not_offered(prepared: Node, tmp_path: Path) -> None:
    """As alice, who may not enter el9; the path of a tree is a name, too, but nobody types it."""
    shell = Path("/etc/bash_completion.d/chos")
    script = (
        f'. {shell}; COMP_WORDS=(env CHOS = ""); COMP_CWORD=3; _chos_before env; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    offered = prepared.run(["bash", "--norc", "-c", script], user="alice", check=True).stdout.split()
    assert sorted(offered) == ["el8", "old"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_value_before_a_command(shell: str, prepared: Node, tmp_path: Path) -> None:
    """bash asks no script here, and offers files as it does without CHOS."""
    (tmp_path / "elsewhere").touch()
    typed = Typed(shell, tmp_path)
    try:
        found = _names(typed.after("CHOS=el"))
    finally:
        typed.close()
    assert found == ({"elsewhere"} if shell == "bash" else {"el8", "el9"})


def test_export_in_bash(prepared: Node, tmp_path: Path) -> None:
    typed = Typed("bash", tmp_path)
    try:
        assert _names(typed.after("export CHOS=o")) == {"export", "old"}
    finally:
        typed.close()


def test_commands_options_and_values_of_chosctl(after: After) -> None:
    assert {"up", "down", "status"} <= set(after("chosctl "))
    assert "--renew" in after("chosctl up --re")
    assert {"el8", "el9", "old"} <= set(after("chosctl down "))
    assert {"el8", "el9", "old"} <= set(after("chosctl up --renew "))
    assert _names(after("chosctl up --backend=n")) >= {"ns"}
    assert "ns,kmod" in _names(after("chosctl up --backend=ns,"))
    assert "slurm" in after("chosctl install sl")
    assert "sshd" in after("chosctl install pam --service ssh")


def test_a_path_is_completed_by_the_shell(after: After, tmp_path: Path) -> None:
    (tmp_path / "somewhere").mkdir()
    assert any("somewhere" in word for word in after("chosctl check --root ./some"))
    assert any("somewhere" in word for word in after("chosctl install pam --config ./some"))


def test_a_configuration_that_cannot_be_read_offers_nothing_and_says_nothing(after: After) -> None:
    Path("/etc/chos").unlink()
    Path("/etc/chos").mkdir()
    try:
        assert not {"el8", "el9"} & set(after("chosctl up "))
    finally:
        Path("/etc/chos").rmdir()


@pytest.mark.parametrize(
    "habit",
    [
        "set -u",
        "IFS=:; shopt -s failglob nullglob",
        "COMP_WORDBREAKS=${COMP_WORDBREAKS//=}",
        ". /etc/bash_completion.d/chos; . /etc/bash_completion.d/chos",
        "alias env='env -i' chosctl='sudo chosctl'",
    ],
)
def test_what_people_have_in_their_bashrc(habit: str, prepared: Node, tmp_path: Path) -> None:
    typed = Typed("bash", tmp_path, f"{habit}\n")
    try:
        for line in (
            "env CHOS=o",
            "sudo env CHOS=o",
            "/usr/bin/env HOME=/ CHOS=o",
            "export CHOS=o",
            "cd /; env CHOS=o",
        ):
            assert typed.after(line)[-1] == "CHOS=old", line
        for line in ("chosctl do", "chosctl 'do", "sudo chosctl do"):
            assert typed.after(line)[-1].strip("'") == "down", line
        assert "--ignore-environment" in typed.after("env --")
        assert typed.after("env XCHOS=o")[-1] == "XCHOS=o"
        assert typed.after("chosctl up --backend=k")[-1] == "--backend=kmod"
    finally:
        typed.close()


@pytest.mark.parametrize("line", ["env 'CHOS=o", 'env "CHOS=o'])
def test_a_quote_before_it(line: str, prepared: Node, tmp_path: Path) -> None:
    typed = Typed("bash", tmp_path)
    try:
        assert typed.after(line)[-1].strip("\"'") == "CHOS=old"
    finally:
        typed.close()


def test_other_places_of_an_assignment_in_zsh(prepared: Node, tmp_path: Path) -> None:
    typed = Typed("zsh", tmp_path)
    lines = ("export CHOS=o", "typeset -x CHOS=o", "A=1 CHOS=o", "sudo env CHOS=o", "/usr/bin/env -i CHOS=o")
    try:
        for line in lines:
            assert typed.after(line)[-1] == "CHOS=old", line
    finally:
        typed.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("how", ["alias", "wrapper"])
def test_nothing_is_done_where_chosctl_is_another_word(shell: str, how: str, prepared: Node, tmp_path: Path) -> None:
    """An alias, or a script that comes before it in PATH: sudo in either takes all variables away."""
    cleaned = "env -i PATH=/usr/bin:/bin /usr/bin/chosctl"
    wrapper = Path("/usr/local/bin/chosctl")
    if how == "wrapper":
        wrapper.write_text(f'#!/bin/sh\nexec {cleaned} "$@"\n')
        wrapper.chmod(0o755)
    try:
        if shell == "fish":
            if not shutil.which("fish"):
                pytest.skip("fish is not installed")
            alias = f"alias chosctl='{cleaned}'; " if how == "alias" else ""
            command = ["fish", "-c", f"{alias}complete -C 'chosctl down '"]
            offered = prepared.run(command, user="root", env={"HOME": str(tmp_path)}).stdout.split()
        else:
            typed = Typed(shell, tmp_path, f"alias chosctl='{cleaned}'\n" if how == "alias" else "")
            offered = typed.after("chosctl down ")
            typed.close()
    finally:
        wrapper.unlink(missing_ok=True)
    assert prepared.chos("el8", "true").returncode == 0, "a press of the Tab key has taken it down"
    assert {"el8", "old"} <= set(offered) or (how, shell) == ("alias", "zsh")
