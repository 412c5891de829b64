"""The one table of element types: every other module looks facts about a dtype up here.

`bits` is the numpy type that holds an element's raw bits; for the types that numpy has not (bfloat16,
float8) it is an unsigned integer of the same width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightmath.errors import RecipeError, nearest


@dataclass(frozen=True, eq=False)
class DType:
    """One element type and its names in the formats that we read and write. There is one of each.

    A hundred thousand tensors ask theirs: what it knows of itself is worked out once.
    """

    name: str
    kind: str  # "float", "int", "bool" or "complex"
    bits: np.dtype
    storage: str | None  # torch's typed storage class; None: only untyped storages hold it
    safetensors: str | None

    @cached_property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.bits.itemsize)

    @cached_property
    def is_float(self) -> bool:
        """Whether elements of this type belong to the vector."""
        return self.kind == "float"

    @cached_property
    def is_native(self) -> bool:
        """Whether numpy computes with `bits` itself, without a conversion."""
        return self.bits.kind in "fcib" or self.kind in ("int", "bool")

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], DType], tuple[str]]:
        """A copy, or one that was pickled, is the one there is."""
        return dtype, (self.name,)


def _table(*rows: tuple[str, str, str, str | None, str | None]) -> dict[str, DType]:
    return {name: DType(name, kind, np.dtype(bits), storage, code) for name, kind, bits, storage, code in rows}


DTYPES = _table(
    ("float64", "float", "<f8", "DoubleStorage", "F64"),
    ("float32", "float", "<f4", "FloatStorage", "F32"),
    ("float16", "float", "<f2", "HalfStorage", "F16"),
    ("bfloat16", "float", "<u2", "BFloat16Storage", "BF16"),
    ("float8_e4m3fn", "float", "u1", None, "F8_E4M3"),
    ("float8_e5m2", "float", "u1", None, "F8_E5M2"),
    ("int64", "int", "<i8", "LongStorage", "I64"),
    ("int32", "int", "<i4", "IntStorage", "I32"),
    ("int16", "int", "<i2", "ShortStorage", "I16"),
    ("int8", "int", "i1", "CharStorage", "I8"),
    ("uint8", "int", "u1", "ByteStorage", "U8"),
    ("uint16", "int", "<u2", None, "U16"),
    ("uint32", "int", "<u4", None, "U32"),
    ("uint64", "int", "<u8", None, "U64"),
    ("bool", "bool", "?", "BoolStorage", "BOOL"),
    ("complex64", "complex", "<c8", "ComplexFloatStorage", "C64"),
    ("complex128", "complex", "<c16", "ComplexDoubleStorage", None),
)

WEIGHTS = [name for name, known in DTYPES.items() if known.is_float]
ALIASES = {  # all of such as hold weights
    "fp64": "float64",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "fp8": "float8_e4m3fn",
}

FLOAT32 = DTYPES["float32"]
FLOAT64 = DTYPES["float64"]


def dtype(name: str) -> DType:
    """The dtype of that name or alias (`fp16`, `bf16`, `torch.float32`); RecipeError when there is none."""
    plain = name.removeprefix("torch.")
    known = DTYPES.get(ALIASES.get(plain, plain))
    if known is None:
        words = [*DTYPES, *ALIASES]
        raise RecipeError(f"unknown dtype `{name}`", hint=nearest(plain, words) or "known: " + " ".join(words))
    return known
