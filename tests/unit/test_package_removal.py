"""What the Debian package says as it goes; with mocks of the programs that it calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PRERM = Path(__file__).resolve().parents[2] / "packaging/deb/chos.prerm"


@pytest.mark.parametrize(("action", "mounted", "said"), [("remove", 0, 1), ("remove", 1, 0), ("upgrade", 0, 0)])
def test_what_is_in_use_is_told_with_mocks(tmp_path: Path, action: str, mounted: int, said: int) -> None:
    """One line: what stays, and how it goes."""
    if os.path.isdir("/sys/module/chos") and action == "remove":
        mounted, said = 0, 1
    for name, status in (("chosctl", 0), ("find", 0), ("mountpoint", mounted)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(PRERM), action], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    assert len(done.stderr.splitlines()) == said
    assert not said or ("umount -l /chos" in done.stderr and "rmmod chos" in done.stderr)


def _scripts() -> list[str]:
    """What each package runs before it goes, as for a removal."""
    spec = (PRERM.parents[1] / "rpm/chos.spec").read_text()
    preun = spec.partition("\n%preun\n")[2].partition("\n\n%")[0]
    return [f"set -- remove\n{PRERM.read_text()}", f"set -- 0\n{preun}"]


@pytest.mark.parametrize("script", _scripts(), ids=["deb", "rpm"])
@pytest.mark.parametrize("installed", ["by chosctl", "by hand", "not"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_job_starter_that_pbs_mom_still_has_with_mocks(
    tmp_path: Path, script: str, installed: str, status: int
) -> None:
    """Without it pbs_mom would execute the users' shells as root: the package stays, and nothing of it is stopped."""
    config = tmp_path / "var/spool/torque/mom_priv/config"
    config.parent.mkdir(parents=True)
    config.write_text("$job_starter /usr/bin/pam_job_starter\n" if installed == "by hand" else "$logevent 255\n")
    if installed == "by chosctl":
        (tmp_path / "var/lib/chos/install/torque").mkdir(parents=True)
    for name in ("chosctl", "systemctl", "find", "mountpoint"):
        asks = "torque" if installed != "not" else "never"
        answer = f'case "$*" in *{asks}*--undo) exit {status} ;; esac'
        text = f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/log\n{answer}\nexit 0\n'
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = script.replace("/var/", f"{tmp_path}/var/").replace("#DEBHELPER#", "systemctl stop chos.service")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", script], env=env, capture_output=True, text=True)
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    refused = status != 0 and installed != "not"
    assert (done.returncode != 0) == refused, done
    assert ("systemctl" in log) != refused
    assert ("install torque --undo" in log) == (installed != "not")
    assert ("chos: stays" in done.stderr) == refused
