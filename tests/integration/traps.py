"""A tree full of traps: a file at each place where a process of root's could step that had gone inside.

The libraries only write down who loaded them, in /tmp/traps; everything else is as harmless. Called by
`test_root_outside`.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SPRUNG = Path("/tmp/traps")  # one file for each library that was loaded: NAME.EUID.PID
LANGUAGE = "xx"
VARIABLES = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "LANGUAGE": LANGUAGE}
SOCKETS = ("var/run/nscd/socket", "var/run/systemd/userdb/io.systemd.Trap", "var/run/dbus/system_bus_socket")

_LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void sprung(void)
{
    Dl_info info = {0};
    char path[512];
    dladdr((void *)sprung, &info);
    const char *slash = info.dli_fname != NULL ? strrchr(info.dli_fname, '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : "?";
    snprintf(path, sizeof path, "/tmp/traps/%s.%d.%d", name, (int)geteuid(), (int)getpid());
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0)
        close(fd);
}
"""

_LIB_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64", "usr/lib")
_SERVICES = (
    "trap",
    "nis",
    "nisplus",
    "db",
    "compat",
    "systemd",
    "sss",
    "ldap",
    "winbind",
    "dns",
    "files",
    "hesiod",
    "myhostname",
)
_CATALOGUES = (
    "util-linux",
    "shadow",
    "sudo",
    "sudoers",
    "Linux-PAM",
    "libc",
    "cron",
    "at",
    "coreutils",
    "bash",
    "krb5",
)
_MESSAGES = (
    "Session terminated, killing shell...",
    " ...killed.\n",
    " ...terminated.\n",
    " (core dumped)\n",
    "%s (core dumped)\n",
    "Terminated",
    "Killed",
    "Hangup",
    "Interrupt",
    "No such file or directory",
    "Permission denied",
    "failed to execute %s",
    "cannot execute %s",
    "cannot change directory to %s",
    "warning: cannot change directory to %s",
    "%s: change directory failed",
    'Logging in with home = "/".\n',
    "couldn't exec shell script",
    "no shell",
    "unable to execute %s",
    "unable to change directory to %s",
    "Last login: %s",
)

_FILES = {
    "etc/nsswitch.conf": "".join(
        f"{base}: trap files nis\n"
        for base in ("passwd", "group", "shadow", "initgroups", "netgroup", "hosts", "services", "gshadow", "sudoers")
    ),
    "etc/security/group.conf": "*;*;*;Al0000-2400;disk,sudo,shadow\nsu;@trap;*;Al0000-2400;disk\n",
    "etc/security/capability.conf": "cap_sys_admin,cap_dac_override  alice\ncap_net_raw *\n",
    "etc/security/limits.conf": "* hard core 0\n",
    "etc/security/limits.d/trap.conf": "* hard core 0\n",
    "etc/security/pam_env.conf": "TRAP DEFAULT=sprung\n",
    "etc/security/namespace.conf": "/tmp /tmp/inst level root\n",
    "etc/security/namespace.init": "#!/bin/sh\n",
    "etc/security/access.conf": "+:@trap:ALL\n",
    "etc/security/time.conf": "*;*;@trap;Al0000-2400\n",
    "etc/security/faillock.conf": "silent\n",
    "etc/security/sepermit.conf": "alice\n",
    "etc/security/opasswd": "",
    "etc/login.defs": "UMASK 000\nENV_PATH PATH=/trap\nENV_SUPATH PATH=/trap\nMOTD_FILE /etc/motd\n",
    "etc/environment": "TRAP=sprung\n",
    "etc/default/locale": "LANG=xx_XX\n",
    "etc/default/su": "PATH=/trap\n",
    "etc/default/runuser": "PATH=/trap\n",
    "etc/default/login": "PATH=/trap\n",
    "etc/default/nss": "NETID_AUTHORITATIVE=TRUE\n",
    "etc/default/useradd": "HOME=/trap\n",
    "etc/krb5.conf": "[plugins]\n localauth = {\n  module = trap:/usr/lib/trap.so\n }\n",
    "etc/krb5.conf.d/trap": "[plugins]\n",
    "etc/gss/mech": "trap 1.2.3 /usr/lib/trap.so\n",
    "etc/gss/mech.d/trap.conf": "trap 1.2.3 /usr/lib/trap.so\n",
    "etc/ssl/openssl.cnf": "openssl_conf = a\n[a]\nproviders = b\n[b]\ntrap = c\n[c]\nmodule = /usr/lib/trap.so\n",
    "etc/ld.so.cache": "ld.so-1.7.0",
    "etc/ld.so.conf": "/usr/lib/trap\n",
    "etc/profile.d/trap.sh": ":\n",
    "etc/bash.bashrc": ":\n",
    "etc/sudoers": "ALL ALL=(ALL) NOPASSWD: ALL\n",
    "etc/sudoers.d/trap": "ALL ALL=(ALL) NOPASSWD: ALL\n",
    "etc/sudo.conf": "Plugin trap /usr/lib/trap.so\n",
    "etc/sudo_logsrvd.conf": "",
    "etc/pam.conf": "",
    "etc/pam.d/other": "session required /usr/lib/trap.so\n",
    "etc/motd": "trap\n",
    "etc/motd.d/trap": "trap\n",
    "etc/issue": "trap\n",
    "etc/shells": "/bin/sh\n",
    "etc/hushlogins": "alice\n",
    "etc/securetty": "",
    "etc/ttytype": "",
    "etc/hosts": "127.0.0.1 trap\n",
    "etc/hosts.allow": "ALL: ALL: spawn /bin/true\n",
    "etc/hosts.deny": "",
    "etc/host.conf": "multi on\n",
    "etc/gai.conf": "",
    "etc/resolv.conf": "nameserver 127.0.0.1\n",
    "etc/services": "",
    "etc/netgroup": "trap (,alice,)\n",
    "etc/locale.alias": "xx xx_XX.BIG5\n",
    "etc/crontab": "",
    "etc/at.deny": "",
    "etc/cron.allow": "alice\n",
    "etc/ssh/sshrc": "",
    "etc/ssh/sshd_config": "",
    "etc/ssh/ssh_config": "",
    "etc/subuid": "",
    "etc/aliases": "",
    "etc/mail.rc": "",
    "etc/selinux/config": "SELINUX=permissive\n",
    "etc/apparmor/parser.conf": "",
    "etc/userdb/alice.user": "{}",
    "usr/lib/userdb/alice:disk.membership": "{}",
    "usr/local/lib/userdb/alice:sudo.membership": "{}",
    "usr/share/locale/locale.alias": "xx xx_XX.BIG5\n",
    "usr/lib/locale/locale-archive": "trap",
    "usr/share/zoneinfo/UTC": "TZif2",
    "usr/share/zoneinfo/Europe/Berlin": "TZif2",
    "usr/share/zoneinfo/localtime": "TZif2",
    "etc/timezone": "UTC\n",
    "var/log/lastlog": "",
    "var/log/wtmp": "",
    "var/log/btmp": "",
    "var/log/faillog": "",
    "var/cache/nscd/passwd": "",
    "var/cache/nscd/group": "",
    "var/lib/extrausers/passwd": "",
    "var/lib/sss/mc/passwd": "",
    "var/mail/alice": "trap\n",
    "var/spool/mail/alice": "trap\n",
    "var/run/motd.dynamic": "trap\n",
    "var/run/utmp": "",
    "usr/lib/environment.d/trap.conf": "TRAP=sprung\n",
}
_PROGRAMS = (
    "usr/sbin/sendmail",
    "usr/lib/sendmail",
    "usr/bin/xauth",
    "usr/X11R6/bin/xauth",
    "usr/lib/openssh/sftp-server",
    "usr/libexec/openssh/sftp-server",
    "usr/bin/scp",
    "usr/sbin/unix_chkpwd",
    "usr/sbin/mkhomedir_helper",
    "usr/sbin/nologin",
    "usr/bin/login",
    "usr/bin/passwd",
    "etc/update-motd.d/00-trap",
)


def lay(tree: Path) -> list[Path]:
    """Fill a tree that has busybox's programs with traps; the places of sockets for somebody to listen at."""
    library = _library()
    for path, text in _FILES.items():
        _put(tree / path, text.encode())
    for program in _PROGRAMS:
        _put(tree / program, b"#!/bin/sh\nexit 0\n")
        (tree / program).chmod(0o755)
    for service in Path("/etc/pam.d").iterdir():
        _put(tree / "etc/pam.d" / service.name, b"session required /usr/lib/trap.so\nauth required /usr/lib/trap.so\n")
    _put(tree / "etc/ld.so.preload", b"")  # it is opened; a name in it would stop every program of the tree
    (tree / "usr/lib/trap.so").write_bytes(library)
    for directory in _LIB_DIRECTORIES:
        _libraries(tree / directory, library)
    for catalogue in _CATALOGUES:
        place = tree / f"usr/share/locale/{LANGUAGE}/LC_MESSAGES/{catalogue}.mo"
        _put(place, _catalogue(dict.fromkeys(_MESSAGES, "trap")))
    for name in ("xterm", "linux", "vt100", "dumb"):
        _put(tree / "usr/share/terminfo" / name[0] / name, b"\x1a\x01")
        _put(tree / "etc/terminfo" / name[0] / name, b"\x1a\x01")
    for name in ("passwd", "group", "shadow", "gshadow"):
        shutil.copy2(f"/etc/{name}", tree / "etc" / name)
    (tree / "etc/localtime").unlink(missing_ok=True)
    _put(tree / "etc/localtime", b"TZif2")
    sockets = [tree / path for path in SOCKETS]
    for place in sockets:
        place.parent.mkdir(parents=True, exist_ok=True)
    return sockets


def sprung() -> list[str]:
    """The libraries that a process of root's has loaded."""
    return sorted(path.name for path in SPRUNG.iterdir() if path.name.rsplit(".", 2)[1] == "0")


def reset() -> None:
    """Nothing has been loaded."""
    shutil.rmtree(SPRUNG, ignore_errors=True)
    SPRUNG.mkdir()
    SPRUNG.chmod(0o1777)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _library() -> bytes:
    source, result = Path("/tmp/trap.c"), Path("/tmp/trap.so")
    source.write_text(_LIBRARY)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(result), str(source)], check=True)
    return result.read_bytes()


def _libraries(directory: Path, library: bytes) -> None:
    """Converters, name services, modules of PAM, plugins; none that a program of the tree is linked with."""
    for service in _SERVICES:
        _put(directory / f"libnss_{service}.so.2", library)
    gconv = directory / "gconv"
    for name in ("BIG5", "UTF-16", "UTF-7", "ISO8859-1", "UNICODE"):
        _put(gconv / f"{name}.so", library)
    _put(gconv / "gconv-modules", b"module BIG5// INTERNAL BIG5 1\nmodule INTERNAL BIG5// BIG5 1\n")
    _put(gconv / "gconv-modules.d/trap.conf", b"module BIG5// INTERNAL BIG5 1\n")
    for name in ("unix", "permit", "env", "limits", "deny", "loginuid", "cap", "group", "krb5", "systemd"):
        _put(directory / "security" / f"pam_{name}.so", library)
    for place in (
        "krb5/plugins/authdata/trap.so",
        "krb5/plugins/libkrb5/trap.so",
        "sudo/sudoers.so",
        "ossl-modules/legacy.so",
    ):
        _put(directory / place, library)
    for name in ("libcap.so.2", "libaudit.so.1", "libgcc_s.so.1", "libselinux.so.1", "libidn2.so.0"):
        _put(directory / "trap" / name, library)
        if not (directory / name).exists():
            _put(directory / name, library)


def _catalogue(messages: dict[str, str]) -> bytes:
    """A compiled catalogue of messages whose encoding is BIG5, which libc has to load a converter for."""
    head = "Content-Type: text/plain; charset=BIG5\nPlural-Forms: nplurals=1; plural=0;\n"
    entries = sorted({"": head, **messages}.items())
    keys: list[bytes] = []
    values: list[bytes] = []
    texts = b""
    begin = 28 + 16 * len(entries)
    for part, table in ((0, keys), (1, values)):
        for entry in entries:
            data = entry[part].encode()
            table.append(struct.pack("<II", len(data), begin + len(texts)))
            texts += data + b"\0"
    count = len(entries)
    header = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 28 + 16 * count)
    return header + b"".join(keys) + b"".join(values) + texts
