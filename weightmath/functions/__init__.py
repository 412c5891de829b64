"""What recipes and Python may call, declared: signature, domain and manual page; the kernels live elsewhere."""

from __future__ import annotations

from typing import Any

from weightmath.errors import no_attribute
from weightmath.functions.by_name import blocks as blocks
from weightmath.functions.by_name import layer as layer
from weightmath.functions.by_name import match as match
from weightmath.functions.by_name import matrices as matrices
from weightmath.functions.by_name import only as only
from weightmath.functions.by_name import overlay as overlay
from weightmath.functions.by_name import ramp as ramp
from weightmath.functions.by_name import without as without
from weightmath.functions.casts import delta as delta
from weightmath.functions.casts import model as model
from weightmath.functions.declare import FUNCTIONS as FUNCTIONS
from weightmath.functions.declare import METHODS as METHODS
from weightmath.functions.declare import Declared as Declared
from weightmath.functions.declare import function as function
from weightmath.functions.declare import method as method
from weightmath.functions.directions import filter_normalized as filter_normalized
from weightmath.functions.directions import plane as plane
from weightmath.functions.directions import principal as principal
from weightmath.functions.elementwise import abs as abs
from weightmath.functions.elementwise import clamp as clamp
from weightmath.functions.elementwise import exp as exp
from weightmath.functions.elementwise import floor as floor
from weightmath.functions.elementwise import lerp as lerp
from weightmath.functions.elementwise import log as log
from weightmath.functions.elementwise import maximum as maximum
from weightmath.functions.elementwise import minimum as minimum
from weightmath.functions.elementwise import round as round
from weightmath.functions.elementwise import sign as sign
from weightmath.functions.elementwise import sqrt as sqrt
from weightmath.functions.elementwise import tanh as tanh
from weightmath.functions.elementwise import where as where
from weightmath.functions.matrix import truncated_svd as truncated_svd
from weightmath.functions.matrix import whole_tensor as whole_tensor
from weightmath.functions.noise import bernoulli as bernoulli
from weightmath.functions.noise import gaussian as gaussian
from weightmath.functions.noise import rademacher as rademacher
from weightmath.functions.noise import uniform as uniform
from weightmath.functions.selection import keep_largest as keep_largest
from weightmath.functions.selection import keep_smallest as keep_smallest
from weightmath.functions.selection import largest_mask as largest_mask
from weightmath.functions.selection import rank as rank
from weightmath.functions.statistics import all as all
from weightmath.functions.statistics import any as any
from weightmath.functions.statistics import coefficients as coefficients
from weightmath.functions.statistics import cosine as cosine
from weightmath.functions.statistics import count as count
from weightmath.functions.statistics import density as density
from weightmath.functions.statistics import dot as dot
from weightmath.functions.statistics import gram as gram
from weightmath.functions.statistics import max as max
from weightmath.functions.statistics import mean as mean
from weightmath.functions.statistics import median as median
from weightmath.functions.statistics import min as min
from weightmath.functions.statistics import norm as norm
from weightmath.functions.statistics import quantile as quantile
from weightmath.functions.statistics import std as std
from weightmath.functions.statistics import sum as sum
from weightmath.functions.statistics import weighted_mean as weighted_mean

__all__ = [  # noqa: PLE0604 - the register is the list
    "FUNCTIONS",
    "METHODS",
    "Declared",
    "coefficients",
    "function",
    "method",
    "whole_tensor",
    *FUNCTIONS,
]


def __getattr__(name: str) -> Any:
    hint = f"it is a method, weightmath.methods.{name}" if name in METHODS else None
    raise no_attribute("there is no function", name, FUNCTIONS, hint)
