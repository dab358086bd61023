"""A shell at a terminal, as somebody types there: what it makes of a line when all completions are inserted."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from node import LIMIT

# One key inserts everything that could stand there (^X^A), another prints the line as it is then (^X^P).
_BASH = r"""
PS1='ready>'; PS2=''; unset PROMPT_COMMAND; HISTFILE=
. /usr/share/bash-completion/bash_completion
bind 'set enable-bracketed-paste off'
bind '"\C-x\C-a": insert-completions'
_print() { printf '<<%s>>' "$READLINE_LINE"; READLINE_LINE=; }
bind -x '"\C-x\C-p": _print'
"""
_ZSH = r"""
PS1='ready>'; RPS1=''; unset HISTFILE; unsetopt zle_bracketed_paste; zle_bracketed_paste=()
autoload -Uz compinit && compinit -u -D
zle -C all complete-word _generic
zstyle ':completion:all::::' completer _all_matches _complete
zstyle ':completion:all:*' insert true
bindkey '^X^A' all
_print() { print -rn -- "<<$BUFFER>>"; BUFFER= }
zle -N _print
bindkey '^X^P' _print
"""


class Typed:
    """An interactive bash or zsh, in a directory of its own. `more`: what it executes at its start, besides."""

    def __init__(self, shell: str, home: Path, more: str = "") -> None:
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed")
        home.mkdir(parents=True, exist_ok=True)
        if shell == "bash":
            (home / "rc").write_text(_BASH + more)
            command = ["bash", "--noprofile", "--rcfile", str(home / "rc"), "-i"]
        else:
            (home / ".zshrc").write_text(_ZSH + more)
            command = ["zsh", "-o", "NO_GLOBAL_RCS", "-i"]
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": str(home),
            "ZDOTDIR": str(home),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "COLUMNS": "2000",
        }
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(home)
            os.execvpe(command[0], command, environment)
        self._seen = ""
        self._until("ready>")

    def after(self, line: str) -> list[str]:
        """The words of the line, once everything that could stand at its end is inserted."""
        self._seen = ""
        os.write(self._fd, line.encode() + b"\x18\x01\x18\x10")
        self._until(">>")
        found = re.search(r"<<(.*?)>>", self._seen, re.DOTALL)
        assert found, self._seen
        return found[1].split()

    def close(self) -> None:
        """End it."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)

    def _until(self, text: str) -> None:
        deadline = time.monotonic() + LIMIT
        while text not in self._seen:
            assert time.monotonic() < deadline, f"waited in vain for {text!r}: {self._seen!r}"
            with contextlib.suppress(OSError):
                self._seen += os.read(self._fd, 65536).decode(errors="replace")
