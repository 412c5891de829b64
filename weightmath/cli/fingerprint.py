"""`weightmath fingerprint`: the fingerprint of a checkpoint's vector."""

from __future__ import annotations

from weightmath.cli import options
from weightmath.cli.failures import REFUSED, failing
from weightmath.cli.loading import loading


def fingerprint(
    path: options.Checkpoint,
    section: options.Section = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Print the fingerprint of a checkpoint's weights, for scripts and pins.

    It depends on the names, shapes, dtypes and bits of the section's tensors alone: not on the container, the order in
    the file, or what else the checkpoint holds. It tells accidents, not malice: for that a recipe pins `sha256:`.
    """
    with failing(REFUSED, as_json=json):
        with loading():
            from weightmath.engine.memory import threads_of
            from weightmath.files.inputs import open_input
            from weightmath.plain import as_json
            from weightmath.reports.fingerprint import fingerprint_report

        report = fingerprint_report(open_input("CKPT", path, section=section), threads_of(threads))
        print(as_json(report) if json else report.fingerprint)
