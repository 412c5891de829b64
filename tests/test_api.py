"""The Python API: the guide's three steps, and lazy vectors saved as checkpoints."""

from __future__ import annotations

import filecmp
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import weightmath as wm
from weightmath.checkpoint import open_checkpoint
from weightmath.fingerprint import fingerprint
from weightmath.verify.verification import verify

QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A checkpoint of every float type, with awkward values, and tensors that are no floats."""
    values = torch.tensor([0.0, -0.0, 1.5, float("inf"), float("nan"), -448.0, 2.0**-9])
    state = {
        "double": torch.randn(3, 4, dtype=torch.float64),
        "single": values.clone(),
        "half": values.half(),
        "brain": values.bfloat16(),
        "e4m3": values.to(torch.float8_e4m3fn),
        "e5m2": values.to(torch.float8_e5m2),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "counter": torch.tensor([1, 2, 3]),
        "flag": torch.tensor([True, False]),
        "wave": torch.tensor([1 + 2j]),
        "turned": torch.randn(5, 4).T,
        "signalling": torch.tensor([0x7D01, -0x2FF, 0x7E00, 0x7FFF], dtype=torch.int16).view(torch.float16),
        "signalling_brain": torch.tensor([0x7F81, -0x7F, 0x7FC1], dtype=torch.int16).view(torch.bfloat16),
        "signalling_single": torch.tensor([0x7F800001, -0x7FFFFF], dtype=torch.int32).view(torch.float32),
    }
    torch.save({"state_dict": state, "epoch": 7}, tmp_path / "mixed.ckpt")
    return tmp_path / "mixed.ckpt"


def test_flatten_gives_one_vector_in_the_order_of_names(mixed: Path) -> None:
    vector, layout = wm.flatten(mixed)
    state = torch.load(mixed)["state_dict"]
    floats = sorted(name for name, tensor in state.items() if tensor.is_floating_point())
    assert layout.names == tuple(floats)
    assert vector.dtype == np.float64
    expected = np.concatenate([state[name].double().numpy().reshape(-1) for name in floats])
    np.testing.assert_array_equal(vector, expected)


def test_repackage_gives_back_every_bit(mixed: Path, tmp_path: Path) -> None:
    wm.repackage(*wm.flatten(mixed), tmp_path / "again.ckpt")
    assert filecmp.cmp(mixed, tmp_path / "again.ckpt", shallow=False)


def test_unflatten_gives_tensors_of_the_original_shape_and_dtype(mixed: Path) -> None:
    tensors = wm.unflatten(*wm.flatten(mixed))
    state = torch.load(mixed)["state_dict"]
    for name, tensor in tensors.items():
        own = state[name]
        expected = own.float() if own.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2) else own
        np.testing.assert_array_equal(tensor, expected.numpy())
        assert tensor.dtype == expected.numpy().dtype


def test_arithmetic_between_flatten_and_repackage(tmp_path: Path) -> None:
    base, layout = wm.flatten(QUICKSTART / "base.ckpt")
    left, _ = wm.flatten(QUICKSTART / "left.ckpt")
    wm.repackage((base + left) / 2, layout, tmp_path / "mean.ckpt")
    saved = torch.load(tmp_path / "mean.ckpt")
    assert saved["optimizer_states"]
    assert torch.equal(saved["state_dict"]["layers.0.bias"], torch.from_numpy((base + left) / 2)[:8])


def test_a_vector_of_another_length_is_refused(mixed: Path, tmp_path: Path) -> None:
    vector, layout = wm.flatten(mixed)
    with pytest.raises(wm.WeightmathError, match=r"shape \(3,\)"):
        wm.repackage(vector[:3], layout, tmp_path / "short.ckpt")
    with pytest.raises(wm.WeightmathError, match="did not come from a checkpoint"):
        wm.repackage(vector, wm.Layout(layout.entries), tmp_path / "nowhere.ckpt")
    assert not list(tmp_path.glob("*short*"))


def test_tied_tensors_must_agree(tmp_path: Path) -> None:
    shared = torch.randn(4, 3)
    torch.save({"emb": shared, "head": shared.detach()}, tmp_path / "tied.pt")
    vector, layout = wm.flatten(tmp_path / "tied.pt")
    wm.repackage(vector * 2, layout, tmp_path / "twice.pt")
    assert torch.equal(torch.load(tmp_path / "twice.pt")["head"], shared * 2)
    vector[-1] += 1
    with pytest.raises(wm.WeightmathError, match="`emb` and `head` are two names of one storage"):
        wm.repackage(vector, layout, tmp_path / "torn.pt")
    assert not list(tmp_path.glob("*torn*"))


def test_save_streams_a_lazy_vector(tmp_path: Path) -> None:
    base, left, right = (wm.open(QUICKSTART / f"{name}.ckpt") for name in ("base", "left", "right"))
    report = wm.save(base + 0.7 * ((left - base) + (right - base)), tmp_path / "merged.ckpt")
    b, c, d = (torch.load(QUICKSTART / f"{name}.ckpt")["state_dict"] for name in ("base", "left", "right"))
    merged = torch.load(tmp_path / "merged.ckpt")["state_dict"]
    for name, tensor in merged.items():
        assert torch.equal(tensor, b[name] + 0.7 * ((c[name] - b[name]) + (d[name] - b[name])))
    assert report.results.reads == 1


def test_methods_and_functions_are_the_ones_of_recipes(tmp_path: Path) -> None:
    base, left, right = (wm.open(QUICKSTART / f"{name}.ckpt") for name in ("base", "left", "right"))
    value = wm.methods.ties(base, [left, right], densities=0.5)
    wm.save(value, tmp_path / "ties.pt", template=left, dtype="bf16", keep="weights")
    saved = torch.load(tmp_path / "ties.pt")
    assert list(saved) == ["state_dict"]
    assert saved["state_dict"]["layers.0.bias"].dtype == torch.bfloat16
    with pytest.raises(wm.WeightmathError, match="must be in"):
        wm.functions.keep_largest(base - left, 1.5)


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (wm, "opn", "module `weightmath` has no attribute `opn`: did you mean `open`?"),
        (wm.functions, "keep_larg", "there is no function `keep_larg`: did you mean `keep_largest`?"),
        (wm.functions, "ties", "there is no function `ties`: it is a method, weightmath.methods.ties"),
        (wm.functions, "zzz", "there is no function `zzz`"),
        (wm.methods, "tis", "there is no method `tis`: did you mean `ties`?"),
        (wm.methods, "norm", "there is no method `norm`: it is a function, weightmath.functions.norm"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_what_may_be_meant(module: ModuleType, name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=f"^{re.escape(message)}$"):
        getattr(module, name)


def test_a_report_is_shown_in_a_line(tmp_path: Path) -> None:
    base, left = (wm.open(QUICKSTART / f"{name}.ckpt") for name in ("base", "left"))
    report = wm.save((base + left) / 2, tmp_path / "m.ckpt")
    assert repr(report) == f"<{tmp_path}/m.ckpt: 8 of 8 changed; {report.seconds:.2f} s>"
    report = wm.save(base, tmp_path / "same.ckpt")
    assert repr(report).endswith("; warning: " + report.warnings[0] + ">")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda v, n, p: wm.repackage(v.astype("int32"), n, p),
            "`vector` must be an array of float32 or float64, not of",
        ),
        (
            lambda v, n, p: wm.repackage(v.astype(">f4"), n, p),
            "`vector` must be an array of float32 or float64, not of",
        ),
        (lambda v, n, p: wm.repackage(v.tolist(), n, p), "`vector` must be a numpy array of floats, not list"),
        (lambda v, n, p: wm.unflatten(v.tolist(), n), "`vector` must be a numpy array of floats, not list"),
        (lambda v, n, p: wm.repackage(v, "base", p), "`layout` must be the Layout that flatten returned, not str"),
        (lambda v, n, p: wm.save("a", p), "`value` must be a vector, not 'a'"),
        (lambda v, n, p: wm.save(v, p), r"`value` must be a vector, not array"),
        (lambda v, n, p: wm.save(wm.open(QUICKSTART / "base.ckpt"), p, template="a"), "`template` must be a vector"),
    ],
)
def test_what_is_no_vector_is_told(tmp_path: Path, make: Callable[..., object], message: str) -> None:
    with pytest.raises(wm.WeightmathError, match=message):
        make(*wm.flatten(QUICKSTART / "base.ckpt"), tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())


def test_repackage_writes_what_it_is_given(tmp_path: Path) -> None:
    vector, layout = wm.flatten(QUICKSTART / "base.ckpt")
    vector[0] = np.nan
    wm.repackage(vector, layout, tmp_path / "nan.ckpt")
    np.testing.assert_array_equal(wm.flatten(tmp_path / "nan.ckpt")[0], vector)
    wm.repackage(vector.astype(np.float16), layout, tmp_path / "half.ckpt")
    np.testing.assert_array_equal(wm.flatten(tmp_path / "half.ckpt")[0], vector.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "largest"), [("float16", 65504.0), ("bfloat16", 3.3895e38), ("float8_e4m3fn", 448.0), ("float32", 3.4e38)]
)
def test_repackage_refuses_numbers_that_a_dtype_cannot_hold(tmp_path: Path, dtype: str, largest: float) -> None:
    torch.save({"w": torch.ones(3).to(getattr(torch, dtype)), "v": torch.ones(2, dtype=torch.float64)}, tmp_path / "a")
    vector, layout = wm.flatten(tmp_path / "a")
    vector[:] = np.inf
    vector[-1] = -largest
    wm.repackage(vector, layout, tmp_path / "b.ckpt")
    assert torch.load(tmp_path / "b.ckpt")["w"][2].double().item() == pytest.approx(-largest, rel=1e-3)
    vector[-1] *= 1.07
    with pytest.raises(wm.WeightmathError, match=f"`w` is stored as {dtype}, and the vector has numbers that are too"):
        wm.repackage(vector, layout, tmp_path / "c.ckpt")
    wm.repackage(vector, layout, tmp_path / "d.ckpt", dtype="float64")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b.ckpt", "d.ckpt"]


def test_a_sum_of_models_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    base, left = wm.open(QUICKSTART / "base.ckpt"), wm.open(QUICKSTART / "left.ckpt")
    with pytest.raises(wm.WeightmathError, match="adds up to 2 models"):
        wm.save(base + left, tmp_path / "sum.ckpt")
    assert not list(tmp_path.iterdir())


def test_other_layouts_and_equal_names_are_refused(mixed: Path, tmp_path: Path) -> None:
    base = wm.open(QUICKSTART / "base.ckpt")
    with pytest.raises(wm.WeightmathError, match="does not have the layout of `base`") as caught:
        wm.save((base + wm.open(mixed)) / 2, tmp_path / "out.ckpt")
    assert str(caught.value).endswith("; `strip`, `rename`, `part` and `extra` are wm.open's too, and missing=MODEL")
    with pytest.raises(wm.WeightmathError, match="two checkpoints are called `base`"):
        wm.save((base + wm.open(mixed, name="base")) / 2, tmp_path / "out.ckpt")


def test_a_part_may_have_more_than_the_template(tmp_path: Path) -> None:
    """A VAE with what its training needed, baked into a model."""
    network, vae = {"net.w": torch.zeros(3)}, {"enc.w": torch.ones(2), "enc.b": torch.ones(1)}
    torch.save(network | {f"vae.{name}": x - 1 for name, x in vae.items()}, tmp_path / "model.ckpt")
    torch.save(vae | {"loss.w": torch.ones(4)}, tmp_path / "vae.ckpt")
    model = wm.open(tmp_path / "model.ckpt")
    part = wm.open(tmp_path / "vae.ckpt", rename={"": "vae."}, part=True)
    with pytest.raises(wm.WeightmathError, match=r"extra   vae\.loss\.w"):
        wm.save(wm.functions.overlay(model, part), tmp_path / "baked.ckpt")
    part = wm.open(tmp_path / "vae.ckpt", rename={"": "vae."}, part=True, extra="ignore")
    wm.save(wm.functions.overlay(model, part), tmp_path / "baked.ckpt")
    found = torch.load(tmp_path / "baked.ckpt")
    assert found.keys() == torch.load(tmp_path / "model.ckpt").keys()
    assert all(torch.equal(found[f"vae.{name}"], x) for name, x in vae.items())
    stray = wm.open(tmp_path / "vae.ckpt", part=True, extra="ignore")
    with pytest.raises(wm.WeightmathError, match="has none of the tensors of `model`"):
        wm.save(wm.functions.overlay(model, stray), tmp_path / "stray.ckpt")


def test_how_inputs_were_opened_is_among_how_an_output_was_made(tmp_path: Path) -> None:
    state = {"w": torch.arange(3.0), "v": torch.ones(2)}
    torch.save(state, tmp_path / "a.ckpt")
    renamed = {"module.w": state["w"] + 1, "module.v": state["v"] * 3, "more": torch.ones(1)}
    torch.save({"old": {"module.w": torch.zeros(3)}, "new": renamed}, tmp_path / "b.ckpt")
    torch.save({"v": torch.ones(2)}, tmp_path / "d.ckpt")
    a = wm.open(tmp_path / "a.ckpt")
    b = wm.open(tmp_path / "b.ckpt", section="new", rename={"module.": ""}, extra="ignore")
    d = wm.open(tmp_path / "d.ckpt", kind="delta", part=True)
    wm.save((a + b) / 2 + d, tmp_path / "out.ckpt")
    assert torch.load(tmp_path / "out.ckpt")["v"].tolist() == [3, 3]
    found = verify(tmp_path / "out.ckpt")
    assert (found.elements, found.differences) == (5, ())


def test_a_lone_text_or_path_is_a_list_of_one(tmp_path: Path) -> None:
    base, ddp, out = QUICKSTART / "base.ckpt", tmp_path / "ddp.ckpt", tmp_path / "out.ckpt"
    state = torch.load(base, weights_only=True)["state_dict"]
    torch.save({"state_dict": {f"module.{name}": x for name, x in state.items()}, "ema": state}, ddp)
    wm.save(wm.open(ddp, strip="module."), out, drop="ema*")
    assert list(torch.load(out)) == ["state_dict"]
    assert wm.compare(base).paths == wm.compare(str(base)).paths == (base,)
    recipe = tmp_path / "sweep.yaml"
    recipe.write_text(
        f"inputs: {{a: {base}, b: {QUICKSTART / 'left.ckpt'}}}\nparams: {{t: 0, scale: 1}}\n"
        "vary: {t: [0.25, 0.5]}\nsave: {x.ckpt: a + scale * t * (b - a)}\n"
    )
    table = wm.sweep(recipe, metric=lambda state: {"n": len(state)}, of="n", sets="scale=0.5", keep="none")
    assert [row.metrics for row in table.rows] == [{"n": len(state)}] * 2


def test_a_sweep_takes_parameters_and_inputs_by_name(tmp_path: Path) -> None:
    recipe = tmp_path / "sweep.yaml"
    recipe.write_text(
        f"inputs: {{a: {QUICKSTART / 'base.ckpt'}}}\nparams: {{t: 0, scale: 1}}\nvary: {{t: [1]}}\n"
        "save: {x.ckpt: model(t * scale * a)}\n"
    )

    def measured(**changes: dict[str, object]) -> float:
        table = wm.sweep(recipe, metric=lambda state: float(state["layers.0.bias"][0]), keep="none", **changes)
        return table.rows[0].metrics["metric"]

    left = float(torch.load(QUICKSTART / "left.ckpt")["state_dict"]["layers.0.bias"][0])
    assert measured(inputs={"a": QUICKSTART / "left.ckpt"}) == left
    assert measured(sets={"scale": np.float64(3)}, inputs={"a": str(QUICKSTART / "left.ckpt")}) == 3 * left


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, weightmath; assert not {'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_evaluate_gives_numbers_as_show_does() -> None:
    base, left = (wm.open(QUICKSTART / f"{name}.ckpt") for name in ("base", "left"))
    old, new = (torch.load(QUICKSTART / f"{name}.ckpt", weights_only=False)["state_dict"] for name in ("base", "left"))
    change = {name: (new[name] - old[name]).numpy().astype(np.float64) for name in old}
    norm = np.sqrt(sum((x**2).sum() for x in change.values()))
    assert wm.evaluate(wm.functions.norm(left - base)) == pytest.approx(norm, rel=1e-6)
    asked = [wm.functions.max(left - base, scope="tensor"), wm.functions.mean(left - base, scope="row")]
    largest, means = wm.evaluate(asked, threads=1)
    assert largest == {name: pytest.approx(x.max(), rel=1e-6) for name, x in sorted(change.items())}
    weight = change["layers.2.weight"]
    np.testing.assert_allclose(means["layers.2.weight"], weight.mean(axis=1), atol=1e-7)


def test_evaluate_takes_statistics() -> None:
    base = wm.open(QUICKSTART / "base.ckpt")
    with pytest.raises(wm.WeightmathError, match="`base` has a value for every element"):
        wm.evaluate([wm.functions.norm(base), base])
    with pytest.raises(wm.WeightmathError, match="`value` must be a vector, not 3"):
        wm.evaluate(3)
    with pytest.raises(wm.WeightmathError, match="the value is made of no checkpoint"):
        wm.evaluate([])


def test_memory_is_said_as_in_a_command(tmp_path: Path) -> None:
    model = wm.open(QUICKSTART / "base.ckpt")
    for memory in ("1GB", 10**9):
        wm.save(model, tmp_path / "out.ckpt", memory=memory, force=True)
        assert wm.plan(QUICKSTART.with_suffix(".yaml"), memory=memory).refusal is None
    assert wm.plan(QUICKSTART.with_suffix(".yaml"), memory="1MB").refusal is not None
    with pytest.raises(wm.WeightmathError, match=r'the budget is 1 MB\n  hint: memory="\d+MB"'):
        wm.evaluate(wm.functions.norm(model), memory="1MB")
    with pytest.raises(wm.WeightmathError, match="memory`: `much` is not a size"):
        wm.run(QUICKSTART.with_suffix(".yaml"), memory="much")


def test_a_model_may_take_what_it_lacks_from_the_template(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3), "head": torch.full((2,), 8.0)}, tmp_path / "a.ckpt")
    torch.save({"w": torch.full((3,), 2.0), "ema": torch.ones(1)}, tmp_path / "b.ckpt")
    a = wm.open(tmp_path / "a.ckpt")
    with pytest.raises(wm.WeightmathError, match="does not have the layout of `a`"):
        wm.open(tmp_path / "b.ckpt", missing=a)
    with pytest.raises(wm.WeightmathError, match="`missing` must be a vector, not 'template'"):
        wm.open(tmp_path / "b.ckpt", missing="template")  # type: ignore[arg-type]
    b = wm.open(tmp_path / "b.ckpt", missing=a, extra="ignore")
    out = tmp_path / "out.ckpt"
    wm.save(0.5 * a + 0.5 * b, out)
    assert {name: x.tolist() for name, x in torch.load(out).items()} == {"w": [1, 1, 1], "head": [8, 8]}
    assert verify(out).differences == ()
    with pytest.raises(wm.WeightmathError, match="takes what it lacks from `a`, and the template is `c`"):
        wm.save(b, tmp_path / "c.ckpt", template=wm.open(tmp_path / "a.ckpt", name="c"))


def test_an_opened_checkpoint_may_be_pinned(tmp_path: Path) -> None:
    path = QUICKSTART / "base.ckpt"
    good = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "fingerprint": fingerprint(open_checkpoint(path).section()),
    }
    wm.save(wm.open(path, **good), tmp_path / "out.ckpt")
    for key, pin in good.items():
        other = pin[:-1] + ("0" if pin[-1] != "0" else "1")
        with pytest.raises(wm.WeightmathError, match=f"its {key} is {pin}"):
            wm.save(wm.open(path, **{key: other}), tmp_path / "other.ckpt")


def test_what_a_recipe_would_not_take_is_refused_when_it_is_opened() -> None:
    with pytest.raises(wm.WeightmathError, match=r"wm\.open: inputs\.base\.kind: "):
        wm.open(QUICKSTART / "base.ckpt", kind="modle")  # type: ignore[arg-type]


def test_any_file_name_gives_a_name(tmp_path: Path) -> None:
    for stem in ("7b", "in", "step=100", "größe"):
        shutil.copy(QUICKSTART / "base.ckpt", tmp_path / f"{stem}.ckpt")
        wm.save(wm.open(tmp_path / f"{stem}.ckpt"), tmp_path / "out.ckpt", force=True)


def test_a_path_may_begin_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(QUICKSTART)
    shutil.copy(QUICKSTART / "base.ckpt", tmp_path / "base.ckpt")
    shutil.copy(QUICKSTART / "left.ckpt", tmp_path / "left.ckpt")
    (tmp_path / "r.yaml").write_text(
        "inputs: {a: base.ckpt}\nparams: {t: 1}\nvary: {t: [2]}\nsave: {v.ckpt: t * a / t}\n"
    )
    (tmp_path / "half.yaml").write_text("inputs: {a: base.ckpt, b: left.ckpt}\nsave: {half.ckpt: a / 2 + b / 2}\n")
    wm.save(wm.open("~/base.ckpt"), "~/saved.ckpt")
    wm.run("~/half.yaml")
    assert wm.plan("~/half.yaml", outputs={"half.ckpt": "~/more.ckpt"}).outputs
    wm.repackage(*wm.flatten("~/base.ckpt"), "~/packed.ckpt")
    assert wm.inspect("~/saved.ckpt").tensors
    assert wm.diff("~/base.ckpt", "~/packed.ckpt").relative_change == 0
    wm.compare(["~/base.ckpt", "~/left.ckpt"], "~/base.ckpt")
    wm.sweep("~/r.yaml", metric=lambda state: 1.0, out="~/table", keep="none")
    wm.soup(["~/base.ckpt", "~/left.ckpt"], "~/soup.ckpt")
    line = wm.landscape.line("~/base.ckpt", "~/left.ckpt", points=2)
    wm.landscape.explore(line, lambda state: 1.0, out="~/line")
    made = {"saved.ckpt", "half.ckpt", "packed.ckpt", "soup.ckpt", "table.jsonl", "line.jsonl"}
    assert made <= {path.name for path in tmp_path.iterdir()}


def test_a_difference_is_saved_as_a_delta_file(tmp_path: Path) -> None:
    base, left, right = (wm.open(QUICKSTART / f"{name}.ckpt") for name in ("base", "left", "right"))
    skill = tmp_path / "skill.delta"
    with pytest.raises(wm.WeightmathError, match="belongs to its template"):
        wm.save(left - base, skill)
    wm.save(left - base, skill, template=base)
    for how in ("int8", {"kind": "low-rank", "rank": 2}):
        wm.save(left - base, tmp_path / "small.delta", template=base, as_=how, force=True)
        assert (tmp_path / "small.delta").stat().st_size < skill.stat().st_size
    wm.save(right + wm.open(skill), tmp_path / "both.ckpt")
    wm.save(right + (left - base), tmp_path / "same.ckpt")
    assert wm.diff(tmp_path / "both.ckpt", tmp_path / "same.ckpt").relative_change == pytest.approx(0, abs=1e-6)


def test_a_folder_may_be_cut_into_shards_and_has_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "Llama-3.1-8B"
    wm.save(wm.open(QUICKSTART / "base.ckpt"), f"{folder}/", shard="10kB", keep="weights")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert str(wm.open(folder)) == "Llama_3_1_8B"
