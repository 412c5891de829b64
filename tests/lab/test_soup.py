"""Soups: the greedy rule against one written down from the paper, averages against torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import weightmath as wm
from weightmath.checkpoint import open_checkpoint
from weightmath.errors import LayoutError, MetricError, OutputError, RecipeError, TableError, WeightmathError
from weightmath.lab.scores import read_scores
from weightmath.lab.soup import soup
from weightmath.lab.table import read
from weightmath.provenance.lineage import provenance_of

State = dict[str, torch.Tensor]
NAMES = "abcdef"


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Six fine-tunes of zeros; the target of all scores is ones."""
    rng = np.random.default_rng(5)
    for name in NAMES:
        tensors = {"w": torch.from_numpy(1 + rng.standard_normal((4, 3))), "n": torch.tensor(ord(name))}
        torch.save({"state_dict": tensors, "of": name}, tmp_path / f"{name}.ckpt")
    torch.save(
        {"state_dict": {"w": torch.zeros(4, 3, dtype=torch.float64), "n": torch.tensor(0)}}, tmp_path / "base.ckpt"
    )
    return [tmp_path / f"{name}.ckpt" for name in NAMES]


def weights(path: Path) -> Any:
    return torch.load(path, weights_only=True)["state_dict"]["w"].numpy()


def accuracy(state: Mapping[str, torch.Tensor]) -> float:
    """How near to ones, in steps, so that ties occur."""
    return round(1 - float((state["w"] - 1).abs().mean()), 2)


def greedy_of_the_paper(models: list[Path], score: Callable[[Any], float]) -> list[Path]:
    """Recipe 1 of arXiv 2203.05482, line by line."""
    ranked = sorted(models, key=lambda path: -score(weights(path)))
    ingredients: list[Path] = []
    for path in ranked:
        with_it = score(np.mean([weights(one) for one in [*ingredients, path]], axis=0))
        without = score(np.mean([weights(one) for one in ingredients], axis=0)) if ingredients else -np.inf
        if with_it >= without:
            ingredients.append(path)
    return ingredients


def plain(array: Any) -> float:
    return accuracy({"w": torch.from_numpy(array)})


def test_the_greedy_rule_is_the_paper_s(models: list[Path], tmp_path: Path) -> None:
    expected = greedy_of_the_paper(models, plain)
    assert 1 < len(expected) < 6
    found = wm.soup(models, tmp_path / "out.ckpt", metric=accuracy)
    assert list(found.ingredients) == expected
    mean = np.mean([weights(path) for path in expected], axis=0)
    np.testing.assert_allclose(weights(tmp_path / "out.ckpt"), mean, rtol=1e-15)
    assert found.score == plain(mean)
    assert found.best == max(plain(weights(path)) for path in models)
    table = read(tmp_path / "out.jsonl")
    assert table.rows == found.table.rows
    assert [row.params["stage"] for row in table.rows] == ["alone"] * 6 + ["soup"] * 5
    assert [row.metrics["score"] for row in table.rows[:6]] == [plain(weights(path)) for path in models]
    kept = [row.params["model"] for row in table.rows[6:] if row.about["kept"]]
    assert kept == [path.name for path in expected[1:]]


def test_stopped_and_gone_on_with_it_measures_nothing_twice(models: list[Path], tmp_path: Path) -> None:
    calls: list[float] = []

    def failing(state: State) -> float:
        if len(calls) == 8:
            raise OSError("the disk of the data")
        calls.append(accuracy(state))
        return calls[-1]

    out = tmp_path / "out.ckpt"
    calls += [0.0] * 7
    assert "1 point is in" in said(MetricError, models, tmp_path / "one.ckpt", metric=failing)
    calls.clear()
    assert "8 points are in" in said(MetricError, models, out, metric=failing)
    assert not out.exists()
    calls.clear()
    found = soup(models, out, metric=failing, resume=True)
    assert len(calls) == 3
    assert list(found.ingredients) == greedy_of_the_paper(models, plain)
    whole = soup(models, tmp_path / "whole.ckpt", metric=accuracy)
    assert [(row.params, row.metrics, row.about) for row in found.table.rows] == [
        (row.params, row.metrics, row.about) for row in whole.table.rows
    ]
    (tmp_path / "other.jsonl").write_bytes((tmp_path / "whole.jsonl").read_bytes())
    other = {"metric": accuracy, "resume": True}
    assert "belongs to another soup" in said(TableError, models[::-1], tmp_path / "other.ckpt", **other)


def test_less_may_be_better(models: list[Path], tmp_path: Path) -> None:
    found = soup(models, tmp_path / "out.ckpt", metric=lambda state: -accuracy(state), goal="min")
    assert list(found.ingredients) == greedy_of_the_paper(models, plain)


def test_a_command_measures_the_models_where_they_are(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval.py").write_text(
        "import sys\nfrom array import array\nfrom zipfile import ZipFile\n"
        "with ZipFile(sys.argv[1]) as archive:\n"
        "    w = array('d', archive.read(archive.namelist()[0].partition('/')[0] + '/data/0'))\n"
        "print(sys.argv[1], file=open('seen', 'a'))\n"
        "print(round(1 - sum(abs(x - 1) for x in w) / len(w), 2))\n"
    )
    command = f"{sys.executable} {tmp_path / 'eval.py'} {{checkpoint}}"
    found = soup(models, tmp_path / "out.ckpt", metric=command)
    assert list(found.ingredients) == greedy_of_the_paper(models, plain)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[:6] == [str(path) for path in models]
    assert not {Path(path).parent for path in seen[6:]} & {tmp_path}


def test_a_tie_keeps_and_the_first_named_comes_first(models: list[Path], tmp_path: Path) -> None:
    def same(state: State) -> float:
        return 0.5

    found = soup(models[::-1], tmp_path / "out.ckpt", metric=same)
    assert list(found.ingredients) == models[::-1]


def test_scores_that_are_all_nan_choose_nothing(models: list[Path], tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="the score of every model is NaN"):
        soup(models, tmp_path / "out.ckpt", metric=lambda state: float("nan"))
    assert not (tmp_path / "out.ckpt").exists()


def test_what_is_nan_is_last_and_keeps_nothing(models: list[Path], tmp_path: Path) -> None:
    scores = {path: float("nan") if path.stem == "a" else 0.5 for path in models}
    found = soup(models, tmp_path / "out.ckpt", metric=lambda state: float("nan"), scores=scores)
    assert list(found.ingredients) == [models[1]]
    assert found.score == 0.5


def test_uniform_is_the_mean_of_all_or_of_the_best(models: list[Path], tmp_path: Path) -> None:
    found = soup(models, tmp_path / "all.ckpt")
    np.testing.assert_allclose(
        weights(tmp_path / "all.ckpt"), np.mean([weights(p) for p in models], axis=0), rtol=1e-15
    )
    assert (found.score, found.best, found.table.rows) == (None, None, ())
    assert not (tmp_path / "all.jsonl").exists()
    scores = dict(zip(models, (3, 1, 4, 1, 5, 9), strict=True))
    found = soup(models, tmp_path / "best.ckpt", scores=scores, top=3)
    assert [path.stem for path in found.ingredients] == ["f", "e", "c"]
    assert found.best == 9
    found = soup(models, tmp_path / "measured.ckpt", metric=accuracy, rule="uniform")
    assert found.score == plain(np.mean([weights(path) for path in models], axis=0))
    found = soup(models, tmp_path / "less.ckpt", scores=scores, top=2, goal="min")
    assert [path.stem for path in found.ingredients] == ["b", "d"]


def test_scores_spare_measurements_and_change_nothing(models: list[Path], tmp_path: Path) -> None:
    seen: list[State] = []

    def counted(state: State) -> float:
        seen.append(state)
        return accuracy(state)

    scores = {path: plain(weights(path)) for path in models}
    found = soup(models, tmp_path / "out.ckpt", metric=counted, scores=scores)
    assert len(seen) == 5
    assert list(found.ingredients) == greedy_of_the_paper(models, plain)


def test_with_a_base_everything_else_is_its_own(models: list[Path], tmp_path: Path) -> None:
    soup(models[:3], tmp_path / "out.ckpt", base=tmp_path / "base.ckpt")
    soup(models[:3], tmp_path / "plain.ckpt")
    found = [torch.load(tmp_path / name, weights_only=True) for name in ("out.ckpt", "plain.ckpt")]
    assert [int(one["state_dict"]["n"]) for one in found] == [0, ord("a")]
    assert ["of" in one for one in found] == [False, True]
    np.testing.assert_allclose(found[0]["state_dict"]["w"].numpy(), found[1]["state_dict"]["w"].numpy(), rtol=1e-12)
    record = provenance_of(open_checkpoint(tmp_path / "plain.ckpt"))
    assert record is not None
    assert [one.file for one in record.record.inputs.values()] == ["a.ckpt", "b.ckpt", "c.ckpt"]
    assert {str(one.coefficient) for one in record.record.inputs.values()} == {str(1 / 3)}


def said(kind: type[WeightmathError], *given: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        soup(*given, **options)
    return str(caught.value)


def test_what_is_refused(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.ckpt"
    assert "two models or more" in said(RecipeError, models[:1], out)
    assert "each named once" in said(RecipeError, [models[0], models[0]], out)
    assert "only a metric can measure" in said(RecipeError, models, out, rule="greedy", scores={})
    assert "need scores" in said(RecipeError, models, out, top=2)
    ones = dict.fromkeys(models, 1.0)
    assert "`of` says something of a metric" in said(MetricError, models, out, of=["loss"], scores=ones)
    assert "`goal` says something of a metric" in said(MetricError, models, out, goal="min")
    assert "allow_code=True says something" in said(MetricError, models, out, allow_code=True, scores=ones, goal="min")
    assert "of which 9 cannot be the best" in said(RecipeError, models, out, top=9, scores=ones)
    assert f"no score of `{models[1]}`" in said(RecipeError, models, out, top=1, scores={models[0]: 1.0})
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "other.ckpt")
    assert "does not have the layout" in said(LayoutError, [*models, tmp_path / "other.ckpt"], out)
    assert "several numbers: x y" in said(MetricError, models, out, metric=lambda state: {"x": 1, "y": 2})
    assert not out.exists()
    out.touch()
    assert "exists" in said(OutputError, models, out)
    out.unlink()
    soup(models, out, metric=accuracy)
    out.unlink()
    assert "never overwritten" in said(TableError, models, out, metric=accuracy)
    soup(models, out, metric=accuracy, force=True)
    assert len(read(tmp_path / "out").rows) == 11


def test_scores_of_a_file(models: list[Path], tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"a.ckpt": 1, "b": 2.5, str(models[2]): 3}))
    assert read_scores(tmp_path / "s.json", models[:3]) == dict(zip(models, (1, 2.5, 3), strict=False))
    for head in ("", "model,accuracy\n", "name,score,seconds\n\n"):
        (tmp_path / "s.csv").write_text(f"{head}a,1\nb.ckpt, 2.5\n")
        assert read_scores(tmp_path / "s.csv", models[:2]) == dict(zip(models, (1, 2.5), strict=False))
    with pytest.raises(RecipeError, match=r"there is no score of `c\.ckpt`"):
        read_scores(tmp_path / "s.csv", models[:3])
    for text in ("a,x", "[1]", "a", "a,b\nc,x"):
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(RecipeError, match="are no scores"):
            read_scores(tmp_path / "s.csv", models)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_scores(tmp_path / "none.csv", models)


def test_a_name_of_two_models_tells_neither_score(tmp_path: Path) -> None:
    both = [tmp_path / "one" / "last.ckpt", tmp_path / "two" / "last.ckpt"]
    (tmp_path / "s.csv").write_text("last,1\n")
    with pytest.raises(RecipeError, match=r"`last` may be `.*one/last\.ckpt` or `.*two/last\.ckpt`"):
        read_scores(tmp_path / "s.csv", both)
    (tmp_path / "s.csv").write_text(f"{both[0]},1\n{both[1]},2\n")
    assert read_scores(tmp_path / "s.csv", both) == dict(zip(both, (1, 2), strict=True))
