"""Whether the job starter that pbs_mom of TORQUE is told to use can be used, and by which pbs_mom.

pbs_mom says nothing of all this, or one line in its log, and jobs end with status 0 on the base.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from chosns.config.trusted import display_path
from chosns.integrate import mom
from chosns.integrate.model import Machine
from chosns.integrate.mom_guard import problems_of_guard, start_note
from chosns.model import Origin, Problem, Severity
from chosns.system.installed import program

_LOG = "its log has one line about it, below PBS_HOME/mom_logs"


def job_starter_problems(machine: Machine) -> Iterator[Problem]:
    """What is wrong with each configuration of pbs_mom that can be read."""
    for config in mom.read(machine):
        origin = Origin(display_path(machine.root, config.path), config.line)
        if config.starter == program("chos-job-starter") and config.privileged:
            message = "the plain job starter is run privileged, so that it runs jobs as root"
            yield Problem(origin, message, "take $job_starter_run_privileged out, and restart pbs_mom -p")
        elif config.starter in (program("chos-job-starter"), program("pam_job_starter")):
            yield from _starter(machine, config, origin)
        elif config.privileged and config.starter and problems_of_guard(machine, mom.home_of(config)):
            message = "a privileged job starter: any user can become root by PBS_O_ROOTDIR (qsub -D)"
            yield Problem(origin, message, "see docs/integrations/torque.md for a guard", Severity.NOTE)


def _starter(machine: Machine, config: mom.Config, origin: Origin) -> Iterator[Problem]:
    path = display_path(machine.root, config.starter)
    reason = _not_executable(path)
    if reason:
        message = f"the job starter {reason}: a pbs_mom that starts now ignores it, and jobs with $CHOS run on the base"
        if config.privileged:
            message += "; one that runs already executes the users' shells as root"
        yield Problem(origin, message, f"install CHOS again, then restart pbs_mom -p; {_LOG}")
        return
    if config.privileged and (missing := problems_of_guard(machine, mom.home_of(config))):
        message = f"any user can become root by PBS_O_ROOTDIR (qsub -D), because the guard is not in place: {missing}"
        yield Problem(origin, message, "chosctl install torque --option privileged")
    for process in mom.running(machine) if config.privileged else ():
        if mom.can_chroot(process):
            message = (
                f"pbs_mom (process {process.pid}) can make a user's directory its root directory: whoever alters a job "
                "that runs (qalter) and starts a task in it (pbsdsh) may become root"
            )
            yield Problem(origin, message, start_note())
    yield from _older(machine, config, origin, path)


def _older(machine: Machine, config: mom.Config, origin: Origin, path: str) -> Iterator[Problem]:
    """A pbs_mom that started before: it knows nothing of the line; or the file may have been missing then."""
    changed = os.stat(display_path(machine.root, config.path)).st_ctime
    appeared = os.stat(path).st_ctime
    for process in mom.running(machine):
        try:
            started = mom.started(process)
        except OSError:
            continue
        if started < changed:
            message = (
                f"pbs_mom (process {process.pid}) started before this file was changed: it may have another starter"
            )
            yield Problem(origin, message, "restart pbs_mom -p", Severity.WARNING)
        elif started < appeared:
            message = (
                f"pbs_mom (process {process.pid}) started before {path} was put there. After an upgrade that is "
                "no harm; if there was none at that time, jobs with $CHOS run on the base"
            )
            yield Problem(origin, message, f"restart pbs_mom -p if in doubt; {_LOG}", Severity.NOTE)


def _not_executable(path: str) -> str:
    """Why it cannot be executed by everybody; empty: it can."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path} cannot be used ({error.strerror})"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is no file"
    return "" if status.st_mode & 0o111 == 0o111 else f"{path} may not be executed by everybody"
