"""A real automounter on the base, as a fixture: each key below /auto is a bind of a directory of /srv/export."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node import LIMIT, mount_points, wait_for

EXPORT = Path("/srv/export")


@pytest.fixture
def automount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that starts an automounter for /auto: KEY is a bind of /srv/export/KEY. Skips where there is none.

    With `direct` for /auto-direct as well, a bind of /srv/export/red that is there before it is mounted.
    """
    if Path("/guest/command").exists():  # in a guest; a throwaway node has this kernel
        subprocess.run(["modprobe", "--quiet", "autofs4"], check=False)
    if not (shutil.which("automount", path="/usr/sbin:/sbin") and Path("/dev/autofs").exists()):
        pytest.skip("no automounter here: apt-get install autofs, and a kernel with autofs")
    Path("/auto").mkdir(exist_ok=True)
    for key in ("red", "green", "blue"):
        (EXPORT / key).mkdir(parents=True, exist_ok=True)
        (EXPORT / key / "colour").write_text(key + "\n")
    (tmp_path / "auto.map").write_text(f"*  -fstype=bind  :{EXPORT}/&\n")
    (tmp_path / "auto.master").write_text(f"/auto  {tmp_path}/auto.map  --timeout=300\n")
    daemons: list[subprocess.Popen[bytes]] = []

    def start(direct: bool = False) -> None:
        if direct:
            (tmp_path / "auto.direct").write_text(f"/auto-direct  -fstype=bind  :{EXPORT}/red\n")
            with (tmp_path / "auto.master").open("a") as master:
                master.write(f"/-  {tmp_path}/auto.direct  --timeout=300\n")
        # In a session of its own: processes of the daemon's group do not trigger mounts.
        daemons.append(
            subprocess.Popen(
                [
                    "automount",
                    "--foreground",
                    "--dont-check-daemon",
                    "-p",
                    str(tmp_path / "pid"),
                    str(tmp_path / "auto.master"),
                ],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        )
        wanted = {"/auto", "/auto-direct"} if direct else {"/auto"}
        wait_for(
            lambda: daemons[-1].poll() is not None or wanted <= set(mount_points()),
            f"automount to mount {wanted}",
        )
        assert daemons[-1].poll() is None, "automount ended"

    yield start
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(LIMIT)
    for point in reversed([point for point in mount_points() if (point + "/").startswith(("/auto/", "/auto-direct/"))]):
        subprocess.run(["umount", "-l", point], check=True)
