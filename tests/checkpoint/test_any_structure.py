"""Any structure at all: random ones written by torch in every format that it has had, and read back."""

from __future__ import annotations

import io
import math
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checkpoint.rewrite import rewrite
from tests.checkpoint.states import FLOATS, INTEGERS
from weightmath.checkpoint import Checkpoint, Opaque, TensorInfo, open_checkpoint

DTYPES = [getattr(torch, name) for name in (*FLOATS, *INTEGERS, "bool", "complex64", "complex128")]
OLD = [dtype for dtype in DTYPES if "float8" not in str(dtype) and str(dtype)[6:] not in ("uint16", "uint32", "uint64")]

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def tensors(draw: st.DrawFn, dtypes: list[torch.dtype]) -> torch.Tensor:
    """A tensor of its own, or a view: a part, every other element, turned round, expanded; a parameter or not."""
    dtype, shape = draw(st.sampled_from(dtypes)), draw(shapes)
    raw = torch.arange(2 * math.prod(shape) * dtype.itemsize, dtype=torch.int64).to(torch.uint8) * 37
    whole = raw % 2 == 0 if dtype is torch.bool else raw.view(dtype) if len(raw) else torch.empty(0, dtype=dtype)
    half = math.prod(shape)
    value = draw(
        st.sampled_from(
            [
                lambda: whole[:half].reshape(shape).clone(),
                lambda: whole[half : 2 * half].reshape(shape),
                lambda: whole[: 2 * half : 2].reshape(shape),
                lambda: whole[:half].reshape(shape).mT if len(shape) > 1 else whole[:half].reshape(shape),
                lambda: whole[:1].expand(3) if half else whole[:half].reshape(shape),
            ]
        )
    )()
    is_parameter = draw(st.booleans()) and (dtype.is_floating_point or dtype.is_complex)
    return torch.nn.Parameter(value, requires_grad=draw(st.booleans())) if is_parameter else value


@st.composite
def contents(draw: st.DrawFn, dtypes: list[torch.dtype]) -> dict[str, Any]:
    """Nested mappings and lists that share tensors, storages and whole parts."""
    pool = draw(st.lists(tensors(dtypes), min_size=1, max_size=4))
    pool += [one[:1] for one in pool if one.ndim]
    leaves = st.sampled_from(pool) | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    keys = st.text(max_size=5) | st.integers(0, 300)
    inner = st.recursive(
        leaves | st.binary(max_size=4),
        lambda parts: (
            st.lists(parts, max_size=3)
            | st.lists(parts, max_size=3).map(tuple)
            | st.dictionaries(keys, parts, max_size=3)
            | st.dictionaries(keys, parts, max_size=3).map(OrderedDict)
        ),
        max_leaves=12,
    )
    content = draw(st.dictionaries(st.text(max_size=8), inner, max_size=4))
    content["again"] = draw(st.sampled_from([*content.values(), *pool]))
    content["state"] = draw(st.dictionaries(st.text(min_size=1, max_size=5), st.sampled_from(pool), min_size=1))
    return content


def walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    """All tensors and the paths to them."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from walk(item, (*path, number))


def same(tree: Any, value: Any) -> bool:
    """Whether what is shown of a checkpoint is what was saved, tensors apart."""
    if isinstance(value, torch.Tensor):
        return isinstance(tree, TensorInfo)
    if isinstance(value, dict):
        return list(tree) == list(value) and all(same(tree[key], item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return len(tree) == len(value) and all(map(same, tree, value))
    if isinstance(value, bytes) and isinstance(tree, Opaque):
        return tree.name in ("_codecs.encode", "__builtin__.bytes")  # as protocol 2, which has none, writes them
    return type(tree) is type(value) and bool(tree == value)


def bits(tensor: torch.Tensor) -> bytes:
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype)
    flat.view(tensor.shape).copy_(tensor.detach())
    return flat.view(torch.uint8).numpy().tobytes()


def check(checkpoint: Checkpoint, content: Any) -> None:
    """Compare everything that was read with what was saved."""
    assert same(checkpoint.tree, content)
    found = {info.path: info for info in checkpoint.tensors}
    expected = dict(walk(content))
    # A tensor that hangs in several places is one, listed once for each object of a class that holds it.
    assert found.keys() <= expected.keys()
    assert {id(expected[path]) for path in found} == {id(tensor) for tensor in expected.values()}
    with checkpoint.open() as reader:
        for path, info in found.items():
            tensor = expected[path]
            assert (str(info.entry.dtype), info.entry.shape) == (str(tensor.dtype)[6:], tuple(tensor.shape))
            out = np.empty(info.entry.size, info.entry.dtype.bits)
            reader.read(info, 0, info.entry.size, out)
            assert out.tobytes() == bits(tensor)


def saved(content: Any, folder: str, **options: Any) -> Path:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    path = Path(folder) / "x.pt"
    path.write_bytes(buffer.getvalue())
    return path


limits = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@limits
@given(contents(DTYPES), st.integers(2, 5))
def test_zips_of_every_protocol(content: dict[str, Any], protocol: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = saved(content, folder, pickle_protocol=protocol)
        check(open_checkpoint(path), content)
        rewrite(path, Path(folder) / "again.pt", computed=())
        assert (Path(folder) / "again.pt").read_bytes() == path.read_bytes()


@limits
@given(contents(OLD), st.integers(2, 5))
def test_files_as_before_pytorch_1_6(content: dict[str, Any], protocol: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = saved(content, folder, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
        check(open_checkpoint(path), content)
        rewrite(path, Path(folder) / "new.pt", computed=())
        check(open_checkpoint(Path(folder) / "new.pt"), torch.load(Path(folder) / "new.pt", weights_only=False))
