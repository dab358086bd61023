"""`chosctl install torque`: the two kinds of job starter, and the guard without which one of them makes users root.

What the guard itself does: tests/integration/test_torque.py.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from chosns.cli import integrate
from chosns.errors import ChosError
from chosns.integrate import command, engine, mom
from chosns.integrate.model import Machine, Request
from chosns.integrate.mom_problems import job_starter_problems
from chosns.integrate.products import PRODUCTS
from chosns.model import Severity
from chosns.system.installed import starter

TORQUE = PRODUCTS["torque"]
CONFIG = "/var/spool/torque/mom_priv/config"
PROLOGUES = tuple(f"/var/spool/torque/mom_priv/{name}" for name in ("prologue", "prologue.parallel"))
STACK = "/etc/pam.d/jobstarter"
CALL = f'{starter("torque/guard")} /var/spool/torque /opt/torque/bin/qstat "$@" || exit 1'
PRIVILEGED = Request(options=("privileged",))
OURS = "$job_starter_run_privileged true\n$job_starter /usr/bin/pam_job_starter\n"


class Node:
    """A root directory with CHOS, TORQUE's client commands and a pbs_mom that is configured."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (
            "usr/bin/chos-job-starter",
            "usr/bin/pam_job_starter",
            "opt/torque/bin/qstat",
            starter("torque/guard")[1:],
            starter("torque/no-chroot")[1:],
        ):
            self.write(name, "#!/bin/sh\n", 0o755)
        self.write("usr/share/chos/pam.d/jobstarter", "session required pam_chos.so onerr=deny\n")
        self.write(CONFIG, "$logevent 255\n")
        for directory in ("var/lib", "etc/pam.d"):
            (root / directory).mkdir(parents=True)
        self.machine = Machine(str(root), (os.getuid(), 0), {})

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def install(self, request: Request = PRIVILEGED) -> Sequence[str]:
        plan = TORQUE.plan(self.machine, request)
        engine.install(TORQUE, self.machine, plan)
        return [change.name for change in plan.changes]

    def undo(self) -> Sequence[str]:
        TORQUE.before_undo(self.machine)
        plan = engine.plan_undo(TORQUE, self.machine)
        engine.undo(TORQUE, self.machine, plan)
        return plan.notes

    def problems(self) -> list[tuple[Severity, str]]:
        return [(problem.severity, str(problem)) for problem in job_starter_problems(self.machine)]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(command, "find", lambda program: None)  # of the machine that the tests run on
    before = os.umask(0o022)
    try:
        return Node(tmp_path)
    finally:
        os.umask(before)


def running(monkeypatch: pytest.MonkeyPatch, started: float) -> None:
    """A pbs_mom runs."""
    process: Any = SimpleNamespace(pid=4711, exe=lambda: "/opt/torque/sbin/pbs_mom")
    monkeypatch.setattr(mom, "started", lambda process: started)
    monkeypatch.setattr(mom, "running", lambda machine: [process])


# --- the guard comes with the privileged starter --------------------------------------------------------------------


def test_a_privileged_starter_has_its_guard(node: Node) -> None:
    """It is there before the line that needs it, with the owner and mode that pbs_mom asks for."""
    assert node.install() == [*reversed(PROLOGUES), STACK, CONFIG]
    for name in PROLOGUES:
        lines = node.path(name).read_text().splitlines()
        assert lines[0] == "#!/bin/sh" and lines[-1] == CALL
        assert os.stat(node.path(name)).st_mode & 0o7777 == 0o500
    assert node.path(CONFIG).read_text().endswith(f"\n{OURS}")
    assert not TORQUE.plan(node.machine, PRIVILEGED).changes
    assert not node.undo()
    assert node.path(CONFIG).read_text() == "$logevent 255\n"
    assert not any(node.path(name).exists() for name in (*PROLOGUES, STACK))


def test_an_earlier_installation_gets_its_guard(node: Node) -> None:
    node.write(CONFIG, OURS)
    assert set(node.install()) == {*PROLOGUES, STACK}


def test_the_plain_starter_needs_none(node: Node) -> None:
    assert node.install(Request()) == [CONFIG]


def test_no_guard_no_privileged_starter(node: Node) -> None:
    """Nothing has changed then."""
    node.path(starter("torque/guard")).unlink()
    with pytest.raises(ChosError, match="guard"):
        node.install()
    assert node.path(CONFIG).read_text() == "$logevent 255\n"


def test_how_pbs_mom_has_to_be_started(node: Node) -> None:
    (note,) = [note for note in TORQUE.plan(node.machine, PRIVILEGED).notes if "no-chroot" in note]
    assert "qalter" in note
    assert not any("no-chroot" in note for note in TORQUE.plan(node.machine, Request()).notes)
    node.path(starter("torque/no-chroot")).unlink()
    with pytest.raises(ChosError, match="no-chroot"):
        node.install()


def test_no_qstat_no_privileged_starter(node: Node) -> None:
    node.path("/opt/torque/bin/qstat").unlink()
    with pytest.raises(ChosError, match="guard of a privileged starter needs it"):
        node.install()


SITES_PROLOGUES = {
    "an empty one": "",
    "a script": "#!/bin/sh\n# site\nmkdir -p /scratch/$1\nexit 0\n",
    "the guard comes too late": f"#!/bin/bash\nexit 0\n{CALL}\n",
    "only a comment": f"#!/bin/sh\n# {CALL}\nexit 0\n",
    "its answer is not heeded": f"#!/bin/sh\n{CALL.replace('|| exit 1', '|| true')}\n",
    "in the background": f"#!/bin/sh\n{CALL.replace(' || exit 1', ' &')}\n",
    "in Perl": f"#!/usr/bin/perl\n{CALL}\n",
    "in csh": f"#!/bin/csh\n{CALL}\n",
    "without a first line": f"{CALL}\n",
    "a relative qstat": f"#!/bin/sh\n{CALL.replace('/opt/torque/bin/qstat', 'qstat')}\n",
    "another line in the place of qstat": f"#!/bin/sh\n{CALL.replace('/opt/torque/bin/qstat', '/bin/true; exit 0;')}\n",
    "a quotation mark": f"#!/bin/sh\n{CALL} '\n",
    "another PBS_HOME": f"#!/bin/sh\n{CALL.replace('/var/spool', '/srv')}\n",
    "a program": "\x7fELF\x02\x01\n",
    "a line of Python's only": f"#!/bin/sh\n# form feed:\x0c{CALL}\nexit 0\n",
    "a line separator": f"#!/bin/sh\n#\u2028{CALL}\nexit 0\n",
}


@pytest.mark.parametrize("text", SITES_PROLOGUES.values(), ids=SITES_PROLOGUES)
@pytest.mark.parametrize("name", PROLOGUES)
def test_a_sites_prologue_without_the_guard(node: Node, name: str, text: str) -> None:
    """It is left alone, the line that is missing is said, and nothing is installed."""
    node.write(name, text, 0o500)
    with pytest.raises(ChosError) as error:
        node.install()
    assert name in str(error.value) and f"\n{CALL}" in error.value.hint
    assert node.path(CONFIG).read_text() == "$logevent 255\n" and node.path(name).read_text() == text


@pytest.mark.parametrize(
    "shebang", ["#!/bin/sh", "#! /bin/bash -e", "#!/usr/bin/env bash", "#!/bin/ksh", "#!/usr/bin/dash"]
)
def test_a_sites_prologue_with_the_guard(node: Node, shebang: str) -> None:
    text = f"{shebang}\n# of the site\n\n  {CALL}\nmkdir -p /scratch/$1\n"
    node.write(PROLOGUES[0], text, 0o500)
    assert PROLOGUES[0] not in node.install()
    node.undo()
    assert node.path(PROLOGUES[0]).read_text() == text


def test_another_qstat_than_would_be_found_now(node: Node) -> None:
    """TORQUE's own moved, or another pbs_mom runs: the line is ours all the same."""
    node.install()
    node.path("/opt/torque/bin/qstat").rename(node.path("/opt/torque/qstat"))
    assert not TORQUE.plan(node.machine, PRIVILEGED).changes and node.problems() == []


def test_a_prologue_from_windows(node: Node) -> None:
    """pbs_mom: "execv of …/prologue failed: No such file or directory", and no job runs any more."""
    node.write(PROLOGUES[0], f"#!/bin/sh\r\n{CALL}\r\n", 0o500)
    with pytest.raises(ChosError, match="carriage returns"):
        node.install()


def test_one_prologue_for_all_nodes(node: Node) -> None:
    """A link, as many sites have it."""
    node.write(PROLOGUES[0], f"#!/bin/bash\n{CALL}\n. /etc/site/prologue.common\n", 0o755)
    node.path(PROLOGUES[1]).symlink_to("prologue")
    assert node.install() == [STACK, CONFIG]
    assert node.problems() == []


@pytest.mark.parametrize("mode", [0o400, 0o100, 0o520, 0o502])
def test_a_prologue_that_pbs_mom_would_not_run(node: Node, mode: int) -> None:
    node.write(PROLOGUES[0], f"#!/bin/sh\n{CALL}\n", mode)
    with pytest.raises(ChosError, match="mode|writable"):
        node.install()


def test_a_prologue_that_was_edited_since(node: Node) -> None:
    node.install()
    path = node.path(PROLOGUES[0])
    path.chmod(0o700)
    path.write_text(path.read_text() + "mkdir /scratch/$1\n")
    (note,) = node.undo()
    assert "prologue stays" in note and path.read_text() == "#!/bin/sh\nmkdir /scratch/$1\n"


# --- the two kinds do not mix, and say how one changes to the other -------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [(Request(), PRIVILEGED), (PRIVILEGED, Request())])
def test_switching_names_undo(node: Node, one: Request, other: Request) -> None:
    node.install(one)
    with pytest.raises(ChosError) as error:
        node.install(other)
    said = f"{error.value} {error.value.hint}"
    assert "CHOS's" in said and "chosctl install torque --undo" in said
    assert "moves jobs" in said and "without $CHOS" in said
    assert ("momctl -s" in said) == (one is PRIVILEGED)
    node.undo()
    assert CONFIG in node.install(other)


def test_where_jobs_without_a_wish_go(node: Node) -> None:
    assert any("on the base" in note for note in TORQUE.plan(node.machine, Request()).notes)
    assert any("`default`" in note for note in TORQUE.plan(node.machine, PRIVILEGED).notes)


@pytest.mark.parametrize("word", ["true", "True", "yes", "1", "on", "t", "ON"])
def test_the_plain_starter_is_never_privileged(node: Node, word: str) -> None:
    """A line that a site left behind would make every job root's."""
    node.write(CONFIG, f"\t$job_starter_run_privileged  {word}\n")
    with pytest.raises(ChosError, match="as root"):
        node.install(Request())


@pytest.mark.parametrize("word", ["false", "off", "0", "no", ""])
def test_not_privileged_by_other_words(node: Node, word: str) -> None:
    node.write(CONFIG, f"$job_starter_run_privileged {word}\n")
    assert node.install(Request()) == [CONFIG]


def test_halves_of_both(node: Node) -> None:
    for text in (OURS.replace("true", "false"), OURS.replace("pam_job_starter", "chos-job-starter")):
        node.write(CONFIG, text)
        for request in (Request(), PRIVILEGED):
            with pytest.raises(ChosError, match="does not fit together"):
                node.install(request)


def test_the_stack_that_was_edited_stays(node: Node) -> None:
    node.install()
    node.path(STACK).write_text(node.path(STACK).read_text() + "session required pam_limits.so\n")
    (note,) = node.undo()
    assert STACK in note and "stays" in note


# --- nothing goes from under a pbs_mom ------------------------------------------------------------------------------


def test_undo_under_a_running_pbs_mom(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the starter in memory: without the file, or without the prologue, users would become root."""
    node.install()
    with monkeypatch.context() as patch:
        running(patch, 0)
        with pytest.raises(ChosError) as error:
            node.undo()
        assert "momctl -s" in error.value.hint and "4711" in str(error.value)
        node.write(CONFIG, "")  # also when somebody has taken the lines out already
        with pytest.raises(ChosError, match="executes the shells"):
            node.undo()
    node.undo()


@pytest.mark.parametrize("request_", [Request(), PRIVILEGED], ids=["plain", "privileged"])
def test_what_is_there_is_seen_whichever_kind(node: Node, request_: Request) -> None:
    assert TORQUE.look(node.machine).changes
    node.install(request_)
    plan = TORQUE.look(node.machine)
    assert plan.present and not plan.changes


def test_undo_of_the_plain_starter(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.install(Request())
    running(monkeypatch, 0)
    node.undo()


def test_a_privileged_line_by_other_hands(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """--undo is what the packages ask before they go: it fails there, too."""
    node.write(CONFIG, OURS)
    running(monkeypatch, 0)
    monkeypatch.setattr(integrate, "Machine", lambda: node.machine)
    monkeypatch.setattr(integrate, "require_base", lambda words: None)
    done = CliRunner().invoke(integrate.install, ["torque", "--undo"])
    assert done.exit_code != 0 and "privileged job starter" in str(done.exception)


# As people have them: cbatch's and docquer's ways to change the file, a puppet module's, a container's.
CONFIGS = {
    "cbatch": "$pbsserver      master\n$logevent       255\n$usecp *:/home  /mnt/nfs/home/\n"
    "$job_starter /vagrant/cbatch\n$job_starter_run_privileged true\n",
    "docquer": "$logevent 255\n$job_starter /var/spool/torque/mom_priv/job_starter\n",
    "a wrapper": "$prologalarm 600\n\t$job_starter\t/usr/local/bin/job_wrapper.sh\n",
    "twice": "$job_starter /usr/bin/chos-job-starter\n$job_starter /site/starter\n",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("request_", [Request(), PRIVILEGED], ids=["plain", "privileged"])
def test_a_sites_starter_is_not_replaced(node: Node, text: str, request_: Request) -> None:
    node.write(CONFIG, text)
    with pytest.raises(ChosError, match="is set already"):
        node.install(request_)
    assert node.path(CONFIG).read_text() == text


@pytest.mark.parametrize("end", ["", "\n", "\n\n# the end"])
def test_the_end_of_a_configuration(node: Node, end: str) -> None:
    """Some tools that append forget the end of the last line."""
    node.write(CONFIG, f"$usecp *:/home /home{end}")
    node.install()
    assert mom.parse(node.path(CONFIG).read_text()).privileged
    node.undo()
    assert node.path(CONFIG).read_text() == f"$usecp *:/home /home{end}"


# --- what `check` sees ----------------------------------------------------------------------------------------------


def test_a_node_in_order(node: Node) -> None:
    assert node.problems() == []
    node.install()
    assert node.problems() == []
    node.undo()
    node.install(Request())
    assert node.problems() == []


@pytest.mark.parametrize("request_", [Request(), PRIVILEGED], ids=["plain", "privileged"])
@pytest.mark.parametrize("harm", ["missing", "mode", "directory"])
def test_a_starter_that_cannot_be_executed(node: Node, request_: Request, harm: str) -> None:
    node.install(request_)
    path = node.path("/usr/bin/pam_job_starter" if request_.options else "/usr/bin/chos-job-starter")
    if harm == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    if harm == "directory":
        path.mkdir()
    ((severity, text),) = node.problems()
    assert severity is Severity.ERROR and path.name in text and "on the base" in text
    assert ("as root" in text) == bool(request_.options)


def test_a_privileged_starter_without_its_guard(node: Node) -> None:
    node.install()
    node.path(PROLOGUES[1]).unlink()
    ((severity, text),) = node.problems()
    assert severity is Severity.ERROR and "any user can become root" in text and "prologue.parallel" in text


def test_a_pbs_mom_that_can_chroot(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prologue does not see what qalter does to a job that runs."""
    node.install()
    running(monkeypatch, 1e10)
    monkeypatch.setattr(mom, "can_chroot", lambda process: True)
    ((severity, text),) = node.problems()
    assert severity is Severity.ERROR and "qalter" in text and starter("torque/no-chroot") in text
    monkeypatch.setattr(mom, "can_chroot", lambda process: False)
    assert node.problems() == []


def test_a_strangers_privileged_starter(node: Node) -> None:
    """cbatch, and whatever else a site has: not CHOS's business, but the same hole; said as a note."""
    node.write(CONFIG, "$job_starter /vagrant/cbatch\n$job_starter_run_privileged true\n")
    ((severity, text),) = node.problems()
    assert severity is Severity.NOTE and "PBS_O_ROOTDIR" in text


def test_halves_are_seen(node: Node) -> None:
    node.write(CONFIG, OURS.replace("pam_job_starter", "chos-job-starter"))
    ((severity, text),) = node.problems()
    assert severity is Severity.ERROR and "jobs as root" in text


def test_a_pbs_mom_that_is_older_than_what_it_needs(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.install(Request())
    changed = os.stat(node.path(CONFIG)).st_ctime
    running(monkeypatch, changed + 1)
    assert node.problems() == []
    running(monkeypatch, 1)
    text = "\n".join(text for _, text in node.problems())
    assert (
        "4711" in text and "restart" in text and all(severity is not Severity.ERROR for severity, _ in node.problems())
    )


def test_when_a_process_was_started() -> None:
    before = time.time()
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            assert before - 0.001 <= mom.started(psutil.Process(process.pid)) <= time.time() + 0.1
        finally:
            process.kill()


def test_install_says_it_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is nothing left to change."""
    node.install(Request())
    running(monkeypatch, 1)
    plan = TORQUE.plan(node.machine, Request())
    assert any("started before" in note for note in engine.install(TORQUE, node.machine, plan))


def test_what_a_user_may_not_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(machine: Machine, path: str) -> str:
        raise ChosError("cannot be read", object=path)

    monkeypatch.setattr(mom.files, "read", closed)  # type: ignore[attr-defined]
    assert node.problems() == []
