"""A shortcut through what torch writes for nearly every tensor: one regular expression instead of 30 opcodes.

It serves to describe a checkpoint, not to edit it: tensors come out with the same values as from the full machine,
but without spans and without the memo entries inside them. Where a pickle reads such an entry, or does anything
else that is not foreseen here, the full machine reads it instead.
"""

from __future__ import annotations

import re
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from weightmath.checkpoint.machine import HANDLERS, Machine, Pickle, run
from weightmath.checkpoint.nodes import Global, Persistent
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.rebuild import V2, StorageReference, Tensor, check_inside, storage_dtype
from weightmath.dtypes import DType
from weightmath.errors import CheckpointError

_PIECES = {"GET": rb"(?:h.|j.{4})", "PUT": rb"(?:q.|r.{4})", "INT": rb"(?:K.|M..|J.{4})"}
_PATTERN = (
    rb"(?P<named>PUT)?(?P<rebuild>GET)\(\((?P<what>(?P<word>GET)(?P<kind>GET))"
    rb"X(?P<key_size>.)\0\0\0(?P<key>\d+)(?P<put0>PUT)"
    rb"(?:(?P<device>GET)|(?P<place>X(?P<place_size>.)\0\0\0(?P<place_name>[a-z]+(?::\d+)?))(?P<put1>PUT))"
    rb"(?P<elements>INT)t(?P<put2>PUT)Q(?P<from>(?P<offset>INT)(?P<shape>\)|\(?INT+[\x85-\x87t]))(?P<put3>PUT)?"
    rb"(?P<stride>\)|\(?INT+[\x85-\x87t])(?P<put4>PUT)?"
    rb"(?P<how>(?P<grad>[\x88\x89])(?P<hooks>GET)\))R(?P<put5>PUT)t(?P<put6>PUT)R(?P<put7>PUT)"
)
_TENSOR = re.compile(re.sub(rb"GET|PUT|INT", lambda piece: _PIECES[piece[0].decode()], _PATTERN), re.DOTALL)
_group = _TENSOR.groupindex.__getitem__
_SHARED = tuple(map(_group, ("what", "device", "place", "elements", "from", "stride", "how")))
_OWN = tuple(map(_group, ("named", "key_size", "key")))
_PUTS = tuple(map(_group, ("named", *(f"put{number}" for number in range(8)))))
_UNPACKED = {count: Struct("<" + "xI" * count).unpack for count in range(5, len(_PUTS) + 1)}  # of long ones
_BINUNICODE, _BINGET, _LONG_BINGET, _BINPUT, _LONG_BINPUT, _MEMOIZE = 0x58, 0x68, 0x6A, 0x71, 0x72, 0x94


def read_to_describe(data: bytes) -> Pickle:
    """The content of a pickle, in which most tensors are `Tensor` values and not the calls that rebuild them."""
    try:
        return run(_Machine(data), _HANDLERS, 0)
    except CheckpointError:
        return read_pickle(data)


class _Shared(NamedTuple):
    """What tensors have in common whose bytes are the same but for the storage's key and memo numbers."""

    storage: tuple[str, DType | None, str, int]  # a reference but for the key
    tensor: tuple[DType, int, tuple[int, ...], tuple[int, ...], bool, bool]  # a tensor but for the storage


class _Machine(Machine):
    """A machine with two more registers.

    highest   the highest memo number so far: those inside a skipped tensor must be fresh, above it
    shared    by the bytes that say so; they read the memo, and hold while no entry there is replaced
    """

    __slots__ = ("highest", "shared")

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.highest = -1
        self.shared: dict[tuple[bytes | None, ...], _Shared] = {}


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
        tensor = _tensor(machine, found) if found else None
        if found and tensor:
            machine.push(tensor, at)
            return _named_tensors(machine, machine.data[at:end], found.end())
    machine.push(value, at)
    return end


def _named_tensors(machine: _Machine, rebuild: bytes, at: int) -> int:
    """Read on as long as names and tensors follow, as in a state dict. `rebuild` is the read of the function's name."""
    data = machine.data
    while data[at] == _BINUNICODE:
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "little")
        found = _TENSOR.match(data, end)
        if found is None or found["rebuild"] != rebuild:
            break
        name = data[at + 5 : end].decode("utf-8", "surrogatepass")
        tensor = _tensor(machine, found, name)
        if tensor is None:
            break
        machine.push(name, at)
        machine.push(tensor, found.start("rebuild"))
        at = found.end()
    return at


_HANDLERS = {
    **{code: handler for code, handler in HANDLERS.items() if code != _MEMOIZE},
    _BINPUT: _put, _LONG_BINPUT: _put, _BINGET: _get, _LONG_BINGET: _get,
}  # fmt: skip


def _tensor(machine: _Machine, found: re.Match[bytes], name: str | None = None) -> Tensor | None:
    """The tensor that was found, below this name; None, and nothing happened, if it is not just what torch writes."""
    bytes_shared = found.group(*_SHARED)
    shared = machine.shared.get(bytes_shared)
    if shared is None:
        shared = _shared(machine, found)
        if shared is None:
            return None
        machine.shared[bytes_shared] = shared
    named, key_size, key = found.group(*_OWN)
    fresh = _fresh_numbers(machine, found)
    if not fresh or key_size[0] != len(key):
        return None
    reference = StorageReference(key.decode(), *shared.storage)
    tensor = Tensor(reference, *shared.tensor)
    if named:
        machine.memo[fresh[0]], fresh = name, fresh[1:]
    machine.memo[fresh[0]] = reference.key  # read again where tensors share a storage
    machine.memo[fresh[-1]] = tensor
    machine.highest = fresh[-1]
    machine.persistent.append(Persistent(reference))
    return tensor


def _shared(machine: _Machine, found: re.Match[bytes]) -> _Shared | None:
    storage = _storage(machine, found)
    shape, stride, hooks = _dimensions(found["shape"]), _dimensions(found["stride"]), _memo(machine, found["hooks"])
    if storage is None or shape is None or stride is None or len(shape) != len(stride):
        return None
    if not (isinstance(hooks, Global) and str(hooks) == "collections.OrderedDict"):
        return None
    dtype, offset = storage[1], _integer(found["offset"])
    if dtype is None or offset < 0:
        return None
    shared = _Shared(storage, (dtype, offset, shape, stride, found["grad"] == b"\x88", False))
    check_inside(Tensor(StorageReference("", *shared.storage), *shared.tensor))
    return shared


def _storage(machine: _Machine, found: re.Match[bytes]) -> tuple[str, DType | None, str, int] | None:
    name = found["place_name"]
    place = name.decode() if name else _memo(machine, found["device"])
    what, size = _memo(machine, found["kind"]), _integer(found["elements"])
    if (name and found["place_size"][0] != len(name)) or _memo(machine, found["word"]) != "storage" or size < 0:
        return None
    if not (isinstance(what, Global) and isinstance(place, str)):
        return None
    return what.name, storage_dtype(what), place, size


def _memo(machine: _Machine, get: bytes) -> object:
    return machine.memo[int.from_bytes(get[1:], "little")]


def _fresh_numbers(machine: _Machine, found: re.Match[bytes]) -> tuple[int, ...]:
    """Its memo numbers if they are new and follow each other, so that leaving some out hides no older entry."""
    puts = [put for put in found.group(*_PUTS) if put]
    whole = b"".join(puts)
    if len(whole) == 5 * len(puts):
        numbers = _UNPACKED[len(puts)](whole)
    else:
        numbers = tuple(int.from_bytes(put[1:], "little") for put in puts)
    first = numbers[0]
    return numbers if machine.highest < first and numbers == tuple(range(first, first + len(numbers))) else ()


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw[1:], "little", signed=raw[0] == 0x4A)


@lru_cache(maxsize=4096)
def _dimensions(raw: bytes) -> tuple[int, ...] | None:
    """The numbers of a tuple; None if it has others than it says, or negative ones."""
    body = raw[raw[:1] == b"(" : -1]
    numbers = tuple(map(_integer, re.findall(_PIECES["INT"], body, re.DOTALL)))
    sized = raw[:1] == b"(" if raw[-1:] == b"t" else raw[:1] != b"(" and raw[-1] == 0x84 + len(numbers)
    return numbers if (sized or raw == b")") and min(numbers, default=0) >= 0 else None
