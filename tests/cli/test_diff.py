"""`weightmath diff`, against plain numpy on whole arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.cli.conftest import Ran, tensors
from weightmath.plain import as_json
from weightmath.reports.difference import DiffReport

Cli = Callable[..., Ran]
State = dict[str, torch.Tensor]


@pytest.fixture
def saved(folder: Path) -> Callable[[State, State], None]:
    def save(a: State, b: State) -> None:
        torch.save({"state_dict": a}, folder / "a.ckpt")
        torch.save({"state_dict": b}, folder / "b.ckpt")

    return save


def _report(cli: Cli, code: int = 1) -> DiffReport:
    ran = cli("diff", "a.ckpt", "b.ckpt", "--json")
    assert (ran.code, ran.err) == (code, "")
    report = TypeAdapter(DiffReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    return report


def test_equal(cli: Cli, saved: Callable[[State, State], None]) -> None:
    saved(tensors(1), tensors(1))
    report = _report(cli, code=0)
    assert report.equal
    assert (report.tensors, report.tensors_equal, report.elements_different) == (5, 5, 0)
    assert (report.relative_change, report.cosine) == (0.0, 1.0)
    assert cli("diff", "a.ckpt", "b.ckpt").out == (
        "a.ckpt -> b.ckpt\n"
        "  tensors   5 of 5 equal bit for bit\n"
        "  elements  0 of 54 different (0%)\n"
        "  distance  relative change 0, cosine 1.000000\n"
    )


def test_distances(cli: Cli, saved: Callable[[State, State], None]) -> None:
    a, b = tensors(1), tensors(2)
    b["head"] = a["head"].clone()
    saved(a, b)
    report = _report(cli)
    assert (report.tensors_equal, report.tensors) == (1, 5)
    floats = [name for name in a if a[name].is_floating_point()]
    for one in report.tensors_different:
        _check(one, a, b, [one.name] if one.name in floats else [])
    _check(report, a, b, floats)
    layers = {"blocks.0": ["blocks.0.weight", "blocks.0.bias"], "blocks.1": ["blocks.1.weight"], "head": ["head"]}
    for layer in report.layers:
        _check(layer, a, b, layers.get(layer.layer, []))
    assert [layer.layer for layer in report.layers] == ["blocks.0", "blocks.1", "head", "steps"]
    assert [layer.equal for layer in report.layers] == [0, 0, 1, 0]
    largest = {one.name: one.largest for one in report.tensors_different}
    assert largest["blocks.0.bias"] == pytest.approx((b["blocks.0.bias"] - a["blocks.0.bias"]).abs().max().item())
    assert largest["steps"] is None


def _check(record: object, a: State, b: State, names: list[str]) -> None:
    if not names:
        assert (record.relative_change, record.cosine) == (None, None)  # type: ignore[attr-defined]
        return
    x, y = (np.concatenate([s[name].double().numpy().ravel() for name in names]) for s in (a, b))
    change = np.linalg.norm(y - x) / np.linalg.norm(x)
    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert record.relative_change == pytest.approx(change, rel=1e-6)  # type: ignore[attr-defined]
    assert record.cosine == pytest.approx(cosine, rel=1e-9)  # type: ignore[attr-defined]


def test_text(cli: Cli, saved: Callable[[State, State], None]) -> None:
    a = {"blocks.2.w": torch.ones(4), "blocks.10.w": torch.ones(4), "steps": torch.tensor(3)}
    b = {
        "blocks.2.w": torch.full((4,), 1.5),
        "blocks.10.w": torch.tensor([1.0, 1.0, 1.0, 1.25]),
        "steps": torch.tensor(4),
    }
    saved(a, b)
    assert cli("diff", "a.ckpt", "b.ckpt").out == TEXT


TEXT = """\
a.ckpt -> b.ckpt
  tensors   0 of 3 equal bit for bit
  elements  6 of 9 different (66.7%)
  distance  relative change 0.3644, cosine 0.984031

relative change by layer
  layer      change    cosine   equal
  blocks.2      0.5  1.000000  0 of 1  ████████████████████████
  blocks.10   0.125  0.994850  0 of 1  ██████
  steps           -         -  0 of 1

the largest changes
  tensor       change    cosine  largest  different  dtype
  steps             -         -        -       100%  int64
  blocks.2.w      0.5  1.000000      0.5       100%  float32
  blocks.10.w   0.125  0.994850     0.25      25.0%  float32
"""


def test_only_in_one_and_two_shapes(cli: Cli, saved: Callable[[State, State], None]) -> None:
    saved({"w": torch.ones(2), "x": torch.ones(2), "left": torch.ones(1)}, {"w": torch.ones(2), "x": torch.ones(3)})
    report = _report(cli)
    assert (report.only_first, report.only_second) == (("left",), ())
    assert [(one.name, one.first, one.second) for one in report.reshaped] == [("x", (2,), (3,))]
    assert (report.tensors, report.tensors_equal) == (1, 1)
    out = cli("diff", "a.ckpt", "b.ckpt").out
    assert "only in a.ckpt (1)\n  left\n" in out
    assert "of two shapes, not compared (1)\n  x: (2,) and (3,)\n" in out
    assert cli("diff", "b.ckpt", "b.ckpt").code == 0


def test_bits_count_not_values(cli: Cli, saved: Callable[[State, State], None]) -> None:
    nan = float("nan")
    saved({"z": torch.tensor([0.0, nan, 1.0])}, {"z": torch.tensor([-0.0, nan, 1.0])})
    report = _report(cli)
    assert report.elements_different == 1
    assert report.relative_change != 0
    saved({"z": torch.tensor([0.0, nan])}, {"z": torch.tensor([0.0, nan])})
    assert _report(cli, code=0).equal


def test_two_dtypes(cli: Cli, saved: Callable[[State, State], None]) -> None:
    exact, inexact = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.1])
    saved(
        {"e": exact, "i": inexact, "n": torch.tensor([1])},
        {"e": exact.half(), "i": inexact.half(), "n": torch.tensor([1.0])},
    )
    report = _report(cli)
    found = {one.name: (one.dtypes, one.different) for one in report.tensors_different}
    assert found == {
        "e": (("float32", "float16"), 0),
        "i": (("float32", "float16"), 1),
        "n": (("int64", "float32"), 1),
    }
    assert "float32 -> float16" in cli("diff", "a.ckpt", "b.ckpt").out


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float64, torch.float8_e5m2, torch.complex128, torch.bool, torch.int8]
)
def test_dtypes(cli: Cli, saved: Callable[[State, State], None], dtype: torch.dtype) -> None:
    a = torch.tensor([[1, 0, 1], [1, 1, 0]])
    b = torch.tensor([[1, 0, 1], [0, 1, 0]])
    saved({"x": a.to(dtype)}, {"x": b.to(dtype)})
    assert _report(cli).elements_different == 1
    saved({"x": a.to(dtype).t()}, {"x": a.t().contiguous().to(dtype)})
    assert _report(cli, code=0).equal


def test_long_lists_are_cut(cli: Cli, saved: Callable[[State, State], None]) -> None:
    saved({f"t{i:02}.w": torch.ones(1) for i in range(70)}, {f"t{i:02}.w": torch.zeros(1) for i in range(70)})
    short, full = cli("diff", "a.ckpt", "b.ckpt").out, cli("diff", "a.ckpt", "b.ckpt", "--all").out
    assert "  ... and 10 more layers: --all prints them\n" in short
    assert "  ... and 60 more tensors: --all prints them\n" in short
    assert "more" not in full


def test_many_pieces_and_a_zero_tensor(
    cli: Cli, saved: Callable[[State, State], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightmath.difference._PIECE", 7)
    a = torch.zeros(100)
    b = a.clone()
    b[[3, 50, 99]] = 1
    saved({"w": a}, {"w": b})
    report = _report(cli)
    assert report.elements_different == 3
    assert (report.relative_change, report.cosine) == (None, None)


@pytest.mark.parametrize("arguments", [["no.ckpt", "base.ckpt"], ["base.ckpt", "no.ckpt"]])
def test_bad_input_is_no_difference(cli: Cli, folder: Path, arguments: list[str]) -> None:
    ran = cli("diff", *arguments)
    assert (ran.code, ran.out, ran.err) == (2, "", "error: no.ckpt: no such file\n")
    assert json.loads(cli("diff", *arguments, "--json").out)["error"]["where"] == "no.ckpt"


def test_section(cli: Cli, folder: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        torch.save({"state_dict": tensors(0), "ema": {"w": torch.tensor([value])}}, folder / f"{name}.ckpt")
    assert cli("diff", "a.ckpt", "b.ckpt").code == 0
    ran = cli("diff", "a.ckpt", "b.ckpt", "--section", "ema")
    assert ran.code == 1
    assert "relative change 1, cosine 1.000000" in ran.out
