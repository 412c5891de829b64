"""Small files that would cost a careless reader hours or all of its memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.hostile.corpus import beside, instead, legacy, safetensors, saved
from tests.hostile.pickles import get, name, put, text
from tests.hostile.zips import END, LOCAL, Member, build

ROWS = 15_000
DEPTH = 300_000


def doubled(empty: bytes, pair: bytes, times: int = 60) -> bytes:
    """A value that holds the one before twice, and so on: 2**times of the first in a few bytes each."""
    made = empty + put(0) + b"0"
    for number in range(times):
        made += pair.replace(b"@", get(number)) + put(number + 1) + b"0"
    return made + get(times)


def tensor(key: bytes, shape: bytes) -> bytes:
    """A tensor of storage 0; its key, shape and the parts that all share are opcodes."""
    return get(1) + b"(" + get(2) + b"K\0" + shape + shape + b"\x89" + get(3) + b"tR"


def shared() -> bytes:
    """Opcodes that put into the memo what many tensors share: 1 the function, 2 a storage, 3 the hooks."""
    pid = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x14tQ"
    hooks = name("collections", "OrderedDict") + b")R"
    parts = (name("torch._utils", "_rebuild_tensor_v2"), pid, hooks)
    return b"".join(part + put(number) + b"0" for number, part in enumerate(parts, 1))


def pickles() -> Iterator[tuple[str, bytes]]:
    """The opcodes of one value each."""
    for label, empty, pair in (
        ("tuples", b")", b"@@\x86"), ("lists", b"]", b"](@@e"), ("dictionaries", b"}", b"}(K\1@K\2@u"), ("sets", b"\x8f", b"\x8f(@@\x90"),
        ("frozen sets", b")", b"(@@\x91"), ("keys", b")", b"}(@K\1u"), ("calls", b")", name("a", "b") + b"@@\x86R"),
        ("states", b")", name("a", "b") + b")R@b@b"), ("dictionary states", b"}", name("collections", "OrderedDict") + b")R(K\1@K\2@u"),
    ):  # fmt: skip
        yield f"doubled {label}", doubled(empty, pair)
    for label, down, up in (
        ("tuples", b")", b"\x85"), ("lists", b"]", b""), ("calls", name("a", "b"), b")R"), ("reduced calls", b"N", b"\x85R"),
        ("keys", b"N", b""), ("persistent ids", b"N", b"Q"),
    ):  # fmt: skip
        if label == "lists":
            yield "deep lists", b"]" * DEPTH + b"a" * (DEPTH - 1)
        elif label == "keys":
            yield "deep keys", b"}" * DEPTH + b"N" + b"Ns" * (DEPTH - 1)
        elif label == "reduced calls":
            yield "deep reduced calls", name("a", "b") * DEPTH + b"N" + b"\x85R" * DEPTH
        else:
            yield f"deep {label}", down + up * DEPTH
    yield "deep marks", b"(" * DEPTH + b"t" * DEPTH
    yield "a long text many times", text("x" * 1_000_000) + put(9) + b"0](" + get(9) * ROWS + b"e"
    yield (
        "long bytes many times",
        b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + put(9) + b"0](" + get(9) * ROWS + b"e",
    )
    yield (
        "a long number many times",
        b"\x8b" + struct.pack("<i", 1000) + b"\x7f" * 1000 + put(9) + b"0](" + get(9) * ROWS + b"e",
    )
    yield "a key many times", b"}(" + b"K\1N" * DEPTH + b"u"
    yield "a global many times", name("a", "b") * ROWS + b"0" * (ROWS - 1)
    yield "a frame of all memory", b"\x95" + b"\xff" * 8 + b"N"
    yield "a list in itself", b"]" + put(0) + get(0) + b"a"
    yield "a dictionary in itself", b"}" + put(0) + b"N" + get(0) + b"s"
    yield "an object in its own state", name("a", "b") + b")R" + put(0) + get(0) + b"b"


def tensors() -> Iterator[tuple[str, bytes]]:
    """Values that hold many tensors, or one of many dimensions."""
    plain = b"K\x02\x85"
    many = b"".join(text(f"t{i}") + tensor(b"", plain) for i in range(ROWS))
    yield "many tensors of one storage", shared() + b"}(" + many + b"u"
    ema = b"".join(text(f"ema{i}.x") + tensor(b"", plain) for i in range(8_000))
    yield "many averages", shared() + b"}(" + ema + b"u"
    sections = b"".join(text(f"s{i}") + b"}" + text("w") + tensor(b"", plain) + b"s" for i in range(8_000))
    yield "many sections", shared() + b"}(" + sections + b"u"
    dimensions = b"(" + b"K\1" * 1_000_000 + b"t" + put(7) + b"0"
    wide = b"".join(text(f"t{i}") + tensor(b"", get(7)) for i in range(8_000))
    yield "one shape of a million dimensions in many tensors", shared() + dimensions + b"}(" + wide + b"u"
    long = b"".join(text("n" * 10_000 + str(i)) + tensor(b"", plain) for i in range(500))
    yield "names of ten thousand letters", shared() + b"}(" + long + b"u"


def files() -> Iterator[tuple[str, bytes]]:
    """Every bomb that is bytes, by name."""
    for label, body in (*pickles(), *tensors()):
        yield f"beside/{label}", beside(body)
        yield f"instead/{label}", instead(b"\x80\x02" + body + b".")
    for label, body in list(pickles())[::4]:
        yield f"legacy/{label}", legacy(content=b"\x80\x02" + body + b".")
        yield f"legacy keys/{label}", legacy(keys=b"\x80\x02" + body + b".")
        yield f"distributed/{label}", b"\x80\x02" + body + b".torch.distributed.checkpoint.metadata"
    records = saved({"w": torch.ones(2)})
    yield "zip/sixty thousand records", build([*(Member(f"archive/{k}", v) for k, v in records.items()),
                                               *(Member(f"archive/x{i}", b"") for i in range(65_000))])  # fmt: skip
    fields = {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(ROWS)}
    yield "safetensors/many tensors", safetensors(fields, bytes(4 * ROWS))
    empty = {f"t{i}": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]} for i in range(ROWS)}
    yield "safetensors/many empty tensors", safetensors(empty)
    ties = {
        "__metadata__": {f"t{i}": "w" for i in range(ROWS)},
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    yield "safetensors/many ties", safetensors(ties, bytes(4))
    yield "safetensors/spaces", safetensors(b"{" + b" " * 50_000_000 + b"}")
    yield "safetensors/brackets", safetensors(b'{"a":' + b"[" * 50_000_000)
    names = {"x" * 5_000 + str(i): "model.safetensors" for i in range(2_000)}
    yield "index/long names", json.dumps({"weight_map": names}).encode()
    yield "index/many files", json.dumps({"weight_map": {str(i): f"f{i}" for i in range(ROWS)}}).encode()


def write_sparse(folder: Path) -> None:
    """Files that are a terabyte long and take no room."""
    for number, size in enumerate((1 << 33, 1 << 40)):
        with (folder / f"sparse-zip-{number}").open("wb") as file:
            file.write(LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0))
            file.truncate(size)
            file.seek(size - END.size)
            file.write(END.pack(b"PK\5\6", 0, 0, 1, 1, 0xFFFFFF00, 0xFFFFFF00, 0))
        for label, head in (
            ("pickle", b"\x80\x02"),
            ("json", b"{"),
            ("zeros", b""),
            ("safetensors", struct.pack("<Q", 90_000_000) + b"{"),
        ):
            with (folder / f"sparse-{label}-{number}").open("wb") as file:
                file.write(head)
                file.truncate(size)
        head = legacy()
        with (folder / f"sparse-legacy-{number}").open("wb") as file:
            file.write(head[: head.index(b"\x80\x02", 40)] + b"\x80\x02]")
            file.truncate(size)
