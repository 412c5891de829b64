"""Layer masks and ramps: their numbers against a formula written out, what they print, what they refuse."""

import numpy as np
import pytest

from tests.families import llama, resnet
from weightmath import functions as f
from weightmath.algebra.layers import Layers, Ramp, layer_numbers
from weightmath.dtypes import FLOAT32
from weightmath.errors import RecipeError
from weightmath.layout import Entry, Layout


def layout_of(shapes):
    return Layout.of(Entry(name, shape, FLOAT32) for name, shape in shapes.items())


LLAMA = layout_of(llama(layers=11))


def by_layer(values, layout):
    """Numbers of `model.layers.N.` by N, each tensor of a layer having the same, and the numbers of the rest."""
    found, rest = {}, set()
    for name, value in zip(layout.names, values, strict=True):
        if name.startswith("model.layers."):
            found.setdefault(int(name.split(".")[2]), set()).add(float(value))
        else:
            rest.add(float(value))
    return {layer: min(numbers) for layer, numbers in sorted(found.items()) if len(numbers) == 1}, rest


@pytest.mark.parametrize("points", [(0, 1), (1, 0), (0, 0.5, 0.3, 0.7, 1), (0.4,), (2, -1, 2)])
def test_a_ramp_runs_through_its_points(points):
    numbers, rest = by_layer(Ramp(points).values(LLAMA), LLAMA)
    expected = []
    for layer in range(11):
        x = layer / 10 * (len(points) - 1)
        left = min(int(x), max(len(points) - 2, 0))
        right = min(left + 1, len(points) - 1)
        expected.append(points[left] + (points[right] - points[left]) * (x - left))
    assert list(numbers.values()) == pytest.approx(expected, abs=1e-12)
    assert rest == {(points[0] + points[-1]) / 2}


def test_tensors_without_a_layer_get_what_otherwise_says():
    assert by_layer(Ramp((0, 1), otherwise=0.25).values(LLAMA), LLAMA)[1] == {0.25}


def test_a_model_of_one_layer_is_at_the_first_point():
    one = layout_of(llama(layers=1))
    assert by_layer(Ramp((0.2, 1)).values(one), one)[0] == {0: 0.2}


def test_copies_without_dots_are_of_the_layers_of_what_they_copy():
    names = [f"model.diffusion_model.input_blocks.{i}.1.proj.weight" for i in (0, 1, 10)]
    copies = ["model_ema." + name.partition(".")[2].replace(".", "") for name in names]
    layout = layout_of(dict.fromkeys([*names, *copies, "model_ema.decay", "fc7.ab", "fc5.a.b"], (2,)))
    numbers = dict(zip(layout.names, layer_numbers(layout), strict=True))
    assert [numbers[name] for name in names] == [numbers[copy] for copy in copies] == [0, 1, 10]
    assert (numbers["fc7.ab"], numbers["fc5.a.b"]) == (7, 5)
    assert np.isnan(numbers["model_ema.decay"])


def test_the_layer_can_be_said():
    stages = layout_of(resnet())
    numbers = Ramp((0, 1), along=r"re:layer\d\.(\d+)").values(stages)
    for name, number in zip(stages.names, numbers, strict=True):
        assert number == {"0": 0.0, "1": 1.0}.get(name.split(".")[1] if name.startswith("layer") else "", 0.5)


def test_a_ramp_says_which_layer_it_ran_on():
    described = Ramp((0, 1)).describe(LLAMA)
    assert described.rule == "ramp(0, 1)"
    assert described.note == (
        "the layer is the first number in the name (`model.layers.10.input_layernorm.weight`: 10); "
        "layers run from 0 to 10; 3 tensors without one get 0.5"
    )
    assert [(part.label, len(part.tensors), part.number) for part in described.parts[-2:]] == [
        ("layer 10", 9, 1.0),
        ("no layer", 3, 0.5),
    ]


def test_one_tensor_without_a_layer_is_one():
    few = Layout.of(entry for entry in LLAMA if "layers." in entry.name or entry.name == "lm_head.weight")
    assert Ramp((0, 1)).describe(few).note.endswith("; 1 tensor without one gets 0.5")


def test_a_layer_mask_says_that_its_end_is_included():
    rule = Layers(3, 7)
    numbers, rest = by_layer(rule.values(LLAMA), LLAMA)
    assert [layer for layer, inside in numbers.items() if inside] == [3, 4, 5, 6, 7]
    assert rest == {0.0}
    described = rule.describe(LLAMA)
    assert described.rule == "layer(3, 7)"
    assert described.note.startswith("layers 3 to 7, 7 included; the layer is the first number in the name")
    assert [(part.label, part.number) for part in described.parts] == [
        *((f"layer {layer}", 1.0) for layer in range(3, 8)),
        ("other layers", 0.0),
        ("no layer", 0.0),
    ]


def test_one_argument_is_one_layer():
    assert str(f.layer(3)) == "layer(3)"
    assert f.layer(3).option("rule").describe(LLAMA).note.startswith("layer 3; ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: f.layer(7, 3), "layer(7, 3) is empty: the first layer comes after the last"),
        (f.ramp, "a ramp needs at least one point\n  hint: ramp(0, 1)"),
        (
            lambda: f.ramp(0, "1"),
            'ramp(): `points` must be a plain number, not `"1"`\n'
            "  hint: a number stands without quotes and with a point: 1",
        ),
        (
            lambda: f.ramp(0, 1, along="blocks"),
            '`along` must be a regular expression, not `blocks`\n  hint: for example: along="re:blocks\\.(\\d+)"',
        ),
        (
            lambda: f.layer(1, along="re:blocks"),
            '`re:blocks` has no group\n  hint: put the number in parentheses: along="re:blocks\\.(\\d+)"',
        ),
        (
            lambda: f.ramp(0, 1, along="re:("),
            "`re:(` is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_calls_that_cannot_be_meant(call, message):
    with pytest.raises(RecipeError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("rule", "names", "message"),
    [
        (
            Ramp((0, 1)),
            ["head.weight"],
            'no tensor\'s name holds a layer number\n  hint: say where it stands: along="re:blocks\\.(\\d+)"',
        ),
        (
            Ramp((0, 1), along=r"re:h\.(\d+)"),
            ["layers.1.w"],
            '`re:h\\.(\\d+)` matches no tensor\'s name\n  hint: say where it stands: along="re:blocks\\.(\\d+)"',
        ),
        (
            Ramp((0, 1), along=r"re:layers\.(\w+)"),
            ["layers.a.w"],
            "`along` finds 'a' in `layers.a.w`, and a layer has a number\n"
            '  hint: its group must match digits: along="re:blocks\\.(\\d+)"',
        ),
        (
            Layers(7, 9),
            ["layers.0.w", "layers.2.w"],
            "layer(7, 9) holds no tensor: layers run from 0 to 2\n  hint: the last layer is included",
        ),
    ],
)
def test_layouts_that_do_not_fit(rule, names, message):
    with pytest.raises(RecipeError) as error:
        rule.values(layout_of(dict.fromkeys(names, (2,))))
    assert str(error.value) == message


def test_values_do_not_leave_the_numbers_that_were_written():
    rule = Ramp((0, 0.5, 0.3, 1), otherwise=-1)
    values = rule.values(LLAMA)
    assert min(rule.numbers) <= values.min()
    assert values.max() <= max(rule.numbers)
    with pytest.raises(RecipeError, match=r"must be in \[0, 1\], not 2"):
        f.bernoulli(f.ramp(0, 2), seed=1)
    assert np.isfinite(values).all()
