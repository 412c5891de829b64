"""From a pickle's inert nodes to what they mean: tensors, the mappings that hold them, a tree for showing.

The walk goes into everything that a user would look into (mappings, lists, the state of objects). What lies in the
arguments of an unknown call is not listed as a tensor: it may be the inside of a sparse or quantized one. But it
is searched for storages, so that no storage is changed behind the back of whatever uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from weightmath.checkpoint.description import Opaque, Outline, PathKey, Storage, TensorInfo, dotted, is_contiguous
from weightmath.checkpoint.machine import Pickle
from weightmath.checkpoint.nodes import Call, Container, Dict, Global, Huge, List, Pair, Persistent, Set, Tuple, Value
from weightmath.checkpoint.numpy_number import numpy_number
from weightmath.checkpoint.rebuild import Tensor, storage_reference, tensor_of
from weightmath.errors import CheckpointError, at
from weightmath.layout import Entry

DEEPEST = 200
STATE = "<state>"
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict")

State = dict[str, TensorInfo]


class Structure(NamedTuple):
    """What a pickle of torch.save means, without the pickle.

    tree       everything, for showing
    tensors    in the order in which the walk meets them; the file order
    outlines   one for each mapping that directly holds tensors
    storages   of the tensors, by key
    others     keys of storages that something else than a listed tensor uses
    keys       of all storages, in the order of first reference
    """

    tree: object
    tensors: tuple[TensorInfo, ...]
    outlines: tuple[Outline, ...]
    storages: dict[str, Storage]
    others: frozenset[str]
    keys: tuple[str, ...]


class Mapping(NamedTuple):
    """Where a mapping hangs, and its pairs with their spans in the pickle."""

    path: tuple[PathKey, ...]
    keys: tuple[PathKey, ...]
    pairs: Sequence[Pair]


class Known(NamedTuple):
    """A mapping from names to nothing but tensors, for another pickle that has it too.

    first      number of its first tensor
    nodes      what stands behind its tensors
    storages   of its tensors, all of which it is the first to use
    """

    first: int
    names: list[Value]
    nodes: list[Value]
    content: State
    storages: dict[str, Storage]


class Anatomy(NamedTuple):
    """A pickle's meaning together with the nodes behind it, for edits. Many times as large as the structure.

    nodes      behind each of the structure's tensors
    mappings   every mapping
    known      those of them that the next pickle may have too, by their paths
    """

    structure: Structure
    pickle: Pickle
    nodes: list[Value]
    mappings: list[Mapping]
    known: dict[tuple[PathKey, ...], Known]


def dissect(pickle: Pickle, known: dict[tuple[PathKey, ...], Known] | None = None) -> Anatomy:
    """The meaning of a pickle; CheckpointError where it is malformed.

    Where it has a mapping of tensors that another one has too, which is in `known`, they share its descriptions.
    """
    walk = _Walk(pickle, known or {})
    tree = walk.visit(pickle.root, (), False)
    keys = dict.fromkeys([pid.key if isinstance(pid, Tensor) else storage_reference(pid).key for pid in pickle.pids])
    structure = Structure(
        tree, tuple(walk.tensors), tuple(walk.outlines), walk.storages, frozenset(walk.others), tuple(keys)
    )
    return Anatomy(structure, pickle, walk.nodes, walk.mappings, walk.known)


class _Walk:
    def __init__(self, pickle: Pickle, of_another: dict[tuple[PathKey, ...], Known]) -> None:
        self.of_another = of_another
        self.known: dict[tuple[PathKey, ...], Known] = {}
        self.tensors: list[TensorInfo] = []
        self.nodes: list[Value] = []
        self.outlines: list[Outline] = []
        self.mappings: list[Mapping] = []
        self.others: set[str] = set()
        self.storages: dict[str, Storage] = {}
        self.open: set[int] = set()
        self.swept: set[int] = set()
        # Sharing lets a small pickle describe an exponentially large tree; an honest one costs bytes per value.
        self.visits_left = len(pickle.data) + 1000
        self.letters_left = 64 * len(pickle.data) + 100_000

    def visit(self, value: Value, path: tuple[PathKey, ...], hidden: bool) -> object:
        """What a value means, for the tree; tensors and mappings in it are noted on the way."""
        if isinstance(value, (int, float)) or value is None:
            return value
        self.spend(value)
        if isinstance(value, Tensor):
            return self.tensor(value, value, path)
        if isinstance(value, (str, bytes)):
            return value
        if isinstance(value, (Global, Huge)):
            return Opaque(str(value))
        if id(value) in self.open:
            return Opaque("a reference to something that contains it")
        if len(path) >= DEEPEST:
            self.sweep([value])
            return Opaque("nested too deeply to be shown")
        self.open.add(id(value))
        try:
            return self.inside(value, path, hidden)
        finally:
            self.open.discard(id(value))

    def spend(self, value: Value, visits: int = 1) -> None:
        """CheckpointError when the walk has come by more than an honest pickle of this length can hold."""
        if isinstance(value, (str, bytes)):
            self.letters_left -= len(value)
        else:
            self.visits_left -= visits
        if self.visits_left < 0 or self.letters_left < 0:
            raise CheckpointError("the pickle shares its parts so often that it cannot be an honest checkpoint")

    def inside(self, value: Value, path: tuple[PathKey, ...], hidden: bool) -> object:
        if isinstance(value, Call):
            return self.call(value, path, hidden)
        if isinstance(value, Dict):
            return self.mapping(value.pairs, path, hidden)
        if isinstance(value, (Tuple, List, Set)):
            items = (self.visit(item, (*path, number), hidden) for number, item in enumerate(value.items))
            return tuple(items) if isinstance(value, Tuple) else list(items)
        self.sweep([value])
        return Opaque("a torch storage" if isinstance(value, Persistent) else type(value).__name__)

    def call(self, call: Call, path: tuple[PathKey, ...], hidden: bool) -> object:
        try:
            tensor = tensor_of(call)
            if tensor is not None:
                return self.tensor(tensor, call, path)
        except CheckpointError as error:
            raise at(dotted(path) or "the top level", error) from None
        if isinstance(call.function, Global) and str(call.function) in _MAPPINGS:
            self.sweep(call.states)
            return self.mapping([*_old_style_pairs(call.arguments), *call.pairs], path, hidden)
        self.sweep([call.function, call.arguments])
        number = numpy_number(call)
        if number is not None:
            return number
        content: list[object] = [self.visit(state, (*path, STATE), True) for state in call.states]
        if call.pairs:
            content.append(self.mapping(call.pairs, path, True))
        content.extend(self.visit(item, (*path, number), True) for number, item in enumerate(call.items))
        return Opaque(_class_name(call), content[0] if len(content) == 1 else content or None)

    def tensor(self, tensor: Tensor, node: Value, path: tuple[PathKey, ...]) -> TensorInfo:
        nbytes, device, dtype, offset, shape, stride = tensor.form
        entry, storage = Entry(str(path[-1]) if path else "", shape, dtype), self.storage(tensor.key, nbytes, device)
        contiguous = is_contiguous(shape, stride)
        info = TensorInfo(entry, path, storage, offset, stride, contiguous, len(self.tensors))
        self.tensors.append(info)
        self.nodes.append(node)
        return info

    def storage(self, key: str, nbytes: int, device: str) -> Storage:
        known = self.storages.get(key)
        if known is None:
            known = self.storages[key] = Storage(key, nbytes, device)
        elif known.nbytes != nbytes:
            raise CheckpointError(f"two references to storage `{key}` disagree about its size")
        return known

    def mapping(self, pairs: Sequence[Pair], path: tuple[PathKey, ...], hidden: bool) -> dict[Any, Any]:
        names, nodes, place = [pair[0] for pair in pairs], [pair[1] for pair in pairs], len(self.outlines)
        tensors = self.state_dict(names, nodes, path)
        if tensors is not None:
            self.mappings.append(Mapping(path, tuple(tensors), pairs))
            content: dict[Any, Any] = tensors
        else:
            keys = tuple(self.key(name, number) for number, name in enumerate(names))
            self.mappings.append(Mapping(path, keys, pairs))
            content = {key: self.visit(node, (*path, key), hidden) for key, node in zip(keys, nodes, strict=True)}
            tensors = {str(key): value for key, value in content.items() if isinstance(value, TensorInfo)}
        if tensors:
            self.outlines.insert(place, (dotted(path), tensors, hidden))
        return content

    def state_dict(self, names: list[Value], nodes: list[Value], path: tuple[PathKey, ...]) -> State | None:
        """The content of a mapping from names, all different, to nothing but tensors; None of any other mapping."""
        known = self.of_another.get(path)
        if known is not None and self.is_shared(known, names, nodes):
            return self.share(known, path)
        pairs = zip(names, nodes, strict=True)
        # Names alone: 1 and True are equal as keys, and not the same.
        tensors = {name: node for name, node in pairs if isinstance(name, str) and isinstance(node, Tensor)}
        if not tensors or len(tensors) < len(nodes):
            return None
        self.spend(nodes[0], len(nodes))
        first, met = len(self.tensors), len(self.storages)
        content = {name: self.tensor(node, node, (*path, name)) for name, node in tensors.items()}
        own = dict(islice(self.storages.items(), met, None))
        if all(isinstance(key, str) for key in path) and all(info.storage.key in own for info in content.values()):
            self.known[path] = Known(first, names, nodes, content, own)
        return content

    def is_shared(self, known: Known, names: list[Value], nodes: list[Value]) -> bool:
        """Whether another pickle has the same mapping; not, where its storages were met before."""
        is_same = known[:3] == (len(self.tensors), names, nodes)
        return is_same and self.storages.keys().isdisjoint(known.storages)

    def share(self, known: Known, path: tuple[PathKey, ...]) -> State:
        """The content of a mapping that another pickle has too, all of which is noted here as it was there."""
        self.known[path] = known
        self.storages |= known.storages
        self.tensors += known.content.values()
        self.nodes += known.nodes
        self.visits_left -= len(known.nodes)
        return known.content

    def key(self, key: Value, number: int) -> PathKey:
        if isinstance(key, (str, int)):
            return key
        if key is None or isinstance(key, (float, bytes, Global)):
            return str(key)
        self.sweep([key])
        return f"<key {number}>"

    def sweep(self, values: Iterable[Value]) -> None:
        """Note every storage that is used anywhere inside these values."""
        left = list(values)
        while left:
            value = left.pop()
            if isinstance(value, Persistent):
                self.others.add(storage_reference(value.pid).key)
            elif isinstance(value, Tensor):
                self.others.add(value.key)
            elif isinstance(value, (Tuple, Container)) and id(value) not in self.swept:
                self.swept.add(id(value))
                left.extend(_children(value))


def _children(value: Tuple | Container) -> Iterable[Value]:
    yield from value.items
    if isinstance(value, Container):
        for key, content, _, _ in value.pairs:
            yield key
            yield content
    if isinstance(value, Call):
        yield value.function
        yield value.arguments
        yield from value.states


def _old_style_pairs(arguments: Value) -> list[Pair]:
    """The pairs of an OrderedDict as Python 2 wrote it: `OrderedDict([[key, value], ...])`."""
    first = arguments.items[0] if isinstance(arguments, Tuple) and arguments.items else None
    items = first.items if isinstance(first, (List, Tuple)) else []
    couples = [item.items for item in items if isinstance(item, (List, Tuple)) and len(item.items) == 2]
    return [(key, value, 0, 0) for key, value in couples]


def _class_name(call: Call) -> str:
    function = call.function
    if str(function) in ("copy_reg._reconstructor", "copyreg._reconstructor") and isinstance(call.arguments, Tuple):
        function = call.arguments.items[0] if call.arguments.items else function
    return str(function) if isinstance(function, Global) else "an object"
