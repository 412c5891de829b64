"""State dicts with every dtype that containers share, and how to compare what two of them hold."""

from collections.abc import Mapping

import torch

INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def every_dtype(seed: int = 0) -> dict[str, torch.Tensor]:
    """A tensor of each dtype, a number, an empty one, a truth value, and a complex one."""
    torch.manual_seed(seed)
    floats = {f"layer.{name}": torch.randn(3, 5).to(getattr(torch, name)) for name in FLOATS}
    whole = {f"whole.{name}": torch.tensor([[1, 2, 3]]).to(getattr(torch, name)) for name in INTEGERS}
    return {
        **floats, **whole, "number": torch.tensor(2.5), "empty": torch.empty(0, 4), "mask": torch.tensor([True, False]),
        "complex": torch.randn(2, dtype=torch.complex64),
    }  # fmt: skip


def same_bits(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether both hold the same names, dtypes, shapes and bits, in any order."""
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    flat = (x.contiguous().reshape(-1).view(torch.uint8) for x in (one, other))
    return torch.equal(*flat)
