"""Numbers that numpy wrote, against numpy; and calls that only look like them."""

import math
import pickle

import numpy as np
import pytest
import torch

from weightmath.checkpoint import open_checkpoint
from weightmath.checkpoint.nodes import Call, Global, Tuple
from weightmath.checkpoint.numpy_number import numpy_number
from weightmath.checkpoint.opcodes import read_pickle

VALUES = [
    np.float64(0.9),
    np.float32(0.25),
    np.float16(-1.5),
    np.float64("inf"),
    np.int64(-(2**40)),
    np.uint8(200),
    np.bool_(True),
    np.array(7, ">f8")[()],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_number_of_numpy(value, protocol):
    root = read_pickle(pickle.dumps({"metric": value}, protocol)).root
    found = numpy_number(root.pairs[0][1])
    assert type(found) is type(value.item())
    assert found == value.item()


def test_it_is_a_number_in_the_tree(tmp_path):
    torch.save({"w": {"w": torch.zeros(2)}, "metric": np.float64(math.pi)}, tmp_path / "a.ckpt")
    assert open_checkpoint(tmp_path / "a.ckpt").tree["metric"] == math.pi


def call(function, *arguments, states=()):
    module, _, name = function.rpartition(".")
    made = Call(Global(module, name), Tuple(list(arguments), [0] * (len(arguments) + 1)), 0, 0, 0)
    made.states.extend(states)
    return made


@pytest.mark.parametrize(
    "other",
    [
        call("numpy.core.multiarray.scalar"),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "f8"), b"1234567"),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "f1"), b"1"),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "O8"), b"12345678"),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", 8), b"12345678"),
        call("numpy.core.multiarray.scalar", call("os.system", "f8"), b"12345678"),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "u1"), call("_codecs.encode", "\u20ac", "latin1")),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "u1"), call("os.system", "a")),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "u1"), b"1", states=[1]),
        call("numpy.array", call("numpy.dtype", "u1"), b"1"),
    ],
)
def test_other_calls_are_no_numbers(other):
    assert numpy_number(other) is None
