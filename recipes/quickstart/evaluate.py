"""Say how well a checkpoint of the quickstart reads digits: centred, one pixel to the left, one to the right.

    python recipes/quickstart/evaluate.py recipes/merged.ckpt

The last line is JSON: the share of the 497 test digits that is read correctly, per domain, and the mean of the three.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from digits import DOMAINS, DigitReader, accuracy, digits


def accuracies(checkpoint: Path, part: str = "test") -> dict[str, float]:
    """Accuracy of the checkpoint's `state_dict` in each domain, and their mean."""
    network = DigitReader()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    result = {domain: accuracy(network, *digits(part, domain)) for domain in DOMAINS}
    return {**result, "mean": sum(result.values()) / len(result)}


def main() -> None:
    """Evaluate the checkpoint that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python recipes/quickstart/evaluate.py CKPT")
    torch.set_num_threads(1)
    result = accuracies(Path(sys.argv[1]))
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))


if __name__ == "__main__":
    main()
