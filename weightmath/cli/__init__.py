"""The command line: one file per command, which calls the library and prints what it says."""

from __future__ import annotations


def main() -> None:
    """The programs `weightmath` and `wm`. Ctrl-C ends them quietly at any moment, also while they are being loaded."""
    try:
        from weightmath.cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
