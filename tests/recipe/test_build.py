"""The graph that a recipe builds, against the same arithmetic written in Python; and its checks of names and ends."""

import pytest
from test_recipe import RECIPE

from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Input, Vector, input_vector, vector
from weightmath.algebra.names import Table
from weightmath.errors import KindError, RecipeError
from weightmath.layout import Layout
from weightmath.recipe import Recipe, build, check, loads

CALLABLES = {name: declared.call for name, declared in {**f.FUNCTIONS, **methods.load()}.items()}
base, chat = (input_vector(Input(name, Layout(()))) for name in ("base", "chat"))
VECTORS = {"base": base, "chat": chat}


def message(right: str, wrong: str) -> str:
    assert right in RECIPE
    with pytest.raises((RecipeError, KindError)) as caught:
        build(loads(RECIPE.replace(right, wrong, 1), "merge.yaml"), VECTORS, CALLABLES)
    return str(caught.value)


def test_the_graph_is_the_one_that_python_builds():
    built = build(loads(RECIPE), VECTORS, CALLABLES)
    rate = vector(Table((("*.bias", 0.0), ("*", 1.0))))
    # Precedence as in Python: strength * rate is made first.
    merged = base + 0.6 * rate * (chat - base)
    assert list(built.values) == ["base", "chat", "strength", "rate", "skill", "merged"]
    assert built.values["merged"] is merged
    assert [text for text, _ in built.show] == ["norm(skill)"]
    assert built.show[0][1] is f.norm(chat - base)
    assert [text for text, _ in built.expect] == ["norm(skill) > 0"]
    assert built.expect[0][1] is (f.norm(chat - base) > 0)
    assert built.saves["merged.ckpt"] is merged


def test_inputs_may_be_lists():
    recipe = loads("inputs: {runs: x}\nsave: {a.ckpt: 'mean(runs) + runs[-1]'}")
    built = build(recipe, {"runs": [base, chat]}, CALLABLES)
    assert built.saves["a.ckpt"] is f.mean([base, chat]) + chat


def test_a_table_is_shown_as_its_numbers():
    built = build(loads(RECIPE.replace("- norm(skill)", "- rate", 1)), VECTORS, CALLABLES)
    assert built.show[0][1] is vector(Table((("*.bias", 0.0), ("*", 1.0))))


def test_constant_expectations_are_truth_values():
    built = build(loads(RECIPE.replace("norm(skill) > 0", "strength <= 1")), VECTORS, CALLABLES)
    assert built.expect == (("strength <= 1", True),)


def test_names_are_checked_without_checkpoints():
    class Unread(dict[str, Vector]):
        def __getitem__(self, name: str) -> Vector:
            raise AssertionError("an input was opened")

    recipe: Recipe = loads(RECIPE)
    check(recipe, CALLABLES)
    with pytest.raises(RecipeError, match="unknown function"):
        build(loads(RECIPE.replace("norm(skill)", "nom(skill)")), Unread(), CALLABLES)


MISTAKES = [
    (
        "skill: chat - base",
        "skill: chat - bse",
        """\
merge.yaml:8: let.skill: unknown name `bse`
  chat - bse
         ^^^
  hint: did you mean `base`?""",
    ),
    (
        "skill: chat - base",
        "skill: keep_lagest(chat - base)",
        """\
merge.yaml:8: let.skill: unknown function `keep_lagest`
  keep_lagest(chat - base)
  ^^^^^^^^^^^^^^^^^^^^^^^^
  hint: did you mean `keep_largest`?""",
    ),
    (
        "skill: chat - base",
        "skill: keep_largest(chat - base, densty=0.1)",
        """\
merge.yaml:8: let.skill: keep_largest(): unknown parameter `densty`
  keep_largest(chat - base, densty=0.1)
  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: did you mean `density`?""",
    ),
    (
        "skill: chat - base",
        "skill: chat - merged",
        """\
merge.yaml:8: let.skill: `merged` is used before it is defined
  chat - merged
         ^^^^^^
  hint: move `merged` above this entry""",
    ),
    (
        "skill: chat - base",
        "skill: skill - base",
        """\
merge.yaml:8: let.skill: `skill` is used in its own definition
  skill - base
  ^^^^^
  hint: give the new value another name""",
    ),
    (
        "strength: 0.6",
        "mean: 0.6",
        "merge.yaml:5: params.mean: `mean` is the name of a function or method\n  hint: call it my_mean",
    ),
    (
        "- norm(skill)\n",
        "- skill\n",
        """\
merge.yaml:11: show[0]: this has a value for every element
  skill
  ^^^^^
  hint: show a statistic of it: norm(x), or mean(x, scope="layer"); or save it: `save:` in a recipe, -o with -e""",
    ),
    (
        "- norm(skill)\n",
        "- '[norm(skill), 1]'\n",
        """\
merge.yaml:11: show[0]: this is a list, and not of plain numbers
  [norm(skill), 1]
  ^^^^^^^^^^^^^^^^
  hint: show each of its items by itself""",
    ),
    (
        "norm(skill) > 0",
        'norm(skill, scope="layer") > 0',
        """\
merge.yaml:13: expect[0]: an expectation is one truth value, and this has many
  norm(skill, scope="layer") > 0
  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: all(...) or any(...) of it is one""",
    ),
    (
        "value: merged",
        'value: "[base, chat]"',
        """\
merge.yaml:15: save.merged.ckpt: an output is one vector, and this is a list
  [base, chat]
  ^^^^^^^^^^^^
  hint: mean(list) averages it; list[0] is its first vector""",
    ),
    (
        "value: merged",
        "value: strength",
        """\
merge.yaml:15: save.merged.ckpt: an output is a vector, and this holds none
  strength
  ^^^^^^^^
  hint: it depends on at least one input""",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "expected"), MISTAKES, ids=[wrong for _, wrong, _ in MISTAKES])
def test_mistake(right, wrong, expected):
    assert message(right, wrong) == expected
