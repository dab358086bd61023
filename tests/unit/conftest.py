"""Properties have no time limit: a machine that is busy has found no mistake."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("chos", deadline=None)
settings.register_profile("again", deadline=None, max_examples=20)
settings.load_profile(os.environ.get("CHOS_PROPERTIES", "chos"))

# Whoever starts the tests in the background (`&` in a script, nohup) may have them ignore what some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, signal.SIG_DFL)
