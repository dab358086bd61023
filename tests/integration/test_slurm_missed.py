"""Slurm where the plugin is missing or passed by: what becomes of the job, and who sees it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import BASE_ID, Node, os_id
from slurm_cluster import PLUGIN, Slurm
from slurm_fixtures import cluster, prepared, slurm, two

__all__ = ["cluster", "prepared", "slurm", "two"]
MISSED = "cat /etc/os-release; chosctl ps --missed --pid $$; echo missed=$?"
COPY = Path("/usr/local/lib/spank-copy.so")


def held(slurm: Slurm, *words: str, env: dict[str, str] | None = None) -> str:
    """A job that was submitted with the plugin; the node is to run it later."""
    return slurm.sbatch(MISSED, "--hold", *words, env=env)


def released(slurm: Slurm, job: str) -> tuple[str, str]:
    """Its output, and its state at the end."""
    assert slurm.client("scontrol", "release", job).returncode == 0
    state = slurm.ended(job)["JobState"]
    path = slurm.top / "jobs" / f"job-{job}"
    return path.read_text() if path.exists() else "", state


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--chos=one"], {}),
        ([], {"CHOS": "one"}),
        (["--export=NONE"], {"CHOS": "one"}),
        (["--chos=one"], {"CHOS": "two"}),
    ],
)
def test_a_node_without_the_plugin(slurm: Slurm, words: list[str], env: dict[str, str]) -> None:
    """The batch script runs on the base, and does well: what the plugin of the submit host has passed on tells it."""
    job = held(slurm, *words, env=env)
    slurm.set_plugin("")
    out, state = released(slurm, job)
    assert (os_id(out), state) == (BASE_ID, "COMPLETED") and "missed=3" in out, out
    assert re.search(rf"alice +slurm {job} +one ", out), out


def test_no_plugin_at_all(slurm: Slurm) -> None:
    """Without it `--chos` is no option, and CHOS a variable like others."""
    slurm.set_plugin("")
    done = slurm.srun("--chos=one", "true")
    assert done.returncode != 0 and "unrecognized option" in done.stderr, done
    done = slurm.srun("sh", "-c", MISSED, env={"CHOS": "one"})
    assert os_id(done.stdout) == BASE_ID and "missed=3" in done.stdout, done
    done = slurm.srun("--export=NONE", "/bin/sh", "-c", MISSED, env={"CHOS": "one"})
    assert os_id(done.stdout) == BASE_ID and "missed=0" in done.stdout, "nothing has come that could tell"


def test_with_the_plugin(slurm: Slurm, two: Node) -> None:
    """Nothing is missed, whatever is said, nor in a step that goes back by hand; nor in the shell of salloc."""
    for words in ("--chos=one", "--export=NONE"):
        done = slurm.srun(words, "/bin/sh", "-c", MISSED, env={"CHOS": "one"})
        assert os_id(done.stdout) == "ID=one" and "missed=0" in done.stdout, done
    back = f"CHOS=root exec chos sh -c '{MISSED}'"
    done = slurm.srun("--chos=one", "sh", "-c", back)
    assert os_id(done.stdout) == BASE_ID and "missed=0" in done.stdout, done
    for option, env in (["--chos=one"], {}), ([], {"CHOS": "one"}):
        done = slurm.client("salloc", "--quiet", *option, "sh", "-c", MISSED, user="alice", env=env)
        assert os_id(done.stdout) == BASE_ID and "missed=0" in done.stdout, done
    assert json.loads(two.chosctl("status", "--json").stdout)["missed"] == 0


def test_a_required_plugin_that_is_not_there(slurm: Slurm) -> None:
    """Slurm starts nothing, and takes the node out of service."""
    job = held(slurm, "--chos=one")
    slurm.plugstack.write_text(f"required {COPY}\n")
    try:
        slurm.client("scontrol", "release", job)
        slurm.wait(lambda: "drain" in slurm.state(), "the node to be drained")
        assert not (slurm.top / "jobs" / f"job-{job}").exists()
    finally:
        slurm.set_plugin("required")
        slurm.client("scancel", job)
        slurm.wait(lambda: "drain" in slurm.state(), "the node to be drained")
        slurm.client("scontrol", "update", "NodeName=node", "State=RESUME")
        slurm.wait(lambda: slurm.state() == "idle", "the node to be idle")


@pytest.mark.parametrize("text", ["", "no plugin\n"])
def test_an_optional_plugin_that_is_not_there(slurm: Slurm, text: str) -> None:
    """Or is none: Slurm goes on without it."""
    job = held(slurm, "--chos=one")
    if text:
        COPY.write_text(text)
    slurm.plugstack.write_text(f"optional {COPY}\n")
    try:
        out, state = released(slurm, job)
    finally:
        COPY.unlink(missing_ok=True)
    assert (os_id(out), state) == (BASE_ID, "COMPLETED") and "missed=3" in out, out


def test_a_plugin_that_is_replaced(slurm: Slurm) -> None:
    """slurmstepd loads it for each step."""
    shutil.copy(PLUGIN, COPY)
    slurm.plugstack.write_text(f"required {COPY}\n")
    try:
        new = COPY.with_suffix(".new")
        shutil.copy(PLUGIN, new)
        new.rename(COPY)
        done = slurm.srun("--chos=one", "sh", "-c", MISSED)
        assert os_id(done.stdout) == "ID=one" and "missed=0" in done.stdout, done
    finally:
        COPY.unlink()
