"""Versions of what decides bits and speed, as records of provenance, runs and measurements name them.

They are what the libraries say of themselves: to look for their installed descriptions takes 1 ms for each.
"""

from __future__ import annotations

import numkong
import numpy as np

from weightmath import __version__

VERSIONS = {"weightmath": __version__, "numpy": np.__version__, "numkong": numkong.__version__}  # type: ignore[attr-defined]  # its stubs lack it
