"""What spank_chos.so costs in a real Slurm: added to `srun true`, by itself, and a thousand jobs in two environments.

The cluster is that of the tests. The environment's tree is the node's own root, so the same command runs everywhere.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from report import Criterion, Report, Samples, Table, spread
from stand import TRUE, Stand

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/integration"))
from slurm_cluster import PLUGIN, Slurm, missing

USER = "bench"
_FIRST, _AGAIN, _NOBODY, _OPTION, _FILE = (
    "without the plugin", "the same again", "nobody chooses", "--chos=base", "~/.chos",
)  # fmt: skip


def measure(stand: Stand, report: Report) -> None:
    """See the module."""
    if why := missing():
        report.tables.append(Table("Slurm", ("",), [], (f"not measured: {why}",)))
        return
    stand.up()
    cluster = Slurm(Path("/srv/slurm-bench"), cpus=32)
    cluster.start()
    try:
        _tasks(stand, report, cluster)
        _hooks(stand, report, cluster)
        _array(stand, report, cluster)
    finally:
        cluster.stop(USER)


def _file(text: str) -> None:
    path = Path("/home/bench/.chos")
    if text:
        path.write_text(text)
    else:
        path.unlink(missing_ok=True)


def _srun(cluster: Slurm, *arguments: str) -> float:
    """One of them; its time in microseconds."""
    start = time.perf_counter()
    done = cluster.srun(*arguments, TRUE, user=USER)
    took = (time.perf_counter() - start) * 1e6
    assert done.returncode == 0, done.stderr
    return took


def _tasks(stand: Stand, report: Report, cluster: Slurm) -> None:
    times: dict[str, list[float]] = {label: [] for label in (_FIRST, _AGAIN, _NOBODY, _OPTION, _FILE)}
    for _ in range(stand.count(100, 10)):
        for label, took in times.items():
            cluster.set_plugin("" if label in (_FIRST, _AGAIN) else "required")
            _file("base\n" if label == _FILE else "")
            took.append(_srun(cluster, *(["--chos=base"] if label == _OPTION else [])))
    samples = {label: Samples(tuple(took)) for label, took in times.items()}
    base = samples[_FIRST]
    rows = [
        (label, f"{x.median / 1000:.2f}", _quartiles(x), f"{x.added(base) / 1000:+.2f}", str(len(x.values)))
        for label, x in samples.items()
    ]
    report.tables.append(Table("srun true", ("", "ms", "quartiles", "added", "samples"), rows))
    report.data["srun"] = {label: x.summary() for label, x in samples.items()}


def _quartiles(samples: Samples) -> str:
    low, high = samples.quartiles
    return f"{low / 1000:.2f} – {high / 1000:.2f}"


def _hooks(stand: Stand, report: Report, cluster: Slurm) -> None:
    """In slurmstepd, by a plugin around the plugin (spank_timed.c)."""
    timed, times = stand.tools / "spank_timed.so", cluster.top / "times"
    if not timed.exists():
        return
    times.touch(0o600)
    cluster.plugstack.write_text(f"required {timed} {times} {PLUGIN}\n")
    rows, data = [], {}
    for label in (_NOBODY, _OPTION, _FILE):
        times.write_text("")
        _file("base\n" if label == _FILE else "")
        for _ in range(stand.count(100, 10)):
            _srun(cluster, *(["--chos=base"] if label == _OPTION else []))
        lines = [line.split() for line in times.read_text().splitlines()]
        before, within = (Samples(tuple(int(line[i]) / 1000 for line in lines)) for i in (0, 1))
        both = Samples(tuple(a + b for a, b in zip(before.values, within.values)))
        medians = (f"{x.median:.1f}" for x in (before, within, both))
        rows.append((label, *medians, spread(both), str(len(lines))))
        data[label] = {"before": before.summary(), "task": within.summary()}
        report.criteria.append(Criterion(f"Slurm plugin, a task, {label}", both.median / 1000, 0.2, " ms"))
    note = "step: once for all tasks of a step on a node, before they are made. task: in the process of each."
    columns = ("", "step, µs", "task, µs", "both, µs", "quartiles", "samples")
    report.tables.append(Table("The Slurm plugin by itself", columns, rows, (note,)))
    report.data["spank"] = data


def _array(stand: Stand, report: Report, cluster: Slurm) -> None:
    """Two arrays, whose jobs are begun in turn; each job writes where it is."""
    stand.make_tree(Path("/os/other"))
    Path("/etc/chos").write_text("%SHELLS\nbase:/os/base\nother:/os/other\n")
    stand.up()
    cluster.set_plugin("required")
    half = stand.count(500, 50)
    names = ("base", "other")
    start = time.perf_counter()
    for name in names:
        where = "readlink /proc/self/ns/mnt"
        cluster.sbatch(where, f"--array=0-{half - 1}", "--nice=0", f"--output={name}-%a", user=USER, env={"CHOS": name})
    cluster.emptied(limit=600)
    took = time.perf_counter() - start
    wrong = 0
    for name in names:
        pin = f"mnt:[{Path(stand.pin(name)).stat().st_ino}]\n"
        found = [path.read_text() for path in (cluster.top / "jobs").glob(f"{name}-*")]
        wrong += half - sum(text == pin for text in found)
    rows = [(str(2 * half), f"{took:.0f}", str(wrong))]
    report.tables.append(Table("Two job arrays in two environments", ("jobs", "s", "failed or elsewhere"), rows))
    report.criteria.append(Criterion(f"of {2 * half} jobs failed or were elsewhere", wrong, 0))
    report.data["array"] = {"jobs": 2 * half, "seconds": took, "wrong": wrong}
