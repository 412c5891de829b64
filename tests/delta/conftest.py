"""A base and a fine-tune with every dtype, odd values, optimizer state and objects, as whole files."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import torch

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


def state(seed: int, step: float = 0.0) -> dict[str, torch.Tensor]:
    """Weights; with a step, weights that training has moved a little."""
    start, moved = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    found = {}
    for number, shape in enumerate([(64, 48), (48,), (8, 4, 3, 3), (300, 40)]):
        value = torch.randn(shape, generator=start) * 0.05
        value = value + step * torch.randn(shape, generator=moved)
        found[f"layers.{number}.weight"] = value
    return found


def every_dtype(seed: int) -> dict[str, torch.Tensor]:
    """One tensor of each dtype; of floats with NaNs of several payloads, infinities and a negative zero."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for dtype in DTYPES:
        count = 600 * dtype.itemsize
        raw = torch.randint(0, 256, (count,), generator=generator, dtype=torch.uint8)
        found[f"t.{str(dtype).removeprefix('torch.')}"] = raw % 2 == 0 if dtype is torch.bool else raw.view(dtype)
    return found


def tensors_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    if left.keys() != right.keys():
        return False
    return all(bits_of(left[name]) == bits_of(right[name]) for name in left)


def bits_of(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    """All that a tensor is."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return tensor.dtype, tensor.shape, raw.tobytes()


def redescribe(path: str, old: str, new: str, *, checksum: bool = True) -> None:
    """Change a delta file's description of itself, and its checksum with it."""
    content = Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    fields = json.loads(content[8 : 8 + length])
    texts = fields["__metadata__"]
    assert old in texts["weightmath.delta"]
    texts["weightmath.delta"] = texts["weightmath.delta"].replace(old, new, 1)
    if checksum:
        texts["weightmath.delta.crc32"] = f"{zlib.crc32(texts['weightmath.delta'].encode()):08x}"
    header = json.dumps(fields).encode()
    Path(path).write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


def flip(path: str, place: int) -> None:
    """Change one bit of a file."""
    content = bytearray(Path(path).read_bytes())
    content[place] ^= 1
    Path(path).write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
