"""The inert machine against Python's own unpickler, and against pickles that mean harm."""

import collections
import contextlib
import io
import os
import pickle
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightmath.checkpoint.nodes import Call, Dict, Global, List, Persistent, Set, Tuple
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.errors import CheckpointError


def plain(value: Any) -> Any:
    """The Python value that nodes stand for, where it can be told without calling anything."""
    if isinstance(value, Tuple):
        return tuple(map(plain, value.items))
    if isinstance(value, List):
        return list(map(plain, value.items))
    if isinstance(value, Set):
        return set(map(plain, value.items))
    if isinstance(value, Dict):
        return {plain(key): plain(content) for key, content, _, _ in value.pairs}
    if isinstance(value, Call) and str(value.function) == "_codecs.encode":
        return value.arguments.items[0].encode("latin-1")  # type: ignore[attr-defined]  # how protocol 2 writes bytes
    if isinstance(value, Call) and str(value.function) == "__builtin__.bytes":
        return b""
    if isinstance(value, Call) and str(value.function) == "collections.OrderedDict":
        return collections.OrderedDict((plain(key), plain(content)) for key, content, _, _ in value.pairs)
    return value


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
    | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner).map(collections.OrderedDict),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from([2, 3, 4, 5]), st.booleans())
def test_values_survive(value: Any, protocol: int, in_python: bool) -> None:
    buffer = io.BytesIO()
    (pickle._Pickler if in_python else pickle.Pickler)(buffer, protocol).dump(value)  # type: ignore[attr-defined]
    data = buffer.getvalue()
    read = read_pickle(data)
    assert plain(read.root) == value
    assert read.end == len(data)


def test_spans_are_the_bytes_of_the_items() -> None:
    data = pickle.dumps(("first", (1, 2.5), "first", [3]), 2)
    root = read_pickle(data).root
    assert isinstance(root, Tuple)
    assert [data[slice(*root.span(i))][:1] for i in range(4)] == [b"X", b"K", b"h", b"]"]
    again = b"\x80\x02" + data[slice(*root.span(1))] + b"."
    assert pickle.loads(again) == (1, 2.5)


def test_pairs_span_their_bytes() -> None:
    data = pickle.dumps({"a": 1, "b": [2], "c": 3}, 2)
    root = read_pickle(data).root
    assert isinstance(root, Dict)
    (_, _, start, stop) = root.pairs[1]
    assert pickle.loads(data[:start] + data[stop:]) == {"a": 1, "c": 3}


def test_classes_are_names_only() -> None:
    root = read_pickle(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").root
    assert isinstance(root, Call)
    assert isinstance(root.function, Global)
    assert str(root.function) == "os.system"


def test_persistent_references() -> None:
    read = read_pickle(b"\x80\x02X\x01\x00\x00\x00aQ.")
    assert isinstance(read.root, Persistent)
    assert read.pids == [read.root.pid]


EVIL = {
    "os.system": b"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch hacked\x85R.",
    "eval by STACK_GLOBAL": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.",
    "OBJ": b"\x80\x02(cos\nsystem\nX\x01\x00\x00\x00xo.",
    "INST": b"(X\x01\x00\x00\x00xios\nsystem\n.",
    "memo number of four billion": b"\x80\x02]r\xff\xff\xff\xff.",
    "a string longer than the file": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "a long longer than the file": b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xffabc.",
    "no STOP": b"\x80\x02]",
    "nothing on the stack": b"\x80\x02.",
    "an unknown memo number": b"\x80\x02h\x07.",
    "a mark that is not there": b"\x80\x02t.",
    "append to a number": b"\x80\x02K\x01K\x02a.",
    "protocol 77": b"\x80\x4d].",
    "protocol 0": b"(dp0\nS'a'\np1\nI1\ns.",
    "extension": b"\x80\x02\x82\x01.",
    "broken utf-8": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    "tuples a million deep": b"\x80\x02" + b"(" * 1_000_000 + b"t" * 1_000_000 + b".",
    "lists a million deep": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a deep tuple as a key": b"\x80\x02}" + b")" + b"\x85" * 500_000 + b"K\x01s.",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("data", EVIL.values(), ids=EVIL.keys())
def test_evil_does_nothing(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = time.perf_counter()
    with contextlib.suppress(CheckpointError):
        read_pickle(data)
    assert os.listdir(tmp_path) == []
    assert time.perf_counter() - before < 20


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_give_our_error_or_none(seed: int) -> None:
    dice = random.Random(seed)
    value = {"epoch": 3, "names": ["a", "b"], "nested": {"x": (1, 2.0, "three"), "o": collections.OrderedDict(k=1)}}
    for protocol in (2, 4):
        for _ in range(100):
            data = bytearray(pickle.dumps(value, protocol))
            for _ in range(dice.randint(1, 4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            with contextlib.suppress(CheckpointError):
                read_pickle(bytes(data))
