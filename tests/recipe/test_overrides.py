"""What the command line changes: the values and paths that result, and a message for each change that cannot be."""

import os

import pytest
from test_recipe import RECIPE

from weightmath.errors import RecipeError
from weightmath.recipe import from_expression, loads, with_overrides

recipe = loads(
    RECIPE.replace("strength: 0.6", "strength: 0.6\n  word: global\n  list: [1, 2]\n  flag: true"), "merge.yaml"
)


def message(**changes) -> str:
    with pytest.raises(RecipeError) as caught:
        with_overrides(recipe, **changes)
    return caught.value.of_command()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("strength=1e-3", 0.001),
        ("strength=1", 1),
        ('strength={"*.bias": 0, "*": 2}', {"*.bias": 0, "*": 2}),
        ("rate=0.5", 0.5),
        ("word=layer", "layer"),
        ("word=7", "7"),
        ("word=re:x=(\\d+)", "re:x=(\\d+)"),
        ("list=[3]", [3]),
        ("flag=false", False),
    ],
)
def test_a_parameter(change, expected):
    changed = with_overrides(recipe, sets=[change])
    name = change.partition("=")[0]
    assert changed.spec.params[name] == expected
    assert type(changed.spec.params[name]) is type(expected)
    assert changed.changes == (f"--set {change}",)
    assert recipe.spec.params["strength"] == 0.6


def test_an_input_keeps_its_other_keys_and_its_path_is_the_current_folders():
    changed = with_overrides(recipe, inputs=["chat=other/x=1.ckpt"])
    assert changed.spec.inputs["chat"].path == os.path.abspath("other/x=1.ckpt")
    assert changed.spec.inputs["chat"].strip == ("module.",)
    assert changed.spec.inputs["base"] == recipe.spec.inputs["base"]


@pytest.mark.parametrize(
    ("change", "path"), [("x.ckpt", "x.ckpt"), ("merged.ckpt=x.ckpt", "x.ckpt"), ("epoch=9.ckpt", "epoch=9.ckpt")]
)
def test_an_output(change, path):
    changed = with_overrides(recipe, outputs=[change])
    assert changed.outputs == {"merged.ckpt": os.path.abspath(path)}
    assert list(changed.spec.save) == ["merged.ckpt"]


def test_changes_add_up():
    changed = with_overrides(with_overrides(recipe, outputs=["x.ckpt"]), sets=["strength=1"])
    assert changed.outputs == {"merged.ckpt": os.path.abspath("x.ckpt")}
    assert changed.changes == ("--output x.ckpt", "--set strength=1")
    assert with_overrides(changed, sets=["strength=2"]).spec.params["strength"] == 2


MISTAKES = [
    (
        {"sets": ["strenght=1"]},
        "--set strenght=1: unknown parameter `strenght`\n  hint: did you mean `strength`?",
    ),
    (
        {"sets": ["zzz=1"]},
        "--set zzz=1: unknown parameter `zzz`\n  hint: the parameters are: strength word list flag rate",
    ),
    (
        {"sets": ["base=x.ckpt"]},
        "--set base=x.ckpt: unknown parameter `base`\n  hint: it is an input: --input base=PATH",
    ),
    (
        {"inputs": ["strength=x"]},
        "--input strength=x: unknown input `strength`\n  hint: it is a parameter: --set strength=value",
    ),
    ({"sets": ["strength"]}, "--set: `strength` is not of the form name=value\n  hint: for example: strength=0.7"),
    ({"inputs": ["base="]}, "--input: `base=` is not of the form name=PATH\n  hint: for example: base=base.ckpt"),
    ({"sets": ["strength=much"]}, '--set strength=much: "much" is text, and the recipe has a number'),
    ({"sets": ["strength=[1, 2]"]}, "--set strength=[1, 2]: [1, 2] is a list, and the recipe has a number"),
    ({"sets": ["flag=1"]}, "--set flag=1: 1 is a number, and the recipe has true or false"),
    (
        {"outputs": ["merge.ckpt=x.ckpt"]},
        "--output merge.ckpt=x.ckpt: `merge.ckpt` is not an output of the recipe\n  hint: did you mean `merged.ckpt`?",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistake(changes, expected):
    assert message(**changes) == expected


@pytest.mark.parametrize("change", ["out/", "merged.ckpt=out/"])
def test_an_output_may_become_a_folder(change):
    assert with_overrides(loads(RECIPE), outputs=[change]).outputs == {"merged.ckpt": f"{os.path.abspath('out')}/"}


@pytest.mark.parametrize("outputs", [["x.ckpt", "y.ckpt"], ["merged.ckpt=x.ckpt", "y.ckpt"]])
def test_one_output_has_one_path(outputs):
    with pytest.raises(RecipeError) as caught:
        with_overrides(loads(RECIPE), outputs=outputs)
    assert caught.value.of_command() == ("--output y.ckpt: `merged.ckpt` is one output, and gets a second path")


def test_several_outputs_must_be_named():
    two = loads(RECIPE + "  delta.ckpt: skill\n")
    with pytest.raises(RecipeError) as caught:
        with_overrides(two, outputs=["x.ckpt"])
    assert str(caught.value) == (
        "--output x.ckpt: `x.ckpt` is not an output of the recipe\n  hint: say which: merged.ckpt=PATH delta.ckpt=PATH"
    )
    with pytest.raises(RecipeError) as caught:
        with_overrides(two, outputs=["merged.ckpt=x.ckpt", "delta.ckpt=./x.ckpt"])
    assert "would be one file" in str(caught.value)


def test_a_recipe_of_the_command_line_alone():
    made = from_expression("a + 0.5 * (b - a)", ["a=x.ckpt", "b=y=2.ckpt"], "out.ckpt")
    assert {name: given.path for name, given in made.spec.inputs.items()} == {"a": "x.ckpt", "b": "y=2.ckpt"}
    assert made.spec.save["out.ckpt"].value == "a + 0.5 * (b - a)"
    assert made.resolve("x.ckpt").as_posix() == "x.ckpt"
    assert loads(made.text).spec == made.spec


def test_a_pattern_on_the_command_line_is_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = from_expression("mean(runs)", ["runs=runs/*.ckpt"], "out.ckpt")
    assert made.spec.inputs["runs"].glob == "runs/*.ckpt"
    (tmp_path / "a[1].ckpt").touch()
    assert from_expression("a", ["a=a[1].ckpt"], "out.ckpt").spec.inputs["a"].path == "a[1].ckpt"
    folder = tmp_path / "x[1]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lists = loads("inputs: {runs: {glob: 'r/*', last: 2}, base: b.ckpt}\nsave: {o.ckpt: 'mean(runs) + 0 * base'}")
    changed = with_overrides(lists, inputs=["runs=s/*.ckpt", "base=t/*.ckpt"]).spec.inputs
    assert (changed["runs"].glob, changed["runs"].last) == (f"{tmp_path}/x[[]1]/s/*.ckpt", 2)
    assert (changed["base"].glob, changed["base"].path) == (f"{tmp_path}/x[[]1]/t/*.ckpt", None)
    one = with_overrides(lists, inputs=["runs=s/one.ckpt"]).spec.inputs["runs"]
    assert (one.glob, one.path) == (f"{tmp_path}/x[[]1]/s/one.ckpt", None)


@pytest.mark.parametrize(
    ("expression", "inputs", "expected"),
    [
        ("a +", ["a=x"], "-e: save.o.ckpt: the expression ends where a value should follow\n  a +\n     ^"),
        (
            "a",
            ["a=x", "a=y"],
            '-e: the input `a` is given twice\n  hint: a list has one pattern: a="runs/*.ckpt"',
        ),
        ("a", ["a"], "-e: `a` is not of the form name=PATH\n  hint: for example: a=x.ckpt"),
        (
            ["a", "2 * a"],
            ["a=x"],
            "-e: one expression is saved to an output, and there are several\n"
            "  hint: without -o all are shown; a recipe saves several outputs in one run",
        ),
        ("1", [], "-e: there is no input\n  hint: name each: a=x.ckpt b=y.ckpt"),
        (
            "x1",
            ["1=x"],
            "-e: inputs.1: `1` cannot be a name: names are letters, digits and _, a letter first\n  hint: call it x1",
        ),
    ],
)
def test_mistakes_on_the_command_line(expression, inputs, expected):
    with pytest.raises(RecipeError) as caught:
        from_expression(expression, inputs, "o.ckpt")
    assert str(caught.value) == expected


def test_two_outputs_that_a_point_makes_one_file_are_refused():
    text = "inputs: {a: a.ckpt}\nparams: {t: 1}\nvary: {t: [1, 2]}\nsave: {'m_{t}.ckpt': a, m_1.ckpt: a}"
    with pytest.raises(RecipeError, match="would be one file"):
        with_overrides(loads(text), sets=["t=1"])
    assert list(with_overrides(loads(text), sets=["t=2"]).outputs) == ["m_2.ckpt", "m_1.ckpt"]
