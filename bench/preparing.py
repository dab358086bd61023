"""What preparing costs: time for each environment, for many of them, and kernel memory, which comes back."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from report import Criterion, Report, Samples, Table, spread
from stand import TREE, Stand

MOUNTS = 200


def measure(stand: Stand, report: Report) -> None:
    """See the module. The configuration is the one environment again afterwards."""
    stand.set_mounts(MOUNTS)
    stand.up()
    try:
        _time(stand, report)
        _memory(stand, report)
    finally:
        _configure(stand, 0)
        stand.set_mounts(0)
        stand.up()


def _time(stand: Stand, report: Report) -> None:
    count = stand.count(20, 5)
    python = Samples(tuple(_seconds(stand, "--version") * 1e3 for _ in range(count)))
    one = Samples(tuple(float(str(stand.up("--renew")[0]["seconds"])) * 1e3 for _ in range(count)))
    unchanged = Samples(tuple(_seconds(stand, "up") * 1e3 for _ in range(count)))
    _configure(stand, 20)
    stand.chosctl("down")
    many = []
    for _ in range(stand.count(5, 1)):
        many.append(_seconds(stand, "up") * 1e3)
        stand.chosctl("down")
    twenty = Samples(tuple(many))
    what = {
        "one environment made": one,
        "chosctl --version: Python's own start": python,
        "chosctl up, nothing changed": unchanged,
        "chosctl up, 20 environments, all of it": twenty,
    }
    rows = [
        (label, f"{s.median:.1f}", f"{min(s.values):.1f}", spread(s), str(len(s.values))) for label, s in what.items()
    ]
    report.tables.append(
        Table(f"chosctl up, {MOUNTS} further mounts on the base", ("", "ms", "least", "quartiles", "samples"), rows)
    )
    report.criteria.append(Criterion(f"one environment, {MOUNTS} mounts, beside Python's start", one.median, 10, " ms"))
    report.criteria.append(
        Criterion(f"20 environments × {MOUNTS} mounts, Python's start included", twenty.median / 1e3, 0.35, " s")
    )
    report.data["preparing"] = {label: samples.summary() for label, samples in what.items()}


def _memory(stand: Stand, report: Report) -> None:
    """Kernel memory of 50 environments: mount objects, and what the whole kernel has."""
    count = stand.count(50, 10)
    _configure(stand, count)
    stand.chosctl("up")
    stand.chosctl("down")
    before = _settled()
    stand.chosctl("up")
    mounts = _mounts_inside(stand)
    during = _settled()
    stand.chosctl("down")
    after = _settled()
    rows = [
        (
            key,
            f"{before[key]:.0f}",
            f"{during[key]:.0f}",
            f"{after[key]:.0f}",
            f"{(during[key] - before[key]) / count:.1f}",
            f"{(after[key] - before[key]) / count:.1f}",
        )
        for key in before
    ]
    report.tables.append(
        Table(
            f"Kernel memory of {count} environments, {MOUNTS} further mounts on the base ({mounts} mounts in each)",
            ("", "before", "up", "down", "each", "each, still there"),
            rows,
            ("of the whole kernel: what others do on this machine at the same time is in these numbers too",),
        )
    )
    mount_key = next((key for key in before if key.startswith("mount objects")), None)
    if mount_key:
        left = (after[mount_key] - before[mount_key]) / max(during[mount_key] - before[mount_key], 1)
        report.criteria.append(Criterion("mount objects that `down` does not return", max(left, 0) * 100, 5, " %"))
    report.data["memory"] = {"environments": count, "mounts": mounts, "before": before, "up": during, "down": after}


def _mounts_inside(stand: Stand) -> int:
    command = ["nsenter", f"--mount={stand.pin()}", "cat", "/proc/self/mountinfo"]
    return len(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines())


def _settled() -> dict[str, float]:
    """Mounts are freed some time after the last process or pin is gone: wait until the count stands still."""
    kernel = _kernel()
    for _ in range(20):
        time.sleep(0.5)
        last, kernel = kernel, _kernel()
        if last.get("mount objects") == kernel.get("mount objects"):
            break
    return kernel


def _kernel() -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        for line in Path("/proc/slabinfo").read_text().splitlines():
            words = line.split()
            if words[0] == "mnt_cache":
                found["mount objects"] = float(words[1])
                found["mount objects, kB"] = float(words[1]) * float(words[3]) / 1024
    except OSError:
        pass
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        if name in ("Slab", "SUnreclaim", "Percpu"):
            found[f"{name}, kB"] = float(value.split()[0])
    return found


def _configure(stand: Stand, more: int) -> None:
    """base, and so many further environments; their trees are bind mounts of the root too."""
    lines = [f"base:{TREE}"]
    for i in range(1, more):
        path = TREE.parent / f"tree{i}"
        if not path.exists():
            stand.make_tree(path)
        lines.append(f"env{i}:{path}")
    Path("/etc/chos").write_text("%SHELLS\n" + "\n".join(lines) + "\n")


def _seconds(stand: Stand, *arguments: str) -> float:
    begin = time.monotonic()
    stand.chosctl(*arguments)
    return time.monotonic() - begin
