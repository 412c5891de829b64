"""Records as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightmath.plain import as_json


@dataclass(frozen=True)
class Record:
    """A record with one field."""

    value: Any


def test_what_json_lacks() -> None:
    value = {1: np.float64(0.5), "a": (np.arange(2), float("nan"), -np.inf), "r": Record(None), "t": np.bool_(True)}
    assert json.loads(as_json(Record(value))) == {
        "value": {"1": 0.5, "a": [[0, 1], "nan", "-inf"], "r": {"value": None}, "t": True}
    }


def test_text_stays_readable() -> None:
    assert '"層"' in as_json(Record("層"))
