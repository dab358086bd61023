"""Whether the stacks that have pam_chos.so are still as `chosctl install pam` would leave them."""

from __future__ import annotations

from collections.abc import Iterator

from chosns.integrate import pam_judge
from chosns.integrate.model import Machine
from chosns.integrate.pam import SERVICES, read_stack, sshd_jails
from chosns.model import Origin, Problem, Severity

DIRECTORY = "/etc/pam.d"


def stacks_with_problems(machine: Machine) -> Iterator[Problem]:
    """What acts after our lines, what is missing, and whom sshd would lock into a directory of the tree.

    What this process may not read is not judged.
    """

    def read(service: str) -> str | None:
        return read_stack(machine, DIRECTORY, service)

    told = set()
    for service in SERVICES:
        for finding in pam_judge.judge(service, read):
            if str(finding) not in told:
                told.add(str(finding))
                origin = Origin(f"{DIRECTORY}/{finding.file}", finding.number)
                yield Problem(origin, finding.message, finding.hint, Severity.WARNING)
    for jail in pam_judge.exposed(sshd_jails(machine), "sshd", read):
        file, _, number = jail.place.rpartition(":")
        message = "this ChrootDirectory is looked up in the OS tree that its user chose, which may lead out of it"
        skip = f"session [success=1 default=ignore] pam_succeed_if.so quiet {jail.condition or 'user ingroup GROUP'}"
        hint = f"put `{skip}` right before the line of {pam_judge.MODULE} in {DIRECTORY}/sshd"
        yield Problem(Origin(file, int(number)), message, hint)
