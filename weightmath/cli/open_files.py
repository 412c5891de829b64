"""As many open files as the system lets a process have: a recipe reads its checkpoints side by side, shard by shard."""

from __future__ import annotations

import resource
from contextlib import suppress

_ENOUGH = 65_536  # more make some systems slow or refuse, and no recipe opens them


def allow_many_open_files() -> None:
    """Raise this process's own limit, often 1,024 or 256, as far as it may be raised without asking anyone."""
    own, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if most == resource.RLIM_INFINITY else min(most, _ENOUGH)
    if own == resource.RLIM_INFINITY or own >= wanted:
        return
    with suppress(OSError, ValueError):  # macOS has a bound of its own; whoever needs more then is told what to do
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
