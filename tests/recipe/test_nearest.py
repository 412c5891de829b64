"""A hint names the nearest word among those that are right at the place, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightmath.errors import RecipeError
from weightmath.job import callables
from weightmath.recipe import check, load, loads

HEAD = "inputs: {base: a.ckpt, chat: b.ckpt}\nparams: {alpha: 1, table: {'*': 1}, many: [1, 2]}\n"
SAVE = "save: {o.ckpt: base}\n"
# What is written, whose nearest word of all is wrong there; the hint, or none.
CASES = {
    HEAD + "let: {m: base * mea}\n" + SAVE: "the names here are: base, chat, alpha, table, many",
    HEAD + "let: {m: base * alpa}\n" + SAVE: "did you mean `alpha`?",
    HEAD + "let: {m: xyzzy(1)}\n" + SAVE: "`weightmath functions` and `weightmath methods` list all",
    HEAD
    + "dtype: int33\n"
    + SAVE: "those that hold weights: float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2",
    HEAD + "dtype: float46\n" + SAVE: "did you mean `float64`?",
    HEAD + "vary: {tabel: [1]}\n" + SAVE: "params: {tabel: 0}",
    HEAD + "vary: {alhpa: [1]}\n" + SAVE: "did you mean `alpha`?",
    HEAD + "vary: {alpha: [1]}\nsave: {'o_{mny}.ckpt': base}": "those that can: alpha",
    HEAD + "vary: {alpha: linspac}\n" + SAVE: "for example: linspace(0, 1, 11)",
    HEAD + "vary: {alpha: 'ties(0, 1)'}\n" + SAVE: (
        "the functions here are: linspace logspace uniform loguniform integers"
    ),
    HEAD + "save: {o.delta: {value: base - chat, as: {kind: sparse, densty: 0.1}}}": "did you mean `density`?",
    HEAD + "save: {o.delta: {value: base - chat, as: {kind: sparse, templat: base}}}": (
        "the keys here are: kind density threshold rank energy dtype max_error"
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_what_is_offered_is_right_there(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(loads(text), callables())
    assert caught.value.hint == CASES[text]


def test_a_recipe_s_name_is_near_other_recipes_alone(tmp_path: Path) -> None:
    for name in ("merge.ckpt", "zebra.yaml"):
        (tmp_path / name).touch()
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "merge.yaml")
    assert caught.value.hint is None
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "zebr.yml")
    assert caught.value.hint == "did you mean `zebra.yaml`?"
