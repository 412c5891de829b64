"""Points of a recipe are what `run` makes of it with the same parameters: as files and in memory, however batched."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.merging import Bench, same
from weightmath.checkpoint import open_checkpoint
from weightmath.errors import ExpectError, NumericError, RecipeError, WeightmathError
from weightmath.job import prepare
from weightmath.lab import points as lab_points
from weightmath.lab.metric import Metric, parse_metric
from weightmath.lab.points import Measured, Point, Work, ground_of, jobs_of, measured
from weightmath.provenance.lineage import provenance_of
from weightmath.recipe import loads, with_overrides
from weightmath.running import run
from weightmath.verify.verification import verify

RECIPE = """\
inputs: {a: a.ckpt, b: b.ckpt}
params: {t: 0.5, kept: 0.3}
save:
  out.ckpt: a + t * keep_largest(b - a, kept)
"""


def state(seed: int, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        "layers.0.weight": torch.randn(20, 30, generator=g),
        "norm.running_mean": torch.randn(20, generator=g),
        "half": torch.randn(50, generator=g).to(torch.bfloat16),
        "eight": torch.randn(8, generator=g).to(torch.float8_e5m2),
        "steps": torch.tensor(100 + seed),
        **more,
    }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.save(a=state(1), b=state(2))
    return made


def grab(kept: list[Any]) -> Metric:
    return parse_metric(lambda found: kept.append(found) or len(kept))


def look(
    bench: Bench, text: str, settings: list[dict[str, Any]], metric: Metric | None, **options: Any
) -> list[Measured]:
    ground = ground_of(loads(text, "merge.yaml", bench.folder / "merge.yaml"))
    folder = bench.folder / "points"
    folder.mkdir(exist_ok=True)
    work = Work(options.pop("jobs", 1), options.pop("threads", None))
    found = measured(ground, [Point(i, one) for i, one in enumerate(settings)], metric, folder, work, **options)
    return sorted(found, key=lambda one: one.point.index)


def made_by_run(bench: Bench, text: str, params: dict[str, Any], name: str = "out") -> Any:
    source = loads(text, "merge.yaml", bench.folder / "merge.yaml")
    run(prepare(with_overrides(source, sets=[f"{key}={value}" for key, value in params.items()])), force=True)
    return bench.load(name)


SETTINGS = [{"t": t, "kept": kept} for kept in (0.1, 0.7) for t in (-0.5, 0.0, 0.25, 1.0, 1.5)]


# Within 0..1 this is an average, which BatchNorm's statistics follow; beyond they stay.
LINEAR = RECIPE.replace("keep_largest(b - a, kept)", "(b - a)")


@pytest.mark.parametrize(("most", "jobs", "text"), [(1, 1, RECIPE), (3, 2, RECIPE), (64, 1, RECIPE), (64, 3, LINEAR)])
def test_states_are_what_run_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int, jobs: int, text: str
) -> None:
    monkeypatch.setattr(lab_points, "_STATES", most)
    states: list[Any] = []
    lock = threading.Lock()

    def grabbed(state: Any) -> int:
        with lock:
            states.append(state)
            return len(states)

    found = look(bench, text, SETTINGS, parse_metric(grabbed), jobs=jobs)
    assert [one.point.params for one in found] == SETTINGS
    order = [int(one.metrics["metric"]) - 1 for one in found]
    for place, setting in zip(order, SETTINGS, strict=True):
        expected = made_by_run(bench, text, setting)
        same({k: v.view(torch.uint8) if v.element_size() == 1 else v for k, v in states[place].items()},
             {k: v.view(torch.uint8) if v.element_size() == 1 else v for k, v in expected.items()})  # fmt: skip
        assert [v.dtype for v in states[place].values()] == [v.dtype for v in expected.values()]
    assert not list((bench.folder / "points").iterdir())


COPY = """\
import shutil, sys
from pathlib import Path
path = Path(sys.argv[1])
shutil.copy(path, Path("seen") / path.name)
print(int(path.stem))
"""


@pytest.mark.parametrize(("most", "jobs"), [(1, 1), (16, 3)])
def test_files_are_what_run_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int, jobs: int) -> None:
    monkeypatch.setattr(lab_points, "_FILES", most)
    (bench.folder / "copy.py").write_text(COPY)
    (bench.folder / "seen").mkdir()
    with parse_metric(f"{sys.executable} copy.py {{checkpoint}}", folder=bench.folder) as metric:
        found = look(bench, RECIPE, SETTINGS[:6], metric, jobs=jobs)
    assert [one.metrics for one in found] == [{"metric": float(i)} for i in range(6)]
    assert [one.path for one in found] == [None] * 6
    assert not list((bench.folder / "points").iterdir())
    for i, setting in enumerate(SETTINGS[:6]):
        seen = torch.load(bench.folder / "seen" / f"{i}.ckpt", weights_only=True)["state_dict"]
        expected = made_by_run(bench, RECIPE, setting)
        assert all(torch.equal(seen[k].float(), expected[k].float()) for k in expected)


def test_a_line_of_eleven_points_is_one_reading(bench: Bench) -> None:
    ground = ground_of(loads(LINEAR, "merge.yaml", bench.folder / "merge.yaml"))
    line = [Point(i, {"t": i / 10}) for i in range(11)]
    ((points, job),) = jobs_of(
        ground, line, lambda p: (f"{p.index}.ckpt", bench.folder / f"{p.index}.ckpt"), provenance=True
    )
    assert points == line
    assert [(len(one.reads), len(one.outputs)) for one in job.plan.passes] == [(2, 11)]
    report = run(job)
    assert report.results.reads == 1
    assert len(list(bench.folder.glob("[0-9]*.ckpt"))) == 11


def test_a_point_in_memory_costs_little(bench: Bench) -> None:
    """At least 500 points a second of 10,000 values, in seconds of the processor: other programs do not count."""
    bench.save(a={"w": torch.zeros(100, 99), "b": torch.zeros(100)}, b={"w": torch.ones(100, 99), "b": torch.ones(100)})
    settings = [{"t": i / 640} for i in range(640)]
    look(bench, LINEAR, settings[:64], grab([]))
    begun = time.process_time()
    look(bench, LINEAR, settings, parse_metric(lambda state: 1.0), threads=1)
    assert 640 / (time.process_time() - begun) > 500


def test_points_that_are_kept_carry_the_recipe_that_makes_them_alone(bench: Bench) -> None:
    def keep(point: Point) -> tuple[str, Path]:
        name = f"m_{point.params['t']}.ckpt"
        return name, bench.folder / name

    found = look(bench, RECIPE, SETTINGS[:3], None, keep=keep)
    for one, setting in zip(found, SETTINGS, strict=False):
        assert one.path == bench.folder / f"m_{setting['t']}.ckpt"
        record = provenance_of(open_checkpoint(one.path))
        assert record is not None
        assert record.record.recipe["params"] == setting
        assert list(record.record.recipe["save"]) == [one.path.name]
        assert not verify(one.path, threads=1).differences
        same_bits = made_by_run(bench, RECIPE, setting)
        assert all(torch.equal(bench.load(one.path.stem)[k].float(), same_bits[k].float()) for k in same_bits)


def test_values_of_show_belong_to_their_points(bench: Bench) -> None:
    text = RECIPE + "show: [norm(t * (b - a)), t]\n"
    found = look(bench, text, [{"t": 0.0}, {"t": 2.0}, {"t": 1.0}], None)
    norms = [one.shown["norm(t * (b - a))"] for one in found]
    assert norms[0] == 0
    assert norms[1] == pytest.approx(2 * norms[2])
    assert [one.shown["t"] for one in found] == [0.0, 2.0, 1.0]


@pytest.mark.parametrize("metric", [lambda state: 1.0, f"{sys.executable} -c print(1) {{checkpoint}}"])
def test_what_run_refuses_is_refused_and_the_point_is_named(bench: Bench, metric: Any) -> None:
    text = RECIPE + "expect: norm(t * (b - a)) < 10\n"
    with parse_metric(metric) as ready, pytest.raises(ExpectError) as caught:
        look(bench, text, [{"t": 0.0}, {"t": 2.0}], ready)
    assert "`norm(t * (b - a)) < 10 at t=2.0` does not hold: " in str(caught.value)
    with parse_metric(metric) as ready, pytest.raises(NumericError, match="NaN or infinite"):
        look(bench, RECIPE, [{"t": 1e30}], ready)
    with pytest.raises(RecipeError, match="`u` is no parameter of the recipe"):
        look(bench, RECIPE, [{"u": 1}], None)
    with pytest.raises(RecipeError, match=r"merge.yaml:3: save: .* saves several: a.ckpt b.ckpt"):
        look(bench, "inputs: {a: a.ckpt}\nparams: {t: 1}\nsave: {a.ckpt: a, b.ckpt: a}", [], None)


def test_pins_are_checked(bench: Bench) -> None:
    text = RECIPE.replace("b: b.ckpt", f"b: {{path: b.ckpt, fingerprint: 'wm1:{'0' * 32}'}}")
    with pytest.raises(ExpectError, match="is not what the recipe pins"):
        look(bench, text, [{"t": 0.0}], grab([]))


def test_tied_tensors_agree(bench: Bench) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        tensors = state(seed)
        bench.save(**{name: {**tensors, "tied": tensors["layers.0.weight"]}})
    states: list[Any] = []
    look(bench, RECIPE, SETTINGS[:1], grab(states))
    assert torch.equal(states[0]["tied"], states[0]["layers.0.weight"])
    with pytest.raises(WeightmathError, match="two names of one storage"):
        look(bench, RECIPE.replace("keep_largest(b - a, kept)", "match('tied') * (b - a)"), SETTINGS[:1], grab([]))


@pytest.mark.parametrize(
    "more",
    [
        "only: 'layers.*'\n",
        "integers: max\n",
        "dtype: float16\n",
        "buffers: merge\n",
    ],
)
def test_settings_of_recipes_hold_in_memory(bench: Bench, more: str) -> None:
    states: list[Any] = []
    look(bench, RECIPE + more, SETTINGS[:1], grab(states))
    expected = made_by_run(bench, RECIPE + more, SETTINGS[0])
    assert all(torch.equal(states[0][k].float(), expected[k].float()) for k in expected)
    assert [v.dtype for v in states[0].values()] == [v.dtype for v in expected.values()]


def test_rows_that_only_some_have_stay_the_template_s(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.save(a={"e": torch.ones(6, 4), "x": torch.ones(2)}, b={"e": torch.zeros(4, 4), "x": torch.zeros(2)})
    text = "inputs: {a: a.ckpt, b: b.ckpt}\nparams: {t: 1}\nfit: {e: rows}\nsave: {out.ckpt: a + t * (b - a)}"
    states: list[Any] = []
    look(bench, text, [{"t": 0.5}], grab(states))
    assert states[0]["e"][:, 0].tolist() == [0.5] * 4 + [1.0] * 2
