"""Tables of `params` whose numbers are expressions: the most copied recipe of other tools, and its mistakes."""

import pytest

from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.blocks import Blocks
from weightmath.algebra.graph import Input, input_vector, vector
from weightmath.algebra.layers import Ramp
from weightmath.algebra.names import Table
from weightmath.errors import RecipeError
from weightmath.layout import Layout
from weightmath.recipe import build, check, loads

CALLABLES = {name: declared.call for name, declared in {**f.FUNCTIONS, **methods.load()}.items()}
VECTORS = {name: input_vector(Input(name, Layout(()))) for name in ("base", "chat")}
RECIPE = """\
inputs: {base: base.ckpt, chat: chat.ckpt}
params:
  most: 0.8
  t:
    "*self_attn*": ramp(0, 0.5, most, 1)
    "*mlp*": ramp(1, 1 - most, along='re:layers\\.(\\d+)')
    "lm_head*": 0.25
    "*": most / 2
let:
  mixed: lerp(base, chat, t)
save:
  merged.ckpt: mixed
"""


def test_attention_and_mlp_have_their_own_ramps():
    built = build(loads(RECIPE), VECTORS, CALLABLES)
    table = Table(
        (
            ("*self_attn*", Ramp((0.0, 0.5, 0.8, 1.0))),
            ("*mlp*", Ramp((1.0, 1 - 0.8), r"re:layers\.(\d+)")),
            ("lm_head*", 0.25),
            ("*", 0.4),
        )
    )
    assert built.values["t"] == table
    assert built.saves["merged.ckpt"] is f.lerp(VECTORS["base"], VECTORS["chat"], vector(table))


def test_blocks_fit_into_a_table_too():
    built = build(loads(RECIPE.replace("most / 2", "blocks('sd15', 'BASE=0', otherwise=1)")), VECTORS, CALLABLES)
    assert isinstance(built.values["t"].patterns[-1][1], Blocks)


def test_a_parameter_that_only_a_table_uses_is_used():
    assert loads(RECIPE).unused() == ()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "most / 2",
            "most / (",
            """\
merge.yaml:8: params.t.*: the expression ends where a value should follow
  most / (
          ^""",
        ),
        (
            "most / 2",
            "moist / 2",
            """\
merge.yaml:8: params.t.*: unknown name `moist`
  moist / 2
  ^^^^^
  hint: did you mean `most`?""",
        ),
        (
            "most / 2",
            "norm(base)",
            """\
merge.yaml:8: params.t.*: unknown name `base`
  norm(base)
       ^^^^
  hint: the names here are: most""",
        ),
        (
            "most / 2",
            "rampe(0, 1)",
            """\
merge.yaml:8: params.t.*: unknown function `rampe`
  rampe(0, 1)
  ^^^^^^^^^^^
  hint: did you mean `ramp`?""",
        ),
        (
            "most / 2",
            "1 - ramp(0, 1)",
            """\
merge.yaml:8: params.t.*: a table holds numbers, and this is none
  1 - ramp(0, 1)
  ^^^^^^^^^^^^^^
  hint: a number, or one of ramp(...), blocks(...), layer(...), match(...) by itself""",
        ),
        (
            "most / 2",
            "true",
            "merge.yaml:8: params.t.*: `true` is not a number\n  hint: numbers are decimal: 7, 0.5, 1e-3",
        ),
    ],
)
def test_mistakes_name_the_line_of_the_table(right, wrong, message):
    with pytest.raises(RecipeError) as error:
        build(loads(RECIPE.replace(right, wrong), "merge.yaml"), VECTORS, CALLABLES)
    assert str(error.value) == message


def test_a_parameter_further_down_is_unknown():
    text = RECIPE.replace("  most: 0.8\n", "").replace("let:", "  most: 0.8\nlet:")
    with pytest.raises(RecipeError, match="unknown name `most`"):
        check(loads(text), CALLABLES)


def test_one_line_of_braces_is_explained():
    with pytest.raises(RecipeError) as error:
        loads('params:\n  t: {"*attn*": ramp(0, 1), "*": 1}\n', "merge.yaml")
    assert str(error.value) == (
        "merge.yaml:2: params.t: inside braces and brackets YAML cuts `ramp(0, 1)` at its commas\n"
        '    t: {"*attn*": ramp(0, 1), "*": 1}\n'
        "                  ^^^^^^^^^^\n"
        "  hint: give it a line of its own, or quote it: 'ramp(0, 1)'"
    )
