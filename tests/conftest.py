"""Settings of every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# the first example compiles kernels, which takes as long as it takes
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# a shell starts background jobs with interrupts ignored, and processes inherit that: tests
# that interrupt one need what a terminal would give
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
