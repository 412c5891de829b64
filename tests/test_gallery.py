"""Every recipe of the gallery, run on small checkpoints with its family's names, against plain torch arithmetic."""

import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.consensus import ties
from tests.families import llama, resnet, sd15, sdxl, state, vae, vit
from tests.merging import Bench, close, same
from weightmath.errors import RecipeError
from weightmath.gallery import starter, starters, table
from weightmath.recipe import load
from weightmath.rehearsal import rehearse

RECIPES = Path(__file__).parent.parent / "recipes"
FAMILIES = ("diffusion", "language", "vision")
ELSEWHERE = ("methods", "lab")  # with tests in files of their own


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def start(kind):
    """The recipe as a person starts from it."""
    return starter(kind).text


def is_int(tensor):
    return tensor.dtype == torch.int64


def mixed(a, b, weight):
    """a + t (b - a) with t by name; integers are a's."""
    return {name: x if is_int(x) else x + weight(name) * (b[name] - x) for name, x in a.items()}


# --- diffusion


def test_block_weights(bench):
    a, b = state(sd15(), 1), state(sd15(), 2)
    bench.save(a=a, b=b)
    bench.run(start("diffusion/block_weights"))
    numbers = [0, 1, .92, .83, .75, .67, .58, .5, .42, .33, .25, .17, .08, 0]  # fmt: skip
    numbers += [.08, .17, .25, .33, .42, .5, .58, .67, .75, .83, .92, 1]  # fmt: skip

    def weight(name):
        found = re.search(r"diffusion_model\.(input_blocks|output_blocks|middle_block|time_embed|out)\.(\d+)", name)
        if not found:
            return numbers[0]
        first = {"input_blocks": 1, "middle_block": 13, "output_blocks": 14, "time_embed": 1, "out": 25}[found[1]]
        return numbers[first + (int(found[2]) if found[1].endswith("put_blocks") else 0)]

    close(bench.load("mixed"), mixed(a, b, weight))


def test_sdxl_block_weights(bench):
    a, b = state(sdxl(), 1), state(sdxl(), 2)
    bench.save(a=a, b=b)
    report = bench.run(start("diffusion/sdxl_block_weights"))

    def weight(name):
        number = int(found[1]) if (found := re.search(r"blocks\.(\d+)\.", name)) else 0
        if ".input_blocks." in name:
            return 0.3 if number >= 4 else 0
        return 0.5 if ".middle_block." in name else 0.7 if ".output_blocks." in name or "model.out." in name else 0

    close(bench.load("mixed"), mixed(a, b, weight))
    assert report.results.outcomes["mixed.ckpt"].tensors["first_stage_model.quant_conv.bias"].changed == 0


def test_bake_vae(bench):
    a, b, baked = state(sd15(), 1), state(sd15(), 2), {**state(vae(), 3), "loss.logvar": torch.zeros(())}
    bench.save(a=a, b=b, vae=baked)
    bench.run(start("diffusion/bake_vae"))
    expected = mixed(a, b, lambda name: 0.5)
    expected |= {f"first_stage_model.{name}": x for name, x in baked.items() if not name.startswith("loss.")}
    close(bench.load("baked"), expected)


def test_make_inpainting(bench):
    first = "model.diffusion_model.input_blocks.0.0.weight"
    inpainting, custom, base = (state(sd15(), seed) for seed in (1, 2, 3))
    inpainting[first] = torch.randn(4, 9, 3, 3)
    bench.save(**{"sd-v1-5-inpainting": inpainting, "custom": custom, "v1-5-pruned": base})
    bench.run(start("diffusion/make_inpainting"))
    schedules = {name for name, x in base.items() if x.shape == (5,)}
    expected = {
        name: x if is_int(x) or name == first or name in schedules else x + (custom[name] - base[name])
        for name, x in inpainting.items()
    }
    close(bench.load("custom-inpainting"), expected)


def test_choose_ema(bench):
    raw, average = state(sd15(), 1), state(sd15(), 2)
    network = [name for name in raw if name.startswith("model.diffusion_model.")]
    copy = {"model_ema." + name.removeprefix("model.").replace(".", ""): average[name] for name in network}
    bench.save(full={**raw, **copy, "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)})
    report = bench.run(start("diffusion/choose_ema"))
    expected = {name: average[name] if name in network else x for name, x in raw.items()}
    same(bench.load("ema"), expected)
    assert report.warnings == ()


# --- language


def language(bench, *names, **more):
    """Models in a folder each, as they are downloaded."""
    states = {name: state(llama(), seed) for seed, name in enumerate(names)} | more
    for name, tensors in states.items():
        (bench.folder / name).mkdir()
        (bench.folder / name / "config.json").write_text("{}")
        save_file(tensors, bench.folder / name / "model.safetensors")
    return [of_folder(bench, name) for name in states]


def of_folder(bench, name):
    return load_file(bench.folder / name / "model.safetensors")


def merged(bench):
    assert (bench.folder / "merged" / "config.json").exists()
    return of_folder(bench, "merged")


def layer_of(name):
    found = re.search(r"layers\.(\d+)\.", name)
    return None if found is None else int(found[1])


def test_gradient_slerp(bench):
    a, b = language(bench, "a", "b")
    bench.run(start("language/gradient_slerp"))

    def weight(name):  # three layers: the ends and the middle of five points
        if "self_attn" in name:
            return (0, 0.3, 1)[layer_of(name)]
        return (1, 0.7, 0)[layer_of(name)] if "mlp" in name else 0.5

    expected = {}
    for name, x in a.items():
        x64, y64, t = x.double(), b[name].double(), weight(name)
        angle = math.acos(float((x64 * y64).sum() / (x64.norm() * y64.norm())))
        blend = math.sin((1 - t) * angle) * x64 + math.sin(t * angle) * y64
        expected[name] = (blend / math.sin(angle)).float()
    close(merged(bench), expected)


def test_ties(bench):
    base, chat, code = language(bench, "base", "chat", "code")
    report = bench.run(start("language/ties"))
    close(merged(bench), ties(base, [chat, code], list(base), [0.5, 0.3], [1, 0.7]))
    assert len(report.answers.shown[0][1]) == 3 + 3  # layers, and three tensors without one


def test_attention_ties(bench):
    base, chat, code = language(bench, "base", "chat", "code")
    bench.run(start("language/attention_ties"))
    names = [name for name in base if "self_attn" in name]
    close(merged(bench), ties(base, [chat, code], names, [0.3, 0.3], [1, 1]))


def test_dare_ties(bench):
    base, chat, code = language(bench, "base", "chat", "code")
    text = start("language/dare_ties")
    bench.run(text)
    once = merged(bench)
    votes = torch.zeros(4)
    for name, x in base.items():
        change = (once[name] - x).double()
        deltas = [2 * (model[name] - x).double() for model in (chat, code)]
        candidates = torch.stack([torch.zeros_like(change), *deltas, sum(deltas) / 2])
        distance, choice = (candidates - change).abs().min(0)
        assert distance.max() < 1e-5  # nothing, one of the two rescaled by 1 / 0.5, or the average of both
        votes += torch.bincount(choice.flatten(), minlength=4)
    shares = votes / votes.sum()
    # Both dropped: 1/4. Both kept: 1/4, and half of these agree; the larger of the others wins.
    assert shares.tolist() == pytest.approx([1 / 4, 5 / 16, 5 / 16, 1 / 8], abs=0.08)
    bench.run(text, force=True)
    same(merged(bench), once)
    bench.run(text.replace("seed: 7", "seed: 8"), force=True)
    assert any(not torch.equal(x, once[name]) for name, x in merged(bench).items())


def test_grown_vocabulary(bench):
    base, chat = language(bench, "base", chat=state(llama(vocabulary=13), 5))
    report = bench.run(start("language/grown_vocabulary"))
    expected = {}
    for name, y in chat.items():
        x = base[name]
        expected[name] = torch.cat([(x + y[: len(x)]) / 2, y[len(x) :]])
    close(merged(bench), expected)
    assert [warning.partition(":")[0] for warning in report.warnings] == ["merge.yaml"] * 2


# --- vision


def test_last_checkpoints(bench):
    states = {epoch: state(resnet(), epoch) for epoch in (2, 9, 10, 11, 100, 101)}
    for epoch, tensors in states.items():
        content = {"epoch": epoch, "state_dict": tensors, "optimizer_states": [{"step": torch.tensor(epoch)}]}
        bench.save(**{f"runs/epoch={epoch}": content})
    report = bench.run(start("vision/last_checkpoints"))
    last = [states[epoch] for epoch in (9, 10, 11, 100, 101)]
    expected = {name: x if is_int(x) else sum(tensors[name] for tensors in last) / 5 for name, x in states[101].items()}
    close(bench.load("averaged"), expected)
    assert bench.load("averaged", section=None)["epoch"] == 101
    assert [warning.partition(" (")[0] for warning in report.warnings] == [
        "BatchNorm statistics are merged by the formula"
    ]


def test_best_checkpoints(bench):
    metrics = [70.5, 80.25, 60, 79, 75, 74, 73, 72, 71, 78, 77, 76]
    states = [state(vit(), seed) for seed in range(len(metrics))]
    (bench.folder / "runs").mkdir()
    for number, (metric, tensors) in enumerate(zip(metrics, states, strict=True)):
        content = {"epoch": number, "metric": metric, "state_dict": tensors, "state_dict_ema": state(vit(), 99)}
        torch.save(content, bench.folder / "runs" / f"checkpoint-{number}.pth.tar")
    report = bench.run(start("vision/best_checkpoints"))
    best = [tensors for metric, tensors in zip(metrics, states, strict=True) if metric > 70.5]
    assert len(best) == 10
    out = torch.load(bench.folder / "averaged.pth.tar", weights_only=True)
    close(out["state_dict"], {name: sum(tensors[name] for tensors in best) / 10 for name in states[0]})
    assert list(out) == ["epoch", "metric", "state_dict"]
    assert report.warnings == ()


def test_wise_ft(bench):
    zero_shot, tuned = state(vit(), 1), state(vit(), 2)
    bench.save(zero_shot=zero_shot, tuned=tuned)
    bench.run(start("vision/wise_ft"))
    expected = {name: x if name.startswith("head.") else (x + zero_shot[name]) / 2 for name, x in tuned.items()}
    close(bench.load("wise"), expected)


def test_shared_backbone(bench):
    base, birds, flowers = state(vit(classes=5), 1), state(vit(classes=3), 2), state(vit(classes=7), 3)
    bench.save(base=base, birds=birds, flowers=flowers)
    bench.run(start("vision/shared_backbone"))
    backbone = {
        name: x + 0.4 * ((birds[name] - x) + (flowers[name] - x)) for name, x in base.items() if "head." not in name
    }
    close(bench.load("birds-merged"), {**birds, **backbone})
    close(bench.load("flowers-merged"), {**flowers, **backbone})


def test_raw_and_ema(bench):
    sections = ("state_dict", "state_dict_ema")
    a, b = ({name: state(vit(), seed + n) for n, name in enumerate(sections)} for seed in (1, 3))
    torch.save({"epoch": 3, **a}, bench.folder / "a.pth.tar")
    torch.save({"epoch": 4, **b}, bench.folder / "b.pth.tar")
    report = bench.run(start("vision/raw_and_ema"))
    out = torch.load(bench.folder / "merged.pth.tar", weights_only=True)
    assert list(out) == ["epoch", "state_dict_ema"]
    close(out["state_dict_ema"], {n: (x + b["state_dict_ema"][n]) / 2 for n, x in a["state_dict_ema"].items()})
    assert report.warnings == ()


# --- the gallery


def test_every_recipe_of_a_family_has_a_test():
    kinds = [kind for kind in starters() if "/" in kind and kind.partition("/")[0] not in ELSEWHERE]
    assert {kind.partition("/")[0] for kind in kinds} == {*FAMILIES}
    assert [kind for kind in kinds if f"test_{kind.partition('/')[2]}" not in globals()] == []


def test_every_recipe_is_found():
    there = {path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml")}
    assert set(starters()) == there
    assert len({kind.rpartition("/")[2] for kind in there}) == len(there)
    assert starter("block_weights") is starters()["diffusion/block_weights"]


@pytest.mark.parametrize("kind", sorted(starters()))
def test_every_recipe_says_what_it_is_for(kind):
    lines = (RECIPES / f"{kind}.yaml").read_text().splitlines()
    assert re.fullmatch(r"# I want to [a-z].*\.", lines[0])
    comments = [line for line in lines if line.startswith("# ")]
    assert lines[: len(comments)] == comments
    assert 3 <= len(comments) <= 5
    assert any(line.startswith("# Look at: ") for line in comments)
    assert "quickstart/" not in starter(kind).text
    assert rehearse(load(RECIPES / f"{kind}.yaml")).warnings == ()


def test_a_recipe_that_is_not_there():
    with pytest.raises(RecipeError) as error:
        starter("block_weight")
    assert str(error.value) == (
        "there is no recipe `block_weight` in the gallery\n  hint: did you mean `block_weights`?"
    )


def test_the_table():
    lines = table().splitlines()
    assert lines[0] == "| I want to ... | recipe |"
    assert len(lines) == 2 + len(starters())
    assert "| [`vision/wise_ft`](recipes/vision/wise_ft.yaml) |" in table()
