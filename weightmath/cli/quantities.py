"""Shares, sizes, times and numbers as users write and read them."""

from __future__ import annotations

from collections.abc import Mapping

from weightmath.errors import RecipeError


def parse_share(text: str) -> float:
    """The share that `1%` or `0.01` stands for, in (0, 1]; RecipeError for anything else."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        hint = "for example: 1%, or 0.01"
        raise RecipeError(f"`{text}` is not a share of more than nothing and at most all", where="--sample", hint=hint)
    return share


def size_text(nbytes: int) -> str:
    """A size with three digits: 512 B, 94.2 kB, 2.12 GB."""
    if nbytes < 1000:
        return f"{nbytes} B"
    size, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{_three_digits(size)} {unit}"


def _three_digits(number: float) -> str:
    return f"{number:#.3g}".rstrip(".") if number < 999.5 else f"{number:.0f}"


def seconds_text(seconds: float) -> str:
    """A time: 0.02 s, 7.3 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{max(seconds, 0.01):.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number_text(value: object) -> str:
    """A number with six digits at most; truth values as YAML has them, other values as they are."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def or_dash(value: float | None, form: str = ".4g") -> str:
    """A number in this form, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def share_text(part: int, whole: int) -> str:
    """A share in percent that says 0% and 100% only of none and all."""
    if part in (0, whole):
        return "100%" if part else "0%"
    percent = 100 * part / whole
    return f"{min(max(percent, 0.01), 99.99):.2f}%" if not 0.1 <= percent <= 99.9 else f"{percent:.1f}%"


def dtypes_text(dtypes: Mapping[str, int]) -> str:
    """The dtypes of tensors with the number of each; a single one by itself."""
    return ", ".join(dtypes if len(dtypes) == 1 else (f"{name}: {count:,}" for name, count in dtypes.items()))
