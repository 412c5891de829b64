"""What is fuzzed: each reader of what strangers may send, as a function of bytes that a file, or a part of one, has.

A target returns when the bytes were accepted, and raises WeightmathError when they were refused. Anything else is a
defect: another exception, a message that does not name the file, more than `SECONDS`, more memory than `MEGABYTES`.
Torch is not imported: it would hide who reads.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.zips import Member, build
from weightmath import functions, methods, recipe
from weightmath.algebra.graph import Input, input_vector
from weightmath.checkpoint import Checkpoint, open_checkpoint, plan_image, verify_container
from weightmath.delta.api import DeltaFile, apply, from_adapter, open_delta
from weightmath.delta.decoding import DeltaReader
from weightmath.delta.description import checksum_of
from weightmath.dtypes import DTYPES
from weightmath.errors import CheckpointError, OutputError, WeightmathError
from weightmath.expression import evaluate
from weightmath.layout import Entry, Layout
from weightmath.mergekit import imported
from weightmath.plain import as_json
from weightmath.provenance.lineage import originals
from weightmath.provenance.record import decode
from weightmath.reports.checkpoint import checkpoint_report

SECONDS = 60  # by the clock: other processes may be at work
MEGABYTES = 1024

HERE = Path(__file__).parent
SEEDS, PARTS = HERE / "seeds", HERE / "parts"

Target = Callable[[bytes, Path], None]


def look(path: Path) -> None:
    """Open a checkpoint, list it, check it, read both ends of every tensor, and plan an output with it as template."""
    checkpoint = open_checkpoint(path)
    as_json(checkpoint_report(checkpoint))
    verify_container(checkpoint)
    read_ends(checkpoint)
    for section in checkpoint.sections:
        floats = section.layout.names
        with contextlib.suppress(OutputError):  # what shares elements cannot be retyped
            plan_image(section, floats, dtypes=dict.fromkeys(floats, DTYPES["bfloat16"]))


def read_ends(checkpoint: Checkpoint) -> None:
    """Read the first and last elements of every tensor."""
    with checkpoint.open() as reader:
        for section in checkpoint.sections:
            for tensor in section.tensors.values():
                size = tensor.entry.size
                for start, stop in ((0, min(size, 64)), (max(size - 64, 0), size)):
                    reader.read(tensor, start, stop, np.empty(stop - start, tensor.entry.dtype.bits))


def named(path: Path, work: Callable[[Path], object]) -> None:
    """Do the work, which must name the file, or one beside it, in whatever it refuses."""
    try:
        work(path)
    except CheckpointError as error:
        if str(path.parent) not in str(error):
            raise AssertionError("the message does not name the file") from error
        raise


def container(name: str) -> Target:
    """A target whose bytes are a whole file of that name."""

    def target(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        named(folder / name, look)

    return target


def pickle(data: bytes, folder: Path) -> None:
    """The bytes are the pickle of a zip that has three storages."""
    storages = {"data/0": bytes(96), "data/1": bytes(24), "data/2": bytes(8)}
    parts = {"data.pkl": data, "byteorder": b"little", **storages, "version": b"3\n"}
    (folder / "x.pt").write_bytes(build([Member(f"archive/{own}", content) for own, content in parts.items()]))
    named(folder / "x.pt", look)


def header(data: bytes, folder: Path) -> None:
    """The bytes are the header of a safetensors file with 128 bytes of tensors."""
    (folder / "x.safetensors").write_bytes(struct.pack("<Q", len(data)) + data + bytes(128))
    named(folder / "x.safetensors", look)


def index(data: bytes, folder: Path) -> None:
    """The bytes are the index of two shards."""
    place(folder, "a.safetensors", "b.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(data)
    named(folder / "model.safetensors.index.json", look)


def distributed(data: bytes, folder: Path) -> None:
    """The bytes are `.metadata` of a distributed checkpoint of one process."""
    place(folder, "__0_0.distcp")
    (folder / ".metadata").write_bytes(data)
    named(folder, look)


def delta(data: bytes, folder: Path) -> None:
    """The bytes are a whole delta file, which is applied."""
    place(folder, "base.safetensors")
    (folder / "x.delta").write_bytes(data)
    named(folder / "x.delta", lambda path: use(open_delta(path), folder))


def description(data: bytes, folder: Path) -> None:
    """The bytes are what a delta file says of itself; their first one chooses the honest file that has its tensors."""
    files = sorted(PARTS.glob("*.delta"))
    honest = files[data[0] % len(files) if data else 0].read_bytes()
    end = 8 + int.from_bytes(honest[:8], "little")
    fields = json.loads(honest[8:end])
    fields["__metadata__"]["weightmath.delta"] = data[1:].decode(errors="replace")
    fields["__metadata__"]["weightmath.delta.crc32"] = checksum_of(fields["__metadata__"]["weightmath.delta"])
    text = json.dumps(fields).encode()
    delta(len(text).to_bytes(8, "little") + text + honest[end:], folder)


def use(file: DeltaFile, folder: Path) -> None:
    """Decode all numbers of a delta and add it to a base."""
    with DeltaReader(file) as reader:
        for name, record in file.delta.records.items():
            if not record.is_exact:
                reader.values(name, 0, min(record.entry.size, 1000))
    base = open_checkpoint(folder / "base.safetensors").section()
    apply(base, [file], folder / "out.safetensors", any_base=True, threads=1, force=True)


def adapter(data: bytes, folder: Path) -> None:
    """The bytes are the configuration of a LoRA adapter."""
    place(folder, "base.safetensors", "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes(data)
    base = open_checkpoint(folder / "base.safetensors").section()
    named(folder / "adapter_config.json", lambda path: from_adapter(path.parent, base, folder / "y.delta", force=True))


def provenance(data: bytes, folder: Path) -> None:
    """The bytes are the record of how an output was made."""
    originals(decode(data))


def recipe_text(data: bytes, folder: Path) -> None:
    """The bytes are a recipe, whose names and expressions are checked."""
    source = recipe.loads(data.decode(errors="replace"), "x.yaml")
    recipe.check(source, CALLS)
    recipe.text_of(source.document.data)


def mergekit(data: bytes, folder: Path) -> None:
    """The bytes are a configuration of mergekit."""
    imported(data.decode(errors="replace"), "mergekit.yml", folder=folder)


def expression(data: bytes, folder: Path) -> None:
    """The bytes are an expression over models, which becomes a graph."""
    evaluate(data.decode(errors="replace"), VALUES, CALLS)


def planted(data: bytes, folder: Path) -> None:
    """A reader with a defect two comparisons deep, which fuzzing must find."""
    for number, byte in enumerate(b"po"):
        if data[number : number + 1] != bytes([byte]):
            raise WeightmathError(f"is none, from byte {number} on")
    raise KeyError("planted")


def place(folder: Path, *names: str) -> None:
    """Put honest files beside the one that is fuzzed."""
    for name in names:
        if not (folder / name).exists():
            (folder / name).write_bytes((PARTS / name).read_bytes())


CALLS = {name: one.call for name, one in {**methods.load(), **functions.FUNCTIONS}.items()}
_LAYOUT = Layout.of(Entry(f"layers.{i}.w", (4, 3), DTYPES["float32"]) for i in range(3))
_MODELS = [input_vector(Input(name, _LAYOUT, "model")) for name in "abc"]
VALUES = {**dict(zip("abc", _MODELS, strict=True)), "runs": _MODELS, "alpha": 0.5, "word": "text"}

TARGETS: dict[str, Target] = {
    "zip": container("x.ckpt"), "pickle": pickle, "legacy": container("x.pth"),
    "safetensors": container("x.safetensors"), "header": header, "index": index, "distributed": distributed,
    "delta": delta, "description": description, "adapter": adapter, "provenance": provenance,
    "recipe": recipe_text, "mergekit": mergekit, "expression": expression, "planted": planted,
}  # fmt: skip
