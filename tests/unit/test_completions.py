"""Completions offer every option that there is, in each shell that is installed here."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from chosns.cli import _COMMANDS, chosctl

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "packaging/completions"
LAUNCHER = re.findall(r'"(--?[a-z]+)"', (ROOT / "launcher/options.c").read_text())
BACKENDS = ["auto", "ns", "kmod"]


def verbs() -> dict[str, list[str]]:
    """Every command of chosctl with its long options."""
    context = click.Context(chosctl)
    commands = {name: chosctl.get_command(context, name) for name in chosctl.list_commands(context)}
    return {
        name: [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        for name, command in commands.items()
        if command
    }


def bash(program: str, line: str) -> list[str]:
    """What bash offers after this line; `=` is a word of its own there."""
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    words = [word for part in line.split(" ") for word in re.split("(=)", part) if word or part == ""]
    script = (
        f'. "$1"; COMP_WORDS=("${{@:2}}"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _{program} {words[0]};'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", str(PLACE / f"{program}.bash"), *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd="/",
    )
    return result.stdout.split()


def fish(program: str, line: str) -> list[str]:
    """What fish offers after this line."""
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = f"source {str(PLACE / program)!r}.fish; complete -C {line!r}"
    result = subprocess.run(
        ["fish", "--no-config", "-c", script], stdout=subprocess.PIPE, text=True, check=True, cwd="/"
    )
    return [offer.split("\t")[0] for offer in result.stdout.splitlines()]


def test_every_command_of_each_module_is_known() -> None:
    modules = [importlib.import_module(f"chosns.cli.{name}") for name in set(_COMMANDS.values())]
    assert sorted(command.name for module in modules for command in module.COMMANDS) == sorted(verbs())


@pytest.mark.parametrize("command", ["lifecycle", "observe"])
def test_a_command_reads_no_library_of_anothers(command: str) -> None:
    """psutil, which `ps` needs, is a sixth of the time that `chosctl up` takes."""
    code = f"import sys, chosns.cli.{command}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"click", "psutil"} & {*modules.split()} == {"click"}


def test_the_list_of_options_is_read() -> None:
    assert LAUNCHER == ["-v", "--which", "--help", "--version"]
    assert "--timeout" in verbs()["up"] and "--renew" in verbs()["reload"]


@pytest.mark.parametrize("shell", [bash, fish])
def test_chos(shell: object) -> None:
    assert callable(shell)
    dashes = shell("chos", "chos -")
    assert {*LAUNCHER} <= {*dashes, *shell("chos", "chos --")}
    offered = {word.rpartition("=")[2] for word in shell("chos", "chos --backend=")}
    assert offered == set(BACKENDS)
    assert "--which" in shell("chos", "chos -v --backend=ns --w")
    assert "--which" not in shell("chos", "chos cat --w")
    assert "--which" not in shell("chos", "chos-job-starter --w")


@pytest.mark.parametrize("shell", [bash, fish])
@pytest.mark.parametrize("verb", verbs())
def test_chosctl(shell: object, verb: str) -> None:
    assert callable(shell)
    assert verb in shell("chosctl", "chosctl ")
    assert {*verbs()[verb], "--help"} <= set(shell("chosctl", f"chosctl {verb} --"))


def test_zsh() -> None:
    """Its completions need a terminal, so they are only read: by zsh where there is one, and for the words."""
    text = (PLACE / "chos.zsh").read_text()
    for option in (*LAUNCHER, "--backend="):
        assert f"{option}[" in text, option
    assert f":backend:({' '.join(BACKENDS)})" in text
    text = (PLACE / "chosctl.zsh").read_text()
    for verb, options in verbs().items():
        (said,) = re.findall(rf"^    (?:[a-z|]*\|)?{verb}(?:\|[a-z]+)?\) (.*)$", text, re.MULTILINE) or re.findall(
            r"^    \*\) (.*)$", text, re.MULTILINE
        )
        assert f"'{verb}:" in text
        for option in options:
            assert f"{option}[" in said, (verb, option)
    if shutil.which("zsh"):
        for file in PLACE.glob("*.zsh"):
            subprocess.run(["zsh", "-n", str(file)], check=True)
