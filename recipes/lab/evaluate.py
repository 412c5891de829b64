"""How well a model of the lab's examples reads digits: the metric of its recipes.

    python recipes/lab/evaluate.py recipes/lab/models/base.ckpt [validation]

The last line is JSON, over the 497 test digits or the 300 for validation:

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
    """All of the numbers for one state dict, of tensors or of numpy arrays."""
    tensors = {name: torch.as_tensor(value) for name, value in state.items()}
    centred = samples(part)
    moved = shifted(centred)
    late = centred.digits >= 8
    there, gone = accuracy(tensors, centred), accuracy(tensors, moved)
    return {
        "centred": there,
        "shifted": gone,
        "mean": (there + gone) / 2,
        "eights": accuracy(tensors, centred.where(late)),
        "others": accuracy(tensors, centred.where(~late)),
        "loss": loss(tensors, centred),
    }


def validation(state: State) -> dict[str, float]:
    """The same over the digits that numbers are chosen by."""
    return measures(state, "validation")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python recipes/lab/evaluate.py CKPT [validation]")
    torch.set_num_threads(1)
    loaded = torch.load(sys.argv[1], weights_only=True)["state_dict"]
    print(json.dumps({name: round(value, 4) for name, value in measures(loaded, *sys.argv[2:]).items()}))
