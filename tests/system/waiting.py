"""A `chosctl` that waits, beside the test that lets it wait."""

from __future__ import annotations

import subprocess
from pathlib import Path

from node import LIMIT, wait_for


class Waiting:
    """A `chosctl` that waits; its standard error is a file that is read while it runs."""

    def __init__(self, *arguments: str, place: Path) -> None:
        self._said = place / "said"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                ["chosctl", *arguments], stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, text=True
            )

    def until(self, text: str) -> None:
        """It has said that."""
        wait_for(lambda: text in self._said.read_text() or self.process.poll() is not None, text)
        assert text in self._said.read_text(), self.end()

    def end(self) -> tuple[int, str, str]:
        """Exit status, output and standard error."""
        output, _ = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, output, self._said.read_text()
