"""A model in several files: an index says which tensor lies in which, as Hugging Face writes it.

{"metadata": {...}, "weight_map": {"name of a tensor": "model-00001-of-00002.safetensors", ...}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint, Place, Section, Storage, TensorInfo
from weightmath.checkpoint.refusal import RESULTS
from weightmath.checkpoint.safetensors import METADATA
from weightmath.checkpoint.strict_json import strict_json
from weightmath.errors import CheckpointError, counted, nearest
from weightmath.paused import paused_collection

WEIGHT_MAP = "weight_map"
_NUMBER = re.compile(r"-\d+(?=-of-\d)")  # of a shard among those of its model


@dataclass(frozen=True, eq=False)
class Shards:
    """What only this container has: the files, as checkpoints of their own."""

    checkpoints: tuple[Checkpoint, ...]


def is_index(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be an index."""
    return head.lstrip()[:1] == b"{" and not head.startswith(RESULTS)


def open_sharded(index: Path, content: bytes, open_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    """The description of the model whose index this is; CheckpointError if it does not fit its files.

    open_file   opens one of them
    """
    weight_map = _weight_map(content)
    with paused_collection():
        checkpoints = {name: _open_shard(index, name, open_file) for name in dict.fromkeys(weight_map.values())}
        shards = [_Shard(number, name, checkpoint) for number, (name, checkpoint) in enumerate(checkpoints.items())]
        _check_complete(shards, weight_map)
        _check_none_beside(index, checkpoints)
        tensors = [tensor for shard in shards for tensor in shard.tensors()]
        tensors = [tensor._replace(number=number) for number, tensor in enumerate(tensors)]
    found = {tensor.entry.name: tensor for tensor in tensors}
    if len(found) != len(tensors):
        raise CheckpointError("two of its files hold a tensor of the same name")
    first = next(iter(checkpoints.values()))
    texts = _texts(list(checkpoints.values()))
    return Checkpoint(
        path=index,
        container=f"sharded {first.container}",
        writer=counted(len(checkpoints), "file"),
        files=tuple(file for checkpoint in checkpoints.values() for file in checkpoint.files),
        stamps=tuple(stamp for checkpoint in checkpoints.values() for stamp in checkpoint.stamps),
        tensors=tuple(tensors),
        places={key: place for shard in shards for key, place in shard.places()},
        tree={**({METADATA: texts} if texts else {}), **found},
        outlines=(("", found, False),),
        source=Shards(tuple(checkpoints.values())),
        texts=texts,
    )


def _weight_map(content: bytes) -> dict[str, str]:
    try:
        index = strict_json(content)
    except CheckpointError as error:
        fact = f"begins as an index of shards does, and {error.what}"
        raise CheckpointError(fact, hint="expected one JSON object with a `weight_map`") from None
    weight_map = index.get(WEIGHT_MAP) if isinstance(index, dict) else None
    if not isinstance(weight_map, dict):
        hint = "a sharded model has an index with a `weight_map`: model.safetensors.index.json"
        raise CheckpointError("is a JSON file, not a checkpoint", hint=hint)
    if not weight_map or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError("its `weight_map` does not go from tensors to files")
    return weight_map


def _open_shard(index: Path, name: str, open_file: Callable[[Path], Checkpoint]) -> Checkpoint:
    if name in ("", ".", "..") or name != Path(name).name:
        raise CheckpointError(f"its `weight_map` names `{name}`, which is no file beside it")
    path = index.parent / name
    if not path.exists():
        hint = "download all files of the model"
        raise CheckpointError(f"its file `{name}` is missing", hint=hint)
    return open_file(path)


class _Shard:
    """One of the files: its section, and the keys of its storages among those of all files."""

    def __init__(self, number: int, name: str, checkpoint: Checkpoint) -> None:
        self.number = number
        self.name = name
        self.section: Section = checkpoint.section()
        self._storages = {
            tensor.storage.key: tensor.storage._replace(key=f"{name}/{tensor.storage.key}")
            for tensor in self.section.tensors.values()
        }

    def tensors(self) -> Iterator[TensorInfo]:
        """Its tensors, in the order of the file."""
        for tensor in self.section.tensors.values():
            storage: Storage = self._storages[tensor.storage.key]
            yield tensor._replace(path=(tensor.entry.name,), storage=storage)

    def places(self) -> Iterator[tuple[str, Place]]:
        """Where its storages lie."""
        places = self.section.checkpoint.places
        return ((storage.key, Place(self.number, places[key].offset)) for key, storage in self._storages.items())


def _check_complete(shards: list[_Shard], weight_map: Mapping[str, str]) -> None:
    """CheckpointError unless the index names exactly the tensors that the files hold, but for tied ones."""
    tensors = {shard.name: shard.section.tensors for shard in shards}
    for name, file in weight_map.items():
        if name not in tensors[file]:
            hint = nearest(name, tensors[file])
            raise CheckpointError(f"its `{name}` is not in `{file}`, where the index says it is", hint=hint)
    for file, inside in tensors.items():
        listed = {tensor.storage for name, tensor in inside.items() if weight_map.get(name) == file}
        for name, tensor in inside.items():
            if weight_map.get(name) != file and tensor.storage not in listed:
                raise CheckpointError(f"`{file}` holds `{name}`, which the index does not name")


def _check_none_beside(index: Path, named: Collection[str]) -> None:
    """CheckpointError where another shard of the same model lies beside the files, whose tensors would be lost."""
    models = {_NUMBER.sub("", name) for name in named}
    for name in sorted(file.name for file in index.parent.iterdir() if file.name not in named):
        if _NUMBER.search(name) and _NUMBER.sub("", name) in models:
            hint = "is it the index of these files? download both again, or move that file away"
            raise CheckpointError(f"`{name}` lies beside its files, and it does not name it", hint=hint)


def _texts(shards: list[Checkpoint]) -> dict[str, str] | None:
    """What stands beside the tensors in the files; where they differ, the first counts."""
    texts = [shard.texts for shard in shards if shard.texts is not None]
    return {name: text for one in reversed(texts) for name, text in one.items()} if texts else None
