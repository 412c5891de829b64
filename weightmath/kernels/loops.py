"""Formulas as one loop of machine code over all their operations, which LLVM makes, where llvmlite is installed.

numpy goes through its arrays once for each operation, and numkong once for each conversion. A loop reads elements as
they are stored, and has what lies between the operations in the processor's registers: an average of three models in
float16 takes a fifth of the arithmetic's time, twenty terms a tenth. The bits are those of `weightmath.kernels`'
`elementwise` and `convert`, since the same operations are rounded one by one, in the same order; but where two NaNs
meet, it may be the other one whose payload is kept.

To import llvmlite takes 40 ms, and a loop 15 ms and more: small models gain nothing. Only processors of the x86 family
with conversions of half precision have been looked at, and others do without.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from importlib import metadata
from typing import Any, NamedTuple

import numkong
import numpy as np

_OLDEST = (0, 45)  # of llvmlite: others came with it into many an environment, and know no untyped pointers
NUMBER = "number"
_MOST_LOOPS = 100  # that are kept, some ten kB each
_FLOATS = {"float16": "half", "float32": "float", "float64": "double"}
_INTEGERS = {"float16": "i16", "bfloat16": "i16", "float32": "i32", "float64": "i64"}
STORED = frozenset(_INTEGERS)
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80, "float32": 0x7F800000}
ROUNDED = frozenset(_EXPONENTS)

# Operations in LLVM's words: {out} is made of {a}, {b} and {c}, of the type {t}, by way of {out}.1, {out}.2, ...
_CALLS = {"absolute": "fabs", "sqrt": "sqrt", "floor": "floor", "round": "roundeven"}
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
    **{op: _CALL.format(name=name) for op, name in _CALLS.items()},
    **{op: _COMPARE.format(condition=condition) for op, condition in _CONDITIONS.items()},
}
OPERATIONS = frozenset(_LINES)


@cache
def compiler() -> str | None:
    """The version of llvmlite that loops are made with; None where none are made."""
    try:
        found = metadata.version("llvmlite")
    except metadata.PackageNotFoundError:
        return None
    release = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    return found if release >= _OLDEST and numkong.get_capabilities().get("haswell") else None


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


def bound(loop: Loop, operands: Sequence[Any], results: Sequence[np.ndarray]) -> Callable[[], None]:
    """What goes through the operands as they are when it is called.

    operands   numbers, and arrays of raw bits; arrays are contiguous, of one size that is not 0, and none overlap
    """
    return _bound(_compiled(loop), results[0].size, [*operands, *results])


@lru_cache(_MOST_LOOPS)
def _compiled(loop: Loop) -> Machine:
    kind, suffix = _FLOATS[loop.dtype], {"float32": "f32", "float64": "f64"}[loop.dtype]
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
            body += _loaded(f"v{number}", f"%x{number}", operand, loop.dtype)
    for number, (op, args) in enumerate(loop.lines, len(loop.operands)):
        names = {letter: f"%v{arg}" for letter, arg in zip("abc", args, strict=False)}
        body.append(_LINES[op].format(out=f"%v{number}", t=kind, suffix=suffix, **names))
    for place, number in enumerate(loop.results):
        takes.append(f"ptr noalias %to{place}")
        types.append(ctypes.c_void_p)
        body += _stored(f"%to{place}", kind, f"%v{number}")
    return _machine(takes, types, body)


def bound_rounding(
    numbers: np.ndarray, stored: str, bits: np.ndarray, other: np.ndarray | None, differ: np.ndarray | None
) -> Callable[[], bool]:
    """What rounds float32 to what is stored, to nearest even, and tells whether any of that is NaN or infinite.

    stored          one of ROUNDED
    bits            is filled with what is stored; float32 may be the numbers themselves
    other, differ   where what is stored differs from other bits is told in `differ`, by truth values
    """
    arrays = [numbers, *(each for each in (bits, other, differ) if each is not None and each is not numbers)]
    return _bound(_rounding(stored, other is not None), numbers.size, arrays)


@lru_cache(_MOST_LOOPS)
def _rounding(stored: str, is_compared: bool) -> Machine:
    integer, exponent = _INTEGERS[stored], _EXPONENTS[stored]
    takes, body = ["ptr noalias %numbers"], _loaded("v", "%numbers", "float32", "float32")
    if stored == "float32":
        body.append("%bits = bitcast float %v to i32")
    else:
        takes.append("ptr noalias %to")
        body += [*_NARROWER[stored], *_stored("%to", integer, "%bits")]
    body += [
        f"%masked = and {integer} %bits, {exponent}",
        f"%odd = icmp eq {integer} %masked, {exponent}",
        "%odd.wide = zext i1 %odd to i32",
        "%found.next = or i32 %found, %odd.wide",
    ]
    if is_compared:
        takes += ["ptr noalias %other", "ptr noalias %differ"]
        body += [
            f"%place.other = getelementptr {integer}, ptr %other, i64 %i",
            f"%bits.other = load {integer}, ptr %place.other",
            f"%differs = icmp ne {integer} %bits, %bits.other",
            "%differs.wide = zext i1 %differs to i8",
            *_stored("%differ", "i8", "%differs.wide"),
        ]
    return _machine(takes, [ctypes.c_void_p] * len(takes), body)


_NARROWER = {
    "float16": ["%half = fptrunc float %v to half", "%bits = bitcast half %half to i16"],
    # Half of the last place is added, and the last bit, so that what lies in the middle becomes even. A NaN keeps what
    # fits of its payload, and becomes quiet.
    "bfloat16": [
        "%whole = bitcast float %v to i32",
        "%high = lshr i32 %whole, 16",
        "%last = and i32 %high, 1",
        "%half = add i32 %last, 32767",
        "%sum = add i32 %whole, %half",
        "%near = lshr i32 %sum, 16",
        "%quiet = or i32 %high, 64",
        "%is.nan = fcmp uno float %v, %v",
        "%chosen = select i1 %is.nan, i32 %quiet, i32 %near",
        "%bits = trunc i32 %chosen to i16",
    ],
}


def _loaded(name: str, array: str, stored: str, dtype: str) -> list[str]:
    """Element %i of an array as a number of a dtype that is not narrower."""
    integer = _INTEGERS[stored]
    lines = [f"%place.{name} = getelementptr {integer}, ptr {array}, i64 %i"]
    lines.append(f"%stored.{name} = load {integer}, ptr %place.{name}")
    if stored == "bfloat16":
        lines += [f"%low.{name} = zext i16 %stored.{name} to i32", f"%bits.{name} = shl i32 %low.{name}, 16"]
        stored, integer = "float32", "i32"
    else:
        lines.append(f"%bits.{name} = add {integer} %stored.{name}, 0")
    kind = _FLOATS[stored]
    if stored == dtype:
        return [*lines, f"%{name} = bitcast {integer} %bits.{name} to {kind}"]
    lines.append(f"%narrow.{name} = bitcast {integer} %bits.{name} to {kind}")
    return [*lines, f"%{name} = fpext {kind} %narrow.{name} to {_FLOATS[dtype]}"]


def _stored(array: str, kind: str, value: str) -> list[str]:
    """A value as element %i of an array."""
    return [
        f"%place.{array[1:]} = getelementptr {kind}, ptr {array}, i64 %i",
        f"store {kind} {value}, ptr %place.{array[1:]}",
    ]


_WHOLE = """
define i32 @loop(i64 %n, {takes}) {{
before:
  br label %body
body:
  %i = phi i64 [0, %before], [%i.next, %body]
  %found = phi i32 [0, %before], [%found.next, %body]
  {body}
  %i.next = add nuw i64 %i, 1
  %is.last = icmp eq i64 %i.next, %n
  br i1 %is.last, label %after, label %body
after:
  ret i32 %found.next
}}
{declared}
"""
_DECLARED = "\n".join(
    f"declare {kind} @llvm.{name}.{suffix}({kind})"
    for name in _CALLS.values()
    for kind, suffix in (("float", "f32"), ("double", "f64"))
)


class Machine(NamedTuple):
    """Machine code: a function of the number of elements and of what a loop takes; and its memory, which must live."""

    function: Callable[..., int]
    memory: Any


def _machine(takes: Sequence[str], types: Sequence[Any], body: Sequence[str]) -> Machine:
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    found = [] if any(line.startswith("%found.next") for line in body) else ["%found.next = or i32 %found, 0"]
    text = _WHOLE.format(takes=", ".join(takes), body="\n  ".join([*body, *found]), declared=_DECLARED)
    module = llvm.parse_assembly(text)
    processor, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features, opt=3)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    memory = llvm.create_mcjit_compiler(module, machine)
    memory.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, *types)
    return Machine(prototype(memory.get_function_address("loop")), memory)


def _bound(machine: Machine, size: int, given: Sequence[Any]) -> Callable[[], Any]:
    values = [each if isinstance(each, float) else each.__array_interface__["data"][0] for each in given]
    call = partial(machine.function, size, *values)

    def run(held: Any = (machine, given)) -> Any:  # addresses and code are good as long as what they are of lives
        return call()

    return run
