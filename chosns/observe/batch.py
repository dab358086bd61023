"""Recognises a process of a batch job by variables that no other program sets. One table for all products.

`chos-job-starter` has the same table for its records (launcher/job.c); a test compares them. Pure. Users can set these
variables, so use the result only for showing, never for deciding who may do what.
"""

from __future__ import annotations

from collections.abc import Mapping

from chosns.lazydata import dataclass

_LONGEST = 128  # characters of a job's name that are kept


@dataclass(frozen=True)
class System:
    """A batch system: the variable that shows it, those that name the job (the first that is set), and the job's part.

    asked: the variables that name an environment, in order of precedence.
    local: a client (salloc) starts the shell of a job where the user is, without a starter.
    """

    product: str
    sign: str
    job: tuple[str, ...]
    part: str = ""
    asked: tuple[str, ...] = ("CHOS",)
    local: bool = False


# A grid job may also be a job of a batch system, and then counts as such. So batch systems come first.
SYSTEMS = (
    # The plugin's own variables are there with --export=NONE too; `--chos` has precedence over CHOS.
    System(
        "slurm", "SLURM_JOB_ID", ("SLURM_JOB_ID",), "SLURM_STEP_ID", ("SLURM_CHOS_OPTION", "CHOS", "SLURM_CHOS"), True
    ),
    System("sge", "SGE_CELL", ("JOB_ID",), "SGE_TASK_ID"),
    System("lsf", "LSB_JOBID", ("LSB_JOBID",), "LSB_JOBINDEX"),
    System("pbs", "PBS_JOBID", ("PBS_JOBID",)),
    System("htcondor", "_CONDOR_SCRATCH_DIR", ("_CONDOR_JOB_ID", "_CONDOR_SLOT", "_CONDOR_SCRATCH_DIR")),
    System("globus", "GLOBUS_GRAM_JOB_CONTACT", ("GLOBUS_GRAM_JOB_CONTACT",)),
    System("arc", "GRID_GLOBAL_JOBID", ("GRID_GLOBAL_JOBID",)),
)

VARIABLES = frozenset(
    name for system in SYSTEMS for name in (system.sign, *system.job, system.part, *system.asked) if name
)


@dataclass(frozen=True)
class JobWish:
    """What a process's variables say: its job, the part of the job, and the environment that was asked for.

    A field is empty if they do not say it. `local`: as in System.
    """

    product: str
    job: str
    part: str
    environment: str
    local: bool = False

    def of_the_same_job(self, other: JobWish) -> bool:
        return (self.product, self.job) == (other.product, other.job)

    @property
    def name(self) -> str:
        """Job and part. Grid Engine and LSF use "undefined" and "0" for jobs without parts."""
        return f"{self.job}.{self.part}" if self.part not in ("", "undefined", "0") else self.job


def wish(variables: Mapping[str, str]) -> JobWish:
    """Read the wish from a process's variables."""
    for system in SYSTEMS:
        if variables.get(system.sign):
            job, part = _first(variables, system.job)[:_LONGEST], variables.get(system.part, "")[:_LONGEST]
            return JobWish(system.product, job, part, _first(variables, system.asked), system.local)
    return JobWish("", "", "", variables.get("CHOS", ""))


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")
