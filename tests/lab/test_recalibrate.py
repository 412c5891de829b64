"""Hooks before a measurement: states in memory and files are measured as the hook leaves them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from weightmath.errors import MetricError
from weightmath.lab.landscape import explore, line
from weightmath.lab.metric import parse_metric

State = dict[str, Any]
TELL = """\
import json, sys, torch
state = torch.load(sys.argv[1], weights_only=True)["state_dict"]
print(json.dumps({name: float(x.double().sum()) for name, x in state.items()}))
"""


def state() -> State:
    return {
        "weight": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        "running_var": torch.tensor([5.0, 6.0]),
        "num_batches_tracked": torch.tensor(7),
    }


def in_place(given: State) -> None:
    given["running_var"].fill_(0.5)


def returned(given: State) -> State:
    return {"running_var": given["weight"].float() * 10}


def sums(given: State) -> dict[str, float]:
    return {name: float(tensor.double().sum()) for name, tensor in given.items()}


@pytest.fixture
def command(tmp_path: Path) -> str:
    (tmp_path / "tell.py").write_text(TELL)
    torch.save({"state_dict": state(), "epoch": 3}, tmp_path / "point.ckpt")
    return f"{sys.executable} {tmp_path / 'tell.py'} {{checkpoint}}"


@pytest.mark.parametrize(("hook", "variance"), [(in_place, 1.0), (returned, 30.0)])
def test_states_and_files_are_measured_as_the_hook_leaves_them(
    tmp_path: Path, command: str, hook: Callable[[State], Any], variance: float
) -> None:
    expected = {"weight": 3.0, "running_var": variance, "num_batches_tracked": 7.0}
    before = (tmp_path / "point.ckpt").read_bytes()
    assert parse_metric(sums, recalibrate=hook).evaluate(state=state()) == expected
    assert parse_metric(command, recalibrate=hook).evaluate(checkpoint=tmp_path / "point.ckpt") == expected
    assert (tmp_path / "point.ckpt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["point.ckpt", "tell.py"]


def test_a_hook_by_name_runs_only_with_leave(tmp_path: Path) -> None:
    (tmp_path / "freshly.py").write_text("def zero(state):\n    state['running_var'].zero_()\n")
    with pytest.raises(MetricError, match="only you can allow") as caught:
        parse_metric(sums, folder=tmp_path, recalibrate="freshly:zero")
    assert caught.value.where == "--recalibrate freshly:zero"
    metric = parse_metric(sums, folder=tmp_path, recalibrate="freshly:zero", allow_code=True)
    assert metric.evaluate(state=state())["running_var"] == 0


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (lambda state: 1 / 0, "ZeroDivisionError"),
        (lambda state: [1], "returns a list"),
        (lambda state: {"mean": torch.zeros(2)}, "has no such tensor"),
        (lambda state: {"running_var": torch.zeros(3)}, "another shape"),
    ],
)
def test_hooks_that_fail(hook: Callable[[State], Any], said: str) -> None:
    with pytest.raises(MetricError, match=said):
        parse_metric(sums, recalibrate=hook).evaluate(state=state())


def test_what_is_no_function_is_no_hook() -> None:
    with pytest.raises(MetricError, match="is no function"):
        parse_metric(sums, recalibrate="recalibrate.py", allow_code=True)


class Network(torch.nn.Module):
    """A linear layer and its BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 32)
        self.norm = torch.nn.BatchNorm1d(32, momentum=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(self.linear(x))
        return normed


DATA = torch.randn(512, 64, generator=torch.Generator().manual_seed(0))


def loaded(given: State) -> Network:
    network = Network()
    network.load_state_dict(given)
    return network


def recompute(given: State) -> State:
    """A hook as one would write it: statistics reset, then taken from data."""
    network = loaded(given).train()
    network.norm.reset_running_stats()
    with torch.no_grad():
        network(DATA)
    return network.state_dict()


def spread(given: State) -> float:
    """The mean variance of what BatchNorm lets through, which it is there to make 1."""
    with torch.no_grad():
        return float(loaded(given).eval()(DATA).var(dim=0).mean())


def test_between_two_networks_averaged_statistics_let_the_signal_fade_and_recomputed_ones_do_not(
    tmp_path: Path,
) -> None:
    """As Jordan et al. found (REPAIR, arXiv 2211.08403)."""
    for seed in range(2):
        torch.manual_seed(seed)
        network = Network()
        network.load_state_dict(recompute(network.state_dict()))
        torch.save(network.state_dict(), tmp_path / f"{seed}.ckpt")
    view = line(tmp_path / "0.ckpt", tmp_path / "1.ckpt", points=3)
    assert "recompute them with --recalibrate" in view.warnings[0]
    kept = explore(view, spread, recalibrate=recompute, keep="all", out=tmp_path / "kept")
    stale = explore(view, spread).column("metric")
    fresh = explore(view, spread, recalibrate=recompute).column("metric")
    assert stale == pytest.approx([1, 0.5, 1], abs=0.1)
    assert fresh == pytest.approx([1, 1, 1], abs=0.01)
    assert kept.column("metric") == fresh
    between = torch.load(tmp_path / "kept_0.5.ckpt", weights_only=True)
    assert spread(between) == pytest.approx(stale[1])  # as the formula made it
