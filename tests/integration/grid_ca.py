"""A certificate authority of the grid, on a throwaway node: for the host, and for users."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from pathlib import Path

from daemons import run

SECURITY = Path("/etc/grid-security")
GRIDMAP = SECURITY / "grid-mapfile"
_NAME = "/O=CHOS test"
_POLICY = f"""access_id_CA X509 '{_NAME}/CN=CA'
pos_rights globus CA:sign
cond_subjects globus '"{_NAME}/*"'
"""


class Authority:
    """One that this node trusts. A-REX calls certificates of less than a day unhealthy."""

    def __init__(self, directory: Path, *users: str) -> None:
        self._directory = directory
        self._openssl("req", "-x509", "-days", "9", *_key(Path("ca.key"), "CA"), "-out", "ca.pem")
        trusted = SECURITY / "certificates"
        trusted.mkdir(parents=True, exist_ok=True)
        name = self._openssl("x509", "-hash", "-noout", "-in", "ca.pem").strip()
        shutil.copy(directory / "ca.pem", trusted / f"{name}.0")
        (trusted / f"{name}.signing_policy").write_text(_POLICY)
        names = "subjectAltName=DNS:localhost,DNS:node"
        self._sign("localhost", names, SECURITY / "hostcert.pem", SECURITY / "hostkey.pem", "root")
        for user in users:
            self._make_user(user)
        GRIDMAP.write_text("".join(f'"{_NAME}/CN={user}" {user}\n' for user in users))

    def _make_user(self, name: str) -> None:
        """Certificate and key in ~/.globus, and a proxy of them."""
        home = Path(pwd.getpwnam(name).pw_dir)
        place = home / ".globus"
        place.mkdir(exist_ok=True)
        shutil.chown(place, name, name)
        self._sign(name, "keyUsage=digitalSignature", place / "usercert.pem", place / "userkey.pem", name)
        command = ["runuser", "-u", name, "--", "grid-proxy-init", "-q", "-valid", "12:00"]
        done = run(command, env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        assert done.returncode == 0, done

    def _sign(self, name: str, extension: str, certificate: Path, key: Path, owner: str) -> None:
        (self._directory / "extension").write_text(extension + "\n")
        self._openssl("req", *_key(key, name), "-out", "request")
        ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9")
        self._openssl("x509", "-req", "-in", "request", *ca, "-extfile", "extension", "-out", str(certificate))
        for path, mode in ((key, 0o400), (certificate, 0o644)):
            path.chmod(mode)
            shutil.chown(path, owner)

    def _openssl(self, *words: str) -> str:
        command = ["openssl", *words]
        return subprocess.run(command, cwd=self._directory, check=True, capture_output=True, text=True).stdout


def _key(path: Path, name: str) -> tuple[str, ...]:
    return ("-newkey", "rsa:2048", "-nodes", "-subj", f"{_NAME}/CN={name}", "-keyout", str(path))
