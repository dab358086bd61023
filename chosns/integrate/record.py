"""What was changed, and what was there before: /var/lib/chos/install/PRODUCT.

`changes.json` is written before anything is changed, so whatever dies, `--undo` knows. Texts of files are kept beside
it under the SHA-256 of what they hold. Called by `engine`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Union

from chosns.config.trusted import trusted_directory
from chosns.errors import ConfigError
from chosns.integrate import files
from chosns.integrate.model import STATE, Machine
from chosns.lazydata import dataclass
from chosns.system import fault

_VERSION = 1


@dataclass(frozen=True)
class FileRecord:
    """A file that was changed: digests of what it held and holds (None: no file), our lines, and what they replaced."""

    name: str
    before: str | None
    after: str
    lines: tuple[str, ...]
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class SettingRecord:
    """A setting that was changed."""

    name: str
    before: str
    after: str


Record = Union[FileRecord, SettingRecord]


def digest(text: str) -> str:
    """What a text is known by."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Records:
    """The records of one product."""

    def __init__(self, machine: Machine, product: str) -> None:
        self._machine = Machine(machine.root, machine.uids[:1], machine.env)  # never the product's administrator
        self._directory = f"{STATE}/{product}"
        self._file = f"{self._directory}/changes.json"
        self._by_hand = (
            f"the files with long names in {self._directory} are the configuration as it was: put them back\n"
            f"(changes.json says which is which, as far as it can be read), or take our lines out; then: "
            f"rm -r {self._directory}"
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes anything."""
        files.make_directory(self._machine, STATE, 0o700)
        with trusted_directory(self._machine.root, STATE, self._machine.uids) as directory:
            if directory is not None:
                fcntl.flock(directory, fcntl.LOCK_EX)
            yield

    def exist(self) -> bool:
        """Whether anything was installed, or begun to be."""
        return os.path.basename(self._directory) in files.listing(self._machine, STATE)

    def read(self) -> tuple[Record, ...]:
        """All records; none where nothing was installed. :raises ConfigError: unreadable or damaged."""
        text = files.read(self._machine, self._file)
        if text is None:
            return ()
        try:
            document = json.loads(text)
            if document["version"] != _VERSION:
                hint = f"--undo with that release, or: {self._by_hand}"
                raise ConfigError("was written by another release of chosctl", object=self._file, hint=hint)
            return tuple(_record(entry) for entry in document["changes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError("is damaged", object=self._file, hint=self._by_hand) from error

    def text(self, known_by: str) -> str | None:
        """A kept text; None where it is gone or is not what it was."""
        text = files.read(self._machine, f"{self._directory}/{known_by}")
        return text if text is not None and digest(text) == known_by else None

    def keep(self, text: str) -> str:
        """Keep a text; what it is known by."""
        files.make_directory(self._machine, self._directory, 0o700)
        known_by = digest(text)
        if self.text(known_by) is None:
            files.put(self._machine, f"{self._directory}/{known_by}", text, 0o600)
        return known_by

    def write(self, records: Sequence[Record]) -> None:
        """Exchange all records."""
        if not records:
            files.remove(self._machine, self._file)
            return
        files.make_directory(self._machine, self._directory, 0o700)
        document = {"version": _VERSION, "changes": [{"kind": _KIND[type(r)], **asdict(r)} for r in records]}
        fault.point()
        files.put(self._machine, self._file, json.dumps(document, indent=1) + "\n", 0o600)

    def tidy(self) -> None:
        """Remove the texts that no record needs, and the directory when it is empty."""
        needed = {record.before for record in self.read() if isinstance(record, FileRecord)}
        for name in files.listing(self._machine, self._directory):
            if name not in needed and name != os.path.basename(self._file):
                files.remove(self._machine, f"{self._directory}/{name}")
        files.remove_directory(self._machine, self._directory)


_KIND: dict[type[Record], str] = {FileRecord: "file", SettingRecord: "setting"}


def _record(entry: dict[str, Any]) -> Record:
    if entry["kind"] == "setting":
        return SettingRecord(str(entry["name"]), str(entry["before"]), str(entry["after"]))
    before = entry["before"]
    lines, instead = (tuple(str(line) for line in entry[key]) for key in ("lines", "instead"))
    return FileRecord(str(entry["name"]), None if before is None else str(before), str(entry["after"]), lines, instead)
