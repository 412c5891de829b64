"""Edited pickles, loaded by Python's own unpickler, mean the original but for the edit: values and sharing alike."""

import io
import pickle
import random
from typing import Any

import pytest

from weightmath.checkpoint.nodes import Dict, Tuple
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.splice import Edit, explicit_memo, splice
from weightmath.errors import CheckpointError


class Reference:
    """Stands for a storage: pickled as a persistent id."""

    def __init__(self, pid: tuple[Any, ...]) -> None:
        self.pid = pid


class Loader(pickle.Unpickler):
    def persistent_load(self, pid: tuple[Any, ...]) -> Reference:
        return Reference(pid)


def dump(value: Any, protocol: int, python: bool = False) -> bytes:
    buffer = io.BytesIO()
    pickler = (pickle._Pickler if python else pickle.Pickler)(buffer, protocol)  # type: ignore[attr-defined]
    pickler.persistent_id = lambda item: item.pid if isinstance(item, Reference) else None
    pickler.dump(value)
    return buffer.getvalue()


def load(data: bytes) -> Any:
    return Loader(io.BytesIO(data)).load()


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and share their lists and dicts in the same way (a bisimulation)."""
    return _same(one, other, {}, {})


def _same(one: Any, other: Any, there: dict[int, int], back: dict[int, int]) -> bool:
    if isinstance(one, (list, dict)):
        if id(one) in there or id(other) in back:
            return there.get(id(one)) == id(other) and back.get(id(other)) == id(one)
        there[id(one)], back[id(other)] = id(other), id(one)
    if type(one) is not type(other):
        return False
    if isinstance(one, Reference):
        return bool(one.pid == other.pid)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(_same(a, b, there, back) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key], there, back) for key in one)
    return bool(one == other)


def test_same_can_fail() -> None:
    part: list[int] = []
    assert same([part, part], [part, part])
    assert not same([part, part], [part, []])
    assert not same([part, []], [part, part])


NAMES = ["cpu", "cuda:0", "cuda:1", "FloatStorage"]
CLASSES = [int, float, str]


def random_value(dice: random.Random, depth: int, pool: list[Any]) -> Any:
    """A graph of lists, dicts, tuples and references that shares strings, classes and whole parts."""
    kind = dice.randrange(8) if depth else dice.randrange(3)
    if kind == 0:
        return dice.choice(NAMES)
    if kind == 1:
        return dice.choice([dice.randrange(300), dice.choice(CLASSES)])
    if kind == 2 and pool:
        return dice.choice(pool)
    if kind <= 4:
        value: Any = Reference(("storage", dice.choice(CLASSES), str(dice.randrange(5)), dice.choice(NAMES), 7))
    elif kind == 5:
        value = tuple(random_value(dice, depth - 1, pool) for _ in range(dice.randrange(4)))
    elif kind == 6:
        value = [random_value(dice, depth - 1, pool) for _ in range(dice.randrange(5))]
    else:
        value = {f"k{i}": random_value(dice, depth - 1, pool) for i in range(dice.randrange(5))}
    pool.append(value)
    return value


def change(value: Any, seen: dict[int, Any], edit: dict[Any, Any]) -> Any:
    """The value with the fourth element of chosen references changed: what the edit should do."""
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Reference):
        key = value.pid[2]
        seen[id(value)] = Reference((*value.pid[:3], "meta", 7)) if key in edit else value
    elif isinstance(value, tuple):
        seen[id(value)] = tuple(change(item, seen, edit) for item in value)
    elif isinstance(value, list):
        seen[id(value)] = copy = []
        copy.extend(change(item, seen, edit) for item in value)
    elif isinstance(value, dict):
        seen[id(value)] = {key: change(item, seen, edit) for key, item in value.items()}
    else:
        return value
    return seen[id(value)]


META = b"X\x04\x00\x00\x00meta"


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_random_graphs(protocol: int, python: bool) -> None:
    edited = 0
    for seed in range(250):
        dice = random.Random(seed)
        value = [random_value(dice, 4, []) for _ in range(3)]
        keys = {key: 1 for key in "01234" if dice.random() < 0.5}
        data = explicit_memo(read_pickle(dump(value, protocol, python)))
        assert same(load(data), value)
        read = read_pickle(data)
        pids = read.pids
        edits = [Edit(*pid.span(3), META) for pid in pids if isinstance(pid, Tuple) and pid.items[2] in keys]
        result = splice(read, edits)
        assert same(load(result), change(value, {}, keys))
        edited += bool(edits)
    assert edited > 50


def test_a_naive_edit_would_be_noticed() -> None:
    shared = "cuda:0"
    value = [Reference(("storage", int, "0", shared, 7)), {"device": shared}]
    data = dump(value, 2)
    assert not same(load(data.replace(b"cuda:0", b"cuda:1")), change(value, {}, {}))


@pytest.mark.parametrize("protocol", [2, 4])
def test_dropped_definitions_sink(protocol: int) -> None:
    tensor = Reference(("storage", int, "0", "cuda:0", 7))
    shared = [tensor, "text"]
    shared.append(shared)
    value = {"dropped": {"a": shared, "b": "text"}, "kept": [shared, tensor, "cuda:0", int], "more": shared}
    read = read_pickle(explicit_memo(read_pickle(dump(value, protocol))))
    assert isinstance(read.root, Dict)
    key, _, start, stop = read.root.pairs[0]
    assert key == "dropped"
    result = load(splice(read, [Edit(start, stop, b"")]))
    assert list(result) == ["kept", "more"]
    assert result["kept"][0] is result["more"]
    assert result["more"][2] is result["more"]
    assert result["more"][0].pid == ("storage", int, "0", "cuda:0", 7)
    assert result["kept"][1].pid == ("storage", int, "0", "cuda:0", 7)
    assert result["kept"][2:] == ["cuda:0", int]


def test_dropping_and_editing_at_once() -> None:
    for seed in range(500):
        dice = random.Random(seed)
        pool: list[Any] = []
        value = {f"k{i}": random_value(dice, 4, pool) for i in range(6)}
        gone = {key for key in value if dice.random() < 0.5}
        read = read_pickle(dump(value, 2))
        assert isinstance(read.root, Dict)
        edits = [Edit(start, stop, b"") for key, _, start, stop in read.root.pairs if key in gone]
        keys = {key: 1 for key in "01234" if dice.random() < 0.3}
        pids = read.pids
        edits += [Edit(*pid.span(3), META) for pid in pids if isinstance(pid, Tuple) and pid.items[2] in keys]
        kept = {key: item for key, item in value.items() if key not in gone}
        assert same(load(splice(read, edits)), change(kept, {}, keys))


def test_a_memo_number_used_twice() -> None:
    # q0 is first a string inside the span that is replaced, then a list.
    data = b"\x80\x02(X\x01\x00\x00\x00aq\x00h\x00]q\x00h\x00t."
    read = read_pickle(data)
    assert isinstance(read.root, Tuple)
    result = pickle.loads(splice(read, [Edit(*read.root.span(0), b"K\x05")]))
    assert result == (5, "a", [], [])
    assert result[2] is result[3]


def test_a_memo_number_that_cannot_be_kept_is_refused() -> None:
    # The list's definition, when it sinks, reads number 0, which means something else by then.
    data = b"\x80\x02(X\x01\x00\x00\x00aq\x00]q\x01h\x00aX\x01\x00\x00\x00bq\x00h\x01t."
    read = read_pickle(data)
    assert isinstance(read.root, Tuple)
    with pytest.raises(CheckpointError, match="memo number twice"):
        splice(read, [Edit(*read.root.span(1), b"K\x05")])


def test_pickles_that_discard_values_are_not_edited() -> None:
    data = b"\x80\x02(K\x01K\x020t."
    read = read_pickle(data)
    assert splice(read, []) == data
    with pytest.raises(CheckpointError, match="cannot be edited"):
        splice(read, [Edit(3, 5, b"K\x07")])


def test_no_edit_is_the_same_object() -> None:
    read = read_pickle(dump(["x"], 2))
    assert splice(read, []) is read.data
