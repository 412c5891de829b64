"""What a formula can say wrong, and the whole message for it: the place, the fact, the way out.

`mistakes.txt` has them one after the other, `> formula` and then the message. The formula stands in line 3 of a recipe
over three language models; nothing of a tensor is read before the message.
"""

from pathlib import Path

import pytest

from tests.families import llama, state
from tests.merging import Bench
from weightmath.errors import WeightmathError

RECIPE = """\
inputs: {a: a.ckpt, b: b.ckpt, c: c.ckpt}
let:
  out: %s
save: {out.ckpt: out}
"""
BLOCKS = (Path(__file__).parent / "mistakes.txt").read_text().removeprefix("> ").rstrip("\n").split("\n\n> ")
MISTAKES = [tuple(block.split("\n", 1)) for block in BLOCKS]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("mistakes"))
    made.save(a=state(llama(), 1), b=state(llama(), 2), c=state(llama(), 3))
    return made


def test_there_are_many():
    assert len(MISTAKES) > 100


@pytest.mark.parametrize(("formula", "message"), MISTAKES, ids=[formula for formula, _ in MISTAKES])
def test_message(bench, formula, message):
    with pytest.raises(WeightmathError) as error:
        bench.plan(RECIPE % formula)
    assert str(error.value).replace(f"{bench.folder}/", "") == message
