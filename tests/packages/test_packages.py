"""What `make deb` and `make rpm` build: installed, used, removed and purged, each time on a throwaway node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: packages are installed on a throwaway node")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command here; its output as text."""
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Debian packages."""
    if not shutil.which("dh"):
        pytest.skip("debhelper is not installed: tools/deps package")
    where = tmp_path_factory.mktemp("deb")
    # What the build would test has tests of its own here.
    done = run("env", "DEB_BUILD_OPTIONS=nocheck", "packaging/make-deb", str(where))
    assert done.returncode == 0, done.stderr
    return where


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the RPMs."""
    if not shutil.which("rpmbuild"):
        pytest.skip("rpmbuild is not installed: tools/deps package")
    where = tmp_path_factory.mktemp("rpm")
    done = run("packaging/make-rpm", str(where))
    assert done.returncode == 0, done.stderr
    return where


def on_a_node(packages: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A script on a node on which CHOS is not installed; $P is where the packages are, $T a small OS tree."""
    done = run("tools/trees", "tiny")
    assert done.returncode == 0, done.stderr
    tree = str((REPO / ".cache/trees/tiny").resolve())
    # dpkg needs a place for what it replaces that is not the overlay of a machine whose root is an overlay.
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = ["env", "-i", path, "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
    places = [f"P={packages}", f"T={tree}"]
    binds = ["--bind", str(packages), "--bind", tree]
    return run("tools/node", "--bare", *binds, "--", *environment, *places, "sh", "-eux", "-c", script)


USED = """
dpkg --install $P/chos_*.deb $P/chos-slurm_*.deb
test -x /usr/bin/chos
getcap /usr/bin/chos | grep cap_sys_admin
test -s /usr/share/doc/chos/README.md
test -s /usr/share/doc/chos/docs/guide-admin.md
PYTHONPATH=/usr/lib/chos/python python3 -c 'import pyroute2.netlink.connector.cn_proc'
cp -r /usr/share/doc/chos/examples/. /etc/
mkdir -p /os
cp -a $T /os/debian13
cp -a $T /os/debian11
chosctl check
chosctl up
useradd ana
setpriv --reuid ana --regid ana --init-groups env CHOS=debian13 chos true
cp /etc/pam.d/su /root/su
chosctl install pam --service su
"""


def test_a_node_after_a_purge_is_as_it_was_but_for_the_sites_own_files(debs: Path) -> None:
    done = on_a_node(
        debs,
        USED
        + """
        ! cmp /etc/pam.d/su /root/su
        dpkg --remove chos-slurm chos
        cmp /etc/pam.d/su /root/su
        test ! -e /usr/bin/chos
        test ! -e /run/chos
        dpkg --purge chos-slurm chos
        test ! -e /var/lib/chos
        test ! -e /usr/lib/chos
        test ! -e /etc/bash_completion.d/chos
        test -s /etc/chos
        test -s /etc/chos.d/site.toml
        echo gone
        """,
    )
    assert done.stdout.endswith("gone\n"), done.stderr


def test_what_could_not_be_taken_back_is_kept_and_said(debs: Path) -> None:
    """The site's own text is in there; what a trial has left is not."""
    done = on_a_node(
        debs,
        USED
        + """
        mkdir /var/lib/chos/install/trial-1
        echo nonsense >/var/lib/chos/install/pam/changes.json
        dpkg --purge chos-slurm chos
        test -e /var/lib/chos/install/pam/changes.json
        test ! -e /var/lib/chos/install/trial-1
        echo kept
        """,
    )
    assert done.stdout.endswith("kept\n"), done.stderr
    assert "chos: the configuration of pam still names CHOS; as it was before: /var/lib/chos/install/pam" in done.stderr


def test_an_upgrade_leaves_who_is_inside(debs: Path) -> None:
    """Also where the records are on a file system of their own, which a purge then leaves as it is."""
    done = on_a_node(
        debs,
        "mkdir -p /var/lib/chos; mount -t tmpfs -o mode=755 records /var/lib/chos\n"
        + USED
        + """
        setpriv --reuid ana --regid ana --init-groups env CHOS=debian13 chos sleep 1000 &
        until chosctl ps | grep "sleep 1000"; do sleep 0.1; done
        dpkg --install $P/chos_*.deb $P/chos-slurm_*.deb
        chosctl ps | grep "debian13.1.*sleep 1000"
        ! cmp /etc/pam.d/su /root/su
        setpriv --reuid ana --regid ana --init-groups env CHOS=debian13 chos true
        kill $!
        wait $! || :
        dpkg --purge chos-slurm chos
        test -z "$(ls -A /var/lib/chos)"
        test ! -e /run/chos
        echo left
        """,
    )
    assert done.stdout.endswith("left\n"), done.stderr


def test_slurms_plugin_stays_while_a_line_requires_it(debs: Path) -> None:
    done = on_a_node(
        debs,
        """
        dpkg --install $P/chos_*.deb $P/chos-slurm_*.deb
        mkdir -p /var/lib/chos/install/slurm
        echo nonsense >/var/lib/chos/install/slurm/changes.json
        ! dpkg --remove chos-slurm
        test -e /usr/lib/chos/spank_chos.so
        rm -r /var/lib/chos/install/slurm
        dpkg --remove chos-slurm
        test ! -e /usr/lib/chos/spank_chos.so
        ! chosctl install slurm --config /etc/passwd
        echo done
        """,
    )
    assert done.stdout.endswith("done\n"), done.stderr
    assert "chos-slurm: stays, until" in done.stderr


def test_slurms_plugin_names_its_release(debs: Path) -> None:
    release = run("packaging/slurm-release").stdout.strip()
    if not release:
        assert not list(debs.glob("chos-slurm*"))
        pytest.skip("Slurm's headers are not here: libslurm-dev")
    (package,) = debs.glob("chos-slurm_*.deb")
    fields = run("dpkg-deb", "--field", str(package)).stdout
    assert f"slurm-wlm-basic-plugins (>= {release}), slurm-wlm-basic-plugins (<< {release}.99)" in fields
    assert f"+slurm{release}_" in package.name
    plain = next(iter(debs.glob("chos_*.deb")))
    assert "spank" not in run("dpkg-deb", "--contents", str(plain)).stdout


def test_lintian_has_nothing_to_say(debs: Path) -> None:
    """But that nobody can be written to at the maintainer's address."""
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed")
    done = run("lintian", "--allow-root", "--tag-display-limit", "0", *map(str, debs.glob("*.deb")))
    found = [line for line in done.stdout.splitlines() if re.match("[EW]:", line) and "bogus-mail-host" not in line]
    assert found == [], done


def test_rpms_have_what_is_installed_and_name_slurms_release(rpms: Path) -> None:
    files = set(run("rpm", "-qpl", *map(str, rpms.glob("*.rpm"))).stdout.split("\n"))
    for path in ("/usr/bin/chosctl", "/usr/lib/chos/python/chosns/cli/__init__.py", "/usr/share/man/man8/chosctl.8"):
        assert path in files
    for path in ("README.md", "docs/guide-admin.md", "examples/chos.d/site.toml"):
        assert any(re.fullmatch(f"/usr/share/doc/chos[^/]*/{path}", file) for file in files), path
    release = run("packaging/slurm-release").stdout.strip()
    if release:
        (package,) = map(str, rpms.glob("chos-slurm-*.rpm"))
        assert f"slurm >= {release}\nslurm < {release}.99\n" in run("rpm", "-qp", "--requires", package).stdout


def test_an_rpm_is_installed_and_erased(rpms: Path) -> None:
    """With its scripts, by rpm itself; its dependencies are Debian's here."""
    done = on_a_node(
        rpms,
        """
        rpm --install --nodeps --dbpath /root/rpmdb $P/chos-[0-9]*.rpm
        getcap /usr/bin/chos | grep cap_sys_admin
        printf '%%SHELLS\\ntiny:/os/tiny\\n' >/etc/chos
        mkdir -p /os
        cp -a $T /os/tiny
        chosctl up
        cp /etc/pam.d/su /root/su
        chosctl install pam --service su
        chosctl down
        rpm --erase --nodeps --dbpath /root/rpmdb chos
        cmp /etc/pam.d/su /root/su
        test ! -e /usr/bin/chos
        test ! -e /var/lib/chos
        test -s /etc/chos
        echo erased
        """,
    )
    assert done.stdout.endswith("erased\n"), done.stderr
