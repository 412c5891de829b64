"""Numbers of bytes as users write them: 5GB, 500 MB, 1.5GiB. A kB is 1000 bytes, a KiB 1024."""

from __future__ import annotations

import re

from weightmath.errors import RecipeError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-z]*)\s*")


def bytes_of(text: str) -> int | None:
    """The number of bytes that `512MB`, `1.5GiB` or `65536` stands for; None where it is no size."""
    found = _SIZE.fullmatch(text)
    unit = found.group(2).upper() if found else ""
    if len(unit) == 1 and unit != "B":
        unit += "B"
    if found is None or unit not in _UNITS:
        return None
    return int(float(found.group(1)) * _UNITS[unit])


def parse_size(given: int | str | None) -> int | None:
    """The bytes that a number or a text means for `memory`, None for None; RecipeError for a text that is no size."""
    if not isinstance(given, str):
        return given
    size = bytes_of(given)
    if size is None:
        raise RecipeError(f"`{given}` is not a size", where="--memory", hint="for example: 512MB, 2GB, 1.5GiB")
    return size
