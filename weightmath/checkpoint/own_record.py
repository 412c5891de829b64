"""The one record of weightmath's own that an output may carry; what it says is the business of others.

In a torch zip it is a record that torch ignores, in safetensors a text among the metadata. It tells of the file that
it lies in, and is never taken over from a template.
"""

from __future__ import annotations

from weightmath.checkpoint.description import Checkpoint
from weightmath.checkpoint.records import Record
from weightmath.checkpoint.torch_zip import TorchZip
from weightmath.errors import CheckpointError

RECORD = "weightmath/provenance.json"


def own_record(checkpoint: Checkpoint, most: int) -> bytes | None:
    """The record that a checkpoint carries, or None; CheckpointError if it has more than `most` bytes."""
    texts = checkpoint.texts or {}
    record = checkpoint.source.records.get(RECORD) if isinstance(checkpoint.source, TorchZip) else None
    if RECORD in texts:
        content = texts[RECORD].encode()
        size = len(content)
    elif isinstance(record, Record):
        size = record.size
        with checkpoint.open() as reader:
            content = reader.read_bytes(record.offset, min(size, most))
    else:
        return None
    if size > most:
        fact = f"its record `{RECORD}` has {size:,} bytes, and at most {most:,} are read"
        raise CheckpointError(fact, where=str(checkpoint.path))
    return content
