"""`dataclass` of the standard library, whose methods are written when the first object is made.

The standard library writes and compiles up to six methods for each class while its module is imported, about 0.35 ms
each. `chosctl` has more than 70 such classes, and a command makes objects of a quarter of them: made when needed, they
cost 25 ms less of the 70 ms that a start took. To type checkers this is `dataclasses.dataclass`, and it behaves as that
does, but that `__repr__`, `__eq__` and the like appear on the class with its first object.

Sources: PEP 557; the library's documentation of `dataclasses`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, **options: Any) -> Any:
        """See `dataclasses.dataclass`."""
        if cls is None:
            return lambda decorated: dataclass(decorated, **options)
        if "__init__" in vars(cls):  # its own, which the library would leave as it is
            return dataclasses.dataclass(**options)(cls)
        cls.__dataclass_fields__ = _Pending(cls, options)
        return cls


def complete(*packages: str) -> None:
    """Complete the classes of these packages and modules now, so that processes that are forked afterwards need not."""
    below = tuple(f"{package}." for package in packages)
    for pending in [found for found in _pending if found.module.startswith(below)]:
        pending.complete()


class _Pending:
    """Stands for the fields of a class that is not complete yet: whoever asks for them completes it.

    The library asks a class for its bases' fields before its own, so a class is never complete before its bases.
    """

    def __init__(self, cls: type, options: dict[str, Any]) -> None:
        self._cls, self._options = cls, options
        self.module = f"{cls.__module__}."
        _pending.append(self)

        def first(made: object, *args: Any, **kwargs: Any) -> None:
            self.complete()
            cls.__init__(made, *args, **kwargs)  # type: ignore[misc]

        cls.__init__ = first  # type: ignore[misc]

    def __get__(self, _made: object, _class: type) -> Any:
        self.complete()
        return self._cls.__dataclass_fields__  # type: ignore[attr-defined]

    def complete(self) -> None:
        """Write the methods."""
        _pending.remove(self)
        del self._cls.__init__, self._cls.__dataclass_fields__  # type: ignore[misc, attr-defined]
        dataclasses.dataclass(**self._options)(self._cls)


_pending: list[_Pending] = []

__all__ = ["complete", "dataclass"]
