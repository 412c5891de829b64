"""The task of the quickstart: hand-written digits, where they stand in the picture, and the network that reads them.

The data is scikit-learn's copy of the UCI digits: 1,797 pictures of 8 x 8 pixels, scaled to 0..1. A fixed shuffle gives
1,000 to train on, 300 to choose numbers on (the recipe's strength) and 497 that only `evaluate.py` sees. A *domain* is
the same pictures moved sideways; what a move uncovers is black.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import pad

DOMAINS = {"centred": 0, "left": -1, "right": 1}
PARTS = {"train": slice(0, 1000), "validation": slice(1000, 1300), "test": slice(1300, 1797)}
_PIXEL_MAX = 16.0
_SHUFFLE_SEED = 0


class DigitReader(nn.Module):
    """Two convolutions and two linear layers, 7,666 weights: pictures (n, 8, 8) to scores (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(1, 8, kernel_size=3, padding=1),
                nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
                nn.Linear(16 * 4 * 4, 24),
                nn.Linear(24, 10),
            ]
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """The score of each digit for each picture."""
        first, second, third, scores = self.layers
        seen = second(first(pictures.unsqueeze(1)).relu()).relu()
        return scores(third(seen.flatten(1)).relu())


def moved(pictures: Tensor, pixels: int) -> Tensor:
    """The pictures (n, 8, 8) moved right by that many pixels, or left by a negative number."""
    return pad(pictures, (pixels, -pixels))  # a negative padding crops


def digits(part: str, domain: str) -> tuple[Tensor, Tensor]:
    """Pictures (n, 8, 8) and their digits (n,) of one part of the data in one domain."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(_SHUFFLE_SEED))[PARTS[part]]
    pictures = torch.tensor(data.images / _PIXEL_MAX, dtype=torch.float32)[order]
    return moved(pictures, DOMAINS[domain]), torch.tensor(data.target)[order]


@torch.no_grad()
def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """The share of pictures that the network reads correctly."""
    return (network(pictures).argmax(1) == labels).double().mean().item()
