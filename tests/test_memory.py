"""The memory that a plan says it takes: what it grows with, and what is done where the budget is small."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.engine.whole import plan_of
from weightmath import functions as f
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.dtypes import DTYPES
from weightmath.engine.execute import Settings
from weightmath.engine.memory import peak_bytes, settings_for, threads_of, working_bytes
from weightmath.engine.plan import GATHER_LIMIT
from weightmath.engine.search import Search, budget_of
from weightmath.errors import MemoryBudgetError, RecipeError
from weightmath.layout import Entry, Layout
from weightmath.scope import TILE

MB = 1 << 20


def inputs(tensors: int, shape: tuple[int, ...], dtype: str = "float32", names: str = "ab") -> list[Vector]:
    layout = Layout.of(Entry(f"blocks.{i}.w", shape, DTYPES[dtype]) for i in range(tensors))
    return [input_vector(Input(name, layout)) for name in names]


def held(tensors: int, shape: tuple[int, ...], scope: str, settings: Settings = Settings()) -> int:
    a, b = inputs(tensors, shape)
    return working_bytes(plan_of(a + f.keep_largest(b - a, 0.2, scope=scope)), settings)


def test_memory_does_not_grow_with_the_model():
    a, b = inputs(100, (1000, 1000))
    c, d = inputs(1000, (10_000, 1000))
    small, large = (working_bytes(plan_of(x + 0.5 * (y - x)), Settings()) for x, y in ((a, b), (c, d)))
    assert small == large < 64 * MB


def test_a_selection_takes_its_budget_however_large_the_cell():
    assert budget_of(1) == 32 * MB
    assert held(10, (1000, 1000), "global") // MB == held(1000, (1000, 1000), "global") // MB < 128
    assert 100 * budget_of(100) < 64 * MB
    assert held(100, (10_000, 1000), "layer") < held(100, (10_000, 1000), "global") + 64 * MB


def test_chunks_threads_and_width_tell():
    a, b = inputs(4, (1000, 1000))
    plan = plan_of(a + 0.5 * b)
    wide = plan_of(sum(inputs(4, (1000, 1000), "float64")))
    one = working_bytes(plan, Settings(1, TILE))
    assert working_bytes(plan, Settings(4, TILE)) == 4 * one
    assert working_bytes(plan, Settings(1, 2 * TILE)) == 2 * one
    assert working_bytes(wide, Settings(1, TILE)) == 2 * one


def test_a_model_is_some_dozens_of_chunks():
    for size, tiles in ((1_000, 2), (16_800, 16), (200_000, 64)):
        a, b = inputs(4, (1000, size))
        assert settings_for(plan_of(a + b), 2, None).chunk == pytest.approx(tiles * TILE, rel=0.1)


@pytest.mark.parametrize(
    ("processors", "asked", "started"),
    [(2, 100_000, 8), (2, 3, 3), (16, 100_000, 32), (16, 24, 24), (16, None, 8), (2, None, 2), (None, None, 1)],
)
def test_no_more_threads_than_are_of_use(monkeypatch, processors, asked, started):
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    a, b = inputs(4, (1000, 1000))
    assert settings_for(plan_of(a + b), asked, None).threads == threads_of(asked) == started


@pytest.mark.parametrize("asked", [0, -1])
def test_less_than_one_thread_is_refused(asked):
    with pytest.raises(RecipeError, match=f"^`threads` must be 1 or more, not {asked}$"):
        threads_of(asked)


def test_settings_that_fit():
    a, b = inputs(4, (1000, 1000))
    plan = plan_of(a + 0.5 * b)
    assert settings_for(plan, 3, None) == Settings(3, 2 * TILE)
    assert settings_for(plan, 3, peak_bytes(plan, Settings(3, 2 * TILE)) - 1) == Settings(3, TILE)
    assert settings_for(plan, None, peak_bytes(plan, Settings(1, TILE))) == Settings(1, TILE)
    with pytest.raises(
        MemoryBudgetError, match=r"the work needs \d+ MB, and the budget is 1 MB\n  hint: memory=\"\d+MB\""
    ):
        settings_for(plan, None, 10**6)


def test_loops_are_made_where_a_large_model_and_the_budget_allow_it():
    a, b = inputs(4, (4096, 1024))
    plan = plan_of(a + 0.5 * b)
    loops = Settings(2, 4 * TILE, loops=True)
    assert settings_for(plan, 2, None) == loops
    assert settings_for(plan, 2, peak_bytes(plan, loops)) == loops
    assert settings_for(plan, 2, peak_bytes(plan, loops) - 1) == Settings(2, 4 * TILE)
    assert peak_bytes(plan, loops) - peak_bytes(plan, replace(loops, loops=False)) > 50 * MB


def test_samples_of_many_cells_fit_the_budget_together():
    """Cells that interleave keep theirs at the same time."""
    layout = Layout.of(
        Entry(f"blocks.{i}.{cell}", (500, 4000), DTYPES["float32"]) for i in range(2) for cell in "abcdefghijklmnop"
    )
    a = input_vector(Input("a", layout))
    plan = plan_of(f.keep_largest(a, 0.2, scope=r"re:blocks\.\d+\.(\w)"))
    selection = Search.wide(next(node for node in plan.nodes if node.op == "cut"), plan)
    parts = [part for of_entry in selection._samples.values() for of_tile in of_entry.values() for part in of_tile]
    sampled = sum(min(part.stop, 64_000) - part.start for part in parts)  # a tile is 16 rows
    assert 16 * 16 * 4096 <= sampled <= 32 * MB / 4


def test_a_search_through_one_tensor_holds_no_more_than_one_that_is_gathered():
    a = inputs(4, (4096, 1024))[0]
    plan = plan_of(f.keep_largest(a, 0.2, scope="tensor"))
    search = Search.within(next(node for node in plan.nodes if node.op == "cut"), plan, 0)
    assert [cell.selector.budget for cell in search._cells.values()] == [4 * GATHER_LIMIT]


def test_what_readers_hold_counts_for_each_process():
    a, b = inputs(4, (1000, 1000))
    assert b.source is not None
    c = input_vector(replace(b.source, held=64 * MB))
    plain, held = (working_bytes(plan_of(a + x), Settings(threads=2)) for x in (b, c))
    assert held - plain == 2 * 64 * MB


def test_what_is_known_of_many_tensors_counts(tmp_path):
    """Against what a run of its own process takes at most."""
    for number, name in enumerate("abc"):
        tensor = np.full(3, number, np.float16)
        save_file({f"t{i}": tensor for i in range(30_000)}, tmp_path / f"{name}.safetensors")
    words = ["-e", "a + 0.5 * (b - c)", *(f"{name}={tmp_path / name}.safetensors" for name in "abc")]
    words += ["-o", str(tmp_path / "out.safetensors"), "--threads", "1", "--json"]
    said, taken = (
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "weightmath", command, *words], check=True, capture_output=True
            ).stdout
        )
        for command in ("plan", "run")
    )
    assert said["peak_bytes"] == pytest.approx(taken["peak_bytes"], rel=0.2)
