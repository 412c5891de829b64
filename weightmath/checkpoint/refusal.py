"""Files that people take for checkpoints: each is refused by its right name, with the way to what they meant."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from weightmath.errors import CheckpointError

_SAVE = "load it where it came from and save its tensors: torch.save(state_dict, 'new.ckpt')"
_UNPACK = "unpack it first: {}"
_SOURCE = "merge the checkpoint that it was made from, and convert the result"

# How a results table begins, which as a JSON object may be taken for an index of shards.
RESULTS = b'{"weightmath": "results'


class _Kind(NamedTuple):
    name: str
    offset: int
    magic: bytes
    hint: str


_KINDS = (
    _Kind("a GGUF file: weights quantized for inference", 0, b"GGUF", _SOURCE),
    _Kind("an HDF5 file, as Keras saves weights", 0, b"\x89HDF\r\n\x1a\n",
          "load it there and save its arrays: safetensors.numpy.save_file(arrays, 'new.safetensors')"),
    _Kind("a TensorFlow Lite model", 4, b"TFL3", _SOURCE),
    _Kind("a PyTorch mobile model", 4, b"PTMF", _SOURCE),
    _Kind("a tar file", 257, b"ustar", _UNPACK.format("tar xf FILE; a .nemo holds its weights as model_weights.ckpt")),
    _Kind("a numpy array", 0, b"\x93NUMPY", "torch.save({'name': torch.from_numpy(numpy.load(FILE))}, 'new.ckpt')"),
    _Kind("a gzip file", 0, b"\x1f\x8b", _UNPACK.format("gunzip FILE")),
    _Kind("an xz file", 0, b"\xfd7zXZ\0", _UNPACK.format("unxz FILE")),
    _Kind("a bzip2 file", 0, b"BZh", _UNPACK.format("bunzip2 FILE")),
    _Kind("a Zstandard file", 0, b"\x28\xb5\x2f\xfd", _UNPACK.format("unzstd FILE")),
    _Kind("an LZ4 file", 0, b"\x04\x22\x4d\x18", _UNPACK.format("unlz4 FILE")),
    _Kind("a 7z archive", 0, b"7z\xbc\xaf\x27\x1c", _UNPACK.format("7z x FILE")),
    _Kind("a RAR archive", 0, b"Rar!", _UNPACK.format("unrar x FILE")),
    _Kind("a Git LFS pointer: the file itself was not downloaded", 0, b"version https://git-lfs",
          "git lfs pull, or download the file itself"),
    _Kind("a table of results, which `weightmath sweep` and its like write", 0, RESULTS,
          "weightmath report FILE -o report.html"),
    _Kind("an SQLite database", 0, b"SQLite format 3\0", _SAVE),
    _Kind("a plain pickle, which torch.save did not write", 0, b"\x80", _SAVE),
)  # fmt: skip
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<\?xml|<head)", re.IGNORECASE)
# ModelProto: ir_version, then a producer's name, a domain, a graph or an opset.
_ONNX = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x3a\x42]")
_OLD_PICKLE = re.compile(rb"\([dl]p\d|\(?[ci][A-Za-z_.]+\n[A-Za-z_.]+\n|[ILV]\S*\n[p.]")
_RECIPE = re.compile(rb"^inputs:", re.MULTILINE)


def refusal(head: bytes, size: int) -> CheckpointError:
    """What to say about a file of that size which begins with these bytes and is not read."""
    if size == 0:
        return CheckpointError("is empty", hint="the download or the save may have failed")
    for kind in _KINDS:
        if head[kind.offset : kind.offset + len(kind.magic)] == kind.magic:
            return CheckpointError(f"is {kind.name}", hint=kind.hint)
    if _PAGE.match(head):
        hint = "the download got a page of the site, perhaps one to log in; download the file itself"
        return CheckpointError("is a web page, not a checkpoint", hint=hint)
    if _ONNX.match(head):
        return CheckpointError("is an ONNX model: a program with its weights", hint=_SOURCE)
    if _OLD_PICKLE.match(head):
        return CheckpointError("is a plain pickle of protocol 0, which torch.save did not write", hint=_SAVE)
    if _RECIPE.search(head):
        return CheckpointError("is a recipe, not a checkpoint", hint="weightmath run RECIPE makes its checkpoints")
    if head.startswith(b"PK\5\6"):
        return CheckpointError("is an empty zip file")
    return CheckpointError("is not a checkpoint", hint="expected what torch.save writes, or safetensors")


def zip_refusal(names: Collection[str]) -> CheckpointError:
    """What to say about a zip with records of these names, which torch.save did not write."""
    last = {name.rpartition("/")[2] for name in names}
    if "serialized_exported_program.json" in last or {"archive_format", "archive_version"} & last:
        hint = "save its weights: torch.save(torch.export.load(path).state_dict, 'weights.ckpt')"
        return CheckpointError("is an exported program (torch.export.save), not a checkpoint", hint=hint)
    if any(name.endswith(".npy") for name in names):
        return CheckpointError(
            "is a numpy archive (.npz)",
            hint="safetensors.numpy.save_file(dict(numpy.load(path)), 'new.safetensors')",
        )
    if "model.weights.h5" in last:
        hint = "load it there and save its arrays: safetensors.numpy.save_file(arrays, 'new.safetensors')"
        return CheckpointError("is a Keras model", hint=hint)
    return CheckpointError(
        "is a zip file, but not one that torch.save wrote", hint="it has no `data.pkl`; unpack it first: unzip FILE"
    )


def program_refusal(names: Collection[str]) -> CheckpointError | None:
    """What to say about a zip of torch with records of these names, if it is a program and no checkpoint."""
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return CheckpointError(
            "is TorchScript (torch.jit.save): a program, not a checkpoint",
            hint="save its weights: torch.save(torch.jit.load(path).state_dict(), 'weights.ckpt')",
        )
    return None
