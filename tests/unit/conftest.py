"""Properties have no time limit: a machine that is busy has found no mistake."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("chos", deadline=None)
settings.load_profile("chos")
