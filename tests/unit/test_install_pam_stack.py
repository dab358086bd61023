"""Stacks as libpam reads them, and what `install pam` would do to those of Debian's and EL's kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from chosns.errors import ChosError
from chosns.integrate import files, pam_trial
from chosns.integrate.command import NoAnswer
from chosns.integrate.model import STATE, FileEdit, Machine, Request
from chosns.integrate.pam import Pam
from chosns.integrate.pam_stack import includes, session_lines
from chosns.integrate.pam_trial import within

STACKS = Path(__file__).resolve().parents[1] / "data/el9-pam.d"
EL9 = {path.name: path.read_text() for path in STACKS.iterdir()}


def modules(stacks: dict[str, str], service: str) -> list[str]:
    return [line.module for line in session_lines(service, stacks.get)]


def test_includes_of_every_kind() -> None:
    stacks = {
        "a": "@include b\nauth include x\nsession substack c\n-SESSION optional pam_1.so\n",
        "b": "session required pam_2.so # not: session required pam_9.so\n#session required pam_9.so\n",
        "c": "session include b\nsession [success=ok \\] default=bad] /lib/pam_3.so debug\n",
    }
    assert modules(stacks, "a") == ["pam_2.so", "pam_2.so", "/lib/pam_3.so", "pam_1.so"]
    assert includes("a", stacks.get) == {"b", "c"}


def test_continued_lines() -> None:
    stacks = {
        "a": "session \\\n  required \\\n pam_1.so \\\n# comment\n\n debug\n",
        "b": "# text \\\nsession required pam_1.so\n",
    }
    assert modules(stacks, "a") == ["pam_1.so"]
    assert modules(stacks, "b") == ["pam_1.so"]


def test_stacks_that_include_themselves() -> None:
    stacks = {"a": "session include a\nsession required pam_1.so\n", "b": "@include\nsession\nsession include\n"}
    assert modules(stacks, "a").count("pam_1.so") < 100
    assert modules(stacks, "b") == []
    assert includes("a", stacks.get) == {"a"}


def test_includes_lead_into_the_copy() -> None:
    """Of the stacks that are tried: every kind, and nothing else."""
    text = "@include {}a\nauth substack {}b\n-session \\\n  Include {}c # d\n"
    others = "session required include e\n# @include f\n@include /g\n"
    assert within(text.format("", "", "") + others, "/x") == text.format("/x/", "/x/", "/x/") + others


@pytest.fixture
def el9(tmp_path: Path) -> Machine:
    """A root directory with EL 9's stacks, as authselect leaves them, and a module of this architecture."""
    etc, security = tmp_path / "etc/pam.d", tmp_path / "usr/lib64/security"
    etc.mkdir(parents=True)
    security.mkdir(parents=True)
    for name, text in EL9.items():
        if name in ("system-auth", "password-auth"):
            (tmp_path / "etc/authselect").mkdir(exist_ok=True)
            (tmp_path / "etc/authselect" / name).write_text(text)
            (etc / name).symlink_to(f"../authselect/{name}")
        else:
            (etc / name).write_text(text)
    with open("/proc/self/exe", "rb") as program:
        head = program.read(20)
    for name in ("pam_unix.so", "pam_chos.so"):
        (security / name).write_bytes(head)
    for directory, _, _ in os.walk(tmp_path):
        os.chmod(directory, 0o755)
    return Machine(str(tmp_path), (os.getuid(), 0))


def edits(machine: Machine, *services: str) -> dict[str, FileEdit]:
    plan = Pam().plan(machine, Request(services=services))
    return {os.path.basename(change.name): change for change in plan.changes if isinstance(change, FileEdit)}


def test_el9(el9: Machine) -> None:
    """su-l and sudo-i get it by su and sudo; what all share is not touched."""
    made = edits(el9)
    assert list(made) == ["sshd", "su", "sudo", "crond"]
    for service, edit in made.items():
        stacks = {**EL9, service: edit.after or ""}
        assert modules(stacks, service)[-1] == "pam_chos.so"
    assert modules({**EL9, "su": made["su"].after or ""}, "su-l").count("pam_chos.so") == 1


def test_what_is_included_comes_first(el9: Machine) -> None:
    assert list(edits(el9, "su-l", "su")) == ["su"]
    assert list(edits(el9, "su-l")) == ["su-l"]


def test_a_stack_that_has_it(el9: Machine) -> None:
    path = Path(el9.root, "etc/pam.d/su")
    path.write_text(path.read_text() + "session required /opt/security/pam_chos.so onerr=deny\n")
    plan = Pam().plan(el9, Request(services=("su", "su-l")))
    assert not plan.changes
    assert plan.present == ("/etc/pam.d/su:4", "/etc/pam.d/su-l (by /etc/pam.d/su:4)")


@pytest.mark.parametrize("service", ["system-auth", "postlogin", "other", "slurm", "../shadow", "nothing"])
def test_refused_services(el9: Machine, service: str) -> None:
    with pytest.raises(ChosError) as error:
        edits(el9, service)
    assert error.value.hint


def test_a_line_that_would_be_swallowed(el9: Machine) -> None:
    Path(el9.root, "etc/pam.d/sudo").write_text("session include system-auth \\\n")
    with pytest.raises(ChosError, match="would not be read"):
        edits(el9, "sudo")


def test_a_line_that_may_be_skipped_is_told(el9: Machine) -> None:
    Path(el9.root, "etc/pam.d/sudo").write_text("session sufficient pam_permit.so\n")
    assert "sufficient may skip" in Pam().plan(el9, Request(services=("sudo",))).notes[0]


def test_the_module_of_another_prefix(el9: Machine) -> None:
    """libpam finds a name in its own directory only; where the module is nowhere, all places are named."""
    (Path(el9.root) / "usr/lib64/security/pam_chos.so").unlink()
    with pytest.raises(ChosError, match="architecture") as error:
        edits(el9, "sshd")
    assert "/usr/lib64/security" in error.value.hint
    other = Path(el9.root) / "usr/lib/chos-test/security"
    other.mkdir(parents=True)
    (other / "pam_chos.so").write_bytes((Path(el9.root) / "usr/lib64/security/pam_unix.so").read_bytes())
    assert edits(el9, "sshd")["sshd"].lines[-1].endswith(f" {other}/pam_chos.so")


def test_a_module_of_another_architecture(el9: Machine) -> None:
    path = Path(el9.root) / "usr/lib64/security/pam_chos.so"
    path.write_bytes(b"\x7fELF\x01\x01" + bytes(12) + b"\x03\0")
    with pytest.raises(ChosError, match="architecture"):
        edits(el9, "sshd")


def test_options(el9: Machine) -> None:
    plan = Pam().plan(el9, Request(services=("sshd",), options=("onerr=deny", "debug")))
    (change,) = plan.changes
    assert isinstance(change, FileEdit)
    assert change.lines[-1].endswith(" pam_chos.so onerr=deny debug")


def test_options_that_are_not_those_that_are_there(el9: Machine) -> None:
    """No "already installed" for a line that says something else."""
    path = Path(el9.root, "etc/pam.d/su")
    path.write_text("session required pam_chos.so debug \\\n timeout=7 # ours\n")
    for options in ((), ("timeout=7", "debug")):
        assert not Pam().plan(el9, Request(services=("su",), options=options)).changes
    with pytest.raises(ChosError, match="other options: debug timeout=7") as error:
        Pam().plan(el9, Request(services=("su-l",), options=("onerr=deny",)))
    assert error.value.object == "/etc/pam.d/su:1" and "--undo" in error.value.hint


def test_a_stack_that_hangs(el9: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with the line: an error that names the service. Without it, too: a note, as of one that fails."""
    (Path(el9.root) / "var/lib").mkdir(parents=True)
    for directory in ("var", "var/lib"):
        Path(el9.root, directory).chmod(0o755)
    files.make_directory(el9, STATE, 0o700)

    def mock_of_a_session(words: Sequence[str], limit: float) -> tuple[int, str, str]:
        if "pam_hangs" in Path(words[-1], words[-2]).read_text():
            raise NoAnswer(f"no answer within {limit:.0f} s", object="python3")
        return 0, "", ""

    monkeypatch.setattr(pam_trial, "attempt", mock_of_a_session)
    stacks = os.path.join(el9.root, "etc/pam.d")
    with (
        pam_trial.copy_of(el9, stacks, {}) as good,
        pam_trial.copy_of(el9, stacks, {"su": "session required pam_hangs.so\n"}) as bad,
    ):
        assert pam_trial.try_stack("su", bad, good) == ""
        with pytest.raises(ChosError, match="su: with the new stack.*no answer within 60 s"):
            pam_trial.try_stack("su", good, bad)
        assert "su: root's session fails here with and without" in pam_trial.try_stack("su", bad, bad)
    with pytest.raises(ChosError, match="pam_hangs.so: does not work.*no answer"):
        pam_trial.try_module(el9, "pam_hangs.so", "")
