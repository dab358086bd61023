"""What `chosctl install` does to the configuration of each product, on files as sites have them.

Products whose daemons can be had are tried in tests/integration/test_install_products.py as well.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chosns.errors import ChosError
from chosns.integrate import engine, lsb_queues
from chosns.integrate.model import ChangeList, FileEdit, Machine, Request
from chosns.integrate.products import PRODUCTS
from chosns.system.installed import library, starter

LSB_QUEUES = """\
# Queues of the site
Begin Queue
QUEUE_NAME   = normal
PRIORITY     = 30
DESCRIPTION  = For normal low priority jobs, \\
               day and night
End Queue

Begin Queue
  QUEUE_NAME = night
End   Queue
Begin Queue
QUEUE_NAME = owners
#JOB_STARTER = /old/starter
End Queue
"""
COMMENT = "# CHOS: jobs run in their user's environment. chosctl install {} --undo\n"
LSF_LINE = (
    f'JOB_STARTER = [ "$1" = chos-inside ] && shift || exec {starter("lsf/job_starter")} --job-file "$0" || exit 125;\n'
)
LSF_OLD = f'JOB_STARTER = {starter("lsf/job_starter")} "%USRCMD"\n'  # of the first release
LSF_ADDED = COMMENT.format("lsf") + LSF_LINE
GRAM = "stderr_log,local_cred - /usr/sbin/globus-job-manager globus-job-manager -conf /etc/globus/gram.conf -type {}\n"
LSF = {"/etc/lsf.conf": "LSB_CONFDIR=/shared/lsf/conf\n", "/shared/lsf/conf/cluster1/configdir/lsb.queues": LSB_QUEUES}
GLOBUS = {
    "/usr/share/perl5/Globus/GRAM/JobManager/fork.pm": "1;\n",
    "/usr/share/perl5/Globus/GRAM/JobManager/sge.pm": "1;\n",
    "/usr/share/globus/globus_gram_job_manager/sge.rvf": "Attribute: queue\n",
    "/etc/grid-services/available/jobmanager-fork-poll": GRAM.format("fork"),
    "/etc/grid-services/jobmanager-old": "# by hand\n" + GRAM.format("sge -extra"),
    "/etc/grid-services/commented": "#" + GRAM.format("sge"),
}


@dataclass
class Site:
    """A root directory with CHOS, and the files of a product."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)
        for directory, _, _ in os.walk(self.root):
            os.chmod(directory, 0o755)

    def read(self) -> dict[str, str]:
        """Every file but ours."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and "chos/" not in str(path)]
        return {f"/{path.relative_to(self.root)}": path.read_text() for path in paths}

    def machine(self, product: str, request: Request) -> Machine:
        return PRODUCTS[product].machine(Machine(str(self.root), (os.getuid(), 0), self.env), request)

    def plan(self, product: str, **words: object) -> ChangeList:
        request = Request(**words)  # type: ignore[arg-type]
        return PRODUCTS[product].plan(self.machine(product, request), request)

    def install(self, product: str, **words: object) -> dict[str, str]:
        """The files that differ afterwards; installing again changes nothing, and undoing everything."""
        before = self.read()
        request = Request(**words)  # type: ignore[arg-type]
        machine = self.machine(product, request)
        plan = self.plan(product, **words)
        engine.install(PRODUCTS[product], machine, plan)
        after = self.read()
        again = self.plan(product, **words)
        assert not again.changes and again.present
        undo = engine.plan_undo(PRODUCTS[product], machine)
        assert not undo.notes
        engine.undo(PRODUCTS[product], machine, undo)
        assert self.read() == before
        return {name: text for name, text in after.items() if before.get(name) != text}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    names = ["lsf/job_starter", "htcondor/job_wrapper", "globus/chos.pm"]
    site.write({starter(name): "#!/bin/sh\n" for name in names} | {f"{library()}/spank_chos.so": "no plugin\n"})
    site.write({"/usr/bin/chos-job-starter": "", "/usr/bin/pam_job_starter": ""})
    site.write({"/usr/share/chos/pam.d/jobstarter": "session required pam_chos.so\n"})
    (tmp_path / "var/lib").mkdir(parents=True)
    return site


def test_lsf(site: Site) -> None:
    """In every queue, at its end, whatever is before."""
    site.write(LSF)
    (text,) = site.install("lsf").values()
    assert text == LSB_QUEUES.replace("End Queue", LSF_ADDED + "End Queue").replace(
        "End   Queue", LSF_ADDED + "End   Queue"
    )


def test_lsf_in_some_queues(site: Site) -> None:
    site.write(LSF)
    (text,) = site.install("lsf", queues=("night",)).values()
    assert text == LSB_QUEUES.replace("End   Queue", LSF_ADDED + "End   Queue")
    with pytest.raises(ChosError, match="no such queue"):
        site.plan("lsf", queues=("nothing",))


def test_lsf_one_queue_after_the_other(site: Site) -> None:
    """What was done to a file in two steps is undone in one, also when it was edited in between."""
    site.write(LSF)
    name = next(name for name in LSF if name.endswith("queues"))
    path = site.root / name.lstrip("/")
    for queue in ("night", "normal"):
        machine = site.machine("lsf", Request())
        engine.install(PRODUCTS["lsf"], machine, site.plan("lsf", queues=(queue,)))
        path.write_text(path.read_text() + f"# edited after {queue}\n")
    assert path.read_text().count(LSF_LINE) == 2
    engine.undo(PRODUCTS["lsf"], machine, engine.plan_undo(PRODUCTS["lsf"], machine))
    assert path.read_text() == LSB_QUEUES + "# edited after night\n# edited after normal\n"


def test_lsf_where_a_starter_is_set(site: Site) -> None:
    site.write(LSF)
    name = next(name for name in LSF if name.endswith("queues"))
    site.write({name: LSB_QUEUES.replace("#JOB_STARTER", "JOB_STARTER")})
    with pytest.raises(ChosError, match="is set already") as error:
        site.plan("lsf")
    assert error.value.object.endswith("lsb.queues:14")
    assert site.plan("lsf", queues=("normal", "night")).changes


@pytest.mark.parametrize("files", [{}, {"/etc/lsf.conf": ""}, {"/etc/lsf.conf": "LSB_CONFDIR=/shared/lsf/conf\n"}])
def test_lsf_that_is_not_found(site: Site, files: dict[str, str]) -> None:
    """What was looked for is said, and how to say where it is."""
    site.write(files)
    with pytest.raises(ChosError) as error:
        site.plan("lsf")
    assert "--config LSB.QUEUES" in error.value.hint
    site.write({"/here/queues": LSB_QUEUES})
    assert site.plan("lsf", config="/here/queues").changes


def test_lsf_two_clusters(site: Site) -> None:
    site.write({**LSF, "/shared/lsf/conf/cluster2/configdir/lsb.queues": LSB_QUEUES})
    with pytest.raises(ChosError, match="leads to 2 files"):
        site.plan("lsf")


def test_lsf_line_of_the_first_release(site: Site) -> None:
    """It is ours: exchanged where it is, and gone afterwards, whether or not the file was edited in between."""
    name = next(name for name in LSF if name.endswith("queues"))
    path = site.root / name.lstrip("/")
    old = LSB_QUEUES.replace("End Queue", COMMENT.format("lsf") + LSF_OLD + "End Queue")
    for edited in ("", "# edited\n"):
        site.write({**LSF, name: LSB_QUEUES})
        machine = site.machine("lsf", Request())
        lines = tuple((COMMENT.format("lsf") + LSF_OLD).splitlines() * 2)
        engine.install(PRODUCTS["lsf"], machine, ChangeList((FileEdit(name, LSB_QUEUES, old, lines),)))
        plan = site.plan("lsf")
        assert not plan.present and PRODUCTS["lsf"].remains(machine, Request())
        engine.install(PRODUCTS["lsf"], machine, plan)
        assert path.read_text() == LSB_QUEUES.replace("End Queue", LSF_ADDED + "End Queue").replace(
            "End   Queue", LSF_ADDED + "End   Queue"
        )
        path.write_text(path.read_text() + edited)
        undo = engine.plan_undo(PRODUCTS["lsf"], machine)
        assert not undo.notes
        engine.undo(PRODUCTS["lsf"], machine, undo)
        assert path.read_text() == LSB_QUEUES + edited


@pytest.mark.parametrize("word", ['"%USRCMD"', "%USRCMD", "", "  '%USRCMD'", '"%USRCMD"   # as the page said'])
def test_lsf_lines_that_were_copied_by_hand(site: Site, word: str) -> None:
    """Of which nothing is recorded. They are exchanged too; undo gives back the file as it was, and says so."""
    name = next(name for name in LSF if name.endswith("queues"))
    hand = f"job_starter={starter('lsf/job_starter')} {word}\n"
    site.write({**LSF, name: LSB_QUEUES.replace("#JOB_STARTER = /old/starter\n", hand)})
    (text,) = site.install("lsf", queues=("owners",)).values()
    assert text == LSB_QUEUES.replace("#JOB_STARTER = /old/starter\n", LSF_LINE)
    assert PRODUCTS["lsf"].remains(site.machine("lsf", Request()), Request()) == [f"{name}:14 (owners)"]


@pytest.mark.parametrize(
    "files",
    [
        {
            "/opt/openlava-4.0/etc/lsf.conf": "LSB_CONFDIR=/opt/openlava-4.0/etc\n",
            "/opt/openlava-4.0/etc/lsb.queues": "",
        },
        {"/opt/openlava/etc/lsf.conf": 'LSF_CONFDIR="/opt/openlava/etc" # all\n', "/opt/openlava/etc/lsb.queues": ""},
        {"/etc/lsf.conf": "LSB_CONFDIR=/shared/conf\n", "/shared/conf/lsb.queues": ""},
        {"/etc/lsf.conf": "LSB_CONFDIR=/shared/conf/c1\n", "/shared/conf/c1/configdir/lsb.queues": ""},
        {"/etc/lsf.conf": "LSB_CONFDIR=/shared/conf\n", "/shared/conf/c1/lsb.queues": ""},
        {"/usr/local/lsf/conf/lsf.conf": "LSB_CONFDIR=/shared/conf\n", "/shared/conf/c1/configdir/lsb.queues": ""},
    ],
)
def test_lsf_layouts(site: Site, files: dict[str, str]) -> None:
    """LSF's, openlava's, and flat ones; found by themselves and by `--config` of lsf.conf's directory or the file's."""
    conf, queues = files
    site.write({**files, queues: LSB_QUEUES})
    assert list(site.install("lsf")) == [queues]
    assert list(site.install("lsf", config=os.path.dirname(conf))) == [queues]
    assert list(site.install("lsf", config=os.path.dirname(queues))) == [queues]
    assert list(site.install("lsf", config=queues)) == [queues]


def test_lsf_several_versions(site: Site) -> None:
    conf = "LSB_CONFDIR=/opt/openlava-{}/etc\n"
    for version in ("2.2", "4.0"):
        directory = f"/opt/openlava-{version}/etc"
        site.write({f"{directory}/lsf.conf": conf.format(version), f"{directory}/lsb.queues": LSB_QUEUES})
    with pytest.raises(ChosError, match="several") as error:
        site.plan("lsf")
    assert "LSF_ENVDIR" in error.value.hint
    site.env["LSF_ENVDIR"] = "/opt/openlava-4.0/etc"
    assert list(site.install("lsf")) == ["/opt/openlava-4.0/etc/lsb.queues"]


def test_lsf_of_its_administrator_is_undone(site: Site) -> None:
    """Who owns lsb.queues is asked of the file that was changed: lsf.conf may have moved since, or be gone."""
    site.write(LSF)
    name = next(name for name in LSF if name.endswith("queues"))
    machine = site.machine("lsf", Request())
    engine.install(PRODUCTS["lsf"], machine, site.plan("lsf"))
    path = site.root / name.lstrip("/")
    for owned in (path, path.parent):
        os.chown(owned, 4242, 4242)
    fresh = Machine(str(site.root), (os.getuid(), 0), site.env)
    with pytest.raises(ChosError, match="belongs to|owner|4242"):
        engine.plan_undo(PRODUCTS["lsf"], fresh)
    fresh = PRODUCTS["lsf"].machine_of(fresh, engine.changed(PRODUCTS["lsf"], fresh))
    engine.undo(PRODUCTS["lsf"], fresh, engine.plan_undo(PRODUCTS["lsf"], fresh))
    assert path.read_text() == LSB_QUEUES


# Files and habits of sites and of packages; what mbatchd makes of each is in its getNextLineD_ and do_Queues.
_FOREIGN = {
    "lower case": ("begin queue\nqueue_name = a\nend queue\n", ["a"]),
    "tabs and blanks": ("  Begin \t Queue  # x\nQUEUE_NAME\t=\ta\t# normal\n\tEnd\tQueue\n", ["a"]),
    "a comment that ends in a backslash": ("Begin Queue\nQUEUE_NAME=a\n#USERS = b, \\\nEnd Queue\n", ["a"]),
    "a comment behind the name, without a blank": ("Begin Queue\nQUEUE_NAME=a#b\nEnd Queue\n", ["a"]),
    "queues that are commented out": (
        "#Begin Queue\n#QUEUE_NAME = x\n#End Queue\nBegin Queue\nQUEUE_NAME=a\nEnd Queue\n",
        ["a"],
    ),
    "a name on the next line": ("Begin Queue\nQUEUE_NAME = \\\n  a\nEnd Queue\n", ["a"]),
    "a starter that is text of a description": (
        "Begin Queue\nQUEUE_NAME = a\nDESCRIPTION = see \\\nJOB_STARTER = x\nEnd Queue\n",
        ["a"],
    ),
    "a section that is no queue": ("Begin Queue\nQUEUE_NAME=a\nEnd Queue\nBegin Host\nQUEUE_NAME=b\nEnd Host\n", ["a"]),
    "no line feed at the end": ("Begin Queue\nQUEUE_NAME=a\nEnd Queue", ["a"]),
    "lines of DOS": ("Begin Queue\r\nQUEUE_NAME=a\r\nEnd Queue\r\n", ["a"]),
    "a quotation mark before a number sign": ('Begin Queue\nQUEUE_NAME=a\nPRE_EXEC = "/x #1" # y\nEnd Queue\n', ["a"]),
    "conditions of LSF 10": ("#if time(5:18-8)\nBegin Queue\nQUEUE_NAME=a\nEnd Queue\n#endif\n", ["a"]),
}


@pytest.mark.parametrize("habit", _FOREIGN)
def test_lsf_files_of_others(site: Site, habit: str) -> None:
    text, names = _FOREIGN[habit]
    site.write({"/q/lsb.queues": text})
    assert [queue.name for queue in lsb_queues.queues(text.splitlines(), "q")] == names
    (after,) = site.install("lsf", config="/q").values()
    assert after.count(LSF_LINE) == len(names)
    (read,) = [queue.starter for queue in lsb_queues.queues(after.splitlines(), "q")]
    assert read and f"JOB_STARTER = {read.value}\n" == LSF_LINE


@pytest.mark.parametrize(
    "line",
    [
        'JOB_STARTER = csh -c "%USRCMD;sleep 10"',
        "Job_Starter=/usr/local/lsf/etc/job_starter '%USRCMD'",
        "  JOB_STARTER = xterm -e",
        "JOB_STARTER = augmentstarter",
        "JOB_STARTER = \\\n  /site/starter",
    ],
)
def test_lsf_starters_of_others(site: Site, line: str) -> None:
    """From manuals and scripts: never overwritten, and never joined by a second one."""
    site.write({"/q/lsb.queues": f"Begin Queue\nQUEUE_NAME = a\n{line}\nEnd Queue\n"})
    with pytest.raises(ChosError, match="is set already") as error:
        site.plan("lsf", config="/q")
    assert error.value.object == "/q/lsb.queues:3"


def test_lsf_queues_in_other_files(site: Site) -> None:
    site.write({"/q/lsb.queues": '#INCLUDE "/q/more.queues"\nBegin Queue\nQUEUE_NAME = a\nEnd Queue\n'})
    assert "/q/more.queues" in site.plan("lsf", config="/q").notes[0]


def test_lsf_starters_of_application_profiles(site: Site) -> None:
    """bsub -app: that one is taken instead, so the administrator has to know."""
    site.write({"/q/lsb.queues": LSB_QUEUES, "/q/lsb.applications": f"{LSF_LINE}#JOB_STARTER = /a\n job_starter=/b \n"})
    (note,) = site.plan("lsf", config="/q").notes
    assert note.startswith("/q/lsb.applications") and note.endswith(": /b")


def test_torque(site: Site) -> None:
    config = "$logevent 255\n$clienthost server"
    site.write({"/var/spool/torque/mom_priv/config": config})
    (text,) = site.install("torque").values()
    assert text.startswith(config + "\n# CHOS") and text.endswith("\n$job_starter /usr/bin/chos-job-starter\n")
    with pytest.raises(ChosError, match="one option"):
        site.plan("torque", options=("nonsense",))


def test_torque_without_a_configuration(site: Site) -> None:
    (site.root / "srv/mom_priv").mkdir(parents=True)
    site.write({})
    site.env["PBS_HOME"] = "/srv"
    assert list(site.install("torque")) == ["/srv/mom_priv/config"]


def test_torque_where_a_starter_is_set(site: Site) -> None:
    site.write({"/var/spool/torque/mom_priv/config": "$job_starter /site/starter\n"})
    with pytest.raises(ChosError, match="is set already"):
        site.plan("torque")


def test_htcondor(site: Site) -> None:
    site.write({"/etc/condor/config.d/00-site.conf": "# USER_JOB_WRAPPER = /old\nNUM_CPUS = 2\n"})
    assert site.install("htcondor", config="/etc/condor/config.d") == {
        "/etc/condor/config.d/90-chos": COMMENT.format("htcondor")
        + f"USER_JOB_WRAPPER = {starter('htcondor/job_wrapper')}\n"
    }


@pytest.mark.parametrize("name", ["00-site.conf", "90-chos", "99"])
def test_htcondor_where_a_wrapper_is_set(site: Site, name: str) -> None:
    site.write({f"/etc/condor/config.d/{name}": "user_job_wrapper=/site/wrapper\n"})
    with pytest.raises(ChosError, match="is set already"):
        site.plan("htcondor", config="/etc/condor/config.d")


def test_globus(site: Site) -> None:
    """An adapter for each job manager that there is; its line names it, and comes back."""
    site.write(GLOBUS)
    (site.root / "etc/grid-services/jobmanager").symlink_to("available/jobmanager-fork-poll")
    changed = site.install("globus")
    assert changed["/etc/grid-services/available/jobmanager-fork-poll"] == GRAM.format("chos_fork")
    assert changed["/etc/grid-services/jobmanager-old"] == "# by hand\n" + GRAM.format("chos_sge -extra")
    assert changed["/usr/share/globus/globus_gram_job_manager/chos_sge.rvf"] == "Attribute: queue\n"
    assert len(changed) == 6, "these, an adapter, and what the link leads to"
    adapter = changed["/usr/share/perl5/Globus/GRAM/JobManager/chos_sge.pm"]
    assert adapter == f"require '{starter('globus/chos.pm')}';\nGlobus::GRAM::CHOS::adapt('sge');\n"


def test_globus_edited_since(site: Site) -> None:
    site.write(GLOBUS)
    machine = site.machine("globus", Request())
    engine.install(PRODUCTS["globus"], machine, site.plan("globus", services=("jobmanager-old",)))
    path = site.root / "etc/grid-services/jobmanager-old"
    path.write_text("# new\n" + path.read_text())
    engine.undo(PRODUCTS["globus"], machine, engine.plan_undo(PRODUCTS["globus"], machine))
    assert path.read_text() == "# new\n# by hand\n" + GRAM.format("sge -extra")


def test_globus_one_job_manager_back(site: Site) -> None:
    site.write(GLOBUS)
    machine, request = site.machine("globus", Request()), Request(services=("jobmanager-old",))
    engine.install(PRODUCTS["globus"], machine, site.plan("globus"))
    engine.undo(PRODUCTS["globus"], machine, engine.plan_undo(PRODUCTS["globus"], machine, request), request)
    assert "chos_sge" not in (site.root / "etc/grid-services/jobmanager-old").read_text()
    assert "chos_fork" in (site.root / "etc/grid-services/available/jobmanager-fork-poll").read_text()


def test_globus_without_an_adapter(site: Site) -> None:
    site.write({**GLOBUS, "/etc/grid-services/jobmanager-x": GRAM.format("pbs")})
    with pytest.raises(ChosError, match="has no adapter"):
        site.plan("globus")


def test_slurm_beside_slurm_conf(site: Site) -> None:
    site.write({"/etc/slurm/slurm.conf": "ClusterName=x\n"})
    assert [change.name for change in site.plan("slurm").changes] == ["/etc/slurm/plugstack.conf"]
    site.write({"/etc/slurm/slurm.conf": "ClusterName=x\nplugstackconfig = /shared/stack # ours\n"})
    assert [change.name for change in site.plan("slurm").changes] == ["/shared/stack"]
    site.write({"/shared/stack": f"optional {library()}/spank_chos.so\n"})
    assert site.plan("slurm").present == ("/shared/stack:1",)
    site.write({"/shared/stack": "required /else/spank_chos.so\n"})
    with pytest.raises(ChosError, match="is set already"):
        site.plan("slurm")


def test_slurm_in_a_folder(site: Site) -> None:
    """Where plugstack.conf includes a folder, a file of our own is in it, whatever it is called."""
    site.write(
        {"/etc/slurm/slurm.conf": "", "/etc/slurm/plugstack.conf": "include /etc/slurm/plugstack.conf.d/*.conf\n"}
    )
    assert [change.name for change in site.plan("slurm").changes] == ["/etc/slurm/plugstack.conf"]
    (site.root / "etc/slurm/plugstack.conf.d").mkdir(mode=0o755)
    assert [change.name for change in site.plan("slurm").changes] == ["/etc/slurm/plugstack.conf.d/chos.conf"]
    site.write({"/etc/slurm/plugstack.conf.d/other.conf": f"# ours\nrequired {library()}/spank_chos.so\n"})
    assert site.plan("slurm").present == ("/etc/slurm/plugstack.conf.d/other.conf:2",)


@pytest.mark.parametrize("file", ["plugstack.conf", "plugstack.conf.d/site.conf"])
def test_slurm_with_other_options(site: Site, file: str) -> None:
    """Options that are asked for and not there are no "already installed", also behind an include."""
    site.write({"/etc/slurm/slurm.conf": "", "/etc/slurm/plugstack.conf": "include plugstack.conf.d/*\n"})
    site.write({f"/etc/slurm/{file}": f"required {library()}/spank_chos.so timeout=7\n"})
    for options in ((), ("timeout=7",)):
        assert site.plan("slurm", options=options).present == (f"/etc/slurm/{file}:1",)
    with pytest.raises(ChosError, match="other options: timeout=7") as error:
        site.plan("slurm", options=("timeout=8",))
    assert error.value.object == f"/etc/slurm/{file}:1" and "--undo" in error.value.hint


@pytest.mark.parametrize(
    ("product", "word"),
    [
        *(
            ("pam", word)
            for word in ("onerr=dney", "onerr", "debug=1", "timeout=0", "timeout=601", "timeout=5s", "x=1")
        ),
        *(("pam", word) for word in ("onerr=dney", "onerr", "debug=1", "timeout=0", "timeout=601", "timeout=5s", "")),
        *(("pam", word) for word in ("user_conf_file=/etc/x", "user_conf_file=", "user_conf_file=a b", "x=1")),
        *(("pam", word) for word in ("user_conf_file=a#b", "user_conf_file=a\nsession", "debug\n")),
        ("pam", "fail_to_default=2"),
        *(("slurm", word) for word in ("debug", "onerr=deny", "submit_check=", "timeout=\u0665")),
    ],
)
def test_options_that_the_module_would_not_know(site: Site, product: str, word: str) -> None:
    """Refused before anything names them: with them every session or job would fail."""
    with pytest.raises(ChosError, match="no option") as error:
        PRODUCTS[product].snippets(Request(options=("timeout=3", word)))
    assert "timeout=SECONDS" in error.value.hint and error.value.object == word
    site.write({"/etc/slurm/slurm.conf": "", "/etc/pam.d/sshd": "", "/lib/security/pam_unix.so": ""})
    shutil.copy("/proc/self/exe", site.root / "lib/security/pam_chos.so")
    assert site.plan(product, options=("timeout=3", "user_conf_file=.config/os")).changes
    with pytest.raises(ChosError, match="no option"):
        site.plan(product, options=(word,))


def test_slurm_of_a_controller(site: Site) -> None:
    site.write({"/run/slurm/conf/slurm.conf": ""})
    with pytest.raises(ChosError, match="copy of the controller's"):
        site.plan("slurm")


@pytest.mark.parametrize("product", [name for name in PRODUCTS if name not in ("pam", "openpbs", "kmod")])
def test_products_that_are_not_there(site: Site, product: str) -> None:
    """What was looked for, and how to say where it is; for those that are managed elsewhere, the lines."""
    with pytest.raises(ChosError) as error:
        site.plan(product)
    assert "--config" in error.value.hint or "this installation" in error.value.hint
    assert PRODUCTS[product].snippets(Request())


def test_starters_that_others_may_write(site: Site) -> None:
    site.write({"/var/spool/torque/mom_priv/config": ""})
    path = site.root / "usr/bin/chos-job-starter"
    path.chmod(0o777)
    with pytest.raises(ChosError, match="writable by others"):
        site.plan("torque")
    path.unlink()
    with pytest.raises(ChosError, match="not installed"):
        site.plan("torque")
