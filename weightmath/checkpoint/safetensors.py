"""The safetensors container: a length, a header of JSON, then the tensors' bytes one after the other.

    8 bytes N, little-endian; N bytes {"__metadata__": {...}, "name": {"dtype", "shape", "data_offsets": [begin, end]}}

Read strictly, as its own library does: the tensors cover the rest of the file without a hole and without an overlap.
Tied tensors are stored once; the metadata names the others, as `safetensors.torch.save_model` writes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from weightmath.checkpoint.description import Checkpoint, Place, Stamp, Storage, TensorInfo, c_stride
from weightmath.checkpoint.strict_json import strict_json
from weightmath.dtypes import DTYPES
from weightmath.errors import CheckpointError
from weightmath.layout import Entry
from weightmath.paused import paused_collection

CONTAINER = "safetensors"
METADATA = "__metadata__"
LONGEST_HEADER = 100_000_000
LENGTH = 8
_CODES = {dtype.safetensors: dtype for dtype in DTYPES.values() if dtype.safetensors}
_KEYS = {"dtype", "shape", "data_offsets"}
_DAMAGED = "the file is truncated or damaged; copy or download it again"


@dataclass(frozen=True, eq=False)
class Header:
    """What only this container has.

    text      of the header, as it stands in the file
    content   of the header
    """

    text: bytes
    content: Mapping[str, object]

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts beside the tensors."""
        found = self.content.get(METADATA)
        return found if isinstance(found, dict) else {}


class _Described(NamedTuple):
    header: Header
    tensors: tuple[TensorInfo, ...]
    begins: Mapping[str, int]  # of each storage, from the end of the header
    length: int


class _Field(NamedTuple):
    entry: Entry
    begin: int
    end: int


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of that size which begins with these bytes is meant to be of this kind."""
    return head[LENGTH : LENGTH + 1] == b"{" and size > LENGTH and not any(head[5:LENGTH])


def open_safetensors(path: Path, file: int, stamp: Stamp) -> Checkpoint:
    """The description of a safetensors file; CheckpointError if it breaks a rule of the format.

    file   an open descriptor, only used during the call
    """
    length = int.from_bytes(os.pread(file, LENGTH, 0), "little")
    if length > min(LONGEST_HEADER, stamp.size - LENGTH):
        raise _broken(f"its header of {length:,} bytes is longer than the file or the format allow")
    text = os.pread(file, length, LENGTH)
    found = _describe(text)
    begin = LENGTH + length
    if begin + found.length != stamp.size:
        fact = f"its tensors need {begin + found.length:,} bytes, and the file has {stamp.size:,}"
        raise CheckpointError(f"broken safetensors: {fact}", hint=_DAMAGED)
    texts = found.header.texts
    named = {tensor.entry.name: tensor for tensor in found.tensors}
    return Checkpoint(
        path=path,
        container=CONTAINER,
        writer=f"format {texts['format']}" if "format" in texts else "no format given",
        files=(path,),
        stamps=(stamp,),
        tensors=found.tensors,
        places={key: Place(0, begin + start) for key, start in found.begins.items()},
        tree={**({METADATA: texts} if texts else {}), **named},
        outlines=(("", named, False),) if named else (),
        source=found.header,
        texts=texts,
    )


def _broken(fact: str) -> CheckpointError:
    return CheckpointError(f"broken safetensors: {fact}", hint=_DAMAGED)


@lru_cache(maxsize=4)
def _describe(text: bytes) -> _Described:
    """The meaning of a header. Fine-tunes of one model have equal headers, so the last few are kept."""
    with paused_collection():
        content = _parsed(text)
        header = Header(text, content)
        fields = [_field(name, value) for name, value in content.items() if name != METADATA]
        fields.sort(key=lambda field: (field.begin, field.end))
        length = 0
        for field in fields:
            if field.begin != length:
                raise _broken(f"`{field.entry.name}` begins at byte {field.begin}, and not at {length}")
            length = field.end
        tensors = [_info(field.entry, number) for number, field in enumerate(fields)]
        tensors += _tied(header, tensors)
        return _Described(header, tuple(tensors), {field.entry.name: field.begin for field in fields}, length)


def _parsed(text: bytes) -> dict[str, object]:
    try:
        content = strict_json(text)
    except CheckpointError as error:
        raise _broken(f"its header {error.what}") from None
    if not isinstance(content, dict):
        raise _broken("its header is no object")
    metadata = content.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken("its metadata are not texts")
    return content


def _field(name: str, value: object) -> _Field:
    if not isinstance(value, dict) or not value.keys() >= _KEYS:
        raise _broken(f"`{name}` lacks its dtype, shape or data_offsets")
    if len(value) > len(_KEYS):
        raise _broken(f"`{name}` has more than dtype, shape and data_offsets")
    code, shape, span = value["dtype"], value["shape"], value["data_offsets"]
    if not (isinstance(code, str) and _are_counts(shape) and _are_counts(span) and len(span) == 2):
        raise _broken(f"the dtype, shape or data_offsets of `{name}` are malformed")
    dtype = _CODES.get(code)
    if dtype is None:
        raise CheckpointError(
            f"`{name}` has dtype {code}, which weightmath does not know", hint=f"known: {' '.join(_CODES)}"
        )
    size = math.prod(shape) * dtype.itemsize
    if span[1] - span[0] != size:
        raise _broken(f"`{name}` needs {size} bytes and has {span[1] - span[0]}")
    return _Field(Entry(name, tuple(shape), dtype), span[0], span[1])


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _info(entry: Entry, number: int) -> TensorInfo:
    storage = Storage(entry.name, entry.nbytes, "cpu")
    return TensorInfo(entry, (entry.name,), storage, 0, c_stride(entry.shape), True, number)


def _tied(header: Header, tensors: list[TensorInfo]) -> list[TensorInfo]:
    """Tensors that the metadata says are others of the file under another name."""
    stored = {tensor.entry.name: tensor for tensor in tensors}
    ties = {name: of for name, of in header.texts.items() if of in stored and name not in stored}
    return [
        stored[of]._replace(entry=stored[of].entry._replace(name=name), path=(name,), number=number)
        for number, (name, of) in enumerate(ties.items(), len(tensors))
    ]
