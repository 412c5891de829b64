"""Work is counted as by hand, what explains times is found, and estimates add up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Ran, cli  # noqa: F401
from tests.engine.small import LAYOUT, small, some_arrays  # noqa: F401
from tests.engine.whole import memory_input, plan_of
from weightmath import functions as f
from weightmath.algebra.formulas import COMPARE, UFUNCS
from weightmath.algebra.graph import Vector
from weightmath.algebra.names import Table
from weightmath.dtypes import DTYPES
from weightmath.engine.cost import DECOMPOSITIONS, operations
from weightmath.engine.plan import REDUCTIONS
from weightmath.job import Job, prepare
from weightmath.kernels.matrix import FUNCTIONS
from weightmath.reports import calibration
from weightmath.running import load
from weightmath.speed import calibrate, machine, probes
from weightmath.speed import estimate as estimating
from weightmath.speed.estimate import Estimate, cached_share, estimate, moved, work
from weightmath.speed.machine import Machine
from weightmath.speed.probes import Timed

SIZE = LAYOUT.size
LOCAL = sum(entry.size for entry in LAYOUT if entry.size > 64)  # beyond one tile, with the limits of tests
WIDE = sum(entry.size for entry in LAYOUT if entry.size > 512)  # beyond what is gathered


# --- counting


def counted(make: Callable[[Vector, Vector], Vector], *, compared: bool = False) -> dict[str, float]:
    x, y = memory_input("x", some_arrays(1)), memory_input("y", some_arrays(2))
    found = operations(plan_of(make(x, y), template=x if compared else None, layout=LAYOUT))
    return {kind: amount for kind, amount in found.items() if not kind.startswith("tensor")}


CASES: dict[str, tuple[Callable[[Vector, Vector], Vector], dict[str, float]]] = {
    "sum": (lambda x, y: x + 0.5 * y, {"read float32": 2 * SIZE, "multiply": SIZE, "add": SIZE}),
    "once": (lambda x, y: (x - y) * (x - y), {"read float32": 2 * SIZE, "subtract": SIZE, "multiply": SIZE}),
    "nothing for a factor of 0": (lambda x, y: x + Table((("*", 0.0),)) * y, {"read float32": SIZE}),
    "powers": (lambda x, y: x**2 + y**0.5, {"read float32": 2 * SIZE, "multiply": SIZE, "sqrt": SIZE, "add": SIZE}),
    "a pass before": (
        lambda x, y: x * f.norm(y),
        {"read float32": 2 * SIZE, "norm": SIZE, "multiply": SIZE},
    ),
    "a round before, beyond a tile": (
        lambda x, y: x / f.norm(x, scope="tensor"),
        {"read float32": SIZE + LOCAL, "norm": SIZE, "divide": SIZE},
    ),
    "noise": (lambda x, y: x + f.gaussian(seed=1), {"read float32": SIZE, "gaussian": SIZE, "add": SIZE}),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", CASES)
def test_operations_are_counted(case: str) -> None:
    make, expected = CASES[case]
    assert counted(make) == {**expected, "write float32": SIZE}


@pytest.mark.usefixtures("small")
def test_outputs_are_compared_with_templates_and_selections_looked_at() -> None:
    found = counted(lambda x, y: f.keep_largest(x, 0.5, scope="tensor"), compared=True)
    assert found["compare"] == found["moments"] == found["keep"] == SIZE
    assert found["sort"] == SIZE - WIDE
    assert WIDE <= found["tally"] <= 2 * WIDE, "the model, and a sample of it"


def test_doubles_count_twice_and_decompositions_by_the_smaller_side() -> None:
    x = memory_input("x", {"w": some_arrays(1, "f8", {"w": (30, 20)})["w"]})
    found = operations(plan_of(f.truncated_svd(x, rank=2)))
    assert found["read float64"] == 2 * 600
    assert found["svd"] == 2 * 600 * 20


# --- what is measured


def test_probes_hold_every_kind_of_work() -> None:
    kinds = {kind for probe in probes.probes() for kind in probe.work()}
    floats = [name for name, dtype in DTYPES.items() if dtype.is_float]
    special = {"inverse", "power", "exp", "log", "tanh", "where", "median", "bernoulli", "rank", "svd"}
    special |= {"gaussian", "uniform", "rademacher", "keep", "tally", "sort", "compare", "moments"}
    assert kinds >= {
        *UFUNCS,
        *COMPARE,
        *REDUCTIONS,
        *special,
        *(f"{to} {n}" for to in ("read", "write") for n in floats),
    }
    assert set(DECOMPOSITIONS) == set(FUNCTIONS)


def test_units_are_found_from_mixtures() -> None:
    truth = {"read": 2e-9, "add": 1e-10, "run": 0.01, "flush": 5e-9}
    mixtures = [
        {"read": 1e6, "run": 1.0},
        {"read": 3e6, "add": 2e6, "run": 1.0, "flush": 1e6},
        {"read": 1e6, "add": 3e7, "run": 1.0},
        {"add": 1e6, "run": 1.0},
    ]
    times = [Timed(mixture, sum(truth[kind] * amount for kind, amount in mixture.items())) for mixture in mixtures]
    found = calibrate._solved(times, {"flush": truth["flush"]})
    assert found == pytest.approx({kind: truth[kind] for kind in ("read", "add", "run")})


def test_noise_makes_nothing_cost_less_than_nothing() -> None:
    times = [Timed({"read": 1e6}, 1e-3), Timed({"read": 1e6, "add": 1e6}, 0.99e-3)]
    found = calibrate._solved(times, {})
    assert found["add"] == 0
    assert found["read"] == pytest.approx(0.995e-9, rel=0.01)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weightmath" / "machine.json"


def test_measurements_hold_for_their_machine_and_versions(home: Path) -> None:
    assert machine.measured() is None
    mine = Machine({"multiply": 1e-9}, 0.9, machine.this_machine())
    assert machine.keep(mine) == home
    assert machine.measured() == mine
    machine.keep(replace(mine, made_by={**mine.made_by, "numpy": "0.1"}))
    assert machine.measured() is None
    for damaged in ("", "{}", '{"seconds": 1'):
        home.write_text(damaged)
        assert machine.measured() is None


def test_what_was_not_measured_is_as_dear_as_its_family() -> None:
    found = Machine({"read float32": 1, "read float16": 3, "multiply": 2}, 1.0, {})
    assert [found.of(kind) for kind in ("read float32", "read int8", "new operation")] == [1, 3, 2]


# --- estimates


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], Job]:
    for name, dtype in (("half", torch.float16), ("single", torch.float32)):
        torch.save({"w": torch.ones(1000, 100, dtype=dtype)}, tmp_path / f"{name}.ckpt")

    def make(name: str) -> Job:
        path = tmp_path / "recipe.yaml"
        path.write_text(f"inputs:\n  a: {name}.ckpt\nsave:\n  out.ckpt: model(2 * a)\n")
        return prepare(load(path))

    return make


def seconds(of: Mapping[str, float], **others: float) -> Machine:
    """A machine on which everything costs nothing but this."""
    return Machine({**dict.fromkeys(("multiply", "start", "run", "byte cold"), 0.0), **of, **others}, 0.8, {})


def estimated(job: Job, threads: int, machine: Machine) -> Estimate:
    return estimate(job, moved(job), threads, machine)


NOTHING = dict.fromkeys(("read", "write", "byte read", "byte written", "byte flushed", "compare", "moments"), 0.0)
FREE = {**NOTHING, "read float32": 0.0, "write float32": 0.0, "tensor read": 0.0, "tensor written": 0.0}


def test_threads_share_what_can_be_shared(job: Callable[[str], Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert estimated(job("single"), 4, seconds({**FREE, "multiply": 1e-6})).seconds == pytest.approx(0.1), "too small"
    monkeypatch.setattr(estimating, "WORTH_HELPERS", 1000)
    only = seconds({**FREE, "multiply": 1e-6})
    taken = [estimated(job("single"), threads, only).seconds for threads in (1, 2, 4, 16)]
    assert taken == pytest.approx([0.1, 0.06, 0.04, 0.04]), "0.8 of 0.1 s is shared, by no more than there are cores"
    assert estimated(job("single"), 1, only).arithmetic == pytest.approx(0.1)


def test_bytes_are_counted(job: Callable[[str], Job]) -> None:
    single = job("single")
    done = work(single, moved(single))
    assert done["byte read"] == pytest.approx(400_000, rel=0.01)
    assert done["byte written"] == done["byte flushed"] == pytest.approx(400_000, rel=0.05)
    assert (done["tensor read"], done["tensor written"], done["run"]) == (1, 1, 1)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the cache cannot be told to forget")
def test_what_the_cache_lacks_comes_from_the_disk(job: Callable[[str], Job], tmp_path: Path) -> None:
    only = seconds({**FREE, "byte cold": 1e-6, "multiply": 1e-6})
    path, prepared = tmp_path / "single.ckpt", job("single")
    path.read_bytes()
    assert cached_share(path) == 1
    assert estimated(prepared, 1, only).disk == 0
    with path.open("rb") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached_share(path) == 0
    assert cached_share(path) == 0, "looking changes nothing"
    made = estimated(prepared, 1, only)
    assert made.disk == pytest.approx(0.4 - 0.1, rel=0.02), "beyond what the arithmetic takes meanwhile"
    assert made.seconds == pytest.approx(0.4, rel=0.02)


# --- all together


def test_a_machine_is_measured_and_plans_say_so(
    cli: Callable[..., Ran],  # noqa: F811
    home: Path,
    job: Callable[[str], Job],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, sizes in (
        (calibrate, {"_ROUNDS": 1, "_ELEMENTS": 100_000, "_MANY": 20, "_SHARED": (64, 4096), "_BUFFER": 4096}),
        (probes, {"_SHAPE": (32, 4096), "_SMALL": (8, 4096), "_LARGE": (64, 4096), "_MATRIX": (32, 32)}),
    ):
        for name, size in sizes.items():
            monkeypatch.setattr(module, name, size)
    job("half")
    assert "very roughly" in cli("plan", tmp_path / "recipe.yaml").out
    folder = tmp_path / "disk"
    folder.mkdir()
    ran = cli("calibrate", folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"kept in {home}\n")
    assert list(folder.iterdir()) == []
    found = machine.measured()
    assert found is not None
    assert 0 <= found.shared <= 1
    assert all(taken >= 0 for taken in found.seconds.values())
    assert {"start", "run", "byte cold", "byte flushed", "byte read", "tensor read", "svd"} <= set(found.seconds)
    said = cli("plan", tmp_path / "recipe.yaml").out.splitlines()[-1]
    assert said.startswith("  time    about ")
    assert "start" in said


def test_a_folder_that_is_not_there(cli: Callable[..., Ran], home: Path, tmp_path: Path) -> None:  # noqa: F811
    ran = cli("calibrate", tmp_path / "nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "no such folder" in ran.err
    assert not home.exists()


def test_a_disk_that_is_too_small(
    cli: Callable[..., Ran],  # noqa: F811
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibration, "ROOM", 10**18)
    ran = cli("calibrate", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {tmp_path}: its disk has " in ran.err
    assert not home.exists()


def test_what_cannot_be_kept_is_not_measured(
    cli: Callable[..., Ran],  # noqa: F811
    home: Path,
    tmp_path: Path,
) -> None:
    home.parent.parent.mkdir(exist_ok=True)
    home.parent.touch()
    ran = cli("calibrate", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {home}: what is found could not be kept there\n  hint: XDG_CACHE_HOME=" in ran.err


def test_what_the_system_says_of_the_folder_names_it(
    cli: Callable[..., Ran],  # noqa: F811
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(folder: Path) -> Machine:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "tmpabc" / "a.ckpt"))

    monkeypatch.setattr(calibration, "calibrate", full)
    ran = cli("calibrate", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: {tmp_path}: cannot be written: No space left on device\n"
