"""Train the models of the lab's examples: a base that reads digits where they were written, and fine-tunes of it.

    python recipes/lab/train.py            # seed 0, into recipes/lab/models/; seconds on one thread
    python recipes/lab/train.py 3          # another seed

    base        20 epochs on 1,000 digits
    other       the same from another start
    few         base, then 10 epochs on 300 digits that moved one pixel to the right
    shifted     base, then 10 epochs on all 1,000, moved
    eights      base, then 3 epochs on the eights and nines alone
    noisy-0..7  base, then 15 epochs on all 1,000, moved, of which 30% carry a random digit for a label; other labels,
                another order and another learning rate each

Needs torch, numpy and scikit-learn's package, which ships the data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from shifted import Samples, State, samples, shifted, train, untrained

FOLDER = Path(__file__).parent / "models"
INGREDIENTS = 8
WRONG_LABELS = 0.3
RATES = (4e-3, 2e-3)


def base(seed: int) -> State:
    """A model that reads digits where they were written."""
    return train(untrained(seed), samples("train"), epochs=20, seed=seed)


def other(seed: int) -> State:
    """A model like base, from another start and in another order."""
    return base(1000 + seed)


def few(start: State, seed: int) -> State:
    """A fine-tune on 300 digits of the new place: little data, so that the old place is soon forgotten."""
    chosen = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[:300]
    return train(start, shifted(samples("train").where(chosen)), epochs=10, seed=seed)


def moved(start: State, seed: int) -> State:
    """A fine-tune on all digits of the new place."""
    return train(start, shifted(samples("train")), epochs=10, seed=seed)


def eights(start: State, seed: int) -> State:
    """A fine-tune on eights and nines: what it learns is what negation takes away."""
    data = samples("train")
    return train(start, data.where(data.digits >= 8), epochs=3, seed=seed)


def noisy(start: State, seed: int, number: int) -> State:
    """One ingredient of the soup, long enough in training to learn its wrong labels by heart."""
    data = shifted(samples("train"))
    chance = torch.Generator().manual_seed(INGREDIENTS * seed + number)
    wrong = torch.rand(len(data.digits), generator=chance) < WRONG_LABELS
    labels = torch.where(wrong, torch.randint(10, data.digits.shape, generator=chance), data.digits)
    return train(start, Samples(data.pictures, labels), epochs=15, seed=number, rate=RATES[number % len(RATES)])


FINE_TUNES: dict[str, Callable[[State, int], State]] = {
    "few": few,
    "shifted": moved,
    "eights": eights,
    **{f"noisy-{i}": lambda start, seed, i=i: noisy(start, seed, i) for i in range(INGREDIENTS)},
}


def write(folder: Path, seed: int) -> None:
    """Train all models of one seed and save them."""
    torch.set_num_threads(1)  # two threads sum in another order than one
    folder.mkdir(parents=True, exist_ok=True)
    start = base(seed)
    models = {"base": start, "other": other(seed), **{name: tune(start, seed) for name, tune in FINE_TUNES.items()}}
    for name, state in models.items():
        torch.save({"state_dict": state}, folder / f"{name}.ckpt")


if __name__ == "__main__":
    write(FOLDER, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
