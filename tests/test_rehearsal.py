"""What a check without checkpoints finds, and what it leaves to them."""

import pytest

from weightmath.errors import KindError, RecipeError
from weightmath.recipe import loads
from weightmath.rehearsal import rehearse

TWO = "inputs: {base: base.ckpt, chat: chat.ckpt}\n"
RUNS = "inputs: {runs: {glob: 'runs/*.ckpt'%s}}\n"


def rehearsed(text):
    return rehearse(loads(text, "merge.yaml"))


def test_kinds_are_added_up():
    assert rehearsed(TWO + "save: {out.ckpt: base + 0.5 * (chat - base)}").checked == "kinds"
    with pytest.raises(KindError) as error:
        rehearsed(TWO + "save: {out.ckpt: base + chat}")
    assert str(error.value) == (
        "merge.yaml:2: save.out.ckpt: `base + chat` must be a model, and this has weight 2: it adds up to 2 models\n"
        "  hint: divide by 2 for an average, subtract the base from all but one (base + (chat - base)), or say model(x)"
        " or, of a stored delta, delta(x)"
    )


def test_inputs_keep_their_kinds():
    delta = "inputs: {base: base.ckpt, skill: {path: skill.ckpt, kind: delta}}\n"
    assert rehearsed(delta + "save: {out.ckpt: base + skill}").checked == "kinds"
    with pytest.raises(KindError, match="`models` of ties"):
        rehearsed(delta + "save: {out.ckpt: 'ties(base, [skill])'}")


def test_ranges_are_checked_where_names_decide():
    found = rehearsed(TWO + "save: {out.ckpt: 'where(match(\"*.bias\"), chat, base)'}")
    assert (found.checked, found.open) == ("formulas", "which tensors `match('*.bias')` is about")
    with pytest.raises(RecipeError) as error:
        rehearsed(TWO + "save: {out.ckpt: 'base + keep_largest(only(chat - base, \"*.w\"), density=2)'}")
    assert str(error.value) == (
        "merge.yaml:2: save.out.ckpt: keep_largest(): `density` must be in [0, 1], not 2\n"
        '  base + keep_largest(only(chat - base, "*.w"), density=2)\n'
        "         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
    )


def test_lists_have_a_length_or_not():
    found = rehearsed(RUNS % "" + "params: {weights: [1, 2]}\nsave: {o: 'weighted_average(runs, weights=weights)'}")
    assert (found.checked, found.open) == ("names", "the length of the list `runs`")
    assert rehearsed(RUNS % ", last: 3" + "save: {out.ckpt: 'mean(runs) + (runs[2] - runs[0])'}").checked == "kinds"
    with pytest.raises(RecipeError) as error:
        rehearsed(RUNS % ", last: 3" + "save: {out.ckpt: 'runs[3]'}")
    assert str(error.value) == (
        "merge.yaml:2: save.out.ckpt: index 3 is outside a list of 3\n  runs[3]\n  ^^^^^^^\n"
        "  hint: the first is 0, the last is -1"
    )


def test_names_are_checked_always():
    with pytest.raises(RecipeError, match="unknown function `men`"):
        rehearsed(RUNS % "" + "save: {out.ckpt: men(runs)}")


def test_what_nothing_uses_is_told():
    assert rehearsed(TWO + "save: {out.ckpt: 2 * base - base}").warnings == (
        "merge.yaml:1: inputs.chat: nothing uses `chat`",
    )
