"""Lists: the files that a pattern finds, their order, which are taken, and that an output is never among them."""

import pytest
import torch

from tests.families import state, vit
from tests.merging import Bench, close
from weightmath.files.choice import choose, natural
from weightmath.job import prepare
from weightmath.recipe import from_expression, loads
from weightmath.running import run

RUNS = [f"epoch={epoch}-step={100 * epoch}" for epoch in (8, 9, 10, 11)]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def runs(bench):
    """Four checkpoints of a run as Lightning names them, with a metric that does not follow the epochs."""
    states = {}
    for i, name in enumerate(RUNS):
        states[name] = state(vit(), i)
        numbers = {
            "epoch": 8 + i,
            "metric": (0.25, 0.75, 0.5, 0.125)[i],
            "monitor": {"val.loss": torch.tensor(1.0 - i)},
        }
        bench.save(**{f"runs/{name}": {"state_dict": states[name], **numbers}})
    return states


def mean(states):
    return {name: sum(tensors[name] for tensors in states) / len(states) for name in states[0]}


def recipe(keys="", value="mean(runs)"):
    return f"inputs:\n  runs: {{glob: 'runs/epoch=*.ckpt'{keys}}}\nsave:\n  out.ckpt: {value}\n"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", [0, 1, 2, 3]),
        (", sort: number", [0, 1, 2, 3]),
        (", sort: name", [2, 3, 0, 1]),
        (", last: 2", [2, 3]),
        (", first: 3", [0, 1, 2]),
        (", sort: name, last: 1", [1]),
        (", sort: 'entry:metric'", [3, 0, 2, 1]),
        (", sort: 'entry:metric', best: 2", [2, 1]),
        (", sort: 'entry:monitor.val.loss', first: 3", [3, 2, 1]),
        (", sort: 'entry:epoch', last: 1", [3]),
        (", except: 'epoch=9*', last: 2", [2, 3]),
        (", except: ['epoch=9*', 're:step=1\\d*\\.']", [0]),
    ],
)
def test_which_files_in_which_order(bench, runs, keys, expected):
    job = bench.plan(recipe(keys))
    assert [path.stem for path in job.lists["runs"].files] == [RUNS[i] for i in expected]
    assert list(job.inputs) == [f"runs[{i}]" for i in range(len(expected))]
    assert len(job.lists["runs"].left_out) == 4 - len(expected)
    assert job.template.name == f"runs[{len(expected) - 1}]"
    if "entry:metric" in keys:
        numbers = (0.25, 0.75, 0.5, 0.125)
        assert job.lists["runs"].numbers == tuple(numbers[i] for i in expected)


def test_progress_counts_files(bench, runs):
    told = []
    text = "inputs: {one: 'runs/epoch=8-step=800.ckpt', runs: {glob: 'runs/*.ckpt', last: 2}}\nsave: {out.ckpt: one}"
    prepare(loads(text, "merge.yaml", bench.folder / "merge.yaml"), lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_the_last_checkpoints_of_a_run_are_averaged(bench, runs):
    bench.run(recipe(", last: 3"))
    close(bench.load(), mean([runs[name] for name in RUNS[1:]]))
    assert bench.load(section="epoch") == 11


def test_items_of_a_list_and_a_template_that_is_named(bench, runs):
    base = state(vit(), 9)
    bench.save(base=base)
    report = bench.run(
        """
inputs:
  base: base.ckpt
  runs: {glob: runs/epoch=*.ckpt}
show: ['norm(runs[0] - base)']
save:
  out.ckpt: {value: 'base + 0.5 * (runs[-1] - base)', template: runs, keep: weights}
"""
    )
    last = runs[RUNS[-1]]
    close(bench.load(), {name: x + 0.5 * (last[name] - x) for name, x in base.items()})
    assert str(report.job.built.show[0][1]) == "norm(runs[0] - base, scope='global')"
    assert report.job.template.name == "runs[3]"


def test_an_output_is_never_in_its_own_list(bench, runs):
    text = "inputs: {runs: {glob: '**/*.ckpt', except: 'epoch=8*'}}\nsave: {runs/epoch=99.ckpt: 'mean(runs)'}"
    bench.run(text)
    first = bench.load("runs/epoch=99")
    report = bench.run(text, force=True)
    close(bench.load("runs/epoch=99"), first)
    assert [(path.name, reason) for path, reason in report.job.lists["runs"].left_out] == [
        ("epoch=8-step=800.ckpt", "`except: epoch=8*`"),
        ("epoch=99.ckpt", "an output of the recipe"),
    ]


def test_the_expression_of_the_command_line(bench, runs, monkeypatch):
    monkeypatch.chdir(bench.folder)
    run(
        prepare(
            from_expression(
                "mean(runs) + 0 * (base - base)", ["runs=runs/*.ckpt", "base=runs/" + RUNS[0] + ".ckpt"], "out.ckpt"
            )
        )
    )
    close(bench.load(), mean(list(runs.values())))


def test_best_of_a_loss_is_told(bench, runs):
    job = bench.plan(recipe(", sort: 'entry:monitor.val.loss', best: 2"))
    assert job.warnings == (
        "merge.yaml:2: inputs.runs.best: `best` takes the highest `monitor.val.loss`; `first: 2` takes the lowest",
    )
    assert bench.plan(recipe(", sort: 'entry:metric', best: 2")).warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (recipe(", last: 5"), "`last: 5`, and `runs/epoch=*.ckpt` finds 4\n  hint: last: 4 takes all"),
        (
            recipe().replace("runs/epoch", "run/epoch"),
            "no file matches `run/epoch=*.ckpt`\n  hint: the folder run does not exist",
        ),
        (
            recipe().replace("epoch=*", "epoch_*"),
            "no file matches `runs/epoch_*.ckpt`\n  hint: it is looked for in FOLDER",
        ),
        (
            recipe(", except: 're:^epoch'"),
            "nothing is left of what `runs/epoch=*.ckpt` matches\n"
            "  hint: epoch=8-step=800.ckpt is left out: `except: re:^epoch`; "
            "epoch=9-step=900.ckpt is left out: `except: re:^epoch`; "
            "epoch=10-step=1000.ckpt is left out: `except: re:^epoch`",
        ),
        (
            recipe(", sort: 'entry:metrc'"),
            "runs/epoch=8-step=800.ckpt: stores nothing at `metrc`\n  hint: did you mean `metric`?",
        ),
        (
            recipe(", sort: 'entry:monitor.x'"),
            "runs/epoch=8-step=800.ckpt: stores nothing at `monitor.x`\n  hint: there are: val.loss",
        ),
        (recipe(", sort: 'entry:monitor'"), "runs/epoch=8-step=800.ckpt: `monitor` is a mapping, not a number"),
        (
            recipe(", sort: 'entry:state_dict.norm.bias'"),
            "runs/epoch=8-step=800.ckpt: `state_dict.norm.bias` is a tensor of shape [4], not a number",
        ),
    ],
)
def test_mistakes(bench, runs, text, expected):
    message = bench.mistake(text).replace(str(bench.folder), "FOLDER")
    assert message == f"merge.yaml:2: inputs.runs: {expected}"


def test_a_model_of_a_list_is_named(bench, runs):
    odd = {**state(vit(), 9), "norm.bias": torch.zeros(5)}
    bench.save(**{"runs/epoch=12": odd})
    assert bench.mistake(recipe().replace("mean(runs)", "{value: mean(runs), template: runs}")).startswith(
        "merge.yaml:2: inputs.runs: runs/epoch=8-step=800.ckpt: `runs[0]` does not have the layout of `runs[4]` "
        "(0 missing, 0 extra, 1 of another shape)\n    shape   norm.bias: [4] here, [5] there\n"
    )


def test_a_list_is_no_vector(bench, runs):
    assert bench.mistake(recipe(value="runs")) == (
        "merge.yaml:4: save.out.ckpt: an output is one vector, and this is a list\n  runs\n  ^^^^\n"
        "  hint: mean(list) averages it; list[0] is its first vector"
    )


def test_numbers_that_are_no_order(bench):
    for number, content in enumerate((0.5, float("nan"))):
        bench.save(**{f"r{number}": {"w": {"w": torch.zeros(2)}, "score": content, "flag": True, "none": None}})
    text = "inputs:\n  r: {glob: 'r*.ckpt', sort: 'entry:%s'}\nsave: {out.ckpt: 'mean(r)'}"
    assert bench.mistake(text % "score") == (
        "merge.yaml:2: inputs.r: r1.ckpt: `score` is NaN\n  hint: leave the file out with `except:`"
    )
    assert bench.mistake(text % "flag") == "merge.yaml:2: inputs.r: r0.ckpt: `flag` is true or false, not a number"
    assert bench.mistake(text % "none") == "merge.yaml:2: inputs.r: r0.ckpt: `none` is nothing, not a number"


def test_natural_order():
    names = ["epoch=10.ckpt", "epoch=9.ckpt", "epoch=9-v1.ckpt", "last.ckpt", "7.ckpt", "epoch=٣.ckpt"]
    assert sorted(names, key=natural) == [
        "7.ckpt", "epoch=9-v1.ckpt", "epoch=9.ckpt", "epoch=10.ckpt", "epoch=٣.ckpt", "last.ckpt"
    ]  # fmt: skip


def test_folders_that_hold_a_model_are_in_a_list(bench):
    """As transformers leaves them: runs/checkpoint-500/ with its model and its optimizer in it."""
    states = [state(vit(), seed) for seed in (1, 2)]
    for step, tensors in zip((500, 1000), states, strict=True):
        folder = bench.folder / "runs" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        torch.save(tensors, folder / "pytorch_model.bin")
        torch.save({"other": torch.ones(1)}, folder / "optimizer.pt")
    (bench.folder / "runs" / "checkpoint-logs").mkdir()
    job = bench.plan("inputs:\n  runs: {glob: 'runs/checkpoint-*'}\nsave:\n  out.ckpt: mean(runs)\n")
    assert [path.name for path in job.lists["runs"].files] == ["checkpoint-500", "checkpoint-1000"]
    assert choose("runs/**", bench.folder, outputs=()).files == tuple(
        bench.folder / "runs" / f"checkpoint-{step}" / name
        for step in (500, 1000)
        for name in ("optimizer.pt", "pytorch_model.bin")
    )
    bench.run("inputs:\n  runs: {glob: 'runs/checkpoint-*'}\nsave:\n  out.ckpt: mean(runs)\n")
    close(bench.load(section=None), mean(states))


def test_folders_with_brackets_and_folders_that_match(tmp_path):
    folder = tmp_path / "a[1]"
    (folder / "x.ckpt").mkdir(parents=True)
    for name in ("x1.ckpt", "x2.ckpt"):
        (folder / name).touch()
    assert [path.name for path in choose("x*.ckpt", folder).files] == ["x1.ckpt", "x2.ckpt"]
