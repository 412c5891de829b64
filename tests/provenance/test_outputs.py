"""What outputs carry: the record, its fingerprints and coefficients; that torch ignores it; what `none` leaves out."""

import json
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import weightmath as wm
from tests.merging import Bench
from weightmath.checkpoint import open_checkpoint
from weightmath.fingerprint import fingerprint
from weightmath.provenance.compose import _with_places, file_name
from weightmath.provenance.lineage import originals, provenance_of
from weightmath.recipe import loads
from weightmath.versions import VERSIONS

RECIPE = """
inputs:
  base: base.ckpt
  chat: {path: chat.ckpt, strip: [net.]}
params:
  strength: 0.25
let:
  merged: base + strength * (chat - base)
save:
  out.ckpt: merged
"""


def state(seed):
    g = torch.Generator().manual_seed(seed)
    return {
        "blocks.0.w": torch.randn(300, 700, generator=g),
        "blocks.1.w": torch.randn(9, 5, generator=g).bfloat16(),
        "bn.running_mean": torch.randn(5, generator=g),
        "steps": torch.tensor(seed),
    }


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.save(base=state(0), chat={f"net.{name}": value for name, value in state(1).items()}, code=state(2))
    return made


def carried(bench, name="out"):
    return provenance_of(open_checkpoint(bench.folder / f"{name}.ckpt"))


def print_of(bench, name):
    return fingerprint(open_checkpoint(bench.folder / f"{name}.ckpt").section())


def test_the_record_says_what_was_done(bench):
    bench.run(RECIPE)
    found = carried(bench)
    record = found.record
    assert record.fingerprint == print_of(bench, "out")
    assert (record.name, record.output, record.template) == ("merge.yaml", "out.ckpt", "base")
    assert record.recipe == {
        "inputs": {"base": {"path": "base.ckpt"}, "chat": {"path": "chat.ckpt", "strip": ["net."]}},
        "params": {"strength": 0.25},
        "let": {"merged": "base + strength * (chat - base)"},
        "save": {"out.ckpt": {"value": "merged"}},
    }
    base, chat = record.inputs["base"], record.inputs["chat"]
    assert (base.file, base.section, base.fingerprint) == ("base.ckpt", "state_dict", print_of(bench, "base"))
    assert (chat.fingerprint, chat.coefficient, chat.record) == (print_of(bench, "chat"), 0.25, None)
    assert base.coefficient == 0.75
    assert (found.ancestors, found.left_out) == ({}, 0)
    assert {name: version(name) for name in VERSIONS} == VERSIONS
    assert VERSIONS.items() <= record.versions.items()


def test_it_is_a_record_of_the_zip_that_torch_ignores(bench):
    bench.run(RECIPE)
    path = bench.folder / "out.ckpt"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        raw = json.loads(archive.read("base/weightmath/provenance.json"))
    assert raw["record"]["fingerprint"] == print_of(bench, "out")
    for options in ({"weights_only": True}, {"weights_only": True, "mmap": True}, {"weights_only": False}):
        assert torch.load(path, **options)["state_dict"].keys() == state(0).keys()


def test_the_same_run_gives_the_same_bytes_wherever_it_is(bench, tmp_path):
    bench.run(RECIPE)
    elsewhere = Bench(tmp_path / "home" / "someone")
    elsewhere.folder.mkdir(parents=True)
    for name in ("base", "chat"):
        (elsewhere.folder / f"{name}.ckpt").write_bytes((bench.folder / f"{name}.ckpt").read_bytes())
    absolute = RECIPE.replace("base.ckpt", f"{elsewhere.folder}/base.ckpt").replace(" out", f" {elsewhere.folder}/out")
    elsewhere.run(absolute)
    content = (elsewhere.folder / "out.ckpt").read_bytes()
    assert content == (bench.folder / "out.ckpt").read_bytes()
    assert b"someone" not in content
    assert str(tmp_path).encode() not in content


def test_none_leaves_all_of_it_out(bench):
    nothing = "inputs: {base: base.ckpt}\nsave: {out.ckpt: {value: base, device: keep}}\n"
    bench.run(nothing + "provenance: none\n")
    assert (bench.folder / "out.ckpt").read_bytes() == (bench.folder / "base.ckpt").read_bytes()
    assert carried(bench) is None
    bench.run(nothing, force=True)
    assert carried(bench) is not None
    bench.run("inputs: {base: out.ckpt}\nsave: {again.ckpt: base}\nprovenance: none\n")
    assert (bench.folder / "again.ckpt").read_bytes() == (bench.folder / "base.ckpt").read_bytes()


def test_lineage_goes_through_merges_of_merges(bench):
    bench.run(RECIPE)
    bench.run("inputs: {m: out.ckpt, code: code.ckpt}\nsave: {two.ckpt: 0.5 * m + 0.5 * code}\n")
    bench.run("inputs: {t: two.ckpt, base: base.ckpt, m: out.ckpt}\nsave: {three.ckpt: t + 0.5 * (m - base)}\n")
    found = carried(bench, "three")
    assert found.record.template == "t"
    assert [record.output for record in found.ancestors.values()] == ["two.ckpt", "out.ckpt"]
    assert found.made(found.record.inputs["m"]).output == "out.ckpt"
    # t = 0.5 m + 0.5 code, m = 0.75 base + 0.25 chat: t + 0.5 (m - base) = 0.75 base + 0.25 chat + 0.5 code - 0.5 base
    expected = {"base.ckpt": 0.25, "chat.ckpt": 0.25, "code.ckpt": 0.5}
    assert {part.file: part.coefficient for part in originals(found)} == expected


def test_coefficients_by_tensor(bench):
    table = 'params: {t: {"blocks.0*": 0.5, "*": 0}}\n'
    bench.run("inputs: {base: base.ckpt, code: code.ckpt}\nsave: {out.ckpt: base + t * (code - base)}\n" + table)
    inputs = carried(bench).record.inputs
    assert (inputs["base"].coefficient, inputs["code"].coefficient) == (((0.5, 1), (1.0, 2)), ((0.5, 1), (0.0, 2)))


def test_a_merge_that_is_no_sum_is_an_original_of_its_children(bench):
    bench.run("inputs: {base: base.ckpt, code: code.ckpt}\nsave: {out.ckpt: 'slerp(base, code, t=0.5)'}\n")
    assert originals(carried(bench)) == ()
    bench.run("inputs: {m: out.ckpt, base: base.ckpt}\nsave: {two.ckpt: 0.5 * m + 0.5 * base}\n")
    parts = originals(carried(bench, "two"))
    assert [(part.file, part.coefficient, part.merged) for part in parts] == [
        ("out.ckpt", 0.5, True),
        ("base.ckpt", 0.5, False),
    ]


def test_a_merge_that_changes_nothing_is_no_ancestor_of_its_own(bench):
    bench.run("inputs: {base: base.ckpt}\nsave: {out.ckpt: base}\n")
    bench.run("inputs: {base: out.ckpt}\nsave: {two.ckpt: base}\n")
    bench.run("inputs: {base: two.ckpt}\nsave: {three.ckpt: base}\n")
    found = carried(bench, "three")
    assert [record.output for record in found.ancestors.values()] == ["two.ckpt", "out.ckpt"]
    assert [(part.file, part.coefficient) for part in originals(found)] == [("base.ckpt", 1.0)]


def test_a_file_that_was_changed_since_is_an_original(bench):
    bench.run(RECIPE)
    path = bench.folder / "out.ckpt"
    changed = bytearray(path.read_bytes())
    place = open_checkpoint(path).places["0"].offset
    changed[place] ^= 1
    path.write_bytes(changed)
    bench.run("inputs: {m: out.ckpt}\nsave: {two.ckpt: m}\n")
    found = carried(bench, "two")
    source = found.record.inputs["m"]
    assert found.carried(source).output == "out.ckpt"
    assert found.made(source) is None
    assert [part.file for part in originals(found)] == ["out.ckpt"]


def test_a_record_that_cannot_be_read_is_warned_of(bench):
    bench.run(RECIPE)
    path = bench.folder / "out.ckpt"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":7'))
    report = bench.run("inputs: {m: out.ckpt}\nsave: {two.ckpt: m}\n")
    warning = next(text for text in report.warnings if "original" in text)
    assert warning.startswith(
        f"`m` counts as an original: {path}: its provenance record is none that this version reads"
    )
    assert carried(bench, "two").record.inputs["m"].record is None


def test_fingerprints_cover_what_no_pass_reads(bench):
    """Tensors outside of the recipe, rows that are not merged, integers that are combined, dropped and tied ones."""
    tied = state(3)
    tied["tied"] = tied["blocks.0.w"]
    shorter = {name: value[: len(value) - 2] if name == "blocks.0.w" else value for name, value in state(4).items()}
    bench.save(tied=tied, shorter=shorter)
    bench.run(
        "inputs: {base: base.ckpt, shorter: shorter.ckpt}\n"
        "save: {out.ckpt: {value: 0.5 * base + 0.5 * shorter, drop: state_dict.bn*, dtype: float16}}\n"
        'except: bn*\nintegers: max\nfit: {"blocks.0.w": rows}\n'
    )
    record = carried(bench).record
    assert record.fingerprint == print_of(bench, "out")
    assert {name: one.fingerprint for name, one in record.inputs.items()} == {
        name: print_of(bench, name) for name in ("base", "shorter")
    }
    bench.run("inputs: {tied: tied.ckpt}\nsave: {tied2.ckpt: 2 * tied - tied}\n")
    assert carried(bench, "tied2").record.fingerprint == print_of(bench, "tied2")


def test_python_saves_carry_it_too(bench):
    base, code = wm.open(bench.folder / "base.ckpt"), wm.open(bench.folder / "code.ckpt")
    wm.save(base + 0.5 * (code - base), bench.folder / "out.ckpt")
    record = carried(bench).record
    assert record.name == "wm.save"
    assert record.recipe["save"] == {"out.ckpt": {"value": "base + 0.5 * (code - base)", "template": "base"}}
    assert record.recipe["inputs"] == {"base": {"path": "base.ckpt"}, "code": {"path": "code.ckpt"}}
    assert record.inputs["code"].coefficient == 0.5


@pytest.mark.parametrize(
    ("path", "output", "told"),
    [
        ("base.ckpt", "out.ckpt", "base.ckpt"),
        ("./m/../base.ckpt", "out.ckpt", "base.ckpt"),
        ("m/base.ckpt", "out.ckpt", "m/base.ckpt"),
        ("m/base.ckpt", "o/out.ckpt", "base.ckpt"),
        ("../m/base.ckpt", "../o/out/", "base.ckpt"),
        ("../../m/base.ckpt", "../o/out.ckpt", "base.ckpt"),
        ("../m/base.ckpt", "out.ckpt", "base.ckpt"),
        ("base.ckpt", "../o/out.ckpt", "base.ckpt"),
        ("/home/someone/m/base.ckpt", "/home/someone/out.ckpt", "m/base.ckpt"),
        ("/home/someone/base.ckpt", "/home/other/out.ckpt", "base.ckpt"),
        ("/home/someone/base.ckpt", "/out.ckpt", "base.ckpt"),
        ("/home/someone/base.ckpt", "out.ckpt", "base.ckpt"),
        ("m/base.ckpt", "/out/out.ckpt", "base.ckpt"),
        ("hf:org/name", "out.ckpt", "hf:org/name"),
    ],
)
def test_where_inputs_lie_is_told_below_the_outputs_folder_alone(path, output, told):
    recipe = loads(f"inputs: {{base: {path}}}\nsave: {{{output}: base}}\n", "m.yaml", Path("/project/recipes/m.yaml"))
    data = {"inputs": {"base": {"path": file_name(path)}}}
    assert _with_places(data, recipe, output) == {"inputs": {"base": {"path": told}}}


def test_a_model_of_the_hub_is_called_by_its_name(bench, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(bench.folder / "hub"))
    snapshot = bench.folder / "hub" / "models--org--tiny" / "snapshots" / ("1f" * 20)
    snapshot.mkdir(parents=True)
    (bench.folder / "code.ckpt").rename(snapshot / "pytorch_model.bin")
    bench.run("inputs: {base: base.ckpt, code: hf:org/tiny@1f1f}\nsave: {out.ckpt: (base + code) / 2}\n")
    assert carried(bench).record.inputs["code"].file == "hf:org/tiny@1f1f1f1f1f1f"


def test_lists_and_several_outputs(bench):
    for folder in ("runs", "a", "b"):
        (bench.folder / folder).mkdir()
    for number in (9, 10):
        torch.save({"state_dict": state(number)}, bench.folder / f"runs/e{number}.ckpt")
    bench.run('inputs: {runs: {glob: "runs/*.ckpt"}}\nsave: {a/out.ckpt: mean(runs), b/out.ckpt: "runs[1]"}\n')
    first, second = (provenance_of(open_checkpoint(bench.folder / f"{x}/out.ckpt")).record for x in "ab")
    assert [(name, one.file, one.coefficient) for name, one in first.inputs.items()] == [
        ("runs[0]", "e9.ckpt", 0.5),
        ("runs[1]", "e10.ckpt", 0.5),
    ]
    assert (first.output, second.output, second.template) == ("out.ckpt", "2-out.ckpt", "runs[1]")
    assert first.recipe["inputs"] == second.recipe["inputs"] == {"runs": {"glob": "*.ckpt"}}
    assert first.hash == second.hash
    assert first.fingerprint != second.fingerprint
