"""What tells a delta file from other checkpoints, without a look into it."""

from __future__ import annotations

from weightmath.checkpoint import Checkpoint
from weightmath.checkpoint.safetensors import CONTAINER as SAFETENSORS

KEY = "weightmath.delta"  # of the metadata, what a delta file says of itself
CONTAINER = "delta"  # what a delta file is called where its tensors are its numbers


def is_delta(checkpoint: Checkpoint) -> bool:
    """Whether an opened checkpoint is a delta file."""
    return checkpoint.container == SAFETENSORS and KEY in (checkpoint.texts or {})
