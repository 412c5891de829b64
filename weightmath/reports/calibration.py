"""What was measured of a machine, for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightmath.speed.calibrate import calibrate
from weightmath.speed.machine import Machine, keep


@dataclass(frozen=True)
class CalibrationReport:
    """Measurements of this machine, and where they are kept."""

    kept: str
    machine: Machine


def calibration_report(folder: Path) -> CalibrationReport:
    """Measure this machine with the disk of a folder, and keep what was found for `plan`."""
    machine = calibrate(folder)
    return CalibrationReport(str(keep(machine)), machine)
