"""By which variables a batch job is known: the launcher's table and chosctl's say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chosns.observe.batch import SYSTEMS, wish

SOURCE = Path(__file__).parents[2] / "launcher/job.c"


def test_the_launcher_has_the_same_table() -> None:
    rows = re.findall(r'^    \{"(\w+)", "(\w+)", "(\w+)", "(\w*)"\},$', SOURCE.read_text(), re.MULTILINE)
    assert rows == [(system.product, system.sign, system.job[0], system.part) for system in SYSTEMS]


@pytest.mark.parametrize(
    ("variables", "product", "name"),
    [
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1"}, "slurm", "7.1"),
        ({"SLURM_JOB_ID": "7"}, "slurm", "7"),
        ({"SGE_CELL": "default", "JOB_ID": "7", "SGE_TASK_ID": "undefined"}, "sge", "7"),
        ({"SGE_CELL": "default", "JOB_ID": "7", "SGE_TASK_ID": "3"}, "sge", "7.3"),
        ({"JOB_ID": "7"}, "", ""),
        ({"LSB_JOBID": "7", "LSB_JOBINDEX": "0"}, "lsf", "7"),
        ({"PBS_JOBID": "7[2].server"}, "pbs", "7[2].server"),
        ({"_CONDOR_SCRATCH_DIR": "/var/dir_1", "_CONDOR_SLOT": "slot1"}, "htcondor", "slot1"),
        ({"_CONDOR_SCRATCH_DIR": "/var/dir_1", "_CONDOR_JOB_ID": "7.0", "_CONDOR_SLOT": "slot1"}, "htcondor", "7.0"),
        ({"GLOBUS_GRAM_JOB_CONTACT": "https://a/1"}, "globus", "https://a/1"),
        ({"GRID_GLOBAL_JOBID": "x", "SLURM_JOB_ID": "7"}, "slurm", "7"),
        ({"PBS_JOBID": ""}, "", ""),
        ({"PBS_JOBID": "x" * 5000}, "pbs", "x" * 128),
    ],
)
def test_whose_job_it_is(variables: dict[str, str], product: str, name: str) -> None:
    said = wish({**variables, "CHOS": "el9"})
    assert (said.product, said.name, said.environment) == (product, name, "el9")


def test_what_slurms_plugin_passes() -> None:
    """--chos before CHOS before the plugin's copy of CHOS, which is there with --export=NONE as well."""
    job = {"SLURM_JOB_ID": "7", "SLURM_CHOS": "third"}
    assert wish(job).environment == "third"
    assert wish({**job, "CHOS": "second"}).environment == "second"
    assert wish({**job, "CHOS": "second", "SLURM_CHOS_OPTION": "first"}).environment == "first"
