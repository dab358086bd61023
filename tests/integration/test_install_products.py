"""`chosctl install` for batch and grid systems, with the real products' files and commands where they can be had."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gatekeeper
import gridengine
import pytest
import slurm_cluster
from conftest import BASE_ID, Node, os_id, run

STATE = Path("/var/lib/chos/install")
PLACES = (
    "/etc/slurm",
    "/etc/grid-services",
    "/usr/share/perl5/Globus",
    "/usr/share/globus",
    "/etc/arc.conf",
    "/var/lib/gridengine/default",
)


def chosctl(*words: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    done = run(["chosctl", "install", *words], env={**os.environ, **env})
    assert not check or done.returncode == 0, done
    return done


def contents() -> dict[str, str]:
    """Every file that the products read."""
    found = {}
    for place in map(Path, PLACES):
        for path in [place, *place.rglob("*")]:
            if path.is_file():
                found[str(path)] = path.read_text(errors="replace") + str(path.stat().st_mode) + str(path.stat().st_uid)
    return found


@pytest.fixture(autouse=True)
def put_back(tmp_path: Path) -> Iterator[None]:
    """The products' files as they were, whatever happened."""
    kept = {place: tmp_path / str(number) for number, place in enumerate(PLACES) if Path(place).exists()}
    for place, copy in kept.items():
        subprocess.run(["cp", "-a", place, str(copy)], check=True)
    yield
    for place, copy in kept.items():
        subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)
        subprocess.run(["cp", "-a", str(copy), place], check=True)
    shutil.rmtree(STATE, ignore_errors=True)


def there_and_back(*words: str, **env: str) -> None:
    """Installed: a second time there is nothing to do; undone: as before, to the byte, mode and owner."""
    again = chosctl(*words, **env)
    assert "already installed" in again.stdout, again


def undone(before: dict[str, str], *words: str, **env: str) -> None:
    done = chosctl(*words, "--undo", **env)
    assert not done.stderr, done
    assert contents() == before
    assert list(STATE.iterdir()) == []


def need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (tools/deps batch)")


# --- Slurm --------------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm_conf() -> Path:
    need("srun")
    path = Path("/etc/slurm/slurm.conf")
    path.write_text("ClusterName=test\nSlurmctldHost=node\nNodeName=node\n")
    path.chmod(0o644)
    return path


def test_slurm(slurm_conf: Path) -> None:
    """In the folder that Debian's plugstack.conf includes; srun shows the option."""
    before = contents()
    dry = chosctl("slurm", "--dry-run")
    assert "+required /usr/lib/chos/spank_chos.so" in dry.stdout and contents() == before
    chosctl("slurm")
    assert "--chos=" in run(["srun", "--help"]).stdout
    there_and_back("slurm")
    undone(before, "slurm")
    assert "--chos=" not in run(["srun", "--help"]).stdout


def test_slurm_in_plugstack_conf_itself(slurm_conf: Path) -> None:
    Path("/etc/slurm/plugstack.conf").write_text("# site\n")
    before = contents()
    chosctl("slurm", "--option", "timeout=7", SLURM_CONF=str(slurm_conf))
    assert Path("/etc/slurm/plugstack.conf").read_text().endswith("required /usr/lib/chos/spank_chos.so timeout=7\n")
    undone(before, "slurm")


def test_a_job_of_slurm(two: Node) -> None:
    """A cluster whose configuration is somewhere else: there and back, by its own jobs."""
    if why := slurm_cluster.missing():
        pytest.skip(why)
    cluster = slurm_cluster.Slurm(Path("/opt/slurm-install"))
    show = ("cat", "/etc/os-release")
    try:
        cluster.start(plugin="")
        chosctl("slurm", "--config", str(cluster.conf))
        assert os_id(cluster.srun(*show, env={"CHOS": "two"}).stdout) == "ID=two"
        chosctl("slurm", "--undo", "--config", str(cluster.conf))
        assert os_id(cluster.srun(*show, env={"CHOS": "two"}).stdout) == BASE_ID
    finally:
        cluster.stop()


@pytest.mark.parametrize("kind", ["text", "another library"])
def test_a_plugin_that_slurm_does_not_load(slurm_conf: Path, kind: str) -> None:
    """`required` in plugstack.conf: it would end every job. srun tries it with a copy."""
    plugin = Path("/usr/lib/chos/spank_chos.so")
    content, before = plugin.read_bytes(), contents()
    try:
        plugin.unlink()
        if kind == "text":
            plugin.write_text("no plugin\n")
        else:
            shutil.copy(next(Path("/").glob("lib*/*/libz.so.1")), plugin)
        done = chosctl("slurm", check=False)
        assert done.returncode == 1 and "does not work" in done.stderr, done
        assert contents() == before
    finally:
        plugin.unlink()
        plugin.write_bytes(content)
        plugin.chmod(0o644)


def test_a_plugstack_that_slurm_does_not_read(slurm_conf: Path) -> None:
    """What was written has no effect, so it is taken back."""
    Path("/etc/slurm/more.conf").write_text("PlugStackConfig=/etc/slurm/other.conf\n")
    slurm_conf.write_text(slurm_conf.read_text() + "Include more.conf\n")
    before = contents()
    done = chosctl("slurm", check=False)
    assert done.returncode == 1 and "shows no --chos" in done.stderr, done
    assert contents() == before


@pytest.mark.parametrize("kind", ["link", "writable", "directory", "fifo"])
def test_an_unsafe_plugstack(slurm_conf: Path, kind: str) -> None:
    path, shadow = Path("/etc/slurm/plugstack.conf"), Path("/etc/shadow").read_bytes()
    path.unlink()
    if kind == "link":
        path.symlink_to("/etc/shadow")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("")
        path.chmod(0o666)
    done = chosctl("slurm", check=False)
    assert done.returncode == 1 and str(path) in done.stderr and len(done.stderr.splitlines()) > 1, done
    assert Path("/etc/shadow").read_bytes() == shadow


# --- Grid Engine --------------------------------------------------------------------------------------------------


def test_grid_engine() -> None:
    """Real qmaster: the queue's starter_method, and CHOS for every job; a queue that has a starter is left alone."""
    with gridengine.running() as cell:
        cell.fresh()
        before, queue = contents(), cell.command("qconf", "-sq", "all.q")
        dry = json.loads(chosctl("sge", "--dry-run", "--json").stdout)
        assert [change["object"] for change in dry["changes"]] == [
            "starter_method of queue all.q",
            "/var/lib/gridengine/default/common/sge_request",
        ]
        chosctl("sge")
        assert "/usr/lib/chos/starters/sge/starter_method" in cell.command("qconf", "-sq", "all.q")
        there_and_back("sge")
        undone(before, "sge")
        assert cell.command("qconf", "-sq", "all.q") == queue

        cell.command("qconf", "-mattr", "queue", "starter_method", "/site/starter", "all.q")
        for words in ((), ("--queue", "all.q")):
            done = chosctl("sge", *words, check=False)
            assert done.returncode == 1 and "has a starter_method already" in done.stderr, done
        assert "no such queue" in chosctl("sge", "--queue", "nothing", check=False).stderr
        assert contents() == before
        cell.command("qconf", "-mattr", "queue", "starter_method", "NONE", "all.q")


def test_a_job_of_grid_engine(two: Node) -> None:
    """A user's job, in the OS that its submitter named."""
    output = Path("/tmp/job-os")
    output.unlink(missing_ok=True)
    with gridengine.running() as cell:
        cell.fresh()
        chosctl("sge")
        words = ["qsub", "-sync", "y", "-b", "y", "-j", "y", "-o", str(output), "cat", "/etc/os-release"]
        done = two.run(words, env={**cell.environment, "CHOS": "two"})
        assert os_id(output.read_text()) == "ID=two", done
        chosctl("sge", "--undo")


def test_grid_engine_that_does_not_answer() -> None:
    """No qmaster: an error that says so, and nothing changes; the same for undo."""
    with gridengine.running() as cell:
        cell.fresh()
        chosctl("sge")
        installed = contents()
    for words in ((), ("--undo",)):
        done = chosctl("sge", *words, check=False)
        assert done.returncode == 1 and "qconf" in done.stderr, done
        assert contents() == installed
    with gridengine.running():
        chosctl("sge", "--undo")


# --- Globus, ARC --------------------------------------------------------------------------------------------------


def test_globus() -> None:
    """perl loads the adapter that comes in, and the gatekeeper's own tool knows the service still."""
    need("globus-gatekeeper-admin")
    gatekeeper.add_service("fork", "fork")
    gatekeeper.add_service("sge", "sge")
    before = contents()
    chosctl("globus")
    assert "-type chos_fork" in Path("/etc/grid-services/available/jobmanager-fork-poll").read_text()
    rules = Path("/usr/share/globus/globus_gram_job_manager")
    assert (rules / "chos_sge.rvf").read_text() == (rules / "sge.rvf").read_text()
    loaded = run(["perl", "-e", 'require Globus::GRAM::JobManager::chos_fork; print "loaded"'])
    assert loaded.stdout == "loaded", loaded
    assert "jobmanager-fork" in run(["globus-gatekeeper-admin", "-l"]).stdout
    there_and_back("globus")
    undone(before, "globus")


def test_arc() -> None:
    """Real arcctl: the runtime environment is known, and is given to every job."""
    need("arcctl")
    before, listed = contents(), run(["arcctl", "rte", "list"]).stdout
    dry = chosctl("arc", "--dry-run")
    assert "+runtimedir = /usr/lib/chos/starters/arc" in dry.stdout
    chosctl("arc")
    assert re.search(r"ENV/CHOS +\(user, (enabled, )?default\)", run(["arcctl", "rte", "list"]).stdout)
    there_and_back("arc")
    undone(before, "arc")
    assert run(["arcctl", "rte", "list"]).stdout == listed


# --- what cannot be had -------------------------------------------------------------------------------------------


def test_lsf() -> None:
    """Files of LSF's administrator: installed and undone as root, also by --config and after lsf.conf has gone."""
    subprocess.run(["useradd", "-r", "lsfadmin"], check=False, capture_output=True)
    top = Path("/opt/openlava-4.0/etc")
    top.mkdir(parents=True)
    queues, conf = top / "lsb.queues", top / "lsf.conf"
    try:
        queues.write_text("Begin Queue\nQUEUE_NAME = normal\nEnd Queue\n")
        conf.write_text(f"LSF_CONFDIR={top}\nLSB_CONFDIR={top}\n")
        for path in (top, queues, conf):
            shutil.chown(path, "lsfadmin")
        before = queues.read_text()
        for words, gone in ((), False), (("--config", str(top)), False), ((), True), (("--config", str(top)), True):
            assert "badmin reconfig" in chosctl("lsf", *words).stdout
            assert "chos-inside" in queues.read_text() and queues.owner() == "lsfadmin"
            if gone:
                conf.rename(top / "gone.conf")
            assert "taken back" in chosctl("lsf", *words, "--undo").stdout
            assert queues.read_text() == before and queues.owner() == "lsfadmin"
            if gone:
                (top / "gone.conf").rename(conf)
        old = 'JOB_STARTER = /usr/lib/chos/starters/lsf/job_starter "%USRCMD"\n'
        queues.write_text(before.replace("End", f"{old}End"))
        undone = chosctl("lsf", "--undo")
        assert "still there, by other hands" in undone.stderr and old in queues.read_text()
        chosctl("lsf")
        assert old not in queues.read_text() and queues.read_text().count("JOB_STARTER") == 1
    finally:
        subprocess.run(["rm", "-r", str(top.parent)], check=True)


@pytest.mark.parametrize("product", ["slurm", "sge", "lsf", "torque", "openpbs", "htcondor", "globus", "arc"])
def test_lines_for_sites_that_manage_them_elsewhere(product: str) -> None:
    """Printed for anybody, also where the product is not."""
    text = run(["setpriv", "--reuid", "alice", "--clear-groups", "chosctl", "install", product, "--print"])
    assert text.returncode == 0 and text.stdout.startswith("# ") and " /usr/" in text.stdout.replace("'", " "), text
    as_json = json.loads(chosctl(product, "--print", "--json").stdout)
    assert all(entry["where"] and entry["text"] in text.stdout for entry in as_json)
