"""A shortcut through what torch writes for nearly every tensor: one regular expression instead of 30 opcodes.

It serves to describe a checkpoint, not to edit it: tensors come out with the same values as from the full machine,
but without spans and without the memo entries inside them. Where a pickle reads such an entry, or does anything
else that is not foreseen here, the full machine reads it instead.

Fine-tunes of one model differ in little but their numbers: names and tensors that follow each other are read once for
all pickles that have the same bytes there.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from weightmath.checkpoint.machine import HANDLERS, Machine, Pickle, run
from weightmath.checkpoint.nodes import Container, Global, Value
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.passages import FEW, HEAD, Memo, Passage, Passages
from weightmath.checkpoint.rebuild import V2, Form, StorageReference, Tensor, check_inside, storage_dtype, tensor_of
from weightmath.errors import CheckpointError

_PIECES = {"GET": rb"(?:h.|j.{4})", "PUT": rb"(?:q.|r.{4})", "INT": rb"(?:K.|M..|J.{4})"}
_PATTERN = (
    rb"(?P<named>PUT|)(?P<rebuild>GET)\(\((?P<what>(?P<word>GET)(?P<kind>GET))"
    rb"X(?P<key_size>.)\0\0\0(?P<key>\d+)(?P<put0>PUT)"
    rb"(?:(?P<device>GET)|(?P<place>X(?P<place_size>.)\0\0\0(?P<place_name>[a-z]+(?::\d+)?)))(?P<put1>PUT|)"
    rb"(?P<elements>INT)t(?P<put2>PUT)Q(?P<from>(?P<offset>INT)(?P<shape>\)|\(?INT+[\x85-\x87t]))(?P<put3>PUT|)"
    rb"(?P<stride>\)|\(?INT+[\x85-\x87t])(?P<put4>PUT|)"
    rb"[\x88\x89](?P<hooks>GET)\)R(?P<put5>PUT)t(?P<put6>PUT)R(?P<put7>PUT)"
)
_TENSOR = re.compile(re.sub(rb"GET|PUT|INT", lambda piece: _PIECES[piece[0].decode()], _PATTERN), re.DOTALL)
_group = _TENSOR.groupindex.__getitem__
_SHARED = ("what", "device", "place", "elements", "from", "stride", "hooks")
_OWN = ("rebuild", "key_size", "key")
_PUTS = ("named", *(f"put{number}" for number in range(8)))
_PARTS = tuple(map(_group, (*_SHARED, *_OWN, *_PUTS)))
_OWN_AT, _PUTS_AT = len(_SHARED), len(_SHARED + _OWN)
_UNPACKED = {count: Struct("<" + "xI" * count).unpack for count in range(5, len(_PUTS) + 1)}  # of long ones
_BINUNICODE, _BINGET, _LONG_BINGET, _BINPUT, _LONG_BINPUT = 0x58, 0x68, 0x6A, 0x71, 0x72
_REDUCE, _MEMOIZE = 0x52, 0x94
_NEXT_BATCH = b"u("  # SETITEMS, MARK: a pickler sets a thousand entries of a mapping at a time


def read_to_describe(data: bytes, known: Passages | None = None) -> tuple[Pickle, Passages]:
    """The content of a pickle, in which most tensors are `Tensor` values and not the calls that rebuild them.

    Also the passages in it, for the next pickle; `known` are those of another one.
    """
    machine = _Machine(data, known or {})
    try:
        return run(machine, _HANDLERS, 0), machine.passages
    except CheckpointError:
        return read_pickle(data), {}


class _Shared(NamedTuple):
    """What tensors have in common whose bytes are the same but for the storage's key and memo numbers."""

    form: Form
    reads: tuple[int, ...]  # memo numbers


class _Machine(Machine):
    """A machine with some more registers.

    highest   the highest memo number so far: those inside a skipped tensor must be fresh, above it
    shared    by the bytes that say so; they read the memo, and hold while no entry there is replaced
    known     passages of another pickle
    passages  those of this one
    """

    __slots__ = ("highest", "known", "passage_memo", "passages", "shared")

    def __init__(self, data: bytes, known: Passages) -> None:
        super().__init__(data)
        self.memo = self.passage_memo = Memo()
        self.highest = -1
        self.shared: dict[tuple[bytes | None, ...], _Shared] = {}
        self.known = known
        self.passages: Passages = {}  # another dict: what the next pickle may know is of this one

    def before(self) -> tuple[int, bool]:
        """The highest memo number, and whether a key comes next of a mapping below the mark."""
        below = self.marks[-1][0] if self.marks else []
        return self.highest, bool(below) and isinstance(below[-1], Container) and len(self.stack) % 2 == 0

    def take(self, passage: Passage, at: int) -> int:
        """Do what reading the bytes of a passage does; the end of them."""
        self.stack += passage.values
        self.starts += [at] * len(passage.values)
        self.pids += passage.values[1::2]
        self.highest = passage.after
        if len(passage.made) < FEW:
            for row in range(len(passage.made)):
                self.memo.update(passage.memo(row))
        else:
            self.passage_memo.passages.append(passage)
            self.passages[passage.raw[:HEAD]] = passage
        return at + len(passage.raw)


def _put(machine: Machine, at: int) -> int:
    end = at + (2 if machine.data[at] == _BINPUT else 5)
    number = int.from_bytes(machine.data[at + 1 : end], "little")
    machine.memo[number] = machine.stack[-1]
    assert isinstance(machine, _Machine)
    if number > machine.highest:
        machine.highest = number
    else:
        machine.shared.clear()
    return end


def _get(machine: Machine, at: int) -> int:
    end = at + (2 if machine.data[at] == _BINGET else 5)
    value = machine.memo[int.from_bytes(machine.data[at + 1 : end], "little")]
    assert isinstance(machine, _Machine)
    if isinstance(value, Global) and value.name == V2 and value.module == "torch._utils":
        found = _TENSOR.match(machine.data, at)
        read = found and _read(machine, found)
        if found and read:
            tensor, first, last = read
            machine.push(tensor, at)
            machine.pids.append(tensor)
            machine.memo |= {first: tensor.key, last: tensor}
            end_of_first = found.end()
            passage = _recalled(machine, end_of_first) or _named_tensors(machine, machine.data[at:end], end_of_first)
            return machine.take(passage, end_of_first) if passage else end_of_first
    machine.push(value, at)
    return end


def _named_tensors(machine: _Machine, rebuild: bytes, first: int) -> Passage | None:
    """The names and tensors that follow, as in a state dict. `rebuild` is the read of the function's name."""
    data, before = machine.data, machine.before()
    values: list[Value] = []
    named, made = array("I"), array("I")
    at = end = first
    while data[at] == _BINUNICODE:
        begin = at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")
        found = _TENSOR.match(data, begin)
        read = found and _read(machine, found, rebuild)
        if not found or not read:
            break
        tensor, first_number, last_number = read
        values += (data[at + 5 : begin].decode("utf-8", "surrogatepass"), tensor)
        named.append(first_number)
        made.append(last_number)
        at = end = found.end()
        if before[1] and data.startswith(_NEXT_BATCH, at):
            at += len(_NEXT_BATCH)
    if end == first:
        return None
    reads = _read_so_far(machine, rebuild) if len(made) >= FEW else {}
    return Passage(data[first:end], reads, before, machine.highest, values, named, made)


def _recalled(machine: _Machine, at: int) -> Passage | None:
    """The passage that is known from another pickle, if this one has the same bytes and they mean the same here."""
    passage = machine.known.get(machine.data[at : at + HEAD])
    if passage is None or passage.before != machine.before() or not machine.data.startswith(passage.raw, at):
        return None
    if any(_comparable(machine.memo.get(number)) != told for number, told in passage.reads.items()):
        return None
    return passage


def _read_so_far(machine: _Machine, rebuild: bytes) -> dict[int, tuple[object, ...]]:
    """What all tensors so far have read of the memo besides their own, by number."""
    numbers = {number for shared in machine.shared.values() for number in shared.reads}
    return {number: _comparable(machine.memo[number]) for number in (*numbers, _number(rebuild))}


def _comparable(value: Value) -> tuple[object, ...]:
    """A text or the name of a class from the memo, so that those of two pickles can be compared."""
    if isinstance(value, Global):
        return Global, value.module, value.name
    return type(value), str(value)


def _reduce(machine: Machine, at: int) -> int:
    """A tensor that is not just what torch writes most, such as the first, whose classes it is the first to name."""
    end = HANDLERS[_REDUCE](machine, at)
    machine.stack[-1] = tensor_of(machine.stack[-1]) or machine.stack[-1]
    return end


_HANDLERS = {
    **{code: handler for code, handler in HANDLERS.items() if code != _MEMOIZE},
    _BINPUT: _put, _LONG_BINPUT: _put, _BINGET: _get, _LONG_BINGET: _get, _REDUCE: _reduce,
}  # fmt: skip


_Read = tuple[Tensor, int, int]  # a tensor, and the first and last memo number that are new with it or with its name


def _read(machine: _Machine, found: re.Match[bytes], after_name: bytes | None = None) -> _Read | None:
    """The tensor that was found; None, and nothing happened, if it is not just what torch writes.

    after_name   how it begins if it has a name whose memo number comes before
    """
    parts = found.group(*_PARTS)
    rebuild, key_size, key = parts[_OWN_AT:_PUTS_AT]
    numbers = _fresh_numbers(machine, parts[_PUTS_AT:])
    if not numbers or key_size[0] != len(key):
        return None
    if after_name is not None and (rebuild != after_name or not parts[_PUTS_AT]):
        return None
    shared = machine.shared.get(parts[:_OWN_AT])
    if shared is None:
        shared = _shared(machine, found)
        if shared is None:
            return None
        machine.shared[parts[:_OWN_AT]] = shared
    machine.highest = numbers[-1]
    return Tensor(key.decode(), shared.form), numbers[0], numbers[-1]


def _shared(machine: _Machine, found: re.Match[bytes]) -> _Shared | None:
    storage = _storage(machine, found)
    shape, stride, hooks = _dimensions(found["shape"]), _dimensions(found["stride"]), _memo(machine, found["hooks"])
    if storage is None or shape is None or stride is None or len(shape) != len(stride):
        return None
    if not (isinstance(hooks, Global) and str(hooks) == "collections.OrderedDict"):
        return None
    dtype, offset = storage.dtype, _integer(found["offset"])
    if dtype is None or offset < 0:
        return None
    reads = tuple(_number(get) for get in found.group("word", "kind", "device", "hooks") if get)
    form = Form(storage.nbytes, storage.device, dtype, offset, shape, stride)
    check_inside(form)
    return _Shared(form, reads)


def _storage(machine: _Machine, found: re.Match[bytes]) -> StorageReference | None:
    name = found["place_name"]
    place = name.decode() if name else _memo(machine, found["device"])
    what, size = _memo(machine, found["kind"]), _integer(found["elements"])
    if (name and found["place_size"][0] != len(name)) or _memo(machine, found["word"]) != "storage" or size < 0:
        return None
    if not (isinstance(what, Global) and isinstance(place, str)):
        return None
    return StorageReference(found["key"].decode(), what.name, storage_dtype(what), place, size)


def _memo(machine: _Machine, get: bytes) -> object:
    return machine.memo[_number(get)]


def _number(opcode: bytes) -> int:
    """The number in the memo that is written or read."""
    return int.from_bytes(opcode[1:], "little")


def _fresh_numbers(machine: _Machine, puts: Sequence[bytes]) -> Sequence[int]:
    """Memo numbers if they are new and follow each other, so that leaving some out hides no older entry."""
    whole, count = b"".join(puts), len(puts) - puts.count(b"")
    numbers = _UNPACKED[count](whole) if len(whole) == 5 * count else tuple(map(_number, filter(None, puts)))
    first = numbers[0]
    return numbers if machine.highest < first and numbers == tuple(range(first, first + count)) else ()


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw[1:], "little", signed=raw[0] == 0x4A)


@lru_cache(maxsize=4096)
def _dimensions(raw: bytes) -> tuple[int, ...] | None:
    """The numbers of a tuple; None if it has others than it says, or negative ones."""
    body = raw[raw[:1] == b"(" : -1]
    numbers = tuple(map(_integer, re.findall(_PIECES["INT"], body, re.DOTALL)))
    sized = raw[:1] == b"(" if raw[-1:] == b"t" else raw[:1] != b"(" and raw[-1] == 0x84 + len(numbers)
    return numbers if (sized or raw == b")") and min(numbers, default=0) >= 0 else None
