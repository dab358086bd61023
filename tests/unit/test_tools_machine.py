"""What tools/environment and tools/bare make of a machine: who calls a tool, and from where, makes no difference."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
LOOK = """
. "$1/tools/environment"
set -u
cd "$repo"
pwd
umask
echo "$LC_ALL ${LANG-no} ${MAKEFLAGS-no} ${GIT_DIR-no} ${CDPATH-no} ${PYTHONPATH-no}" \\
    "${CHOS-no} ${CHOS_TREES-no} ${http_proxy-no}"
echo "$PATH"
echo "$HOME"
echo "${TMPDIR-no}"
type cd
"""


def look(repo: Path, *before: str, **environ: str) -> list[str]:
    """What a tool of this checkout finds, when bash has done `before`."""
    script = "\n".join([*before, LOOK])
    done = subprocess.run(
        ["/bin/bash", "-c", script, "tool", str(repo)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done
    return done.stdout.splitlines()


def copy(place: Path) -> Path:
    """As much of a checkout as is wanted here."""
    (place / "tools").mkdir(parents=True)
    shutil.copy(REPO / "tools/environment", place / "tools")
    return place


def test_the_callers_settings_make_no_difference(tmp_path: Path) -> None:
    """But for how mirrors are reached, and the project's own."""
    repo = copy(tmp_path / "a checkout (ä)")
    home = tmp_path / "home"
    home.mkdir()
    usual = look(repo, PATH="/usr/bin:/bin", HOME=str(home))
    odd = look(
        repo,
        "umask 077; exec <&-; cd() { echo wrong; }; export -f cd",
        PATH="/usr/bin:/bin",
        HOME=str(home),
        LANG="tr_TR.UTF-8",
        LC_NUMERIC="de_DE.UTF-8",
        MAKEFLAGS="-j --jobserver-auth=98,99",
        GIT_DIR="/nonexistent",
        CDPATH="/usr:/",
        PYTHONPATH="/nonexistent",
        CHOS="debian13",
        CHOS_TREES="/trees",
        http_proxy="http://proxy",
    )
    assert odd[0] == str(repo)
    assert odd[1:3] == ["0022", "C.UTF-8 no no no no no no /trees http://proxy"]
    assert usual[2] == "C.UTF-8 no no no no no no no no"
    assert odd[3:] == usual[3:]
    assert usual[3] == "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert usual[4:6] == [str(home), "no"] and usual[-1] == "cd is a shell builtin"


@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_a_home_and_a_place_for_temporary_files_are_found(tmp_path: Path, home: str | None) -> None:
    """No home, none that can be written, a TMPDIR that is gone."""
    repo = copy(tmp_path / "checkout")
    found = look(repo, PATH="/usr/bin:/bin", TMPDIR="/nonexistent", **({"HOME": home} if home else {}))
    assert found[4:6] == [f"{repo}/.cache/home", "no"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_what_is_mounted_noexec_is_not_used_for_programs(tmp_path: Path) -> None:
    """A hardened machine's /tmp."""
    repo = copy(tmp_path / "checkout")
    shutil.copytree(repo, Path("/dev/shm") / tmp_path.name)
    try:
        mounted = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o noexec x /tmp && exec "$@"', "sh"]
        script = ["/bin/bash", "-c", LOOK, "tool", f"/dev/shm/{tmp_path.name}"]
        done = subprocess.run(
            [*mounted, *script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
        )
    finally:
        shutil.rmtree(Path("/dev/shm") / tmp_path.name)
    assert done.stdout.splitlines()[5] == f"/dev/shm/{tmp_path.name}/.cache/tmp"


@pytest.mark.parametrize("name", ["a:b", "it's", "a,b", "$x", "a\nb", "a;b", "a%b"])
def test_a_path_that_cannot_be_used_is_said(tmp_path: Path, name: str) -> None:
    """Make, meson, mount and PATH would each fail in its own way, late."""
    repo = copy(tmp_path / name)
    done = subprocess.run(["bash", "-c", LOOK, "tool", str(repo)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stdout, done
    assert "cannot be used where it lies" in done.stderr and "Move it" in done.stderr


SITE = """
mount -t tmpfs site /srv && mkdir /srv/site
mount -t tmpfs site /opt && mkdir /opt/site
mount -t tmpfs site /home && mkdir -m 700 /home/alice
mkdir "$1/upper" "$1/work" && mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" site /etc || exit 77
echo evil >/etc/chos; mkdir /etc/chos.d; echo "session required pam_chos.so" >>/etc/pam.d/su
useradd -M -u 1500 alice; useradd -M -r chosdaemon
exec "$2/tools/node" --bare -- sh -c '
    ls /srv /opt /home /usr/local/bin /root
    ls -d /etc/chos* /os 2>&1 | grep -v "No such file"
    grep -l pam_chos /etc/pam.d/*
    cut -d: -f1 /etc/passwd /etc/group /etc/shadow /etc/gshadow | grep -x "alice\\|chosdaemon" | sort | uniq -c
    ls tools/bare; ls /sys/class/net; umask'
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make mounts")
def test_a_bare_node_knows_nothing_of_the_machines_people() -> None:
    """Nothing where tests put something, no account that they make, no configuration, a network of its own."""
    place = Path("/dev/shm") / f"test-bare-{os.getpid()}"
    place.mkdir()
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", "umask 077\n" + SITE, "sh", str(place), str(REPO)],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(place)
    if done.returncode == 77:
        pytest.skip("this machine's /etc is an overlay already")
    assert done.returncode == 0, done
    # This checkout is there, wherever it lies: /root/NAME is on the way to it.
    way = {REPO.parts[2]} if REPO.parts[1] in ("root", "home", "opt", "srv", "mnt", "media") else set()
    listing = [line.strip() for line in done.stdout.splitlines() if line and not line.endswith(":")]
    assert [line for line in listing if line not in way] == ["4 chosdaemon", "tools/bare", "lo", "0022"], done.stdout


# What runs a command as it is told, and what is only sourced.
FREE = {"node", "bare", "environment"}


def test_every_tool_begins_so() -> None:
    """A tool of a later day, too."""
    tools = [
        path for path in (REPO / "tools").iterdir() if path.is_file() and path.read_bytes().startswith(b"#!/bin/bash")
    ]
    without = {path.name for path in tools if '/environment"\n' not in path.read_text()}
    assert len(tools) > 12 and without <= FREE, without - FREE
