"""chosns.system.programs: what a failure says can be pasted into a shell."""

from __future__ import annotations

import os
import shlex

import pytest

from chosns.system.programs import CannotRun, Ended, TooSlow, last_line, run

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
ODD = ["a b", "it's", "$HOME", "", "*"]


def test_a_missing_program() -> None:
    with pytest.raises(CannotRun, match="cannot be run: No such file") as caught:
        run(["/nowhere/program", *ODD], ENVIRONMENT, 5)
    assert shlex.split(caught.value.object) == ["/nowhere/program", *ODD]


def test_one_that_does_not_end() -> None:
    command = ["/bin/sh", "-c", "sleep 99; :", *ODD]
    with pytest.raises(TooSlow, match="no answer within 0 s") as caught:
        run(command, ENVIRONMENT, 0.2)
    assert shlex.split(caught.value.object) == command


def test_how_it_ended() -> None:
    ended = run(["/bin/sh", "-c", 'echo out; echo "$1" >&2; exit 3', "sh", "it's"], ENVIRONMENT, 30)
    assert ended == Ended(3, "out\n", "it's\n")


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(1, "out\n", "one\ntwo \n"), "two"),
        (Ended(1, "out\n", ""), "out"),
        (Ended(7, "", "\n"), "ended with status 7"),
    ],
)
def test_what_it_said_last(ended: Ended, said: str) -> None:
    assert last_line(ended) == said


def test_what_it_inherits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's shell: no variable, umask, directory or input (rule 22)."""
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    before = os.umask(0)
    try:
        ended = run(["/bin/sh", "-c", "env; umask; /bin/pwd; cat"], ENVIRONMENT, 30)
    finally:
        os.umask(before)
    lines = [line for line in ended.output.splitlines() if not line.startswith(("PWD=", "_=", "OLDPWD=", "SHLVL="))]
    assert lines == ["PATH=/usr/bin:/bin", "0022", "/"]
