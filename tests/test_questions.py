"""`show` and `expect`: each question finds its own answer again."""

from __future__ import annotations

import numpy as np

from tests.engine.whole import memory_input
from weightmath import functions as f
from weightmath import recipe
from weightmath.functions import FUNCTIONS
from weightmath.questions import Answers, Claim, answers, questions

X = memory_input("x", {"w": np.ones((2, 3), np.float32)})
TEXT = """
inputs: {x: x.ckpt}
show: [norm(x), 1 + 1]
expect: [norm(x) > 1, 1 < 2, all(x > 0)]
save:
  out.ckpt: x
"""


def _built(text: str) -> recipe.Built:
    return recipe.build(recipe.loads(text), {"x": X}, {name: one.call for name, one in FUNCTIONS.items()})


def test_answers_are_in_the_order_of_the_questions() -> None:
    built = _built(TEXT)
    asked = questions(built)
    assert [one.text for one in asked] == ["norm(x)", "norm(x) > 1", "all(x > 0)", "norm(x) > 1", "norm(x) > 1"]
    assert asked[3].value is f.norm(X)
    found = answers(built, (("", 2.5), ("", 1.0), ("", 0.0), ("", 2.5), ("", 1.0)))
    assert found == Answers(
        (("norm(x)", 2.5), ("1 + 1", 2)),
        (Claim("norm(x) > 1", True, 2.5, 1.0), Claim("1 < 2", True), Claim("all(x > 0)", False)),
    )


def test_nothing_asked() -> None:
    built = _built("inputs: {x: x.ckpt}\nsave:\n  out.ckpt: x\n")
    assert questions(built) == ()
    assert answers(built, ()) == Answers((), ())
