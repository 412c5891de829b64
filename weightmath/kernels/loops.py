"""Formulas as one loop of machine code over all their operations, which LLVM makes, where llvmlite is installed.

numpy goes through its arrays once for each operation, and numkong once for each conversion. A loop reads elements as
they are stored, and has what lies between the operations in the processor's registers: an average of three models in
float16 takes a fifth of the arithmetic's time, twenty terms a tenth. The bits are those of `weightmath.kernels`'
`elementwise` and `convert`, since the same operations are rounded one by one, in the same order; but where two NaNs
meet, it may be the other one whose payload is kept.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from weightmath.kernels.machine import FLOATS, FUNCTIONS, INTEGERS, MOST_LOOPS, Code, compiled, load, store

NUMBER = "number"
STORED = frozenset(INTEGERS)

# Operations in LLVM's words: {out} is made of {a}, {b} and {c}, of the type {t}, by way of {out}.1, {out}.2, ...
_CONDITIONS = {"equal": "oeq", "unequal": "une", "less": "olt", "greater": "ogt", "at_most": "ole", "at_least": "oge"}
_CALL = "{{out}} = call {{t}} @llvm.{name}.{{suffix}}({{t}} {{a}})"
_COMPARE = "{{out}}.1 = fcmp {condition} {{t}} {{a}}, {{b}}\n{{out}} = uitofp i1 {{out}}.1 to {{t}}"
# As numpy's: of two that are equal, which 0 and -0 are, the second; and a NaN wherever there is one.
_CHOOSE = """\
{{out}}.1 = fcmp {condition} {{t}} {{a}}, {{b}}
{{out}}.2 = select i1 {{out}}.1, {{t}} {{a}}, {{t}} {{b}}
{{out}}.3 = fcmp uno {{t}} {{a}}, {{a}}
{{out}} = select i1 {{out}}.3, {{t}} {{a}}, {{t}} {{out}}.2"""
_SIGN = """\
{out}.1 = fcmp ogt {t} {a}, 0.0
{out}.2 = uitofp i1 {out}.1 to {t}
{out}.3 = fcmp olt {t} {a}, 0.0
{out}.4 = uitofp i1 {out}.3 to {t}
{out}.5 = fsub {t} {out}.2, {out}.4
{out}.6 = fcmp uno {t} {a}, {a}
{out} = select i1 {out}.6, {t} {a}, {t} {out}.5"""
_LINES: Mapping[str, str] = {
    "add": "{out} = fadd {t} {a}, {b}",
    "subtract": "{out} = fsub {t} {a}, {b}",
    "multiply": "{out} = fmul {t} {a}, {b}",
    "both": "{out} = fmul {t} {a}, {b}",
    "divide": "{out} = fdiv {t} {a}, {b}",
    "negative": "{out} = fneg {t} {a}",
    "inverse": "{out} = fsub {t} 1.0, {a}",
    "minimum": _CHOOSE.format(condition="olt"),
    "maximum": _CHOOSE.format(condition="ogt"),
    "either": _CHOOSE.format(condition="ogt"),
    "sign": _SIGN,
    "where": "{out}.1 = fcmp une {t} {a}, 0.0\n{out} = select i1 {out}.1, {t} {b}, {t} {c}",
    **{op: _CALL.format(name=name) for op, name in FUNCTIONS.items()},
    **{op: _COMPARE.format(condition=condition) for op, condition in _CONDITIONS.items()},
}
OPERATIONS = frozenset(_LINES)


class Loop(NamedTuple):
    """What is computed of each element.

    dtype      in which: float32 or float64
    operands   of arrays the dtype in which they are stored, one of STORED that is no wider; or NUMBER, one for all
    lines      OPERATIONS, and which values each takes: the operands come first, then what earlier lines have made
    results    values that are stored, in arrays of `dtype`
    """

    dtype: str
    operands: tuple[str, ...]
    lines: tuple[tuple[str, tuple[int, ...]], ...]
    results: tuple[int, ...]


def bound(loop: Loop, operands: Sequence[Any], results: Sequence[np.ndarray]) -> Callable[[], object]:
    """What goes through the operands as they are when it is called.

    operands   numbers, and arrays of raw bits; arrays are contiguous, of one size that is not 0, and none overlap
    """
    return _made(loop).ready(results[0].size, [*operands, *results])


@lru_cache(MOST_LOOPS)
def _made(loop: Loop) -> Code:
    kind, suffix = FLOATS[loop.dtype], {"float32": "f32", "float64": "f64"}[loop.dtype]
    takes: list[str] = []
    types: list[Any] = []
    body: list[str] = []
    for number, operand in enumerate(loop.operands):
        if operand == NUMBER:
            takes.append(f"{kind} %v{number}")
            types.append({"float32": ctypes.c_float, "float64": ctypes.c_double}[loop.dtype])
        else:
            takes.append(f"ptr noalias %x{number}")
            types.append(ctypes.c_void_p)
            body += load(f"v{number}", f"%x{number}", operand, loop.dtype)
    for number, (op, args) in enumerate(loop.lines, len(loop.operands)):
        names = {letter: f"%v{arg}" for letter, arg in zip("abc", args, strict=False)}
        body.append(_LINES[op].format(out=f"%v{number}", t=kind, suffix=suffix, **names))
    for place, number in enumerate(loop.results):
        takes.append(f"ptr noalias %to{place}")
        types.append(ctypes.c_void_p)
        body += store(f"%to{place}", kind, f"%v{number}")
    return compiled(takes, types, body)
