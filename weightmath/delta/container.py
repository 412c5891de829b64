"""The delta file: a safetensors file, so that nothing in it can be executed, and its metadata say what it means.

    __metadata__  {"format": "weightmath-delta", "weightmath.delta": JSON of a `Delta`, "weightmath.delta.crc32": the
                  checksum of that JSON, 8 hexadecimal digits}; of a recipe's output also its provenance record
    name          of each tensor the encoded pieces, one after the other, as U8; `sizes` in the JSON are their lengths.
                  Of an encoder that stores numbers as they are (dense) the tensor itself, which others can read too

Each piece is encoded by itself (see `weightmath.delta.pieces`): a file of any size is written front to back and read by
pieces. The header comes first, with room for all that is only known at the end, and is padded with spaces.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from weightmath.checkpoint.checksum import crc32
from weightmath.checkpoint.description import Checkpoint, Stamp, check_is_file
from weightmath.checkpoint.safetensors import CONTAINER, is_safetensors, open_safetensors
from weightmath.delta.pieces import piece_count
from weightmath.delta.planes import DAMAGED
from weightmath.dtypes import DTYPES, FLOAT32, DType
from weightmath.errors import CheckpointError, WeightmathError, at
from weightmath.layout import Entry

FORMAT = "weightmath-delta"
KEY = "weightmath.delta"
CRC = "weightmath.delta.crc32"
REST = ":rest"
VERSION = 1
EXACT = ("step", "xor", "plain")
ENCODINGS = (*EXACT, "sparse", "int8", "sign", "low-rank", "dense")
_OPTIONAL = {"error": float, "norm": float, "scale": float, "rank": int, "at": int, "source": str}
_READ = 4 << 20
_NEWER = "it may come from a newer weightmath: pip install -U weightmath"


@dataclass(frozen=True)
class Record:
    """One tensor of a delta.

    entry     its name, shape and dtype in the tuned checkpoint
    encoder   step, xor, plain (exact); sparse, int8, sign, low-rank, dense (numbers)
    sizes     bytes of each piece; a piece of none changes nothing
    error     relative error: |tuned - base - delta| / |tuned - base|; None for exact ones
    norm      |tuned - base|; None where it was not computed
    stored    dtype of the stored numbers, where there are some
    scale     of `sign`: the mean magnitude
    rank      of `low-rank`
    at        of whole files: where in the file the tensor's bytes begin
    source    of whole files: which tensor of the base they were seen from, by its dotted path
    """

    entry: Entry
    encoder: str
    sizes: tuple[int, ...]
    error: float | None = None
    norm: float | None = None
    stored: DType | None = None
    scale: float | None = None
    rank: int | None = None
    at: int | None = None
    source: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it holds bits that need the base's."""
        return self.encoder in EXACT

    @property
    def factors_size(self) -> int:
        """Numbers in the two factors of a `low-rank` one."""
        return (self.rank or 0) * (self.entry.rows + self.entry.row_size)


@dataclass(frozen=True)
class Side:
    """What a delta says about its base or its tuned checkpoint: file name, section, fingerprint, layout's hash."""

    file: str
    section: str
    fingerprint: str | None
    layout: str


@dataclass(frozen=True)
class WholeFile:
    """A tuned file that comes back to the byte: its size, its sha256, and the pieces of what is no tensor."""

    size: int
    sha256: str
    rest: tuple[int, ...]


@dataclass(frozen=True)
class Delta:
    """What a delta file holds.

    kind      exact, dense, sparse, int8, sign, low-rank, or auto (`--max-error` chose per tensor)
    options   those that it was made with
    error     relative error over all tensors; None for exact ones
    by        what wrote it
    sums      CRC-32 of each tensor's bytes in the file, and of the rest's
    """

    kind: str
    options: Mapping[str, Any]
    base: Side
    tuned: Side | None
    error: float | None
    by: str
    records: Mapping[str, Record]
    whole: WholeFile | None = None
    sums: Mapping[str, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class DeltaFile:
    """An opened delta file; nothing but its header has been read."""

    path: Path
    delta: Delta
    checkpoint: Checkpoint = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.checkpoint.size

    @cached_property
    def _begins(self) -> dict[str, tuple[int, ...]]:
        records = self.delta.records.items()
        return {name: tuple(accumulate(record.sizes, initial=0)) for name, record in records}

    def span(self, name: str, number: int) -> tuple[int, int]:
        """Where in the file a piece of a tensor lies, and its bytes."""
        begins = self._begins[name]
        return self.checkpoint.places[name].offset + begins[number], begins[number + 1] - begins[number]

    def check_bytes(self) -> None:
        """Read all bytes and compare them with their checksums. CheckpointError where they differ."""
        problems = problems_of(self)
        if problems:
            raise CheckpointError(problems[0], where=str(self.path), hint=DAMAGED)

    @contextmanager
    def named(self) -> Iterator[None]:
        """A context whose errors name this file."""
        try:
            yield
        except CheckpointError as error:
            raise at(str(self.path), error) from None


def is_delta(checkpoint: Checkpoint) -> bool:
    """Whether an opened checkpoint is a delta file."""
    return checkpoint.container == CONTAINER and KEY in (checkpoint.texts or {})


def open_delta(path: str | Path) -> DeltaFile:
    """Open a delta file. Fails with CheckpointError for a file that is none, or that is damaged."""
    path = Path(path)
    check_is_file(path)
    file = os.open(path, os.O_RDONLY)
    try:
        stamp = Stamp.of(os.fstat(file))
        if not is_safetensors(os.pread(file, 512, 0), stamp.size):
            raise CheckpointError("is no delta file", hint="weightmath delta make BASE TUNED -o FILE writes one")
        return delta_of(open_safetensors(path, file, stamp))
    except WeightmathError as error:
        raise at(str(path), error) from None
    finally:
        os.close(file)


def delta_of(checkpoint: Checkpoint) -> DeltaFile:
    """The delta that an opened safetensors file is; CheckpointError where it is none or contradicts itself."""
    where = str(checkpoint.path)
    if not is_delta(checkpoint):
        hint = "weightmath delta make BASE TUNED -o FILE writes one"
        raise CheckpointError("is no delta file", where=where, hint=hint)
    texts = checkpoint.texts or {}
    if texts.get(CRC) != checksum_of(texts[KEY]):
        fact = "its description as a delta does not have the checksum that was written with it"
        raise CheckpointError(fact, where=where, hint=DAMAGED)
    try:
        delta = from_json(texts[KEY])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"its description as a delta is malformed: {error}", where=where, hint=_NEWER) from None
    opened = DeltaFile(checkpoint.path, delta, checkpoint)
    _check_sizes(opened)
    return opened


def _check_sizes(opened: DeltaFile) -> None:
    lengths = {tensor.entry.name: tensor.entry.nbytes for tensor in opened.checkpoint.tensors}
    wanted = {name: sum(record.sizes) for name, record in opened.delta.records.items()}
    if opened.delta.whole is not None:
        wanted[REST] = sum(opened.delta.whole.rest)
    if lengths != wanted:
        fact = "its tensors are not those that its description names"
        raise CheckpointError(fact, where=str(opened.path), hint=DAMAGED)
    for name, record in opened.delta.records.items():
        if record.encoder not in ENCODINGS:
            fact = f"`{name}` is encoded as {record.encoder}, which this weightmath does not know"
            raise CheckpointError(fact, where=str(opened.path), hint=_NEWER)
        if not _fits(record):
            fact = f"`{name}` has other pieces than its shape needs"
            raise CheckpointError(fact, where=str(opened.path), hint=DAMAGED)


def _fits(record: Record) -> bool:
    """Whether a record has as many pieces as its shape needs, and of a product the bytes."""
    if record.encoder != "low-rank":
        return len(record.sizes) == piece_count(record.entry)
    width = (record.stored or FLOAT32).itemsize
    return bool(record.rank) and record.sizes == (record.factors_size * width,)


def checksum_of(text: str) -> str:
    """The CRC-32 of a description, as it stands beside it."""
    return f"{crc32(text.encode()):08x}"


def problems_of(file: DeltaFile) -> list[str]:
    """Read all bytes of a delta file and compare them with their checksums; what is wrong, one line each."""
    problems = []
    with file.checkpoint.open() as reader:
        for tensor in file.checkpoint.tensors:
            name, at_byte, found = tensor.entry.name, file.checkpoint.places[tensor.entry.name].offset, 0
            for start in range(0, tensor.entry.nbytes, _READ):
                length = min(_READ, tensor.entry.nbytes - start)
                found = crc32(reader.read_bytes(at_byte + start, length), found)
            if file.delta.sums.get(name) != found:
                problems.append(f"`{name}`: its bytes do not have the checksum that was written with them")
    return problems


def to_json(delta: Delta) -> str:
    """The description as it stands in the metadata: compact, keys in a fixed order, nothing that is None."""
    records = {name: _shortened(_record(record)) for name, record in delta.records.items()}
    plain = {
        "version": VERSION,
        "kind": delta.kind,
        "options": dict(delta.options),
        "base": _shortened(asdict(delta.base)),
        "tuned": _shortened(asdict(delta.tuned)) if delta.tuned else None,
        "error": delta.error,
        "by": delta.by,
        "whole": asdict(delta.whole) if delta.whole else None,
        "tensors": records,
        "sums": dict(delta.sums),
    }
    return json.dumps(_shortened(plain), separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Delta:
    """The description that a text stands for; ValueError, KeyError or TypeError where it is none."""
    plain = json.loads(text)
    if plain["version"] != VERSION:
        raise ValueError(f"version {plain['version']}, and this weightmath reads {VERSION}")
    whole = plain.get("whole")
    return Delta(
        kind=str(plain["kind"]),
        options=dict(plain["options"]),
        base=_side(plain["base"]),
        tuned=_side(plain["tuned"]) if plain.get("tuned") else None,
        error=_optional(plain, "error", float),
        by=str(plain["by"]),
        records={name: _record_of(name, fields) for name, fields in plain["tensors"].items()},
        whole=WholeFile(int(whole["size"]), str(whole["sha256"]), _counts(whole["rest"])) if whole else None,
        sums=dict(zip(plain["sums"], _counts(list(plain["sums"].values())), strict=True)),
    )


def _shortened(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _side(fields: Mapping[str, Any]) -> Side:
    mark = _optional(fields, "fingerprint", str)
    return Side(str(fields["file"]), str(fields["section"]), mark, str(fields["layout"]))


def _record(record: Record) -> dict[str, Any]:
    return {
        "shape": list(record.entry.shape),
        "dtype": record.entry.dtype.name,
        "encoder": record.encoder,
        "sizes": list(record.sizes),
        "error": record.error,
        "norm": record.norm,
        "stored": record.stored.name if record.stored else None,
        "scale": record.scale,
        "rank": record.rank,
        "at": record.at,
        "source": record.source,
    }


def _record_of(name: str, fields: Mapping[str, Any]) -> Record:
    entry = Entry(name, _counts(fields["shape"]), DTYPES[fields["dtype"]])
    stored = DTYPES[fields["stored"]] if fields.get("stored") else None
    rest = {key: _optional(fields, key, kind) for key, kind in _OPTIONAL.items()}
    return Record(entry, str(fields["encoder"]), _counts(fields["sizes"]), stored=stored, **rest)


def _optional(fields: Mapping[str, Any], key: str, kind: type) -> Any:
    """The value of a key, which is of that kind and not negative, or None; ValueError for any other."""
    value = fields.get(key)
    is_kind = type(value) is kind or (kind is float and type(value) is int)
    if value is not None and not (is_kind and (kind is str or value >= 0)):
        raise ValueError(f"`{key}` is {value!r:.40}")
    return value


def _counts(numbers: Sequence[Any]) -> tuple[int, ...]:
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("sizes and shapes are whole numbers")
    return tuple(numbers)
