"""The task of the lab's examples: hand-written digits, where they stand or one pixel to the right, and a small network.

The data is scikit-learn's copy of the UCI digits, 1,797 pictures of 8 x 8 pixels scaled to 0..1; its file is read, and
scikit-learn itself not imported. A fixed shuffle gives 1,000 to train on, 300 to choose by and 497 to test on.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.optim import Adam

PARTS = {"train": slice(0, 1000), "validation": slice(1000, 1300), "test": slice(1300, 1797)}
WIDTH = 256
BATCH = 50
_PIXEL_MAX = 16.0
_SHUFFLE_SEED = 0
State = dict[str, Tensor]


class Samples(NamedTuple):
    """Pictures (n, 64) and their digits (n,)."""

    pictures: Tensor
    digits: Tensor

    def where(self, chosen: Tensor) -> Samples:
        """Those that a mask or an index chooses."""
        return Samples(self.pictures[chosen], self.digits[chosen])


@cache
def samples(part: str) -> Samples:
    """One part of the data, the digits where they were written."""
    rows = _file()
    rows = rows[np.random.default_rng(_SHUFFLE_SEED).permutation(len(rows))[PARTS[part]]]
    return Samples(torch.tensor(rows[:, :-1] / _PIXEL_MAX, dtype=torch.float32), torch.tensor(rows[:, -1]).long())


def _file() -> np.ndarray:
    """The 64 pixels of each picture, and what digit it is."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise SystemExit("the digits are in scikit-learn's package: pip install scikit-learn")
    with gzip.open(Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        return np.loadtxt(file, delimiter=",")


def shifted(given: Samples) -> Samples:
    """The same digits one pixel further to the right; what that uncovers is black."""
    pictures = pad(given.pictures.view(-1, 8, 8), (1, -1))  # a negative padding crops
    return Samples(pictures.flatten(1), given.digits)


class Reader(nn.Module):
    """From 64 pixels to the scores of ten digits through two hidden layers: 85,002 weights at a width of 256."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)])

    def forward(self, pictures: Tensor) -> Tensor:
        """The score of each digit for each picture."""
        first, second, scores = self.layers
        return scores(second(first(pictures).relu()).relu())


def reader(state: State) -> Reader:
    """The network with these weights."""
    network = Reader(len(state["layers.0.bias"]))
    network.load_state_dict(state)
    return network


def untrained(seed: int, width: int = WIDTH) -> State:
    """The weights that a network begins with."""
    torch.manual_seed(seed)
    return Reader(width).state_dict()


def train(start: State, data: Samples, *, epochs: int, seed: int, rate: float = 1e-3) -> State:
    """The weights after so many epochs of Adam in batches of 50; `seed` names the order of the samples."""
    network = reader(start)
    optimizer = Adam(network.parameters(), lr=rate)
    shuffle = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.digits), generator=shuffle).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(network(data.pictures[batch]), data.digits[batch]).backward()
            optimizer.step()
    return network.state_dict()


@torch.no_grad()
def accuracy(state: State, data: Samples) -> float:
    """The share of digits that the network reads correctly."""
    return (reader(state)(data.pictures).argmax(1) == data.digits).double().mean().item()


@torch.no_grad()
def loss(state: State, data: Samples) -> float:
    """The mean cross entropy."""
    return cross_entropy(reader(state)(data.pictures), data.digits).item()
