"""A loop over the elements of arrays, told in LLVM's words, becomes machine code where llvmlite is installed.

To import llvmlite takes 40 ms, and to make a loop 10 to 30. Only processors of the x86 family with conversions of half
precision have been looked at: others go without.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from typing import Any

import numkong
import numpy as np

_OLDEST = (0, 45)  # of llvmlite: others came with it into many an environment, and know no untyped pointers
MOST_LOOPS = 100  # of a kind that are kept, some ten kB each
FLOATS = {"float16": "half", "float32": "float", "float64": "double"}
INTEGERS = {"float16": "i16", "bfloat16": "i16", "float32": "i32", "float64": "i64"}
FUNCTIONS = {"absolute": "fabs", "sqrt": "sqrt", "floor": "floor", "round": "roundeven"}  # as LLVM calls them
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
    for name in FUNCTIONS.values()
    for kind, suffix in (("float", "f32"), ("double", "f64"))
)


@cache
def compiler() -> str | None:
    """The version of llvmlite that loops are made with; None where none are made."""
    try:
        found = metadata.version("llvmlite")
    except metadata.PackageNotFoundError:
        return None
    release = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    return found if release >= _OLDEST and numkong.get_capabilities().get("haswell") else None


# A process that is forked while another thread is within LLVM could never enter it: forks wait for this lock.
_within = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_within.acquire, after_in_parent=_within.release, after_in_child=_within.release)


class Code:
    """Machine code: a function of the number of elements, which is not 0, and of what the loop takes."""

    def __init__(self, function: Callable[..., int], engine: Any) -> None:
        self._function = function
        # Its memory lives as long as this object: the function alone would not hold it.
        weakref.finalize(self, _give_back, engine).atexit = False

    def __call__(self, *given: Any) -> int:
        """Go through all elements."""
        return self._function(*given)

    def ready(self, size: int, given: Sequence[Any]) -> Callable[[], int]:
        """The call with numbers, and with arrays as they are when it is made."""
        arrays = [each for each in given if isinstance(each, np.ndarray)]
        # What is beyond an array would be overwritten without a word.
        assert all(each.size == size and each.flags.c_contiguous for each in arrays)
        values = [address(each) if isinstance(each, np.ndarray) else each for each in given]

        def call(held: Any = given) -> int:  # addresses are good as long as the arrays live
            return self(size, *values)

        return call


def _give_back(engine: Any) -> None:
    with _within:
        engine.close()


def address(array: np.ndarray) -> int:
    """Where an array begins."""
    found: int = array.__array_interface__["data"][0]
    return found


def compiled(takes: Sequence[str], types: Sequence[Any], body: Sequence[str]) -> Code:
    """A loop that takes these parameters, of these types of C, and does this for each element %i.

    `body` may make %found.next of %found, 0 at first: the function returns the last.
    """
    with _within:
        return _compiled(takes, types, body)


def _compiled(takes: Sequence[str], types: Sequence[Any], body: Sequence[str]) -> Code:
    import llvmlite.binding as llvm  # type: ignore[import-untyped]

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    counted = any(line.startswith("%found.next") for line in body)
    lines = [*body] if counted else [*body, "%found.next = or i32 %found, 0"]
    text = _WHOLE.format(takes=", ".join(takes), body="\n  ".join(lines), declared=_DECLARED)
    module = llvm.parse_assembly(text)
    processor, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features, opt=3)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(target, options)
    passes.getModulePassManager().run(module, passes)
    memory = llvm.create_mcjit_compiler(module, target)
    memory.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, *types)
    return Code(prototype(memory.get_function_address("loop")), memory)


def load(name: str, array: str, stored: str, dtype: str) -> list[str]:
    """Element %i of an array as a number of a dtype that is not narrower."""
    integer = INTEGERS[stored]
    lines = [f"%place.{name} = getelementptr {integer}, ptr {array}, i64 %i"]
    lines.append(f"%stored.{name} = load {integer}, ptr %place.{name}")
    if stored == "bfloat16":
        lines += [f"%low.{name} = zext i16 %stored.{name} to i32", f"%bits.{name} = shl i32 %low.{name}, 16"]
        stored, integer = "float32", "i32"
    else:
        lines.append(f"%bits.{name} = add {integer} %stored.{name}, 0")
    kind = FLOATS[stored]
    if stored == dtype:
        return [*lines, f"%{name} = bitcast {integer} %bits.{name} to {kind}"]
    lines.append(f"%narrow.{name} = bitcast {integer} %bits.{name} to {kind}")
    return [*lines, f"%{name} = fpext {kind} %narrow.{name} to {FLOATS[dtype]}"]


def store(array: str, kind: str, value: str) -> list[str]:
    """A value becomes element %i of an array."""
    place = f"%place.{array[1:]}"
    return [f"{place} = getelementptr {kind}, ptr {array}, i64 %i", f"store {kind} {value}, ptr {place}"]
