"""Opens and closes a session as libpam would for a service, and prints what came of it; a program of its own.

    python3 -I pam_session.py SERVICE DIRECTORY [USER]

DIRECTORY holds the stacks instead of /etc/pam.d. Modules may hang, crash, print, move the process: that is why
they do it here, and not in chosctl. Exit status 0: success; 1: libpam said no, and why is on standard
output; 3: this libpam is too old to be given a directory. Called by `pam_trial`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

_libc = ctypes.CDLL(None, use_errno=True)
_libc.calloc.restype = ctypes.c_void_p
_libc.calloc.argtypes = (ctypes.c_size_t, ctypes.c_size_t)


class _Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("code", ctypes.c_int)]


_CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p
)


class _Conversation(ctypes.Structure):
    _fields_ = [("function", _CONVERSE), ("data", ctypes.c_void_p)]


def _say_nothing(count: int, messages: int, responses: ctypes._Pointer[ctypes.c_void_p], data: int) -> int:
    """Hear every message, and answer no question."""
    responses[0] = _libc.calloc(count, ctypes.sizeof(_Response))  # libpam frees it
    return 0


def main(service: str, directory: str, user: str = "root") -> int:
    """Open the session and close it."""
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # modules print
    status, text = _session(service, directory, user)
    os.write(output, text.encode())
    return status


def _session(service: str, directory: str, user: str) -> tuple[int, str]:
    pam = ctypes.CDLL(ctypes.util.find_library("pam") or "libpam.so.0")
    if not hasattr(pam, "pam_start_confdir"):
        return 3, "pam_start_confdir is missing: Linux-PAM is older than 1.4"
    pam.pam_strerror.restype = ctypes.c_char_p
    handle = ctypes.c_void_p()
    conversation = _Conversation(_CONVERSE(_say_nothing), None)
    code = pam.pam_start_confdir(
        service.encode(), user.encode(), ctypes.byref(conversation), os.fsencode(directory), ctypes.byref(handle)
    )
    if code:
        return 1, f"pam_start: error {code}"
    code = pam.pam_open_session(handle, 0)
    text = pam.pam_strerror(handle, code).decode(errors="replace")
    if code == 0:
        pam.pam_close_session(handle, 0)
    pam.pam_end(handle, code)
    return (1, text) if code else (0, text)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
