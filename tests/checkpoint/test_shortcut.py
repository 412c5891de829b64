"""The shortcut reads what the full machine reads, from sound pickles and from broken ones."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoint.test_plan_image import rich
from tests.packages import folds
from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.machine import Pickle
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.rebuild import Tensor
from weightmath.checkpoint.shortcut import read_to_describe
from weightmath.checkpoint.structure import dissect
from weightmath.errors import CheckpointError


def pickle_of(value: Any, path: Path, **options: Any) -> bytes:
    torch.save(value, path / "x.pt", **options)
    return bytes(open_checkpoint(path / "x.pt").source.pickle)


def outcome(read: Any, data: bytes) -> str:
    """All that a description says, as text (so that NaN equals itself), or how it fails."""
    try:
        return repr(dissect(read(data)).structure)
    except CheckpointError as error:
        return f"error: {error.what}"


def shortcut(data: bytes) -> Pickle:
    return read_to_describe(data)[0]


def taken(data: bytes) -> int:
    return sum(isinstance(pid, Tensor) for pid in shortcut(data).pids)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_same_description(protocol: int, tmp_path: Path) -> None:
    data = pickle_of(rich(), tmp_path, pickle_protocol=protocol)
    assert outcome(shortcut, data) == outcome(read_pickle, data)
    assert (taken(data) > 5) == (protocol < 4)


def test_real_checkpoints_take_it() -> None:
    for path in folds():
        data = open_checkpoint(path).source.pickle
        assert taken(data) == 97
        assert outcome(shortcut, data) == outcome(read_pickle, data)


@pytest.mark.parametrize(
    "shape", [(), (1,), (300,), (70_000,), (2, 3), (2, 3, 4), (2, 3, 4, 1), (1, 2, 1, 2, 3), (0, 5)]
)
def test_every_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    data = pickle_of({name: torch.zeros(shape) for name in "abc"}, tmp_path)
    assert taken(data) == 2
    assert outcome(shortcut, data) == outcome(read_pickle, data)


def test_many_tensors_with_long_memo_numbers(tmp_path: Path) -> None:
    state = {f"w{i}": torch.zeros(1) for i in range(100)}
    data = pickle_of({**state, "tied": state["w50"], "again": state["w99"].view(1, 1)}, tmp_path)
    assert taken(data) == 99  # all but the first, and the view, whose storage's key is read from the memo
    assert outcome(shortcut, data) == outcome(read_pickle, data)


@pytest.mark.parametrize("seed", range(10))
def test_broken_pickles_are_read_alike(seed: int, tmp_path: Path) -> None:
    data = pickle_of({name: torch.zeros(3, 2) for name in "abcd"} | {"same": torch.zeros(5)[1:]}, tmp_path)
    dice = random.Random(seed)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 2)):
            broken[dice.randrange(len(data))] = dice.choice([dice.randrange(256), data[dice.randrange(len(data))]])
        assert outcome(shortcut, bytes(broken)) == outcome(read_pickle, bytes(broken))


def test_a_stale_memo_number_is_not_believed(tmp_path: Path) -> None:
    data = pickle_of([torch.zeros(3), torch.zeros(3), "end"], tmp_path)
    at = data.index(b"X\3\0\0\0end")
    inner = data.rindex(b"\x85q", 0, at)  # the stride of the last tensor is put into the memo
    reads_it = data[:at] + b"h" + data[inner + 2 : inner + 3] + data[data.index(b"q", at) + 2 :]
    assert outcome(shortcut, reads_it) == outcome(read_pickle, reads_it)
    assert "(1,)" in outcome(read_pickle, reads_it)
    reused = data[: inner + 2] + b"\x02" + data[inner + 3 : at] + b"h\x02" + data[data.index(b"q", at) + 2 :]
    assert outcome(shortcut, reused) == outcome(read_pickle, reused)


def described_after(first: bytes, data: bytes) -> str:
    """All that a description says, or how it fails, of a pickle that follows another."""
    parsed, passages = read_to_describe(first)
    known = dissect(parsed, {}).known
    try:
        return repr(dissect(read_to_describe(data, passages)[0], known).structure)
    except CheckpointError as error:
        return f"error: {error.what}"


def fine_tune(path: Path, epoch: object, **more: Any) -> bytes:
    state = {f"blocks.{i}.w": torch.zeros(3, 2 + i % 3, dtype=torch.float16) for i in range(40)}
    return pickle_of({"epoch": epoch, "state_dict": state, **more, "loops": {"step": 1000}}, path)


def test_what_fine_tunes_have_in_common_is_one_object(tmp_path: Path) -> None:
    """Whichever length their numbers have."""
    (first, known), second = read_to_describe(fine_tune(tmp_path, 1)), fine_tune(tmp_path, 70_000)
    again, found = read_to_describe(second, known)
    assert [found[head] is passage for head, passage in known.items()] == [True]
    one = dissect(first, {})
    two = dissect(again, one.known)
    assert two.structure.tree["epoch"] == 70_000
    assert len(two.structure.tensors) == 40
    assert all(a is b for a, b in zip(one.structure.tensors, two.structure.tensors, strict=True))
    assert repr(two.structure) == outcome(read_pickle, second)


def many_tensors(path: Path, epoch: object = 1) -> bytes:
    """A state dict that is set in more than one batch of a thousand, and what reads of the memo."""
    state = {f"w{i}": torch.zeros(1) for i in range(2500)}
    return pickle_of({"epoch": epoch, "state": state, "tied": state["w2400"], "view": state["w7"].view(1, 1)}, path)


def test_a_state_dict_of_many_batches_is_one_passage(tmp_path: Path) -> None:
    one, two = many_tensors(tmp_path), many_tensors(tmp_path, 70_000)
    passages = read_to_describe(one)[1]
    # The first names the classes, and the second begins it.
    assert [len(passage.made) for passage in passages.values()] == [2498]
    assert outcome(shortcut, one) == outcome(read_pickle, one)
    assert [passages[head] is passage for head, passage in read_to_describe(two, passages)[1].items()] == [True]
    assert described_after(one, two) == outcome(read_pickle, two)


def test_batches_of_odd_length(tmp_path: Path) -> None:
    """Two that would be sound only together."""
    data = many_tensors(tmp_path)
    first, end_of_second = data.index(b"X\2\0\0\0w0"), data.index(b"u(X\5\0\0\0w2000")
    odd = data[:first] + b"N" + data[first:end_of_second] + b"N" + data[end_of_second:]
    assert "SETITEMS" in outcome(read_pickle, odd)
    assert outcome(shortcut, odd) == outcome(read_pickle, odd)


@pytest.mark.parametrize(
    "more",
    [
        {"ema": {"w": torch.zeros(5)}},
        {"ema": {f"blocks.{i}.w": torch.zeros(3) for i in range(40)}},
        {"epoch": [torch.zeros(2)]},  # before the state: its numbers in the memo and its storages are others
        {"epoch": "a text that takes another place in the memo"},
    ],
)
def test_what_is_not_in_common_is_read(more: dict[str, Any], tmp_path: Path) -> None:
    plain, other = fine_tune(tmp_path, 1), fine_tune(tmp_path, **{"epoch": 2, **more})
    assert described_after(plain, other) == outcome(read_pickle, other)
    assert described_after(other, plain) == outcome(read_pickle, plain)


def test_the_same_bytes_with_another_meaning(tmp_path: Path) -> None:
    """The class of the storages and the device are read from the memo, so that bytes outside decide about them."""
    data = fine_tune(tmp_path, 1)
    for old, new in (
        (b"HalfStorage", b"ByteStorage"),
        (b"cpu", b"gpu"),
        (b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"),
    ):
        other = data.replace(old, new)
        assert other != data
        assert described_after(data, other) == outcome(read_pickle, other)


@pytest.mark.parametrize("seed", range(5))
def test_broken_fine_tunes_are_read_alike(seed: int, tmp_path: Path) -> None:
    data = fine_tune(tmp_path, 1, ema={"w": torch.zeros(5)})
    dice = random.Random(seed)
    for _ in range(100):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 2)):
            at = dice.choice([dice.randrange(len(data)), dice.randrange(400)])
            broken[at] = dice.choice([dice.randrange(256), data[dice.randrange(len(data))]])
        assert described_after(data, bytes(broken)) == outcome(read_pickle, bytes(broken))


def test_what_comes_after_what_is_in_common(tmp_path: Path) -> None:
    """A view reads the key of its storage from the memo, and a tied tensor the tensor."""
    state = {f"blocks.{i}.w": torch.zeros(3, 2) for i in range(40)}
    after = {"view": state["blocks.20.w"][1:], "tied": state["blocks.30.w"], "name": [*state][10]}
    one, two = (pickle_of({"epoch": epoch, "state_dict": state, "after": after}, tmp_path) for epoch in (1, 2))
    passages = read_to_describe(one)[1]
    assert [passages[head] is passage for head, passage in read_to_describe(two, passages)[1].items()] == [True]
    assert described_after(one, two) == outcome(read_pickle, two)


def test_a_storage_that_is_known_by_another_size(tmp_path: Path) -> None:
    data = fine_tune(tmp_path, torch.zeros(1))
    other = data.replace(b"X\1\0\0\x000", b"X\1\0\0\x005", 1)
    assert described_after(data, other) == outcome(read_pickle, other)
    assert "disagree about its size" in outcome(read_pickle, other)


def test_names_that_are_equal_and_not_the_same(tmp_path: Path) -> None:
    number, truth = (pickle_of({key: torch.zeros(3)}, tmp_path) for key in (1, True))
    assert described_after(number, truth) == outcome(read_pickle, truth)


def test_a_class_is_known_by_its_module_and_its_name(tmp_path: Path) -> None:
    """Which of them the dot in `torch.cuda.HalfStorage` belongs to decides whether it is one."""
    dtypes = (torch.float32, torch.float16)
    data = pickle_of({f"w{i}": torch.zeros(3, dtype=dtypes[i % 2]) for i in range(40)}, tmp_path)
    lines = (b"ctorch.cuda\nHalfStorage\n", b"ctorch\ncuda.HalfStorage\n")
    one, other = (data.replace(b"ctorch\nHalfStorage\n", line) for line in lines)
    assert one != other
    assert described_after(one, other) == outcome(read_pickle, other)
