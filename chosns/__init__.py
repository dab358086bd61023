"""CHOS: each process tree in the Linux OS tree of its user's choice, on one node."""

from __future__ import annotations

__version__ = "1.0.0"
