"""What batch jobs cost in an environment, one module a batch system."""

from __future__ import annotations

import sge
import slurm
from report import Report
from stand import Stand


def measure(stand: Stand, report: Report) -> None:
    """Those batch systems that are installed here."""
    slurm.measure(stand, report)
    sge.measure(stand, report)
