"""The corpus: files that a stranger may send, each made here, and where Python's own unpickler would sing."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.hostile.pickles import Payload, name, payloads, text
from tests.hostile.zips import Member, build, lies

STATE = {"w": torch.arange(20.0).reshape(4, 5), "b": torch.arange(5.0)}
ROOT = "archive"


def saved(content: object) -> dict[str, bytes]:
    """The records of what torch.save writes, by their names below the root; data.pkl first."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def members(records: dict[str, bytes]) -> list[Member]:
    return [Member(f"{ROOT}/{own}", content) for own, content in records.items()]


def beside(payload: bytes) -> bytes:
    """A checkpoint with a state dict, and the payload under another key."""
    records = saved(STATE)
    state = records["data.pkl"][2:-1]
    pickle = b"\x80\x02}(" + text("state_dict") + state + text("other") + payload + b"u."
    return build(members({**records, "data.pkl": pickle}))


def instead(pickle: bytes) -> bytes:
    """A zip whose only pickle is this."""
    return build(members({**saved(STATE), "data.pkl": pickle}))


def legacy(*, system: bytes | None = None, content: bytes | None = None, keys: bytes | None = None) -> bytes:
    """A file of the kind before PyTorch 1.6, in which one of the pickles is replaced."""
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=False)
    whole = buffer.getvalue()
    stops = [at for at in range(len(whole)) if whole.startswith(b".\x80\x02", at)]
    parts = [whole[: stops[1] + 1]]
    parts += [system or whole[stops[1] + 1 : stops[2] + 1], content or whole[stops[2] + 1 : stops[3] + 1]]
    return b"".join(parts) + (keys or whole[stops[3] + 1 :])


def distributed(pickle: bytes) -> bytes:
    """What may stand in `.metadata`."""
    return pickle + b"torch.distributed.checkpoint.metadata"


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def files(canaries: Path) -> Iterator[tuple[str, bytes]]:
    """Every hostile file by name. Their payloads would make folders in `canaries`."""
    every = payloads(canaries)
    for label, payload in every.items():
        yield f"beside/{label}", beside(payload.body)
    for label, payload in _some(every):
        yield f"instead/{label}", instead(payload.pickle)
        yield f"legacy content/{label}", legacy(content=payload.pickle)
    for label, payload in list(_some(every))[::3]:
        yield f"legacy system/{label}", legacy(system=payload.pickle)
        yield f"legacy keys/{label}", legacy(keys=payload.pickle)
        yield f"plain/{label}", payload.pickle
        yield f"distributed/{label}", distributed(payload.pickle)
    evil = every["evil.sing by REDUCE"].pickle
    honest = sorted(
        members(saved({"state_dict": STATE})), key=lambda m: (m.name != f"{ROOT}/data.pkl", "/data/" not in str(m.name))
    )
    for label, content in lies(honest, evil):
        yield f"zip/{label}", content
    yield from ((f"tensor/{label}", beside(body)) for label, body in tensors())
    yield from ((f"safetensors/{label}", content) for label, content in bad_safetensors())
    yield from ((f"index/{label}", content) for label, content in bad_indices())


def _some(every: dict[str, Payload]) -> Iterator[tuple[str, Payload]]:
    """One way for each function, one function for each way, and all that are special."""
    for label, payload in every.items():
        if " by " not in label or label.endswith(" by REDUCE") or label.startswith("evil.sing by "):
            yield label, payload


def tensors() -> Iterator[tuple[str, bytes]]:
    """Tensors whose numbers do not fit: opcodes of one that refers to storage 0 of `STATE`, which has 20 elements."""

    def number(value: int) -> bytes:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8b" + struct.pack("<i", len(raw)) + raw

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    def tensor(key: str = "0", elements: int = 20, offset: int = 0, shape: tuple[int, ...] = (4, 5),
               stride: tuple[int, ...] = (5, 1), kind: str = "FloatStorage", device: str = "cpu") -> bytes:  # fmt: skip
        pid = b"(" + text("storage") + name("torch", kind) + text(key) + text(device) + number(elements) + b"tQ"
        hooks = name("collections", "OrderedDict") + b")R"
        call = name("torch._utils", "_rebuild_tensor_v2") + b"(" + pid
        return call + number(offset) + numbers(shape) + numbers(stride) + b"\x89" + hooks + b"tR"

    huge = 1 << 100_000
    yield "an honest one", tensor()
    for label, value in (
        ("minus one", -1),
        ("two to the 31", 1 << 31),
        ("two to the 63", 1 << 63),
        ("huge", huge),
        ("minus huge", -huge),
    ):
        yield f"elements {label}", tensor(elements=value)
        yield f"offset {label}", tensor(offset=value)
        yield f"shape {label}", tensor(shape=(value, 5))
        yield f"stride {label}", tensor(stride=(value, 1))
        yield f"empty of shape {label}", tensor(shape=(0, value))
        yield f"an epoch of {label}", number(value)
        yield f"a key of {label}", b"}" + number(value) + b"Ns"
        yield f"one row, stride {label}", tensor(shape=(1, 1), stride=(value, value))
    yield "expanded to a terabyte", tensor(shape=(1 << 40, 1), stride=(0, 0))
    yield "a product that wraps to 20", tensor(shape=(1 << 32, 1 << 32, 20), stride=(0, 0, 1))
    yield "many dimensions", tensor(shape=(1,) * 100_000, stride=(0,) * 100_000)
    yield "a shape and no strides", tensor(stride=())
    yield "another storage of the same name", b"(" + tensor() + tensor(elements=10) + b"t"
    for key in ("7", "../0", "/etc/passwd", "", "0\0", "x" * 100_000):
        yield f"storage {key[:12]!r}", tensor(key=key)
    for kind in ("QInt8Storage", "UntypedStorage", "Evil", "../FloatStorage", "ComplexDoubleStorage"):
        yield f"a {kind}", tensor(kind=kind)
    yield "a key that clears the screen", b"}" + text("\x1b[2J\x07\r\x9b2J\u202e") + tensor() + b"s"
    yield "a class that clears the screen", name("\x1b[2J", "\x1b]0;x\x07") + b")R"
    yield "a device with a shell in it", tensor(device="cuda:0; rm -rf /")


def bad_safetensors() -> Iterator[tuple[str, bytes]]:
    """Headers that lie."""
    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    data = bytes(8)
    yield "honest", safetensors({"w": good}, data)
    yield "twice", safetensors(b'{"w": %b, "w": %b}' % ((json.dumps(good).encode(),) * 2), data)
    for label, change in {
        "overlap": {"v": good}, "hole": {"v": {**good, "data_offsets": [12, 20]}}, "negative": {"w": {**good, "data_offsets": [-8, 0]}},
        "backwards": {"w": {**good, "data_offsets": [8, 0]}}, "huge shape": {"w": {**good, "shape": [1 << 62, 1 << 62]}},
        "wrapping shape": {"w": {**good, "shape": [1 << 32, 1 << 32, 2]}}, "float shape": {"w": {**good, "shape": [2.0]}},
        "true shape": {"w": {**good, "shape": [True, 2]}}, "unknown dtype": {"w": {**good, "dtype": "F3000"}},
        "more keys": {"w": {**good, "evil": "x"}}, "fewer keys": {"w": {"dtype": "F32"}}, "a list": {"w": [1]},
        "metadata of numbers": {"__metadata__": {"a": 1}}, "metadata of lists": {"__metadata__": []},
        "a name with a nul": {"a\0b": good}, "dunder": {"__class__": good}, "a huge number": {"w": {**good, "shape": [10**4000]}},
        "many dimensions": {"w": {**good, "shape": [1] * 100_000}},
        "a tie to itself": {"__metadata__": {"w": "w", "v": "w", "u": "v"}}, "a tie in a ring": {"__metadata__": {"u": "v", "v": "u"}},
        "a lone surrogate": {"\ud800": good},
    }.items():  # fmt: skip
        yield label, safetensors({"w": good, **change}, data)
    for label, raw in {
        "no JSON": b"{]", "NaN": b'{"w": NaN}', "deep": b'{"a":' * 500_000, "deep list": b'{"a":' + b"[" * 500_000,
        "no text": b"{\xff\xfe}", "a list": b"{}[]", "empty": b"{}", "spaces": b"{" + b" " * 1000 + b"}",
        "a number of a million digits": b'{"w": ' + b"9" * 1_000_000 + b"}",
        "a hundred thousand names, one twice": b"{" + b",".join(b'"%d":{}' % (min(i, 99_998)) for i in range(100_000)) + b"}",
    }.items():  # fmt: skip
        yield f"header of {label}", safetensors(raw, data)
    for length in (0, 1, 1 << 30, 1 << 62, (1 << 64) - 1):
        yield f"header length {length}", safetensors({"w": good}, data, length)


def bad_indices() -> Iterator[tuple[str, bytes]]:
    """Indices of shards that lead away from their folder, or in circles; `index-in-a-circle` is a file's own name."""
    for file in ("/etc/passwd", "../x", "..", ".", "", "a\0b", "index-in-a-circle", "\ud800", "x" * 5000, "nowhere"):
        yield f"to {file[:20]!r}", json.dumps({"weight_map": {"w": file}}).encode()
    for content in (
        {"weight_map": []},
        {"weight_map": {}},
        {"weight_map": {"w": 1}},
        {"weight_map": {"w": None}},
        {"x": 1},
        [],
    ):
        yield f"{content}", json.dumps(content).encode()
