"""How a process of a batch job is known: by variables that no other program sets. One table for every product.

`chos-job-starter` has the same for its records (launcher/job.c); a test compares them. Pure. What the variables say is
the user's to choose: for showing, never for deciding who may do what.
"""

from __future__ import annotations

from collections.abc import Mapping

from chosns.lazydata import dataclass

_LONGEST = 128  # characters of a job's name that are kept


@dataclass(frozen=True)
class System:
    """A batch system: the variable that is its sign, those that name the job (the first that is there), and its part.

    asked: the variables that name an environment, in the order in which they count.
    local: a client of its own starts the shell of a job (salloc), where the user is, which no starter is there for.
    """

    product: str
    sign: str
    job: tuple[str, ...]
    part: str = ""
    asked: tuple[str, ...] = ("CHOS",)
    local: bool = False


# A grid's job may be a batch system's, too, and then it is that one's: those come first.
SYSTEMS = (
    # The plugin's own pass with --export=NONE; `--chos` counts before CHOS.
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
class Wish:
    """What a process's variables say: of which job and part of it it is, and which environment that asked for.

    Empty is what they do not say. `local`: as System has it.
    """

    product: str
    job: str
    part: str
    environment: str
    local: bool = False

    def of_the_same_job(self, other: Wish) -> bool:
        return (self.product, self.job) == (other.product, other.job)

    @property
    def name(self) -> str:
        """Job and part, where it has parts: "undefined" and "0" are how Grid Engine and LSF say that it has none."""
        return f"{self.job}.{self.part}" if self.part not in ("", "undefined", "0") else self.job


def wish(variables: Mapping[str, str]) -> Wish:
    """Of a process's variables."""
    for system in SYSTEMS:
        if variables.get(system.sign):
            job, part = _first(variables, system.job)[:_LONGEST], variables.get(system.part, "")[:_LONGEST]
            return Wish(system.product, job, part, _first(variables, system.asked), system.local)
    return Wish("", "", "", variables.get("CHOS", ""))


def _first(variables: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((variables[name] for name in names if variables.get(name)), "")
