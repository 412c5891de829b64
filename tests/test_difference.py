"""Comparing two checkpoints; `tests/cli/test_diff.py` has the numbers, against plain numpy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from weightmath.difference import Comparison, Distance, compare
from weightmath.errors import CheckpointError


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    g = torch.Generator().manual_seed(3)
    for name in ("a", "b"):
        torch.save({f"w{i}": torch.randn(300, 700, generator=g) for i in range(3)}, tmp_path / f"{name}.ckpt")
    return tmp_path / "a.ckpt", tmp_path / "b.ckpt"


def _numbers(found: Comparison) -> list[tuple[object, ...]]:
    return [(pair.name, pair.different, pair.distance, pair.largest) for pair in found.pairs]


def test_threads_change_no_bit(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    several = _numbers(compare(*files))
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert _numbers(compare(*files)) == several


def test_progress_ends_at_the_total(files: tuple[Path, Path]) -> None:
    told: list[tuple[int, int]] = []
    compare(*files, progress=lambda done, total: told.append((done, total)))
    nbytes = 3 * 300 * 700 * 4
    assert max(told) == (4 * nbytes, 4 * nbytes)


def test_a_file_that_changes_meanwhile(files: tuple[Path, Path]) -> None:
    def change(done: int, total: int) -> None:
        files[0].touch()

    with pytest.raises(CheckpointError, match="changed while it was read"):
        compare(*files, progress=change)


def test_distances_add_up() -> None:
    a, b = Distance(aa=4.0, bb=1.0, ab=2.0, dd=1.0), Distance(aa=5.0, bb=15.0, ab=4.0, dd=3.0)
    assert a + b == Distance(9.0, 16.0, 6.0, 4.0)
    assert (a + b).relative_change == 2 / 3
    assert (a + b).cosine == 0.5


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_distances_of_what_is_not_finite_are_no_numbers_and_not_nothing(strange: float) -> None:
    there = Distance(aa=1.0, bb=strange, ab=strange, dd=strange)
    assert there.relative_change == pytest.approx(strange, nan_ok=True)
    assert there.cosine is not None
    assert math.isnan(there.cosine)
    whole = Distance(aa=strange, bb=strange, ab=strange, dd=strange)
    assert whole.relative_change is not None
    assert math.isnan(whole.relative_change)


def test_distances_of_zeros() -> None:
    assert (Distance().relative_change, Distance().cosine) == (0.0, None)
    assert Distance(bb=1.0, dd=1.0).relative_change is None
