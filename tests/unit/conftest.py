"""Properties have no time limit: a machine that is busy has found no mistake."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("chos", deadline=None)
settings.register_profile("again", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("CHOS_PROPERTIES", "chos"))
