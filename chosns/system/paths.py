"""Absolute paths by their components: never by the beginnings of strings. Pure; no file is looked at."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)  # a plan asks for a few hundred paths, some of them a hundred times
def _components(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def split(path: str) -> list[str]:
    """The components of an absolute path; `.` and empty ones dropped."""
    return list(_components(path))


def join(parts: list[str] | tuple[str, ...]) -> str:
    """The absolute path of these components."""
    return "/" + "/".join(parts)


def parent(path: str) -> str:
    """The directory that holds `path`; `/` for `/` itself."""
    return join(split(path)[:-1])


def is_below(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or inside it, compared by component: /scratch2 is not below /scratch."""
    prefix = _components(directory)
    return _components(path)[: len(prefix)] == prefix
