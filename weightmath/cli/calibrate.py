"""`weightmath calibrate`: measure this machine, so that `plan` can say how long a run will take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightmath.cli import options
from weightmath.cli.answer import answer
from weightmath.cli.failures import FAILED, REFUSED, failing

if TYPE_CHECKING:
    from weightmath.reports.calibration import CalibrationReport
    from weightmath.speed.machine import Machine

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder on the disk that outputs will go to.")]


def calibrate(folder: Folder = Path(), json: options.Json = False) -> None:
    """Measure this machine, so that `plan` can say how long a run will take: within a third, where nothing else runs.

    It times every operation in memory, and small merges in FOLDER: twenty seconds, 700 MB of disk that it gives back.
    What it finds is kept for this user, and holds until the processor or the version of weightmath, numpy, numkong,
    llvmlite or Python changes. Run it while the machine has nothing else to do.
    """
    with failing(REFUSED, as_json=json):
        from weightmath.reports.calibration import calibration_report, check_calibration

        check_calibration(folder)
    with failing(FAILED, as_json=json):
        answer(calibration_report(folder), _print, as_json=json)


def _print(report: CalibrationReport) -> None:
    from weightmath.cli.page import Page

    page = Page()
    page.line(", ".join(f"{name} {value}" for name, value in report.machine.made_by.items()), style="bold")
    page.table(_rows(report.machine))
    page.line(f"kept in {report.kept}")


def _rows(machine: Machine) -> list[list[str]]:
    from weightmath.cli.quantities import seconds_text, size_text

    def ns(kind: str) -> str:
        return f"{machine.of(kind) * 1e9:.2f} ns"

    def rate(kind: str) -> str:
        return f"{size_text(round(1 / machine.of(kind)))} per second" if machine.of(kind) else "not measured"

    small = [f"{machine.of(kind) * 1e6:.0f} us" for kind in ("tensor read", "tensor written")]
    return [
        ["start", seconds_text(machine.of("start"))],
        ["disk", f"read {rate('byte cold')}, flushed {rate('byte flushed')}"],
        ["a byte in the page cache", f"read {ns('byte read')}, written {ns('byte written')}"],
        ["an element of float16", f"read {ns('read float16')}, written {ns('write float16')}"],
        ["an element", f"x + y {ns('add')}, selected {ns('tally')}, a normal number {ns('gaussian')}"],
        ["a tensor", f"read {small[0]}, written {small[1]}"],
        ["more threads", f"share {machine.shared:.0%} of the work"],
    ]
