"""Which tensors a value has, where a part's gap is an error, and what the message says."""

import numpy as np
import pytest

from weightmath import functions as f
from weightmath.algebra.graph import Input, Vector, input_vector
from weightmath.dtypes import FLOAT32
from weightmath.engine.plan import Output, Request, make_plan
from weightmath.errors import LayoutError
from weightmath.layout import Entry, Layout

NAMES = ("head.b", "head.w", "net.0.w", "net.1.w", "vae.dec.w", "vae.enc.w")
LAYOUT = Layout.of(Entry(name, (2, 3), FLOAT32) for name in NAMES)


def read(name: str, *patterns: str, kind: str = "model", part: bool = True) -> Vector:
    """An input with the entries whose names begin with one of these."""
    layout = Layout.of(entry for entry in LAYOUT if entry.name.startswith(patterns or ("",)))
    return input_vector(Input(name, layout, kind, part))


base, chat = read("base", part=False), read("chat", part=False)
vae, other_vae, net = read("vae", "vae."), read("other_vae", "vae."), read("net", "net.")
delta = read("delta", "net.", kind="delta")
mask = read("mask", "net.", kind="mask")


def support(value: Vector) -> set[str]:
    plan = make_plan(Request(LAYOUT, (Output("out", value),)))
    return {name.split(".")[0] for name, there in zip(LAYOUT.names, plan.facts.present[value], strict=True) if there}


EVERY = {"head", "net", "vae"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f.overlay(base, vae), EVERY),
        (f.overlay(0.5 * base + 0.5 * chat, 2 * vae - other_vae), EVERY),
        (f.overlay(vae, net), {"net", "vae"}),
        (vae, {"vae"}),
        (f.lerp(vae, other_vae, 0.3), {"vae"}),
        (base + (vae - other_vae), EVERY),
        (vae - f.only(base, "vae.*"), {"vae"}),
        (base + (vae - f.only(base, "vae.*")), EVERY),
        (base + 0.5 * delta, EVERY),
        (base + f.keep_largest(delta, density=0.5, scope="global"), EVERY),
        (f.only(base, "net.*") + delta, {"net"}),
        (f.without(base, "net.*") + delta, {"head", "vae"}),
        (f.where(f.match("vae.*"), vae, base), EVERY),
        (f.where(f.match("vae.*"), base, chat) + (f.delta(vae) - f.delta(vae)), EVERY),
        (f.where(f.overlay(mask, base != base), chat, base), EVERY),
        (base * f.norm(vae), EVERY),
    ],
    ids=str,
)
def test_support(value, expected):
    assert support(value) == expected


@pytest.mark.parametrize(
    ("value", "needs", "tensor", "others", "hint"),
    [
        (lambda: base + 0.5 * (vae - base), "vae - base", "head.b", 3, ("base", "vae", "vae.*")),
        (lambda: f.lerp(base, chat + (net - base), 0.5), "net - base", "head.b", 3, ("base", "net", "net.*")),
        (lambda: vae + net, "vae + net", "vae.dec.w", 1, ("vae", "net", "net.*")),
        (lambda: 2 * vae - 1 * base, "2 * vae - 1 * base", "head.b", 3, ("x", "vae", "vae.*")),
        (lambda: f.maximum(vae, base), "maximum(vae, base)", "head.b", 3, ("base", "vae", "vae.*")),
        (
            lambda: base * f.cosine(base, vae), "cosine(base, vae, scope='global')", "head.b", 3,
            ("base", "vae", "vae.*"),
        ),
        (lambda: f.where(mask, chat, base), "where(mask, chat, base)", "head.b", 3, ("chat", "mask", "net.*")),
        (lambda: f.where(vae > 0, chat, base), "where(vae > 0, chat, base)", "head.b", 3, ("chat", "vae", "vae.*")),
        (lambda: f.where(f.match("head.*", "vae.*"), vae, base), None, "head.b", 1, ("base", "vae", "vae.*")),
    ],
)  # fmt: skip
def test_a_gap_beside_a_tensor_is_an_error(value, needs, tensor, others, hint):
    built = value()
    with pytest.raises(LayoutError) as caught:
        make_plan(Request(LAYOUT, (Output("out", built),)))
    whole, part, pattern = hint
    assert str(caught.value) == (
        f"`{needs or built}` needs the tensor `{tensor}` and {others} more, which the part `{part}` lacks\n"
        f"  hint: {'' if part == 'mask' else f'overlay({whole}, {part}) has those of {part} and the rest of {whole}; '}"
        f'only({whole}, "{pattern}") is narrowed to the part'
    )


def test_the_place_is_that_of_the_operation():
    inner = vae - base
    value = base + inner
    places = {inner: "merge.yaml:4: let.change", value: "merge.yaml:5: let.merged"}
    with pytest.raises(LayoutError) as caught:
        make_plan(Request(LAYOUT, (Output("out", value),), places=places))
    assert caught.value.where == "merge.yaml:4: let.change"


def test_a_narrowed_model_makes_its_sum_absent_and_a_part_of_one_tensor_names_it():
    plan = make_plan(Request(LAYOUT, (Output("out", f.only(base, "net.*") + (chat - base)),)))
    value = plan.request.outputs[0].value
    assert plan.facts.present[value].tolist() == [name.startswith("net.") for name in LAYOUT.names]
    assert not any(np.any(gap) for gap in plan.facts.gaps.values())
    one = read("one", *(set(NAMES) - {"head.b"}))
    with pytest.raises(LayoutError, match=r"needs the tensor `head.b`, which the part `one` lacks"):
        make_plan(Request(LAYOUT, (Output("out", one + (base - chat)),)))
