"""Fine-tune deltas: what leads from a base to a fine-tune, as a file by itself, exact or compact.

Applying needs numpy and the compressor, and nothing else that is large. Recipes import `mark` and `options` alone until
there is a delta file to read or to write.
"""
