"""What a recipe reads and writes: inputs under their names, what they have in common, outputs and unfinished ones."""
