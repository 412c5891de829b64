"""Conversions of stored elements against torch's and against exact arithmetic, for each way that the processor has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numkong
import numpy as np
import pytest
import torch

from weightmath.delta import numbers as by_numpy
from weightmath.dtypes import DTYPES
from weightmath.kernels import convert

Array = np.ndarray[Any, np.dtype[Any]]
SMALL = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
WAYS = [name for name, there in numkong.get_capabilities().items() if there]


@pytest.fixture(params=[None, *WAYS])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """The processor's best way to convert, and the ways that are left without each that it has."""
    before = numkong.get_capabilities()
    off = WAYS[WAYS.index(request.param) :] if request.param else []
    off = [name for name in off if name != "serial"]
    for name in off:
        numkong.disable_capability(name)
    yield
    for name in off:
        numkong.enable_capability(name)
    assert numkong.get_capabilities() == before


def every(name: str) -> Array:
    width = DTYPES[name].itemsize
    return np.arange(256**width, dtype=f"<u{width}").view(DTYPES[name].bits)


def as_torch(bits: Array, name: str) -> torch.Tensor:
    return torch.from_numpy(bits.view(f"i{bits.itemsize}" if bits.itemsize > 1 else "u1")).view(getattr(torch, name))


def decoded(bits: Array, name: str, wide: Any = np.float32) -> Array:
    found = np.empty(bits.shape, wide)
    convert.decode(bits, DTYPES[name], found)
    return found


def encoded(numbers: Array, name: str) -> Array:
    found = np.empty(numbers.shape, DTYPES[name].bits)
    with np.errstate(all="ignore"):
        convert.encode(numbers, DTYPES[name], found)
    return found


def delicate(name: str, wide: Any) -> Array:
    """Every number of a type, the middles between them, and what lies beside these in a wider type."""
    known = as_torch(every(name), name).double().numpy()
    exact = np.unique(known[np.isfinite(known)])
    step = exact[-1] - exact[-2]
    middles = np.concatenate([(exact[1:] + exact[:-1]) / 2, [exact[-1] + step / 2, -exact[-1] - step / 2]]).astype(wide)
    around = [np.nextafter(middles, wide(np.inf)), np.nextafter(middles, wide(-np.inf))]
    return np.concatenate([exact.astype(wide), middles, *around, np.array([0.0, -0.0, 1e-45, np.inf, -np.inf], wide)])


def nearest(numbers: Array, name: str) -> Array:
    """The numbers of a type that are nearest, by comparing distances; of two, the one whose last bit is 0."""
    known = as_torch(every(name), name).double().numpy()
    codes = every(name).view(f"u{DTYPES[name].itemsize}")
    positive = np.flatnonzero(np.isfinite(known) & (codes < len(codes) // 2))
    sizes = known[positive]
    top = np.append(sizes, sizes[-1] + (sizes[-1] - sizes[-2]))  # the number that would come next
    size = np.minimum(np.abs(numbers.astype(np.float64)), top[-1])
    above = np.searchsorted(top, size).clip(1)
    down, up = size - top[above - 1], top[above] - size
    found = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, above - 1)
    beyond = np.nan if name == "float8_e4m3fn" else np.inf
    return np.copysign(np.append(sizes, beyond)[found], numbers)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMALL)
def test_every_code_means_what_torch_says(name, wide):
    bits = every(name)
    expected = as_torch(bits, name).double().numpy().astype(wide)
    found = decoded(bits, name, wide)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMALL)
def test_numbers_are_rounded_once_to_the_nearest(name, wide):
    numbers = delicate(name, wide)
    found = decoded(encoded(numbers, name), name, np.float64)
    expected = nearest(numbers, name)
    np.testing.assert_array_equal(found, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[there], np.signbit(numbers)[there])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_torchs_bit_for_bit(name):
    noise = np.random.default_rng(5).integers(0, 1 << 32, 300_000, np.uint32).view(np.float32)
    numbers = np.concatenate([delicate(name, np.float32), noise])
    numbers = numbers[~np.isnan(numbers)]
    expected = torch.from_numpy(numbers).to(getattr(torch, name)).view(torch.int16).numpy()
    np.testing.assert_array_equal(encoded(numbers, name).view(np.int16), expected)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", SMALL)
def test_nan_stays_nan_whatever_its_payload(name):
    payloads = np.concatenate([1 << np.arange(23), (1 << np.arange(1, 24)) - 1, [0x400000, 0x3F8000, 0x7F8000]])
    whole = np.concatenate([0x7F800000 | payloads, 0xFF800000 | payloads]).astype(np.uint32)
    numbers = whole.view(np.float32)
    bits = encoded(numbers, name)
    assert np.isnan(decoded(bits, name)).all()
    assert convert.nonfinite(bits, DTYPES[name]) == len(numbers)


@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("name", SMALL)
def test_who_has_numpy_alone_gets_the_same(name, wide):
    numbers = delicate(name, wide)
    np.testing.assert_array_equal(by_numpy.encode(numbers, DTYPES[name]), encoded(numbers, name))
    np.testing.assert_array_equal(by_numpy.decode(every(name), DTYPES[name]), decoded(every(name), name))


@pytest.mark.parametrize("name", SMALL)
def test_arrays_may_be_empty_or_lie_anywhere(name):
    assert encoded(np.empty(0, np.float32), name).shape == decoded(every(name)[:0], name).shape == (0,)
    memory = np.zeros(1 + 9 * 4, np.uint8)
    odd = memory[1:].view(np.float32)
    odd[:] = np.arange(9)
    bits = encoded(odd, name)
    np.testing.assert_array_equal(decoded(bits, name), odd)
    np.testing.assert_array_equal(decoded(np.repeat(bits, 2)[::2], name), odd)


def test_what_is_bound_once_converts_what_is_there_when_it_is_called():
    bits, out = np.zeros(5, np.uint16), np.empty(5, np.float32)
    call = convert.decoder(bits, DTYPES["bfloat16"], out)
    for number in (1.0, 2.0):
        bits[:] = encoded(np.full(5, number, np.float32), "bfloat16")
        call()
        assert out.tolist() == [number] * 5
