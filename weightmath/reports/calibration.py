"""What was measured of a machine, for people."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from weightmath.errors import OutputError, shell_word, unwritable
from weightmath.speed.calibrate import calibrate
from weightmath.speed.machine import Machine, keep, place

ROOM = 700_000_000  # bytes that the files of measurements take at most


@dataclass(frozen=True)
class CalibrationReport:
    """Measurements of this machine, and where they are kept."""

    kept: str
    machine: Machine


def check_calibration(folder: Path) -> None:
    """OutputError where the folder is not there, or files cannot be written to it or to where results are kept."""
    if not folder.is_dir():
        raise OutputError("there is no such folder", where=str(folder), hint=f"mkdir -p {shell_word(folder)}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("cannot be written to", where=str(folder), hint="name another folder")
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        hint = "make room, or name a folder on another disk"
        raise OutputError(f"its disk has {free:,} bytes, and measuring takes {ROOM:,}", where=str(folder), hint=hint)
    kept = place()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        is_free = os.access(kept.parent, os.W_OK | os.X_OK) and not kept.is_dir()
    except OSError:
        is_free = False
    if not is_free:
        hint = "XDG_CACHE_HOME=/another/folder weightmath calibrate"
        raise OutputError("what is found could not be kept there", where=str(kept), hint=hint)


def calibration_report(folder: Path) -> CalibrationReport:
    """Measure this machine with the disk of a folder, and keep what was found for `plan`."""
    try:
        machine = calibrate(folder)
    except OSError as error:
        raise unwritable(folder, error) from None
    return CalibrationReport(str(keep(machine)), machine)
