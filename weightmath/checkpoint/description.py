"""What a checkpoint holds, whatever its container: tensors, the sections they form, everything else as a tree.

These are descriptions only. They are read from headers, hold no open file, and no byte of a tensor.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from weightmath.checkpoint.choose import choose, likeliest_first, twins_of
from weightmath.errors import CheckpointError
from weightmath.layout import Entry, Layout

if TYPE_CHECKING:
    from weightmath.checkpoint.reader import Reader

PathKey = str | int


class Storage(NamedTuple):
    """A run of bytes that one or more tensors lie in. Where it lies itself, `Checkpoint.places` tells."""

    key: str  # its name in the container
    nbytes: int
    device: str  # where torch.load would put it: "cpu", "cuda:0"


class Place(NamedTuple):
    """Where a storage begins."""

    file: int  # which of the checkpoint's files
    offset: int  # in bytes


class Block(NamedTuple):
    """A box of a tensor that lies somewhere by itself, in C order."""

    place: Place
    start: tuple[int, ...]  # first index on each axis
    shape: tuple[int, ...]


# What torch makes tensors with, and the objects in which its quantized modules pack weights.
_NOT_PLAIN = ("torch._utils._rebuild_", "torch._tensor._rebuild_from_type_v2", "torch.ScriptObject")


class Opaque(NamedTuple):
    """Something that is kept but not understood: a class's name, and what of its state can be shown."""

    name: str
    content: object = None


class Stamp(NamedTuple):
    """What tells one state of a file from another."""

    size: int
    mtime_ns: int
    inode: int
    device: int

    @staticmethod
    def of(status: os.stat_result) -> Stamp:
        """The stamp of a file's status."""
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


class TensorInfo(NamedTuple):
    """One tensor: what it is called, what it looks like and where in its storage its elements lie.

    Checkpoints whose structures are equal share these objects, so nothing here depends on the file.

    entry         name within its section, shape, dtype
    path          where it hangs in the checkpoint, from the root
    storage       the bytes it lies in
    offset        first element within the storage, in elements
    stride        steps per axis, in elements
    contiguous    whether the elements lie one after the other in C order
    number        its place in `Checkpoint.tensors`
    """

    entry: Entry
    path: tuple[PathKey, ...]
    storage: Storage
    offset: int
    stride: tuple[int, ...]
    contiguous: bool
    number: int

    @property
    def first_byte(self) -> int:
        """Byte of the first element within the storage."""
        return self.offset * self.entry.dtype.itemsize

    @property
    def dotted(self) -> str:
        """The path as users write it: `optimizer.state.0.exp_avg`."""
        return dotted(self.path)


Outline = tuple[str, Mapping[str, TensorInfo], bool]  # of a section: its name, tensors by name, whether it is hidden


@dataclass(frozen=True, eq=False)
class Section:
    """A mapping that directly holds tensors; one of them becomes the vector.

    name      dotted path from the root; "" is the top level
    tensors   by name, in file order
    hidden    whether it lies inside an object (a pickled module), so that it is no state dict of its own
    """

    name: str
    tensors: Mapping[str, TensorInfo]
    hidden: bool
    checkpoint: Checkpoint = field(repr=False)

    @cached_property
    def path(self) -> tuple[PathKey, ...]:
        """Where the mapping hangs in the checkpoint, from the root."""
        return next(iter(self.tensors.values())).path[:-1]

    @cached_property
    def layout(self) -> Layout:
        """The vector of this section: its floating-point tensors, sorted by name; its template is this section."""
        floats = (tensor.entry for tensor in self.tensors.values() if tensor.entry.dtype.is_float)
        return Layout.of(floats, template=self)

    @cached_property
    def twins(self) -> tuple[str, ...]:
        """Other places that hold the same names: sections (`state_dict_ema`) and prefixes (`model_ema.`)."""
        return twins_of(self, self.checkpoint.sections)

    @cached_property
    def not_plain(self) -> tuple[str, ...]:
        """Names beside its tensors that hold weights in another form: quantized, sparse, of a subclass, packed."""
        beside: object = self.checkpoint.tree
        for key in self.path:
            beside = beside.get(key) if isinstance(beside, Mapping) else None
        others = beside.items() if isinstance(beside, Mapping) else ()
        return tuple(str(name) for name, one in others if not isinstance(one, Mapping) and _holds_weights(one))

    @cached_property
    def elements(self) -> int:
        """Number of elements of all its tensors."""
        return sum(tensor.entry.size for tensor in self.tensors.values())


def _holds_weights(value: object) -> bool:
    """Whether something is, or is made of, a tensor that torch has and we do not."""
    if isinstance(value, Opaque):
        return value.name.startswith(_NOT_PLAIN) or _holds_weights(value.content)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return not isinstance(value, TensorInfo) and any(map(_holds_weights, parts))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A frozen description of a checkpoint.

    container   "torch zip", "safetensors", ...
    writer      what wrote it, as far as the file tells: "PyTorch, format 1"
    files       the files that hold the bytes; all but sharded containers have one, `path` itself
    stamps      the state of each file when it was described
    tensors     every tensor anywhere in the structure, in file order
    places      where each storage lies, by its key, if it lies in one run
    tree        everything, for showing, and not to be changed, as files share what they have in common: dict, list,
                tuple, plain values, `Opaque`, `TensorInfo`
    outlines    one per section
    source      what the container's own modules need to know again; nobody else looks into it
    texts       beside the tensors, in containers that have such metadata; None in the others
    blocks      what tensors without a place consist of, by the keys of their storages
    held        bytes that its reader keeps of what it has read
    """

    held: ClassVar[int] = 0

    path: Path
    container: str
    writer: str
    files: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
    tensors: tuple[TensorInfo, ...] = field(repr=False)
    places: Mapping[str, Place] = field(repr=False)
    tree: object = field(repr=False)
    outlines: tuple[Outline, ...] = field(repr=False)
    source: Any = field(repr=False)
    texts: Mapping[str, str] | None = field(default=None, repr=False)
    blocks: Mapping[str, tuple[Block, ...]] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(stamp.size for stamp in self.stamps)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Every mapping that directly holds tensors, the likeliest to be the weights first."""
        return likeliest_first(Section(name, tensors, hidden, self) for name, tensors, hidden in self.outlines)

    def section(self, name: str | None = None) -> Section:
        """The section of that name ("" or "." is the top level), or the one that holds the weights.

        Without a name: `state_dict`, `model_state_dict`, `model.state_dict`, `model`, `module`, else the largest.
        What belongs to an optimizer or lies inside a pickled object is never chosen by itself.
        CheckpointError where there is none.
        """
        return choose(self, name)

    def open(self) -> Reader:
        """A reader of its bytes, as a context manager; CheckpointError if a file has changed since."""
        from weightmath.checkpoint.reader import Reader

        return Reader(self)


def dotted(path: tuple[PathKey, ...]) -> str:
    """A path as users write it."""
    return ".".join(map(str, path))


@lru_cache(maxsize=4096)
def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether elements with these steps lie one after the other in C order."""
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            return 0 in shape
        expected *= size
    return True


def c_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps per axis of a tensor whose elements lie in C order, as torch counts them."""
    steps = accumulate(reversed(shape[1:]), lambda step, size: step * max(size, 1), initial=1)
    return tuple(reversed(list(steps))) if shape else ()


def extent(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Elements from a tensor's first to its last, in its storage; 0 for an empty tensor."""
    if math.prod(shape) == 0:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def _elsewhere(path: Path) -> str | None:
    """What a path that leads nowhere may have been meant as: an address, or a model of the Hub."""
    if re.search(r"(^|/)https?:/", str(path)):
        return "only files of this machine are read: download it first"
    folder, has_ending = path.parent, path.suffix[1:].isalpha()
    if folder.name and not (path.is_absolute() or has_ending or folder.exists()) and folder.parent.exists():
        return f"a model in the Hub's local cache is named hf:{folder.name}/{path.name}"
    return None


def unreadable(error: OSError, path: Path) -> CheckpointError:
    """What to raise where the system does not give us a file, or what is in it."""
    hint = "let a process have more open at once: ulimit -n 4096" if error.errno == errno.EMFILE else None
    return CheckpointError(f"cannot be read: {error.strerror}", where=str(path), hint=hint)


def check_is_file(path: Path) -> None:
    """CheckpointError if a path is missing, a folder, or no regular file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            fact = f"is a link to `{path.readlink()}`, which is not there"
            raise CheckpointError(fact, where=str(path)) from None
        raise CheckpointError("no such file", where=str(path), hint=_elsewhere(path)) from None
    except OSError as error:
        raise unreadable(error, path) from None
    except ValueError:
        raise CheckpointError("is no name that a file can have", where=str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError("is a folder, not a checkpoint file", where=str(path))
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError("is not a regular file", where=str(path), hint="a pipe or device cannot be read twice")
