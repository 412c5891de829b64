"""The published effect: between two models trained apart lies a barrier, and alignment takes most of it away.

Git Re-Basin (Ainsworth et al., arXiv:2209.04836) on scikit-learn's digits: perceptrons 64-H-H-10 from two independent
starts. The barrier is the largest rise of the test loss on the straight line above the line between its ends' losses.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tests.packages import package
from weightmath.align import align

Data = tuple[torch.Tensor, torch.Tensor]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def digits() -> tuple[Data, Data]:
    """1,000 digits to train on, 497 to test on."""
    path = package("scikit-learn", "1.9.1") / "sklearn" / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))]
    x, y = torch.tensor(table[:, :64] / 16, dtype=torch.float32), torch.tensor(table[:, 64], dtype=torch.int64)
    return (x[:1000], y[:1000]), (x[1300:], y[1300:])


def network(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )  # fmt: skip


def trained(width: int, seed: int, data: Data) -> nn.Sequential:
    torch.manual_seed(seed)
    net, (x, y) = network(width), data
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(20):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net


def along(width: int, a: Path, b: Path, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy at eleven points from a to b."""
    net, (x, y) = network(width), data
    one, other = torch.load(a), torch.load(b)
    losses, accuracies = [], []
    for t in np.linspace(0, 1, 11):
        net.load_state_dict({name: (1 - t) * one[name] + t * other[name] for name in one})
        with torch.no_grad():
            logits = net(x)
        losses.append(float(F.cross_entropy(logits, y)))
        accuracies.append(float((logits.argmax(1) == y).float().mean()))
    return np.array(losses), np.array(accuracies)


def barrier(losses: np.ndarray) -> float:
    return float(np.max(losses - np.linspace(losses[0], losses[-1], len(losses))))


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("seed", range(3))
def test_the_barrier_falls(tmp_path: Path, digits: tuple[Data, Data], width: int, seed: int) -> None:
    train, test = digits
    paths = [tmp_path / f"{name}.pt" for name in "abc"]
    nets = [trained(width, 10 * seed + number, train) for number in range(2)]
    for net, path in zip(nets, paths, strict=False):
        torch.save(net.state_dict(), path)
    found = align(*paths)
    assert found.matching.converged
    aligned = network(width)
    aligned.load_state_dict(torch.load(paths[2]))
    with torch.no_grad():
        assert (aligned(test[0]) - nets[1](test[0])).abs().max() < 1e-4
    before, right_before = along(width, paths[0], paths[1], test)
    after, right_after = along(width, paths[0], paths[2], test)
    assert barrier(before) > 0.3
    assert barrier(after) < 0.5 * barrier(before)
    assert right_after[5] > right_before[5]
