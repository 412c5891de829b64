"""What a delta file says of itself, as values and as the JSON in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from weightmath.checkpoint.checksum import crc32
from weightmath.dtypes import DTYPES, DType
from weightmath.layout import Entry

VERSION = 1
EXACT = ("step", "xor", "plain")
ENCODINGS = (*EXACT, "sparse", "int8", "sign", "low-rank", "dense")
_OPTIONAL = {"error": float, "norm": float, "scale": float, "rank": int, "at": int, "source": str}


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


def checksum_of(text: str) -> str:
    """The CRC-32 of a description, as it stands beside it."""
    return f"{crc32(text.encode()):08x}"


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
