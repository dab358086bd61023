"""The command line of `chosctl install`, and the programs that it runs, in a root directory of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chosns.cli import integrate
from chosns.errors import ChosError
from chosns.integrate import command
from chosns.integrate.command import NoAnswer, attempt, find_also
from chosns.integrate.model import ChangeList, Machine, Request
from chosns.integrate.pam import Pam
from chosns.integrate.products import PRODUCTS
from chosns.integrate.sge import GridEngine

LINE = "session required pam_chos.so"
SETTLED = 30.0  # seconds that a process may take to end


class Stacks(Pam):
    """PAM's services, without libpam."""

    requests: list[Request]

    def __init__(self) -> None:
        self.requests = []

    def plan(self, machine: Machine, request: Request) -> ChangeList:
        self.requests.append(request)
        return super().plan(machine, request)

    def rehearse(self, machine: Machine, plan: ChangeList) -> Sequence[str]:
        return ()


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stacks:
    """Three services and the module, below tmp_path."""
    product = Stacks()
    for directory in ("etc/pam.d", "lib/security", "var/lib"):
        (tmp_path / directory).mkdir(parents=True)
    for service in ("sshd", "su", "cron"):
        (tmp_path / "etc/pam.d" / service).write_text("# site\n")
    head = Path("/proc/self/exe").read_bytes()[:20]
    for module in ("pam_unix.so", "pam_chos.so"):
        (tmp_path / "lib/security" / module).write_bytes(head)
    subprocess.run(["chmod", "-R", "go-w", str(tmp_path)], check=True)
    monkeypatch.setitem(PRODUCTS, "pam", product)
    monkeypatch.setattr(integrate, "Machine", lambda: Machine(str(tmp_path), (os.getuid(), 0), {}))
    monkeypatch.setattr(integrate, "require_base", lambda words: None)
    return product


def chosctl(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(integrate.install, list(words))
    assert done.exit_code == status, (done.output, done.exception)
    return done


def served(root: Path) -> set[str]:
    return {path.name for path in (root / "etc/pam.d").iterdir() if "pam_chos.so" in path.read_text()}


def test_one_service_is_taken_back(stacks: Stacks, tmp_path: Path) -> None:
    chosctl("pam")
    assert served(tmp_path) == {"sshd", "su", "cron"}
    assert "taken back" in chosctl("pam", "--undo", "--service", "sshd").output
    assert served(tmp_path) == {"su", "cron"}
    assert "nothing was installed" in chosctl("pam", "--undo", "--service", "sshd").output
    assert served(tmp_path) == {"su", "cron"}
    chosctl("pam", "--undo")
    assert served(tmp_path) == set()


@pytest.mark.parametrize(
    "words", [("pam", "--option", "debug"), ("lsf", "--queue", "night"), ("torque", "--option", "x")]
)
def test_what_undo_would_ignore_is_refused(words: tuple[str, ...]) -> None:
    assert "takes everything back" in chosctl(*words, "--undo", status=2).output


def test_a_relative_path(stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and written in the same place, whatever is done in which directory."""
    monkeypatch.chdir(tmp_path / "etc")
    chosctl("pam", "--dry-run", "--config", "pam.d", status=1)
    assert [request.config for request in stacks.requests] == [str(tmp_path / "etc/pam.d")]


def test_lines_by_other_hands(stacks: Stacks, tmp_path: Path) -> None:
    """--undo says where they are, with records or without."""
    (tmp_path / "etc/pam.d/su").write_text(f"# site\n{LINE}\n")
    for words in (("--undo",), ("--undo", "--dry-run")):
        done = chosctl("pam", *words)
        assert "still there, by other hands: /etc/pam.d/su:2" in done.output
        assert "nothing was installed" in done.output
    chosctl("pam")
    assert "by other hands" not in chosctl("pam", "--undo", "--dry-run").output
    assert "by other hands" not in chosctl("pam", "--undo", "--service", "sshd").output
    done = chosctl("pam", "--undo")
    assert done.output.count("by other hands") == 1 and "/etc/pam.d/su:2" in done.output


@pytest.mark.parametrize(("name", "said"), [("slurm", "do without"), ("globus", "go on with it"), ("lsf", "badmin")])
def test_what_has_to_be_done_after_undo(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    integrate._report(PRODUCTS[name], ChangeList(), "undone", False)
    undone = capsys.readouterr().out
    assert said in undone and "have it" not in undone


def test_without_a_product(stacks: Stacks, tmp_path: Path) -> None:
    """One line each: what is here, and what has it."""
    (tmp_path / "etc/pam.d/su").write_text(f"# site\n{LINE}\n")
    rows = {row["product"]: row for row in json.loads(chosctl("--json").output)}
    assert list(rows) == list(PRODUCTS)
    assert rows["pam"]["state"] == "partly" and "/etc/pam.d/sshd" in rows["pam"]["detail"]
    assert rows["lsf"]["state"] == "no" and "not installed" in rows["lsf"]["detail"]
    chosctl("pam")
    lines = chosctl().output.splitlines()
    assert len(lines) == len(PRODUCTS) + 1 and lines[1].split()[:2] == ["pam", "installed"]
    assert "PRODUCT" in chosctl("--undo", status=2).output


# --- programs of others -------------------------------------------------------------------------------------------


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A Grid Engine whose programs are not in PATH; its qconf for this machine says so."""
    own = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    for name in ("darwin-x86", f"lx-{own}", "lx-zzz"):
        program = tmp_path / "opt/sge/bin" / name / "qconf"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho {name}\n")
        program.chmod(0o755)
    subprocess.run(["chmod", "-R", "go-w", str(tmp_path)], check=True)
    monkeypatch.setattr(command, "PATH", str(tmp_path / "bin"))
    return Machine(str(tmp_path), (os.getuid(),), {"SGE_ROOT": "/opt/sge", "SGE_CELL": "default"})


def qconf(machine: Machine) -> Path:
    (found,) = Path(machine.root, "opt/sge/bin").glob("lx-[!z]*/qconf")
    return found


def test_the_program_of_this_machine(cell: Machine) -> None:
    assert GridEngine()._qconf(cell).strip() == qconf(cell).parent.name


def test_path_comes_first(cell: Machine) -> None:
    """What root put there is root's word, wherever it leads."""
    (Path(cell.root) / "bin").mkdir()
    theirs = qconf(cell)
    theirs.chmod(0o777)
    (Path(cell.root) / "bin/qconf").symlink_to(theirs)
    assert find_also(cell, "qconf", ["/nowhere"]) == f"{cell.root}/bin/qconf"


@pytest.mark.skipif(os.geteuid() != 0, reason="what is refused is refused to root")
@pytest.mark.parametrize("kind", ["owner", "writable", "directory", "above", "link"])
def test_programs_that_others_may_change_are_not_run_by_root(cell: Machine, kind: str) -> None:
    program = qconf(cell)
    changes: dict[str, Callable[[], None]] = {
        "owner": lambda: os.chown(program, 12345, 0),
        "writable": lambda: program.chmod(0o775),
        "directory": lambda: os.chown(program.parent, 12345, 0),
        "above": lambda: program.parents[2].chmod(0o777),
        "link": lambda: None,
    }
    changes[kind]()
    if kind == "link":
        other = Path(cell.root) / "theirs"
        other.mkdir(mode=0o777)
        other.chmod(0o777)
        program.rename(other / "qconf")
        program.symlink_to(other / "qconf")
    with pytest.raises(ChosError, match="is not run as root") as error:
        GridEngine()._qconf(cell)
    assert error.value.object == str(program) and "into PATH" in error.value.hint
    assert not (Path(cell.root) / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="what is refused is refused to root")
def test_qmgr_of_others(cell: Machine) -> None:
    program = Path(cell.root) / "opt/pbs/bin/qmgr"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    with pytest.raises(ChosError, match="qmgr: is not run as root"):
        PRODUCTS["openpbs"].get(Machine(cell.root, cell.uids, {}), "hook chos_launch")


def gone(pid: int) -> bool:
    """Whether a process has ended; as a zombie it has."""
    deadline = time.monotonic() + SETTLED
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def pid_in(path: Path) -> int:
    deadline = time.monotonic() + SETTLED
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline, "it did not begin"
        time.sleep(0.02)
    return int(path.read_text())


@pytest.mark.parametrize("how", ["", "setsid "])
def test_what_takes_too_long_goes_with_its_children(how: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with subprocess.Popen(["sleep", "99"]) as another:
        with pytest.raises(NoAnswer):
            attempt(["/bin/sh", "-c", f"{how}sh -c 'echo $$ >{pid}; exec sleep 99' & wait"], limit=1.0)
        assert gone(pid_in(pid))
        assert another.poll() is None
        another.kill()


def test_nothing_goes_on_after_chosctl_was_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"from chosns.integrate.command import attempt\nattempt(['/bin/sh', '-c', 'echo $$ >{pid}; sleep 99; :'])"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2])
    child = pid_in(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(child)
