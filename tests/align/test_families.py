"""Known specs: any permutations that they allow leave the function as it was, and doubt is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.align.nets import FAMILIES, Family, Named, ResNet, State, made, outputs
from weightmath.align import Spec, permuted, spec_for
from weightmath.align.known import families
from weightmath.dtypes import DTYPES
from weightmath.errors import LayoutError, RecipeError, WeightmathError
from weightmath.layout import Entry, Layout


def layout_of(state: State) -> Layout:
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return Layout.of(Entry(name, tuple(tensor.shape), DTYPES["float64"]) for name, tensor in floats.items())


def shapes(**tensors: tuple[int, ...]) -> Layout:
    return Layout.of(Entry(name.replace("__", "."), shape, DTYPES["float32"]) for name, shape in tensors.items())


def shuffled(spec: Spec, seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {one.name: rng.permutation(one.size) for one in spec.permutations}


def moved(state: State, spec: Spec, orders: dict[str, np.ndarray]) -> State:
    return {name: torch.from_numpy(permuted(tensor.numpy(), name, spec, orders)) for name, tensor in state.items()}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def test_the_function_stays(family: Family) -> None:
    net = made(family, 0)
    state = net.state_dict()
    spec, _ = spec_for("auto", layout_of(state), family.heads)
    assert len(spec.permutations) == family.permutations
    orders = shuffled(spec)
    other = moved(state, spec, orders)
    changed = [name for name in spec.of_tensor if not torch.equal(other[name], state[name])]
    assert len(changed) > len(spec.of_tensor) / 2
    np.testing.assert_allclose(outputs(family, net, other), outputs(family, net), rtol=1e-9, atol=1e-9)


def test_every_permutation_is_free_of_the_others(family: Family) -> None:
    net = made(family, 0)
    spec, _ = spec_for("auto", layout_of(net.state_dict()), family.heads)
    for name, order in shuffled(spec).items():
        other = moved(net.state_dict(), spec, {**spec.identity(), name: order})
        np.testing.assert_allclose(outputs(family, net, other), outputs(family, net), rtol=1e-9, atol=1e-9)


def test_inverse_orders_undo(family: Family) -> None:
    state = made(family, 0).state_dict()
    spec, _ = spec_for("auto", layout_of(state), family.heads)
    orders = shuffled(spec)
    undone = {name: np.argsort(order) for name, order in orders.items()}
    back = moved(moved(state, spec, orders), spec, undone)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_move_left_out_would_be_seen(family: Family) -> None:
    """The comparison of outputs can fail: without any one of its moves, a spec changes the function."""
    net = made(family, 0)
    spec, _ = spec_for("auto", layout_of(net.state_dict()), family.heads)
    for permutation in spec.permutations:
        order = np.roll(np.arange(permutation.size), 1)
        for move in permutation.moves:
            if move.tensor.endswith("key.bias"):
                continue  # it shifts all scores of a query alike, which a softmax does not see
            fewer = Spec(
                (type(permutation)(permutation.name, permutation.size, tuple(set(permutation.moves) - {move})),)
            )
            other = moved(net.state_dict(), fewer, {permutation.name: order})
            assert np.abs(outputs(family, net, other) - outputs(family, net)).max() > 1e-6, move


def test_families_are_told_apart() -> None:
    found = {
        name: spec_for("auto", layout_of(made(one, 0).state_dict()), one.heads)[1] for name, one in FAMILIES.items()
    }
    made_of_chains = dict.fromkeys(("mlp", "named", "vgg"), "chain")
    resnets = dict.fromkeys(("resnet", "resnet-deep", "resnet-cifar"), "resnet")
    assert found == {**made_of_chains, **resnets, **{name: name for name in ("gpt2", "vit", "llama", "bert", "torch")}}
    assert set(found.values()) == set(families())


def test_without_a_number_of_heads_they_stay() -> None:
    state = made(FAMILIES["vit"], 0).state_dict()
    spec, _ = spec_for("vit", layout_of(state))
    assert [one.name for one in spec.permutations] == ["units of blocks.0.mlp", "units of blocks.1.mlp"]
    assert [name for name, _ in spec.left_out] == ["heads of blocks.0.attn", "heads of blocks.1.attn"]


def test_a_resnet_around_its_stages() -> None:
    spec, _ = spec_for("auto", layout_of(ResNet().state_dict()))
    assert {one.name: (one.size, len(one.moves)) for one in spec.permutations} == {
        "stem": (6, 21),
        "layer1.0 after conv1": (6, 7),
        "layer1.1 after conv1": (6, 7),
        "stream from layer2.0": (10, 20),
        "layer2.0 after conv1": (10, 7),
        "layer2.1 after conv1": (10, 7),
    }


DOUBTS = {
    "a tensor of no layer": (shapes(a1__weight=(4, 3), a1__bias=(4,), a2__weight=(2, 4), scale=(1,)), "`scale`"),
    "an embedding": (shapes(emb__weight=(10, 4), fc__weight=(2, 10)), "`emb.weight` leaves doubt"),
    "nested layers": (shapes(l__0__0__weight=(4, 4), l__0__1__weight=(4, 4)), "a residual connection"),
    "widths that do not meet": (shapes(fc1__weight=(4, 3), fc2__weight=(2, 5)), "`fc2` leaves doubt.*takes 5 inputs"),
    "two orders": (
        shapes(fc__weight=(4, 4), linear__weight=(4, 4)),
        "`fc`, `linear` can follow each other in 2 orders",
    ),
    "an actor and a critic": (
        shapes(actor__0__weight=(9, 4), actor__2__weight=(4, 9), critic__0__weight=(9, 4), critic__2__weight=(1, 9)),
        "names do not tell in which order the layers `actor.#`, `critic.#` follow",
    ),
    "no order": (shapes(one__weight=(4, 3), two__weight=(5, 7)), "in no order do the layers"),
    "a linear layer of twice the width": (shapes(fc1__weight=(4, 3), fc2__weight=(2, 8)), "takes 8 inputs"),
    "a single layer": (shapes(fc__weight=(4, 3)), "no two layers"),
    "a norm before or after": (
        shapes(fc1__weight=(4, 4), fc2__weight=(4, 4), ln1__weight=(4,), ln1__bias=(4,)),
        "a norm before or after `fc1`",
    ),
    "a norm of another width": (shapes(fc1__weight=(4, 3), fc2__weight=(2, 4), bn1__weight=(3,)), "`bn1` leaves doubt"),
    "a norm at the end": (shapes(fc1__weight=(4, 3), fc2__weight=(2, 4), bn2__weight=(2,)), "`bn2` leaves doubt"),
    "a recurrent layer": (shapes(rnn__weight_ih_l0=(4, 3), fc__weight=(2, 4)), "`rnn.weight_ih_l0` leaves doubt"),
    "a norm of groups": (
        shapes(f__0__weight=(8, 3, 3, 3), f__1__weight=(8,), f__1__bias=(8,), f__3__weight=(4, 8, 3, 3)),
        "`f.1` leaves doubt.*perhaps of groups of channels",
    ),
    "grouped convolutions": (
        shapes(c1__weight=(8, 3, 3, 3), c2__weight=(8, 2, 3, 3), c3__weight=(4, 8, 3, 3)),
        "`c2` leaves doubt",
    ),
}


@pytest.mark.parametrize("layout", DOUBTS.values(), ids=DOUBTS)
def test_doubt_is_refused_by_name(layout: tuple[Layout, str]) -> None:
    with pytest.raises(LayoutError, match=layout[1]):
        spec_for("auto", layout[0])


def test_what_a_transformer_has_besides_is_refused() -> None:
    state = made(FAMILIES["vit"], 0).state_dict()
    state["blocks.1.attn.relative_position_bias_table"] = torch.zeros(9, 3)
    with pytest.raises(
        LayoutError, match=r"`blocks\.1\.attn\.relative_position_bias_table` is not in `heads of blocks\.1"
    ):
        spec_for("auto", layout_of(state), 3)


def test_what_a_resnet_has_besides_is_refused() -> None:
    state = ResNet().state_dict()
    state["layer1.0.se.fc.weight"] = torch.zeros(6, 6)
    with pytest.raises(LayoutError, match=r"`layer1\.0\.se\.fc\.weight` is no tensor of a residual network"):
        spec_for("auto", layout_of(state))


def test_a_resnet_with_norms_of_groups() -> None:
    state = {name: tensor for name, tensor in ResNet().state_dict().items() if "running" not in name}
    with pytest.raises(LayoutError, match="`bn1` has no running statistics, and may be a norm of groups"):
        spec_for("auto", layout_of(state))


def test_a_stage_without_a_shortcut_of_its_own() -> None:
    state = {name: tensor for name, tensor in ResNet().state_dict().items() if "downsample" not in name}
    with pytest.raises(LayoutError, match=r"`layer2\.0\.conv2\.weight` has 10 elements, and `stem` 6 units"):
        spec_for("auto", layout_of(state))


def test_two_families_at_once() -> None:
    both = {**made(FAMILIES["vit"], 0).state_dict(), **made(FAMILIES["gpt2"], 0).state_dict()}
    with pytest.raises(LayoutError, match="several families: gpt2 vit"):
        spec_for("auto", layout_of(both), 3)


@pytest.mark.parametrize(
    ("name", "heads", "says"),
    [
        ("resnett", None, "no spec `resnett`.*did you mean `resnet`"),
        ("chain", 0, "a number of heads is 1 or more"),
        ("chain", 2, "the spec `chain` has no heads in this model"),
        ("gpt2", None, "no floating-point tensor is called `<model.>h.<i>.mlp.c_fc.weight`"),
        ("resnet", None, "0 residual networks"),
    ],
)
def test_a_family_that_it_is_not(name: str, heads: int | None, says: str) -> None:
    with pytest.raises((RecipeError, LayoutError)) as error:
        spec_for(name, layout_of(Named().state_dict()), heads)
    import re

    assert re.search(says, str(error.value), re.DOTALL)


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(WeightmathError, match="5 units"):
        spec_for("vit", layout_of(made(FAMILIES["vit"], 0).state_dict()), 5)


def llama(queries: int, keys: int) -> Layout:
    """A block of Llama with so many rows of queries and of keys."""
    units = {"gate_proj": (20, 12), "up_proj": (20, 12), "down_proj": (12, 20)}
    heads = {"q_proj": (queries, 12), "k_proj": (keys, 12), "v_proj": (keys, 12), "o_proj": (12, queries)}
    rows = {
        **{f"mlp.{name}": shape for name, shape in units.items()},
        **{f"self_attn.{k}": v for k, v in heads.items()},
    }
    return shapes(**{f"model.layers.0.{name}.weight": shape for name, shape in rows.items()})


@pytest.mark.parametrize(("queries", "keys", "groups"), [(4096, 1024, 8), (4096, 4096, 32), (4096, 128, 1)])
def test_queries_that_share_keys_move_with_them(queries: int, keys: int, groups: int) -> None:
    spec, _ = spec_for("llama", llama(queries, keys), 32)
    assert spec.by_name["heads of model.layers.0.self_attn"].size == groups


@pytest.mark.parametrize(("queries", "keys", "heads"), [(36, 12, 2), (36, 12, 5), (36, 8, 6), (36, 0, 6), (36, 24, 6)])
def test_keys_that_are_no_whole_heads(queries: int, keys: int, heads: int) -> None:
    """Blocks that are parts of heads have shapes that fit, too: 12 keys in 2 blocks, where 6 heads of 6 share them."""
    with pytest.raises(LayoutError, match=r"(?s)`heads of model.layers.0.*no whole heads.*num_attention_heads"):
        spec_for("llama", llama(queries, keys), heads)


def test_fused_queries_that_share_keys_are_refused() -> None:
    """Eight queries, two keys and two values, each two wide: 24 rows would be 3 parts of 8 heads, one wide."""
    block = {"qkv": (24, 16), "proj": (16, 16)}
    units = {"fc1": (20, 16), "fc2": (16, 20)}
    names = {**{f"attn.{name}": s for name, s in block.items()}, **{f"mlp.{name}": s for name, s in units.items()}}
    layout = shapes(**{f"blocks.0.{name}.weight": shape for name, shape in names.items()})
    with pytest.raises(LayoutError, match=r"has 8 elements for its heads on axis 0 of `blocks\.0.*, and 16 on"):
        spec_for("vit", layout, 8)


def test_groups_by_their_usual_names() -> None:
    layout = shapes(out__weight=(3, 7), hidden__weight=(7, 9), net__fc1__weight=(9, 4), net__fc2__weight=(9, 9))
    spec, _ = spec_for("auto", layout)
    assert [one.name for one in spec.permutations] == [f"units of {name}" for name in ("net.fc1", "net.fc2", "hidden")]


def test_linear_layers_only_may_be_unmoved() -> None:
    """A chain that ends in a layer without a bias is one too."""
    net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    spec, _ = spec_for("auto", layout_of(net.state_dict()))
    assert [len(one.moves) for one in spec.permutations] == [2]
