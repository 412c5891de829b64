"""Records and rows of tables as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def as_json(record: Any) -> str:
    """A record as indented JSON text. NaN and infinities, which JSON lacks, become "nan", "inf" and "-inf".

    `null` is what there is not: a relative change against zero, a score that nobody measured.
    """
    return json.dumps(plain(record), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A record, or what it holds, as dicts with text keys, lists, texts, numbers, truth values and None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
