"""`show` and `expect`: each question finds its own answer again."""

from __future__ import annotations

import numpy as np
import torch

from tests.engine.whole import memory_input
from tests.merging import Bench
from weightmath import functions as f
from weightmath import recipe
from weightmath.files.outputs import CheckpointSink
from weightmath.functions import FUNCTIONS
from weightmath.questions import Answers, Claim, answers, claims_of, questions

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


def test_claims_are_judged_by_what_is_known() -> None:
    built = _built(TEXT)
    assert claims_of(built, {}) == [(1, Claim("1 < 2", True))]
    assert claims_of(built, {2: 0.0}) == [(1, Claim("1 < 2", True)), (2, Claim("all(x > 0)", False))]
    assert claims_of(built, {1: 0.0, 3: 2.5, 4: 1.0})[0] == (0, Claim("norm(x) > 1", False, 2.5, 1.0))


def test_a_claim_that_fails_in_an_early_pass_ends_the_run_before_anything_is_written(tmp_path, monkeypatch) -> None:
    bench, written = Bench(tmp_path), []
    bench.save(a={"w": torch.arange(6.0)}, b={"w": torch.ones(6)})
    monkeypatch.setattr(CheckpointSink, "writing", lambda sink, name: lambda start, bits: written.append(name))
    recipe = "{{inputs: {{a: a.ckpt, b: b.ckpt}}, expect: ['{}'], save: {{out.ckpt: 'b + a / norm(a)'}}}}"
    assert "`norm(a) < 7` does not hold: 7.4162 against 7" in bench.mistake(recipe.format("norm(a) < 7"))
    assert written == []
    # One that needs the output itself is known when that is written.
    bench.mistake(recipe.format("norm(b + a / norm(a)) < 0"))
    assert written == ["w"]
