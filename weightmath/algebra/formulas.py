"""Elementwise operations as plain numpy, one table: what each operation means, whatever it is applied to.

The plan folds numbers and per-tensor numbers with it in float64, the engine works out statistics with it in float64,
and the streaming kernels follow it for elements. Truth values are the numbers 0 and 1 of the compute dtype, since numpy
would read bool + bool as an "or".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Formula = Callable[..., Any]

UFUNCS: dict[str, np.ufunc] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negative": np.negative,
    "absolute": np.absolute,
    "sign": np.sign,
    "sqrt": np.sqrt,  # numpy's is correctly rounded on every processor, torch's is not
    "floor": np.floor,
    "round": np.rint,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "both": np.multiply,
    "either": np.maximum,
}

COMPARE: dict[str, np.ufunc] = {
    "equal": np.equal,
    "unequal": np.not_equal,
    "less": np.less,
    "greater": np.greater,
    "at_most": np.less_equal,
    "at_least": np.greater_equal,
}


def _compare(ufunc: np.ufunc) -> Formula:
    return lambda a, b: ufunc(a, b).astype(np.float64)


FORMULAS: dict[str, Formula] = {
    **UFUNCS,
    **{name: _compare(ufunc) for name, ufunc in COMPARE.items()},
    "inverse": lambda mask: 1.0 - mask,
    "power": np.float_power,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "where": lambda mask, a, b: np.where(mask != 0, a, b),
    "median": lambda *values: np.median(np.stack(np.broadcast_arrays(*values)), axis=0),
}
