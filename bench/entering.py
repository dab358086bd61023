"""What entering costs: `chos true` against plain fork and exec of the same `true`, and against what others do."""

from __future__ import annotations

import shutil

import least
from report import COLUMNS, Criterion, Report, Samples, Table, row
from stand import TREE, TRUE, Stand

MOUNTS = (0, 200, 1000)
PLAIN, CHOS = "plain fork+exec", "chos"


def measure(stand: Stand, report: Report) -> None:
    """Tables for each number of mounts, taken several times in turn, so that drift of the machine hits all of them."""
    passes, rounds, slow_rounds = stand.count(3, 1), stand.count(700, 80), stand.count(60, 15)
    ours: dict[int, dict[str, Samples]] = {}
    others: dict[int, dict[str, Samples]] = {}
    launchers: dict[int, dict[str, Samples]] = {}
    for _ in range(passes):
        for mounts in MOUNTS:
            stand.set_mounts(mounts)
            stand.up()
            _add(ours.setdefault(mounts, {}), stand.time(_ours(stand), rounds))
            _add(others.setdefault(mounts, {}), stand.time(_others(stand), slow_rounds))
            _add(launchers.setdefault(mounts, {}), stand.time(least.commands(stand), rounds, cwd=least.DIRECTORY))
    stand.set_mounts(0)
    for mounts in MOUNTS:
        base = ours[mounts][PLAIN]
        rows = [row(label, samples, base) for label, samples in ours[mounts].items()]
        rows += [
            row(label, samples, others[mounts][PLAIN]) for label, samples in others[mounts].items() if label != PLAIN
        ]
        report.tables.append(
            Table(
                f"Entering, {mounts} further mounts on the base", COLUMNS, rows, _NOTES if mounts == MOUNTS[-1] else ()
            )
        )
        for kind, ratio in (("medians", ours[mounts][CHOS].ratio(base)), ("paired", ours[mounts][CHOS].paired(base))):
            report.criteria.append(Criterion(f"chos / plain, {mounts} further mounts, {kind}", ratio, 1.20, " ×"))
    for mounts in MOUNTS:
        least.show(report, mounts, launchers[mounts])
    ratios = [ours[mounts][CHOS].paired(ours[mounts][PLAIN]) for mounts in MOUNTS]
    report.criteria.append(
        Criterion("the same for 0, 200 and 1,000 mounts: largest / smallest", max(ratios) / min(ratios), 1.05)
    )
    report.data["entering"] = {
        str(mounts): {
            **{label: samples.summary() for label, samples in {**others[mounts], **ours[mounts]}.items()},
            **{f"static true: {label}": samples.summary() for label, samples in launchers[mounts].items()},
        }
        for mounts in MOUNTS
    }


_NOTES = (
    "ratio: of the medians. paired: median of the ratios within each round, steadier. Both have to hold.",
    "`true` is the same file everywhere, run by an ordinary user; chroot is a copy that has cap_sys_chroot for that.",
    "chroot and bubblewrap have rounds of their own, with a plain fork+exec in them: they disturb their neighbours.",
)


def _ours(stand: Stand) -> dict[str, list[str]]:
    return {
        PLAIN: [TRUE],
        "the same again": [TRUE],
        "a static program between": [str(stand.tools / "nothing"), TRUE],
        CHOS: ["/usr/bin/chos", TRUE],
        "chos, found in PATH": ["/usr/bin/chos", "true"],
    }


def _others(stand: Stand) -> dict[str, list[str]]:
    commands = {PLAIN: [TRUE], "coreutils chroot": [str(stand.tools / "chroot"), str(TREE), TRUE]}
    bwrap = shutil.which("bwrap")
    if bwrap:
        commands["bubblewrap"] = [
            bwrap,
            "--bind",
            str(TREE),
            "/",
            "--dev-bind",
            "/dev",
            "/dev",
            "--proc",
            "/proc",
            TRUE,
        ]
    return commands


def _add(to: dict[str, Samples], more: dict[str, Samples]) -> None:
    for label, samples in more.items():
        to[label] = to[label] + samples if label in to else samples
