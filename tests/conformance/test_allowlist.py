"""/etc/chos and /etc/chos.conf, as sites have them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from node import Node
from rows import row
from site_of_old import CHOS, Site, os_id

ALLOW, CONF = "/etc/chos", "/etc/chos.conf"


def where(node: Node, name: str, **more: str) -> str:
    """Whose system CHOS=name leads to."""
    return os_id(node.chos(name, "cat", "/etc/os-release", check=True, **more).stdout)  # type: ignore[arg-type]


def refused(node: Node, name: str) -> None:
    result = node.chos(name, "echo", "ran")
    assert (result.returncode, result.stdout) == (125, ""), result
    assert result.stderr.startswith("chos: ") and name in result.stderr


@row("names lead to the trees that are listed under `%SHELLS`", section=ALLOW)
def test_names(node: Node) -> None:
    assert (where(node, "one"), where(node, "two")) == ("one", "two")


@row("comments, empty lines, other sections and lines before the first section are ignored", section=ALLOW)
def test_what_does_not_count(node: Node) -> None:
    for name in ("early", "other", "late"):
        refused(node, name)


@row("of two lines with one name the first counts", section=ALLOW)
def test_first_match(node: Node) -> None:
    assert where(node, "one") == "one"


@row("several names may lead to one tree", section=ALLOW)
def test_aliases(node: Node) -> None:
    assert where(node, "first") == "one"


@row("a name may be an absolute path", section=ALLOW)
def test_path_alias(node: Node) -> None:
    assert where(node, "/auto/one") == "one"


@row("a listed tree may be called by its path", section=ALLOW)
def test_a_listed_path(node: Node) -> None:
    assert where(node, "/os/two") == "two"


@row("names and paths that are not listed are refused, with a list of the known names", section=ALLOW)
def test_unlisted(node: Node) -> None:
    for name in ("nothing", "/os/plain", "/etc", "../etc", "ONE"):
        refused(node, name)
    assert "known here:" in node.chos("nothing", "true").stderr


@row("a name for `/`, and `root`, lead to the base", section=ALLOW)
def test_names_of_the_base(node: Node) -> None:
    base = os_id(Path("/etc/os-release").read_text())
    assert (where(node, "leave"), where(node, "root")) == (base, base)


@row("a line without `:` is skipped, and reported with file and line", section=ALLOW)
def test_no_colon(node: Node, site: Site) -> None:
    number = CHOS.splitlines().index("a line without its separator") + 1
    assert f"/etc/chos:{number}" in site.told, site.told


@row("a file that users other than root may write is refused; what is prepared stays prepared", section=ALLOW)
def test_a_writable_list(node: Node, changed: Node) -> None:
    Path("/etc/chos").chmod(0o664)
    result = changed.up(check=False)
    assert result.returncode != 0 and "/etc/chos" in result.stderr, result
    assert where(changed, "one") == "one"


@row("adding or removing a line takes effect with the next `chosctl up`", section=ALLOW)
def test_changed(changed: Node) -> None:
    Path("/etc/chos").write_text("%SHELLS\none:/os/one\nnew:/os/plain\n")
    changed.up()
    assert (where(changed, "one"), where(changed, "new")) == ("one", "plain")
    refused(changed, "two")
    refused(changed, "/os/two")


# --- login shells ---------------------------------------------------------------------------------------------------


def login(node: Node, shell: str, **env: str) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment of a login shell, which tells them."""
    text = '#!/bin/busybox sh\nprintf "arg %s\\n" "$@"\nexec /bin/busybox env\n'
    path = Path("/os/one/bin") / shell
    path.write_text(text)
    path.chmod(0o755)
    subprocess.run(["usermod", "-s", f"/bin/{shell}", "alice"], check=True)
    try:
        lines = node.chos("one", env=env, check=True).stdout.splitlines()
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", "alice"], check=True)
    of_shell = {"SHLVL", "PWD", "OLDPWD", "_"}
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    arguments = [line[4:] for line in lines if line.startswith("arg ")]
    return arguments, {name: value for name, value in seen.items() if name not in of_shell}


@row("without a command: the login shell of the account, with the argument `-`", section=CONF)
def test_login_shell(node: Node) -> None:
    assert login(node, "tellsh")[0] == ["-"]


@row("a csh gets `-l`", section=CONF)
def test_csh(node: Node) -> None:
    assert login(node, "tellcsh")[0] == ["-l"]


@row("`BASHLOGIN` under `%BEH`: every shell gets `-l`", section=CONF)
def test_bashlogin(changed: Node) -> None:
    Path("/etc/chos.conf").write_text("%ENV\nHOME\nPATH\n%BEH\nBASHLOGIN\n")
    changed.up(check=False)
    arguments, seen = login(changed, "tellsh", KEPT="x")
    assert arguments == ["-l"] and "KEPT" not in seen


@row("the shell has the variables under `%ENV` and no others; `PATH` is set, not kept", section=CONF)
def test_cleaned(node: Node) -> None:
    env = {"KEPT": "yes", "DROPPED": "no", "LD_LIBRARY_PATH": "/x", "TERM": "vt100", "PATH": "/usr/bin:/bin:/mine"}
    assert login(node, "tellsh", **env)[1] == {
        "CHOS": "one",
        "HOME": "/home/alice",
        "TERM": "vt100",
        "KEPT": "yes",
        "PATH": "/bin:/usr/bin:/usr/local/bin",
    }


@row("a command gets all variables as they are, those of the loader too", section=CONF)
def test_untouched(node: Node) -> None:
    env = {"CHOS": "one", "PATH": "/bin:/some/where", "TMPDIR": "/tmp/mine", "LD_LIBRARY_PATH": "/l", "ODD": "a=b\nc"}
    plain = subprocess.run(["/os/one/bin/busybox", "env", "-0"], env=env, capture_output=True, check=True)
    inside = subprocess.run(["/usr/bin/chos", "/bin/busybox", "env", "-0"], env=env, capture_output=True, check=False)
    assert inside.returncode == 0 and inside.stdout == plain.stdout, inside


# --- /etc/sysconfig/chos --------------------------------------------------------------------------------------------

SYSCONFIG = "/etc/sysconfig/chos"


def sysconfig(node: Node, text: str) -> None:
    Path("/etc/sysconfig").mkdir(exist_ok=True)
    Path(SYSCONFIG).write_text(text)
    result = node.up(check=False)
    assert "failed" not in result.stdout, result


@pytest.fixture
def boot_settings(changed: Node) -> Node:
    return changed


@row("`BINDMOUNT`: a directory of the base's root is the base's", section=SYSCONFIG)
def test_bindmount_of_the_root(boot_settings: Node) -> None:
    boot_settings.up(check=False)
    Path("/opt/of-the-base").write_text("of the base\n")
    sysconfig(boot_settings, 'BINDMOUNT="/opt"\n')
    try:
        assert boot_settings.chos("one", "cat", "/opt/of-the-base").stdout == "of the base\n"
    finally:
        os.unlink(SYSCONFIG)
        boot_settings.chosctl("down")


@row(
    "`BINDMOUNT`: also a deeper directory, if the one above it is the tree's",
    section=SYSCONFIG,
    but={"kmod": "only whole top-level directories can be bound; below them, use a link in the tree"},
)
def test_bindmount(boot_settings: Node) -> None:
    Path("/opt/site").mkdir(exist_ok=True)
    Path("/opt/site/file").write_text("of the base\n")
    sysconfig(boot_settings, 'BINDMOUNT="/opt/site"\n')
    try:
        assert boot_settings.chos("one", "cat", "/opt/site/file").stdout == "of the base\n"
    finally:
        os.unlink(SYSCONFIG)


@row("`MAKELINKS` and `PRIVATE_MOUNTS` are accepted, so the file need not be changed", section=SYSCONFIG)
def test_other_settings(boot_settings: Node) -> None:
    sysconfig(boot_settings, "MAKELINKS=yes\nPRIVATE_MOUNTS=no\nBINDMOUNT=\n")
    try:
        assert where(boot_settings, "one") == "one"
        assert "sysconfig" not in boot_settings.chosctl("check", check=False).stderr
    finally:
        os.unlink(SYSCONFIG)
