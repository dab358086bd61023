"""The kernel module's source, which packages and `make install` bring for DKMS: all of it, and gone with them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_file_that_the_build_needs_is_installed() -> None:
    room = REPOSITORY / "kmod"
    needed = {path.name for pattern in ("*.c", "*.h") for path in room.glob(pattern)} | {"Kbuild", "Makefile"}
    installed = re.search(r"install_data\((.*?)install_dir", (room / "meson.build").read_text(), re.DOTALL)
    assert installed and set(re.findall(r"'([^']+)'", installed[1])) == needed


def test_every_installed_object_is_in_the_module() -> None:
    room = REPOSITORY / "kmod"
    objects = re.search(r"^chos-y := (.*)$", (room / "Kbuild").read_text(), re.MULTILINE)
    assert objects and set(objects[1].split()) == {f"{path.stem}.o" for path in room.glob("*.c")}


@pytest.mark.parametrize("foreign", [False, True])
def test_uninstall_takes_the_directory_of_the_source(tmp_path: Path, foreign: bool) -> None:
    """But no file that others have put into it, and no other version's."""
    source, other = tmp_path / "node/usr/src/chos-1.2", tmp_path / "node/usr/src/chos-1.1"
    (tmp_path / "build/meson-info").mkdir(parents=True)
    (tmp_path / "node/usr/bin").mkdir(parents=True)
    source.mkdir(parents=True)
    other.mkdir()
    names = ["/usr/bin/chosctl", "/usr/src/chos-1.2/main.c", "/usr/src/chos-1.2/dkms.conf"]
    for name in names:
        (tmp_path / "node" / name[1:]).write_text("")
    if foreign:
        (source / "notes").write_text("")
    installed = {f"/build/{number}": name for number, name in enumerate(names)}
    (tmp_path / "build/meson-info/intro-installed.json").write_text(json.dumps(installed))
    done = subprocess.run(
        [str(REPOSITORY / "packaging/uninstall"), str(tmp_path / "build"), str(tmp_path / "node"), "/usr"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done
    assert "3 files removed" in done.stdout
    assert [path.name for path in source.iterdir()] == ["notes"] if foreign else not source.exists()
    assert other.is_dir()


@pytest.mark.parametrize(("record", "status"), [(False, 0), (True, 0), (True, 1)])
def test_what_chosctl_built_goes_before_the_source_does_with_mocks(tmp_path: Path, record: bool, status: int) -> None:
    """The package goes whatever chosctl says, and says it only where that has failed."""
    if record:
        (tmp_path / "state/install/kmod").mkdir(parents=True)
    chosctl = tmp_path / "chosctl"
    chosctl.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/asked\necho words\nexit {status}\n')
    chosctl.chmod(0o755)
    script = (REPOSITORY / "packaging/deb/chos-dkms.prerm").read_text().replace("/var/lib/chos", f"{tmp_path}/state")
    done = subprocess.run(
        ["/bin/sh", "-c", script, "prerm", "remove"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout == "", done
    assert done.stderr == ("words\n" if status else "")
    assert (tmp_path / "asked").exists() == record
    assert not record or (tmp_path / "asked").read_text() == "install kmod --undo\n"
