"""Outputs computed again: equal where nothing was touched, and each change of a file found where it was made."""

import re

import pytest
import safetensors.torch
import torch

from tests.merging import Bench
from weightmath.errors import CheckpointError, RecipeError
from weightmath.job import prepare
from weightmath.recipe import loads
from weightmath.running import run
from weightmath.verify.verification import verify

HEAD = "inputs: {base: base.ckpt, chat: chat.ckpt, code: code.ckpt}\n"


def state(seed):
    g = torch.Generator().manual_seed(seed)
    return {
        "blocks.0.w": torch.randn(300, 700, generator=g),
        "blocks.1.w": torch.randn(90, 50, generator=g).bfloat16(),
        "blocks.1.b": torch.randn(50, generator=g),
        "bn.running_mean": torch.randn(5, generator=g),
        "head": torch.randn(70_001, generator=g),
        "steps": torch.tensor(seed),
    }


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.save(base=state(0), chat=state(1), code=state(2))
    return made


def verified(bench, name="out.ckpt", **options):
    return verify(bench.folder / name, threads=2, **options)


FORMULAS = {
    "average": "0.5 * base + 0.25 * chat + 0.25 * code",
    "a wide selection": "ties(base, [chat, code], densities=0.3)",
    "statistics of a tensor": "base + 0.1 * std(base, scope='tensor') * gaussian(seed=3)",
    "statistics of a layer": "base + norm(chat - base, scope='layer') / 1000 * (code - base)",
    "masks": "dare(base, [chat, code], densities=0.5, seed=1)",
    "whole tensors": "low_rank(base, chat, rank=2)",
    "part of it": "base + only(chat - base, 'blocks.1*')",
}


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_what_a_recipe_makes_is_what_it_makes(bench, formula):
    bench.run(f'{HEAD}save: {{out.ckpt: "{formula}"}}\n')
    whole = verified(bench)
    assert whole.differences == ()
    assert (whole.sample, whole.other_inputs, whole.is_untouched) == (None, {}, None)
    assert (whole.tensors, whole.elements) == (6, sum(value.numel() for value in state(0).values()))
    for seed in range(3):
        part = verified(bench, share=0.4, seed=seed)
        assert part.differences == ()
        assert part.sample.size == 4
        assert part.sample.among == 10
        assert 0 < part.elements < whole.elements


def changed(bench, name, change):
    """Change a tensor of out.ckpt in place, and nothing else of the file's structure."""
    content = torch.load(bench.folder / "out.ckpt", weights_only=True)
    change(content["state_dict"])
    torch.save(content, bench.folder / name)


def flip(name, *elements):
    """Turn the last bit of some elements of a tensor."""

    def change(tensors):
        width = {4: torch.int32, 2: torch.int16, 8: torch.int64}[tensors[name].element_size()]
        for element in elements:
            tensors[name].reshape(-1).view(width)[element : element + 1] ^= 1

    return change


@pytest.mark.parametrize(
    ("tensor", "elements"),
    [("blocks.0.w", (209_999, 4_000, 70_000)), ("blocks.1.w", (7,)), ("head", (65_536,)), ("steps", (0,))],
)
def test_the_first_element_that_differs_is_found(bench, tensor, elements):
    recipe = f"{HEAD}save: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n"
    bench.run(recipe)
    (bench.folder / "recipe.yaml").write_text(recipe)
    changed(bench, "changed.ckpt", flip(tensor, *elements))
    found = verified(bench, "changed.ckpt", recipe=bench.folder / "recipe.yaml")
    (one,) = found.differences
    assert (one.tensor, one.fact, one.different, one.first) == (tensor, "values", len(elements), min(elements))
    expected = torch.load(bench.folder / "out.ckpt")["state_dict"][tensor].reshape(-1)[min(elements)]
    there = torch.load(bench.folder / "changed.ckpt")["state_dict"][tensor].reshape(-1)[min(elements)]
    assert (one.expected, one.found) == (expected.item(), there.item())
    assert one.expected != one.found


def test_a_sample_finds_what_lies_in_its_tiles(bench):
    recipe = f"{HEAD}save: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n"
    bench.run(recipe)
    (bench.folder / "recipe.yaml").write_text(recipe)
    changed(bench, "changed.ckpt", flip("blocks.0.w", 0, 70_000, 140_000, 209_999))
    options = {"recipe": bench.folder / "recipe.yaml", "share": 0.1}
    seen = [bool(verified(bench, "changed.ckpt", seed=seed, **options).differences) for seed in range(20)]
    assert True in seen
    assert False in seen
    assert verified(bench, "changed.ckpt", recipe=options["recipe"], share=1.0).differences


def test_tensors_of_another_form(bench):
    recipe = f"{HEAD}save: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n"
    bench.run(recipe)
    (bench.folder / "recipe.yaml").write_text(recipe)

    def change(tensors):
        tensors["more"] = torch.ones(2)
        tensors["head"] = tensors["head"].half()
        tensors["blocks.1.b"] = tensors["blocks.1.b"][None]
        del tensors["steps"]

    changed(bench, "changed.ckpt", change)
    found = verified(bench, "changed.ckpt", recipe=bench.folder / "recipe.yaml")
    assert {one.tensor: one.fact for one in found.differences} == {
        "blocks.1.b": "has shape [1, 50], not [50]",
        "head": "is float16, not float32",
        "more": "extra",
        "steps": "missing",
    }


def test_tails_and_combined_integers_are_compared_too(bench):
    shorter = {**state(4), "blocks.0.w": state(4)["blocks.0.w"][:290]}
    bench.save(shorter=shorter)
    text = (
        "inputs: {base: base.ckpt, shorter: shorter.ckpt}\n"
        "save: {out.ckpt: {value: 0.5 * base + 0.5 * shorter, dtype: float16, drop: state_dict.bn*}}\n"
        'integers: max\nexcept: bn*\nfit: {"blocks.0.w": rows}\n'
    )
    bench.run(text)
    assert verified(bench).differences == ()
    assert verified(bench, share=0.5).differences == ()
    (bench.folder / "recipe.yaml").write_text(text)
    changed(bench, "changed.ckpt", lambda s: [flip("blocks.0.w", 209_999)(s), flip("steps", 0)(s)])
    found = verified(bench, "changed.ckpt", recipe=bench.folder / "recipe.yaml")
    assert [one.tensor for one in found.differences] == ["blocks.0.w", "steps"]


def test_a_touched_file_and_other_inputs_are_told(bench):
    bench.run(f"{HEAD}save: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n")
    (bench.folder / "chat.ckpt").write_bytes((bench.folder / "code.ckpt").read_bytes())
    found = verified(bench)
    assert len(found.differences) == 5  # bn.running_mean too, as it is an average; the counter is base's
    assert (list(found.other_inputs), found.is_untouched) == (["chat"], True)
    content = (bench.folder / "out.ckpt").read_bytes()
    number = torch.load(bench.folder / "out.ckpt")["state_dict"]["blocks.1.b"].numpy().tobytes()
    (bench.folder / "out.ckpt").write_bytes(content.replace(number, number[::-1]))
    assert verified(bench).is_untouched is False


def test_inputs_are_looked_for_beside_it_and_can_be_given(bench):
    bench.run(f"{HEAD}save: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n")
    away = bench.folder / "away"
    away.mkdir()
    (bench.folder / "out.ckpt").rename(away / "renamed.ckpt")
    (bench.folder / "base.ckpt").rename(away / "base.ckpt")
    with pytest.raises(RecipeError) as caught:
        verified(bench, "away/renamed.ckpt")
    assert caught.value.of_command() == (
        "merge.yaml: inputs: there are inputs that cannot be found: `chat` (chat.ckpt), `code` (code.ckpt)\n"
        "  hint: --input chat=PATH/chat.ckpt --input code=PATH/code.ckpt"
    )
    given = [f"{name}={bench.folder}/{name}.ckpt" for name in ("chat", "code")]
    assert verified(bench, "away/renamed.ckpt", inputs=given).differences == ()


@pytest.mark.parametrize(
    ("recipe", "base", "output"),
    [
        ("r", "models/base.ckpt", "out.ckpt"),
        ("r", "../out/models/base.ckpt", "../out/out.ckpt"),
        ("r", "b.ckpt", "o.ckpt"),
    ],
)
@pytest.mark.parametrize("moved", [False, True])
def test_inputs_are_found_where_they_lay_as_seen_from_it(bench, recipe, base, output, moved):
    folder = bench.folder / "project" / recipe
    for file in (folder / base, folder / output):
        file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state(5)}, folder / base)
    text = f"inputs: {{base: {base}}}\nsave: {{{output}: 0.5 * base + 0.5 * base}}\n"
    run(prepare(loads(text, "merge.yaml", folder / "merge.yaml")), threads=2)
    if moved:
        (bench.folder / "project").rename(bench.folder / "elsewhere")
        folder = bench.folder / "elsewhere" / recipe
    assert verify(folder / output, threads=2).differences == ()


def test_lists_and_one_of_several_outputs(bench):
    runs = bench.folder / "runs"
    runs.mkdir()
    for number in (9, 10, 11):
        torch.save({"state_dict": state(number)}, runs / f"e{number}.ckpt")
    text = 'inputs: {runs: {glob: "runs/*.ckpt", last: 2}}\nsave: {mean.ckpt: mean(runs), first.ckpt: "runs[0]"}\n'
    bench.run(text)
    for name in ("mean.ckpt", "first.ckpt"):
        assert verified(bench, name).differences == ()
        assert verified(bench, name, inputs=[f"runs={runs}/*.ckpt"]).differences == ()
    (bench.folder / "mean.ckpt").rename(bench.folder / "first.ckpt")
    with pytest.raises(RecipeError, match="cannot tell which of its outputs"):
        verified(bench, "first.ckpt", inputs=[f"runs={runs}/*.ckpt"])


def test_what_it_was_converted_to_does_not_matter(bench):
    bench.run(f"{HEAD}save: {{out.safetensors: 0.5 * base + 0.5 * chat}}\n")
    assert verified(bench, "out.safetensors").differences == ()
    tensors = safetensors.torch.load_file(bench.folder / "out.safetensors")
    torch.save(tensors, bench.folder / "plain.ckpt")
    (bench.folder / "recipe.yaml").write_text(f"{HEAD}save: {{any.ckpt: 0.5 * base + 0.5 * chat}}\n")
    assert verified(bench, "plain.ckpt", recipe=bench.folder / "recipe.yaml").differences == ()


def test_questions_are_not_asked_again(bench):
    bench.run(f"{HEAD}show: norm(base)\nexpect: norm(base) > 0\nsave: {{out.ckpt: 0.5 * base + 0.5 * chat}}\n")
    found = verified(bench)
    assert (found.differences, found.reads) == ((), 1)
    assert re.search("norm", str(found.job.built)) is None


def test_without_a_record_or_a_recipe_there_is_nothing_to_verify(bench):
    with pytest.raises(CheckpointError, match="carries no record of how it was made") as caught:
        verified(bench, "base.ckpt")
    assert caught.value.hint == "say how: --recipe RECIPE"
