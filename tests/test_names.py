"""Tables, patterns and matrices: numbers that names decide, and what they print."""

import pytest

from tests.families import llama
from weightmath import functions as f
from weightmath.algebra.layers import Ramp
from weightmath.algebra.names import Match, Matrices, Table
from weightmath.dtypes import FLOAT32
from weightmath.errors import RecipeError
from weightmath.layout import Entry, Layout

LLAMA = Layout.of(Entry(name, shape, FLOAT32) for name, shape in llama(layers=3).items())


def numbers(rule):
    return dict(zip(LLAMA.names, rule.values(LLAMA).tolist(), strict=True))


def test_the_most_copied_recipe_attention_and_mlp_by_their_own_ramps():
    table = Table((("*self_attn*", Ramp((0, 0.5, 1))), ("*mlp*", Ramp((1, 0))), ("*", 0.5)))
    found = numbers(table)
    for layer in range(3):
        assert found[f"model.layers.{layer}.self_attn.q_proj.weight"] == layer / 2
        assert found[f"model.layers.{layer}.mlp.up_proj.weight"] == 1 - layer / 2
        assert found[f"model.layers.{layer}.input_layernorm.weight"] == 0.5
    assert found["lm_head.weight"] == 0.5


def test_a_table_says_what_each_of_its_patterns_does():
    table = Table((("*self_attn*", Ramp((0, 0.5, 1))), ("*mlp*", 0.25), ("*", 0.5)))
    described = table.describe(LLAMA)
    assert described.rule == "{'*self_attn*': ramp(0, 0.5, 1), '*mlp*': 0.25, '*': 0.5}"
    assert described.note == (
        "the first pattern that matches decides; the layer is the first number in the name "
        "(`model.layers.2.input_layernorm.weight`: 2); layers run from 0 to 2; 3 tensors without one get 0.5"
    )
    assert [(part.label, len(part.tensors), part.low, part.high) for part in described.parts] == [
        ("*self_attn* layer 0", 4, 0.0, 0.0),
        ("*self_attn* layer 1", 4, 0.5, 0.5),
        ("*self_attn* layer 2", 4, 1.0, 1.0),
        ("*mlp*", 9, 0.25, 0.25),
        ("*", 9, 0.5, 0.5),
    ]
    assert [part.number for part in described.parts] == [0.0, 0.5, 1.0, 0.25, 0.5]
    assert set(table.numbers) == {0, 0.5, 1, 0.25}


def test_masks_say_what_is_inside():
    described = Match(("*norm.weight",)).describe(LLAMA)
    assert described.rule == "match('*norm.weight')"
    assert [(part.label, len(part.tensors), part.number) for part in described.parts] == [
        ("matches", 7, 1.0),
        ("does not match", 23, 0.0),
    ]
    assert [len(part.tensors) for part in Matrices().describe(LLAMA).parts] == [23, 7]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Match(("*self_atn*",)), "the pattern `*self_atn*` matches no tensor\n  hint: did you mean `*self_attn*`?"),
        (
            Match(("lm_head.weigth",)),
            "the pattern `lm_head.weigth` matches no tensor\n  hint: did you mean `lm_head.weight`?",
        ),
        (
            Match(("self_attn",)),
            'the pattern `self_attn` matches no tensor\n  hint: a pattern matches the whole name: "*self_attn*"',
        ),
        (
            Table((("*mlp*", 1.0),)),
            'no pattern of the table matches the tensor `lm_head.weight`\n  hint: add a last line for the rest: "*": 1',
        ),
        (Table((("*atn*", 1.0), ("*", 0.0))), "the pattern `*atn*` matches no tensor\n  hint: did you mean `*attn*`?"),
    ],
)
def test_patterns_that_do_not_fit(rule, message):
    with pytest.raises(RecipeError) as error:
        rule.values(LLAMA)
    assert str(error.value) == message


def test_a_pattern_that_earlier_ones_leave_nothing_is_no_mistake():
    assert set(numbers(Table((("*", 1.0), ("*mlp*", 0.0)))).values()) == {1.0}


@pytest.mark.parametrize("call", [f.match, lambda: f.only(f.ramp(1)), lambda: f.without(f.ramp(1))])
def test_no_pattern_at_all(call):
    with pytest.raises(RecipeError):
        call()
