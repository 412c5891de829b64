"""What there is to do with delta files, each as one function."""

from weightmath.delta.adapter import from_adapter
from weightmath.delta.adapter_writing import to_adapter
from weightmath.delta.apply import Applied, apply, plan
from weightmath.delta.compare import compare
from weightmath.delta.compose import compose
from weightmath.delta.container import DeltaFile, open_delta
from weightmath.delta.make import make
from weightmath.delta.mark import is_delta
from weightmath.delta.options import Options

__all__ = [
    "Applied",
    "DeltaFile",
    "Options",
    "apply",
    "compare",
    "compose",
    "from_adapter",
    "is_delta",
    "make",
    "open_delta",
    "plan",
    "to_adapter",
]
