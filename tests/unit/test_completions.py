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
from click.testing import CliRunner

from chosns.cli import _COMMANDS, chosctl, completion

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
    modules = [importlib.import_module(f"chosns.cli.{name}") for name in {module for module, _ in _COMMANDS.values()}]
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


def answer(*words: str) -> list[str]:
    """The candidates that chosctl itself finds."""
    pytest.importorskip("click.shell_completion")
    return [line.split("\t")[1] for line in completion.answer(chosctl, words).splitlines()]


@pytest.mark.parametrize("verb", verbs())
def test_every_command_and_option_is_offered(verb: str) -> None:
    assert verb in answer("")
    assert {*verbs()[verb], "--help"} <= set(answer(verb, "--"))


def test_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(completion, "REGISTRY", str(tmp_path))
    (tmp_path / "env").mkdir()
    (tmp_path / "env/el9").mkdir()
    (tmp_path / "env/%2Fos%2Fel9").mkdir()
    assert answer("down", "e") == ["el9"] and answer("ps", "") == ["el9"]
    assert answer("up", "--backend", "=", "n") == ["ns"]  # as bash takes it apart
    assert answer("up", "--backend=n") == ["--backend=ns"]
    assert answer("up", "--backend", "kmod,") == ["kmod,ns"]
    assert {"pam", "slurm"} <= set(answer("install", ""))
    assert answer("up", "--timeout", "") == []


def test_what_cannot_be_read_offers_nothing() -> None:
    """Nothing is printed into the line that somebody types, and it is not taken for a failure."""
    code = "import chosns.cli.completion as c; c.answer = 1; from chosns.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--complete", "up", ""], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_commands_are_completed_without_their_modules() -> None:
    """Each press of the Tab key starts Python; what click itself takes is a third of the rest."""
    code = (
        "import sys; from chosns.cli import chosctl; from chosns.cli.completion import answer; answer(chosctl, ['']);"
        " print(*(name for name in sys.modules if name.startswith('chosns.cli.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(found.split()) == {"chosns.cli.completion", "chosns.cli.output"}


def test_the_list_of_commands_is_whole() -> None:
    """click cuts what it takes from a command's help."""
    shown = CliRunner().invoke(chosctl, ["--help"], terminal_width=80).output
    for name, (_, text) in _COMMANDS.items():
        assert text.endswith(".")
        assert f"{name:7}  {text}" in shown


def test_the_scripts_are_read_by_their_shells() -> None:
    """tests/system/test_completion.py uses them at a terminal."""
    checkers = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}
    for file in PLACE.iterdir():
        command = checkers[file.suffix[1:]]
        if shutil.which(command[0]):
            subprocess.run([*command, str(file)], check=True)


def test_zsh() -> None:
    """What stands in the one for chos(1), which is not asked for it."""
    text = (PLACE / "chos.zsh").read_text()
    for option in (*LAUNCHER, "--backend="):
        assert f"{option}[" in text, option
    assert f":backend:({' '.join(BACKENDS)})" in text
