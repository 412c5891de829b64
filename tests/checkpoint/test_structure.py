"""The walk through a pickle's meaning ends, whatever the pickle, and never recurses without bound."""

import time

import pytest

from weightmath.checkpoint import Opaque
from weightmath.checkpoint.opcodes import read_pickle
from weightmath.checkpoint.structure import Structure, dissect
from weightmath.errors import CheckpointError

STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x03\x85K\x01\x85\x89NtR"


def structure(body: bytes) -> Structure:
    return dissect(read_pickle(b"\x80\x02" + body + b".")).structure


def test_a_tensor_of_one_key() -> None:
    found = structure(b"}X\x01\x00\x00\x00w" + TENSOR + b"s")
    assert [tensor.dotted for tensor in found.tensors] == ["w"]
    assert found.keys == ("0",)
    assert not found.others


DEEP = 300_000
TRAPS = {
    "lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "tuples": b")" + b"\x85" * DEEP,
    "dicts": b"}K\x01" * DEEP + b"N" + b"s" * DEEP,
    "calls": b"cx\ny\n" * DEEP + b")" + b"R\x85" * (DEEP - 1) + b"R",
    "parameters": b"ctorch._utils\n_rebuild_parameter\n" * 50_000 + TENSOR + b"\x88N\x87R" * 50_000,
    "a list in itself": b"]q\x00h\x00a",
    "a dict in itself": b"}q\x00K\x01h\x00s",
    "an object in itself": b"cx\ny\n)Rq\x00h\x00b",
    "a tuple of itself as a key": b"}]q\x00h\x00\x85K\x01s",
}


@pytest.mark.parametrize("body", TRAPS.values(), ids=TRAPS.keys())
def test_depth_and_cycles(body: bytes) -> None:
    before = time.perf_counter()
    structure(body)
    assert time.perf_counter() - before < 20


def test_storages_below_what_is_shown_are_known() -> None:
    found = structure(b"]" * 1000 + STORAGE + b"a" * 1000)
    assert found.others == {"0"}
    assert found.tensors == ()


def test_tensors_inside_unknown_calls_are_not_listed() -> None:
    found = structure(b"ctorch._utils\n_rebuild_sparse_tensor\n" + TENSOR + b"\x85R")
    assert found.tensors == ()
    assert found.others == {"0"}
    assert found.tree == Opaque("torch._utils._rebuild_sparse_tensor")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"K\x03\x85", b"K\x04\x85", "needs 4 elements of a storage that has 3"),
        (b"K\x03\x85", b"J\xff\xff\xff\xff\x85", "shape is malformed"),
        (b"K\x01\x85", b")", "shape is malformed"),
        (b"K\x03\x85", b"N", "shape is malformed"),
        (b"K\x03tQ", b"NtQ", "reference to a storage is malformed"),
        (b"\x07\x00\x00\x00storage", b"\x07\x00\x00\x00sturage", "not to a storage"),
        (STORAGE, b"N", "malformed"),
    ],
)
def test_malformed_tensors_name_their_place(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        structure(b"}X\x01\x00\x00\x00w" + TENSOR.replace(old, new, 1) + b"s")
    assert caught.value.where == "w"


def test_a_flag_that_changes_the_values_hides_the_tensor() -> None:
    flagged = TENSOR.replace(b"\x89NtR", b"\x89N}X\x04\x00\x00\x00conj\x88stR")
    assert structure(flagged).tensors == ()
    assert len(structure(TENSOR.replace(b"\x89NtR", b"\x89N}tR")).tensors) == 1
    nested = TENSOR.replace(b"\x89NtR", b"\x89Nc__builtin__\ndict\n)RtR")  # what it makes is not looked into
    assert structure(nested).tensors == ()
