"""Conversions by numpy alone, against torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weightmath.delta.numbers import decode, encode
from weightmath.dtypes import DTYPES

SMALL = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def every(name: str) -> np.ndarray:
    width = DTYPES[name].itemsize
    return np.arange(256**width, dtype=f"<u{width}").view(DTYPES[name].bits)


@pytest.mark.parametrize("name", SMALL)
def test_every_code_means_what_torch_says(name):
    bits = every(name)
    signed = torch.from_numpy(bits.view(f"i{bits.itemsize}" if bits.itemsize > 1 else "u1"))
    expected = signed.view(getattr(torch, name)).float().numpy()
    found = decode(bits, DTYPES[name])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_rounding_is_torchs(name, wide):
    generator = np.random.default_rng(5)
    known = decode(every(name), DTYPES[name])
    exact = np.unique(known[np.isfinite(known)]).astype(np.float64)
    middles = (exact[1:] + exact[:-1]) / 2
    around = [np.nextafter(middles.astype(wide), wide(np.inf)), np.nextafter(middles.astype(wide), wide(-np.inf))]
    largest = exact[-1]
    beyond = np.array([largest * 1.01, largest * 1.03, largest * 1.0625, largest * 1.2, largest * 2, np.inf, 0.0, -0.0])
    noise = generator.normal(size=10_000) * 10.0 ** generator.integers(-8, 5, 10_000)
    with np.errstate(over="ignore"):
        numbers = np.concatenate([exact, middles, *around, beyond, -beyond, noise]).astype(np.float32).astype(wide)
    found = decode(encode(numbers, DTYPES[name]), DTYPES[name])
    if name == "float8_e4m3fn":
        # Here versions of torch disagree: some saturate. What overflows must be noticed.
        assert np.isnan(found[np.abs(numbers) > 464]).all()
        numbers, found = numbers[np.abs(numbers) <= 464], found[np.abs(numbers) <= 464]
    expected = torch.from_numpy(numbers.astype(np.float32)).to(getattr(torch, name)).float().numpy()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("name", SMALL)
def test_nan_stays_nan(name):
    numbers = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFC00000], np.uint32).view(np.float32)
    assert np.isnan(decode(encode(numbers, DTYPES[name]), DTYPES[name])).all()
