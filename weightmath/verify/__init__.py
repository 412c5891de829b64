"""Whether a checkpoint is what its recipe makes of its inputs: computed again, and compared bit for bit."""
