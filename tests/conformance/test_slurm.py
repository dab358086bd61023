"""Jobs of a real Slurm, whose tasks spank_chos.so takes into environments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import Node
from rows import row
from site_of_old import os_id

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))
from slurm_cluster import Slurm, missing

SECTION = "Slurm (spank_chos(8))"
BASE = os_id(Path("/etc/os-release").read_text())
SHOW = "cat /etc/os-release"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster of this one node."""
    if why := missing():
        pytest.skip(why)
    cluster = Slurm(Path("/srv/slurm-test"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def in_os(slurm: Slurm, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Which OS a task of srun sees."""
    done = slurm.srun(*arguments, *SHOW.split(), env=env)
    assert done.returncode == 0, done
    return os_id(done.stdout)


@row("`--chos=NAME` has precedence over the submitter's `$CHOS`, and that over `~/.chos`", section=SECTION)
def test_choice(node: Node, slurm: Slurm, dotfile: Callable[[str], None]) -> None:
    dotfile("one\n")
    assert in_os(slurm) == "one"
    assert in_os(slurm, env={"CHOS": "two"}) == "two"
    assert in_os(slurm, "--chos=one", env={"CHOS": "two"}) == "one"
    assert in_os(slurm, "--chos=root") == BASE


@row(
    "a batch script runs there; the choice of an allocation also applies to its steps, unless they have their own",
    section=SECTION,
)
def test_batch(node: Node, slurm: Slurm) -> None:
    assert os_id(slurm.batch(f"#SBATCH --chos=one\nsh -c '{SHOW}'")) == "one"
    script = f"srun -Q {SHOW}; srun -Q --chos=two {SHOW}"
    done = slurm.client("salloc", "--quiet", "--chos=one", "sh", "-c", script, user="alice")
    assert [line for line in done.stdout.splitlines() if line.startswith("ID=")] == ["ID=one", "ID=two"], done


@row("every task of a step enters, with the user's own rights", section=SECTION)
def test_tasks(node: Node, slurm: Slurm) -> None:
    done = slurm.srun("--ntasks=3", "--overcommit", "--chos=two", "sh", "-c", "grep ^ID= /etc/os-release; id -u")
    uid = node.run(["id", "-u"], check=True).stdout.strip()
    assert sorted(done.stdout.split()) == sorted(["ID=two", uid] * 3), done


@row(
    "an unknown name is refused at submission; on the node the task ends, and never runs on the base",
    section=SECTION,
)
def test_refused(node: Node, slurm: Slurm) -> None:
    refused = slurm.srun("--chos=nothing", "echo", "ran")
    assert refused.returncode != 0 and "nothing" in refused.stderr and "ran" not in refused.stdout
    slurm.set_plugin("required", "submit_check=0")
    try:
        refused = slurm.srun("--chos=nothing", "echo", "ran")
    finally:
        slurm.set_plugin("required")
    assert refused.returncode != 0 and "nothing" in refused.stderr and "ran" not in refused.stdout
