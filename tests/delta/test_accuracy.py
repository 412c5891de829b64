"""What compact deltas keep of a skill: a fine-tune to digits that are moved by one pixel, over three seeds.

Published effects: a random tenth of the delta, rescaled, keeps most (DARE, arXiv 2311.03099); one bit per weight too
(BitDelta, arXiv 2402.10193); more ranks keep more. Margins are at most half of what was seen.
"""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from tests.delta.test_whole_file import section
from tests.merging import Bench
from tests.packages import package
from weightmath.delta import api as delta
from weightmath.delta.api import Options

WIDTH = 128


def digits(moved: int) -> tuple[torch.Tensor, torch.Tensor]:
    path = package("scikit-learn", "1.9.1") / "sklearn" / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path) as file:
        table = torch.from_numpy(np.loadtxt(file, delimiter=","))
    pictures = pad(table[:, :-1].reshape(-1, 8, 8), (moved, -moved)).reshape(-1, 64).float() / 16
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0))
    return pictures[order], table[:, -1].long()[order]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def train(model: nn.Sequential, pictures: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(1000).split(50):
            optimizer.zero_grad()
            cross_entropy(model(pictures[rows]), labels[rows]).backward()
            optimizer.step()


@pytest.fixture(scope="module", params=[0, 1, 2])
def trained(request):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(request.param)
        model = network()
        train(model, *digits(0), 20)
        base = {name: value.clone() for name, value in model.state_dict().items()}
        train(model, *digits(1), 20)
    torch.set_num_threads(threads)
    return base, model.state_dict()


@pytest.fixture
def bench(folder, trained):
    bench = Bench(folder)
    bench.save(base=trained[0], tuned=trained[1])
    return bench


@torch.no_grad()
def accuracy(path: str) -> float:
    model = network()
    model.load_state_dict(torch.load(path)["state_dict"])
    pictures, labels = (part[1300:] for part in digits(1))
    return (model(pictures).argmax(1) == labels).double().mean().item()


def applied(kind: Options) -> float:
    delta.make(section("base.ckpt"), section("tuned.ckpt"), "x.delta", kind, force=True)
    delta.apply(section("base.ckpt"), [delta.open_delta("x.delta")], "out.ckpt", force=True)
    return accuracy("out.ckpt")


def test_signs_and_8_bits_keep_the_skill(bench):
    before, after = accuracy("base.ckpt"), accuracy("tuned.ckpt")
    assert after > before + 0.3
    assert applied(Options("sign")) > before + 0.2
    assert applied(Options("int8")) > after - 0.02


def test_more_ranks_keep_more(bench):
    one, four, eight = (applied(Options("low-rank", rank=rank)) for rank in (1, 4, 8))
    assert one < four < eight


def test_a_random_tenth_needs_its_rescaling(bench):
    found = {}
    for rescale in ("density", "none"):
        value = f'dare(base, [tuned], densities=0.1, rescale="{rescale}", seed=1) - base'
        bench.run(
            f"inputs: {{base: base.ckpt, tuned: tuned.ckpt}}\nsave:\n  d.delta: {{value: '{value}', as: sparse}}",
            force=True,
        )
        file = delta.open_delta("d.delta")
        delta.apply(section("base.ckpt"), [file], "out.ckpt", force=True)
        found[rescale] = accuracy("out.ckpt")
    assert found["density"] > found["none"] + 0.15
    assert found["density"] > applied(Options("sparse", density=0.1)) + 0.1
