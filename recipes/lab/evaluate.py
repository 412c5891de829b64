"""How well a model of the lab's examples reads digits: the metric of its recipes.

    python recipes/lab/evaluate.py recipes/lab/models/base.ckpt

Without an argument it stays, and reads a path a line. Each answer is a line of JSON, over the 497 test digits:

    centred, shifted  accuracy where the digits were written, and one pixel to the right of it
    mean              of the two
    eights, others    accuracy on eights and nines, and on the eight other digits, where they were written
    loss              cross entropy where they were written
"""

from __future__ import annotations

import json
import sys

import torch
from shifted import State, accuracy, loss, samples, shifted


def measures(state: State, part: str = "test") -> dict[str, float]:
    """All of the numbers for one state dict; `part` "validation" takes the 300 digits that numbers are chosen by."""
    centred = samples(part)
    moved = shifted(centred)
    late = centred.digits >= 8
    there, gone = accuracy(state, centred), accuracy(state, moved)
    return {
        "centred": there,
        "shifted": gone,
        "mean": (there + gone) / 2,
        "eights": accuracy(state, centred.where(late)),
        "others": accuracy(state, centred.where(~late)),
        "loss": loss(state, centred),
    }


def answer(checkpoint: str) -> str:
    """The numbers of a checkpoint as one line of JSON."""
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return json.dumps({name: round(value, 4) for name, value in measures(state).items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for path in sys.argv[1:] or map(str.strip, sys.stdin):
        print(answer(path), flush=True)
