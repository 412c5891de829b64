"""How a delta is to be stored: the kind and its parameters, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from weightmath.dtypes import FLOAT32, DType, dtype
from weightmath.errors import RecipeError

Kind = Literal["exact", "dense", "sparse", "int8", "sign", "low-rank", "auto"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_STORED = ("float32", "float16", "bfloat16")
_FOR: dict[str, tuple[str, ...]] = {
    "density": ("sparse",),
    "threshold": ("sparse",),
    "rank": ("low-rank",),
    "energy": ("low-rank",),
    "dtype": ("dense", "sparse", "low-rank", "auto"),
    "max_error": ("dense", "sparse", "int8", "sign", "low-rank", "auto"),
}


@dataclass(frozen=True)
class Options:
    """What `delta make` and a recipe's `save` may say.

    kind        exact: every bit; dense: all numbers; sparse: the largest; int8: 8 bits and a scale per row; sign: one
                bit and a scale per matrix; low-rank: two thin matrices; auto: per tensor the smallest within max_error
    density     of `sparse`: the share of each tensor that is kept, 0 to 1; None: all that is not 0
    threshold   of `sparse`: keep what is at least this large
    rank        of `low-rank`: at most this many columns
    energy      of `low-rank`: as many as hold this share of a matrix's sum of squares, 0 to 1
    dtype       of stored numbers: float32, float16 or bfloat16
    max_error   relative error that no tensor may exceed: the kind where it meets it, else dense
    """

    kind: Kind = "exact"
    density: float | None = None
    threshold: float | None = None
    rank: int | None = None
    energy: float | None = None
    dtype: str | None = None
    max_error: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RecipeError(f"unknown kind of delta `{self.kind}`", hint="known: " + " ".join(KINDS))
        for name, kinds in _FOR.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise RecipeError(f"`{name}` is not for {self.kind} deltas", hint=f"it is for: {' '.join(kinds)}")
        for name in ("density", "energy"):
            _check_share(name, getattr(self, name))
        for name in ("threshold", "max_error"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise RecipeError(f"`{name}` must be above 0, not {value}")
        if self.rank is not None and self.rank < 1:
            raise RecipeError(f"`rank` must be 1 or more, not {self.rank}")
        if self.dtype is not None and not _is_stored(self.dtype):
            raise RecipeError(f"a delta's numbers cannot be {self.dtype}", hint="known: " + " ".join(_STORED))
        if self.density is not None and self.threshold is not None:
            raise RecipeError("`density` and `threshold` both choose what is kept", hint="give one")
        self._check_needed()

    def _check_needed(self) -> None:
        if self.max_error is not None:
            chosen = [name for name in ("density", "threshold", "rank", "energy") if getattr(self, name) is not None]
            if chosen:
                raise RecipeError(f"`max_error` chooses what `{chosen[0]}` says", hint="give one")
        elif self.kind == "auto":
            raise RecipeError("an automatic choice needs a limit", hint="--max-error 0.05")
        elif self.kind == "low-rank" and self.rank is None and self.energy is None:
            raise RecipeError("a low-rank delta needs a rank", hint="--rank 8, or --energy 0.9")

    @property
    def stored(self) -> DType:
        """The dtype of stored numbers."""
        return dtype(self.dtype) if self.dtype else FLOAT32

    def given(self) -> dict[str, Any]:
        """Those that are not None, without the kind."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "kind"}
        return {name: value for name, value in values.items() if value is not None}


def _is_stored(name: str) -> bool:
    try:
        return dtype(name).name in _STORED
    except RecipeError:  # whose hint would name dtypes that cannot be stored
        return False


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 < value <= 1:
        raise RecipeError(f"`{name}` must be above 0 and at most 1, not {value}")
