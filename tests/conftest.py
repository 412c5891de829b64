"""What holds for all tests."""

from __future__ import annotations

import signal

# Whoever starts pytest in the background may have it ignore Ctrl-C, as all that it starts would then.
signal.signal(signal.SIGINT, signal.default_int_handler)
