"""What each opcode of a pickle does to the machine: it describes, where Python's would act.

Where Python's unpickler would import, this one writes down a name (`Global`); where it would call, a `Call`.
Protocols 2 to 5 are read. Refused by name: the text opcodes of protocol 0, extension codes, out-of-band buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from

from weightmath.checkpoint.machine import HANDLERS, Machine, Pickle, opcode, run
from weightmath.checkpoint.nodes import Call, Container, Dict, Global, Huge, List, Persistent, Set, Tuple, Value
from weightmath.errors import CheckpointError

_LONGEST = 128  # bytes of a whole number that is read


def read_pickle(data: bytes, start: int = 0) -> Pickle:
    """The inert content of the pickle that begins at `start`; CheckpointError where it is not one."""
    return run(Machine(data), HANDLERS, start)


def _refused(code: int, name: str) -> None:
    @opcode(code, name)
    def refuse(machine: Machine, at: int) -> int:
        raise CheckpointError(
            f"the pickle uses opcode {name} at byte {at}, which weightmath does not read",
            hint="save it again with torch.save and its default pickle protocol",
        )


def _constant(code: int, name: str, value: Value) -> None:
    @opcode(code, name)
    def constant(machine: Machine, at: int) -> int:
        machine.push(value, at)
        return at + 1


def _number(code: int, name: str, form: str, size: int) -> None:
    @opcode(code, name)
    def number(machine: Machine, at: int) -> int:
        machine.push(unpack_from(form, machine.data, at + 1)[0], at)
        return at + 1 + size


def _counted(code: int, name: str, form: str, size: int, decode: Callable[[bytes], Value]) -> None:
    @opcode(code, name)
    def counted(machine: Machine, at: int) -> int:
        begin = at + 1 + size
        end = begin + int(unpack_from(form, machine.data, at + 1)[0])
        if not begin <= end <= len(machine.data):
            raise ValueError("longer than the pickle")
        machine.push(decode(machine.data[begin:end]), at)
        return end


def _container(code: int, name: str, kind: type[Container]) -> None:
    @opcode(code, name)
    def container(machine: Machine, at: int) -> int:
        machine.push(kind(at, at + 1), at)
        return at + 1


def _short_tuple(code: int, name: str, size: int) -> None:
    @opcode(code, name)
    def short_tuple(machine: Machine, at: int) -> int:
        stack, starts = machine.stack, machine.starts
        if len(stack) < size:
            raise ValueError("too few values")
        value, start = Tuple(stack[-size:], [*starts[-size:], at]), starts[-size]
        del stack[-size:], starts[-size:]
        machine.push(value, start)
        return at + 1


def _put(code: int, name: str, form: str, size: int) -> None:
    @opcode(code, name)
    def put(machine: Machine, at: int) -> int:
        number = unpack_from(form, machine.data, at + 1)[0]
        machine.memo[number] = value = machine.stack[-1]
        machine.puts.append((at, number, machine.starts[-1], value))
        return at + 1 + size


def _get(code: int, name: str, form: str, size: int) -> None:
    @opcode(code, name)
    def get(machine: Machine, at: int) -> int:
        number = unpack_from(form, machine.data, at + 1)[0]
        machine.stack.append(machine.memo[number])
        machine.starts.append(at)
        machine.gets.append((at, number))
        return at + 1 + size


def _text(raw: bytes) -> str:
    # Python 2 strings come in any encoding; latin-1 reads all of them and is what torch falls back to.
    return raw.decode("latin-1")


def _unicode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _long(raw: bytes) -> Value:
    return int.from_bytes(raw, "little", signed=True) if len(raw) <= _LONGEST else Huge(len(raw))


_constant(0x4E, "NONE", None)
_constant(0x88, "NEWTRUE", True)
_constant(0x89, "NEWFALSE", False)
_number(0x4A, "BININT", "<i", 4)
_number(0x4B, "BININT1", "<B", 1)
_number(0x4D, "BININT2", "<H", 2)
_number(0x47, "BINFLOAT", ">d", 8)
_counted(0x8A, "LONG1", "<B", 1, _long)
_counted(0x8B, "LONG4", "<i", 4, _long)
_counted(0x58, "BINUNICODE", "<I", 4, _unicode)
_counted(0x8C, "SHORT_BINUNICODE", "<B", 1, _unicode)
_counted(0x8D, "BINUNICODE8", "<Q", 8, _unicode)
_counted(0x54, "BINSTRING", "<i", 4, _text)
_counted(0x55, "SHORT_BINSTRING", "<B", 1, _text)
_counted(0x42, "BINBYTES", "<I", 4, bytes)
_counted(0x43, "SHORT_BINBYTES", "<B", 1, bytes)
_counted(0x8E, "BINBYTES8", "<Q", 8, bytes)
_counted(0x96, "BYTEARRAY8", "<Q", 8, bytes)
_container(0x5D, "EMPTY_LIST", List)
_container(0x7D, "EMPTY_DICT", Dict)
_container(0x8F, "EMPTY_SET", Set)
_short_tuple(0x85, "TUPLE1", 1)
_short_tuple(0x86, "TUPLE2", 2)
_short_tuple(0x87, "TUPLE3", 3)
_put(0x71, "BINPUT", "<B", 1)
_put(0x72, "LONG_BINPUT", "<I", 4)
_get(0x68, "BINGET", "<B", 1)
_get(0x6A, "LONG_BINGET", "<I", 4)

for _code, _name in {
    0x46: "FLOAT", 0x49: "INT", 0x4C: "LONG", 0x50: "PERSID", 0x53: "STRING", 0x56: "UNICODE", 0x64: "DICT",
    0x67: "GET", 0x69: "INST", 0x6C: "LIST", 0x70: "PUT", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4",
    0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}.items():  # fmt: skip
    _refused(_code, _name)


@opcode(0x80, "PROTO")
def _proto(machine: Machine, at: int) -> int:
    if machine.data[at + 1] > 5:
        raise CheckpointError(f"the pickle has protocol {machine.data[at + 1]}; protocols 2 to 5 are known")
    return at + 2


@opcode(0x95, "FRAME")
def _frame(machine: Machine, at: int) -> int:
    machine.frames.append(at)
    return at + 9


@opcode(0x94, "MEMOIZE")
def _memoize(machine: Machine, at: int) -> int:
    number = len(machine.memo)
    machine.memo[number] = value = machine.stack[-1]
    machine.puts.append((at, number, machine.starts[-1], value))
    return at + 1


@opcode(0x63, "GLOBAL")
def _global(machine: Machine, at: int) -> int:
    middle = machine.data.index(b"\n", at + 1)
    end = machine.data.index(b"\n", middle + 1)
    machine.push(Global(_unicode(machine.data[at + 1 : middle]), _unicode(machine.data[middle + 1 : end])), at)
    return end + 1


@opcode(0x93, "STACK_GLOBAL")
def _stack_global(machine: Machine, at: int) -> int:
    name, _ = machine.pop()
    module, start = machine.pop()
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name is no string")
    machine.push(Global(module, name), start)
    return at + 1


@opcode(0x28, "MARK")
def _mark(machine: Machine, at: int) -> int:
    machine.marks.append((machine.stack, machine.starts, at))
    machine.stack, machine.starts = [], []
    return at + 1


@opcode(0x29, "EMPTY_TUPLE")
def _empty_tuple(machine: Machine, at: int) -> int:
    machine.push(Tuple([], [at]), at)
    return at + 1


@opcode(0x74, "TUPLE")
def _tuple(machine: Machine, at: int) -> int:
    items, starts, mark = machine.pop_mark()
    starts.append(at)
    machine.push(Tuple(items, starts), mark)
    return at + 1


@opcode(0x91, "FROZENSET")
def _frozenset(machine: Machine, at: int) -> int:
    items, _, mark = machine.pop_mark()
    value = Set(mark, at + 1)
    value.items = items
    machine.push(value, mark)
    return at + 1


@opcode(0x61, "APPEND")
def _append(machine: Machine, at: int) -> int:
    item, _ = machine.pop()
    machine.target(Container, at + 1).items.append(item)
    return at + 1


@opcode(0x65, "APPENDS")
@opcode(0x90, "ADDITEMS")
def _appends(machine: Machine, at: int) -> int:
    items, _, _ = machine.pop_mark()
    machine.target(Container, at + 1).items.extend(items)
    return at + 1


@opcode(0x73, "SETITEM")
def _setitem(machine: Machine, at: int) -> int:
    value, _ = machine.pop()
    key, start = machine.pop()
    machine.target(Container, at + 1).pairs.append((key, value, start, at + 1))
    return at + 1


@opcode(0x75, "SETITEMS")
def _setitems(machine: Machine, at: int) -> int:
    items, starts, _ = machine.pop_mark()
    if len(items) % 2:
        raise ValueError("a key without a value")
    starts.append(at)
    pairs = zip(items[::2], items[1::2], starts[::2], starts[2::2], strict=False)
    machine.target(Container, at + 1).pairs.extend(pairs)
    return at + 1


@opcode(0x51, "BINPERSID")
def _binpersid(machine: Machine, at: int) -> int:
    pid = machine.stack.pop()
    machine.stack.append(Persistent(pid))
    machine.pids.append(pid)
    return at + 1


@opcode(0x52, "REDUCE")
@opcode(0x81, "NEWOBJ")
def _reduce(machine: Machine, at: int) -> int:
    arguments, middle = machine.pop()
    function, start = machine.pop()
    machine.push(Call(function, arguments, start, middle, at + 1), start)
    return at + 1


@opcode(0x92, "NEWOBJ_EX")
def _newobj_ex(machine: Machine, at: int) -> int:
    keywords, _ = machine.pop()
    arguments, middle = machine.pop()
    function, start = machine.pop()
    call = Call(function, arguments, start, middle, at + 1)
    call.states.append(keywords)
    machine.push(call, start)
    return at + 1


@opcode(0x6F, "OBJ")
def _obj(machine: Machine, at: int) -> int:
    items, starts, mark = machine.pop_mark()
    machine.push(Call(items[0], Tuple(items[1:], [*starts[1:], at]), mark, at, at + 1), mark)
    return at + 1


@opcode(0x62, "BUILD")
def _build(machine: Machine, at: int) -> int:
    state, _ = machine.pop()
    call = machine.target(Call, at + 1)
    assert isinstance(call, Call)
    call.states.append(state)
    return at + 1


@opcode(0x30, "POP")
def _pop(machine: Machine, at: int) -> int:
    machine.plain = False
    if machine.stack:
        machine.pop()
    else:
        machine.pop_mark()
    return at + 1


@opcode(0x31, "POP_MARK")
def _pop_mark(machine: Machine, at: int) -> int:
    machine.plain = False
    machine.pop_mark()
    return at + 1


@opcode(0x32, "DUP")
def _dup(machine: Machine, at: int) -> int:
    machine.plain = False
    machine.push(machine.stack[-1], at)
    return at + 1
