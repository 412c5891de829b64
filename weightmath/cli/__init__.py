"""The command line: one file per command, which calls the library and prints what it says."""

from __future__ import annotations

import atexit
import gc


def main() -> None:
    """The programs `weightmath` and `wm`.

    Ctrl-C and SIGTERM end them quietly at any moment, also while they are being loaded.
    """
    from weightmath.cli.open_files import allow_many_open_files
    from weightmath.cli.signals import TerminatedError, end_on_sigterm

    end_on_sigterm()
    allow_many_open_files()
    # What a command leaves goes with its process: to search it for garbage took a tenth of a run with many tensors.
    atexit.register(gc.freeze)
    try:
        from weightmath.cli.app import main as run

        run()
    except TerminatedError:
        raise SystemExit(143) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        # An interrupt that passed the exec of a text, by which dataclasses are made, counts as handled by nobody, and
        # `python -m` ends by the signal, whatever the exit code is. The next exec makes it forget.
        exec("")  # noqa: S102 - nothing is executed
