"""The stack machine that reads pickles: its state, and the loop. What each opcode does is in `opcodes`.

A pickle is a program for a stack machine. This one has the same stack and memo as Python's, but no power. It is
iterative, never hashes or compares what it reads, and needs memory in proportion to the bytes of the pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import error as struct_error
from typing import NamedTuple, TypeAlias

from weightmath.checkpoint.nodes import Container, Value
from weightmath.errors import CheckpointError

# Position of the opcode, memo number, first byte of the value, value.
MemoPut: TypeAlias = "tuple[int, int, int, Value]"


class Pickle(NamedTuple):
    """What one pickle holds.

    root        the value that a real unpickler would return
    end         the byte after STOP
    pids        what every persistent reference says, in file order; of a tensor read by the shortcut, the tensor
    puts, gets  every write to the memo; the positions of every read, with the memo number
    frames      positions of FRAME opcodes
    plain       False where DUP, POP or a change through the memo makes byte spans ambiguous: not to be edited
    """

    data: bytes
    root: Value
    end: int
    pids: list[Value]
    puts: list[MemoPut]
    gets: list[tuple[int, int]]
    frames: list[int]
    plain: bool


class Machine:
    """The state of the stack machine. `starts` runs parallel to `stack`: the first byte of each value."""

    __slots__ = ("data", "frames", "gets", "marks", "memo", "pids", "plain", "puts", "stack", "starts")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.stack: list[Value] = []
        self.starts: list[int] = []
        self.marks: list[tuple[list[Value], list[int], int]] = []
        self.memo: dict[int, Value] = {}
        self.puts: list[MemoPut] = []
        self.gets: list[tuple[int, int]] = []
        self.frames: list[int] = []
        self.pids: list[Value] = []
        self.plain = True

    def push(self, value: Value, start: int) -> None:
        """Put a value on the stack."""
        self.stack.append(value)
        self.starts.append(start)

    def pop(self) -> tuple[Value, int]:
        """Take the top value and its first byte."""
        return self.stack.pop(), self.starts.pop()

    def pop_mark(self) -> tuple[list[Value], list[int], int]:
        """Take everything above the topmost mark; also where the mark stands."""
        items, starts = self.stack, self.starts
        self.stack, self.starts, mark = self.marks.pop()
        return items, starts, mark

    def target(self, kind: type[Container], end: int) -> Container:
        """The container on top, which an opcode that ends at `end` changes."""
        container = self.stack[-1]
        if not isinstance(container, kind):
            raise ValueError("not a container of that kind")
        if container.start == self.starts[-1]:
            container.end = end
        else:
            self.plain = False
        return container


Handler: TypeAlias = Callable[[Machine, int], int]
HANDLERS: dict[int, Handler] = {}
NAMES: dict[int, str] = {}
_STOP = 0x2E


def opcode(code: int, name: str) -> Callable[[Handler], Handler]:
    """Register a handler: it gets the position of its opcode and returns the position of the next."""

    def register(handler: Handler) -> Handler:
        HANDLERS[code] = handler
        NAMES[code] = name
        return handler

    return register


def run(machine: Machine, handlers: Mapping[int, Handler], start: int) -> Pickle:
    """Let a machine execute the opcodes from `start` to STOP; CheckpointError where they make no sense."""
    data, at = machine.data, start
    try:
        while data[at] != _STOP:
            at = handlers[data[at]](machine, at)
        root = machine.stack[-1]
    except (IndexError, KeyError, ValueError, struct_error):
        name = NAMES.get(data[at]) if at < len(data) else None
        fact = f"opcode {name} at byte {at} makes no sense there" if name else f"it ends or goes wrong at byte {at}"
        raise CheckpointError(
            f"broken pickle: {fact}", hint="the file is damaged or was not written by torch"
        ) from None
    return Pickle(data, root, at + 1, machine.pids, machine.puts, machine.gets, machine.frames, machine.plain)
