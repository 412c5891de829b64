"""`weightmath run`: what it makes, and what it says."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from tests.cli.conftest import Ran, state
from weightmath.files.opening import open_inputs
from weightmath.plain import as_json
from weightmath.reports.run import RunReport

Cli = Callable[..., Ran]


def test_runs_a_recipe(cli: Cli, folder: Path) -> None:
    ran = cli("run", "recipe.yaml")
    assert (ran.code, ran.err) == (0, "")
    base, chat, code = (state(folder / f"{name}.ckpt") for name in ("base", "chat", "code"))
    merged = state(folder / "merged.ckpt")
    for name in ("blocks.0.weight", "blocks.0.bias", "blocks.1.weight"):
        expected = base[name] + 0.5 * ((chat[name] - base[name]) + (code[name] - base[name]))
        torch.testing.assert_close(merged[name], expected)
    assert torch.equal(merged["head"], base["head"])
    assert torch.equal(merged["steps"], base["steps"])


def test_the_time_is_that_of_opening_too(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*given: Any) -> Any:
        time.sleep(0.3)
        return open_inputs(*given)

    monkeypatch.setattr("weightmath.job.open_inputs", slow)
    assert json.loads(cli("run", "recipe.yaml", "--json").out)["seconds"] > 0.3


def test_the_summary_says_what_else_is_kept(cli: Cli, folder: Path) -> None:
    def copied(output: str, more: str = "") -> str:
        Path("own.yaml").write_text(
            f"inputs: {{a: base.ckpt, b: chat.ckpt}}\nsave: {{{output}: {{value: a / 2 + b / 2{more}}}}}\n"
        )
        ran = cli("run", "own.yaml", "--force")
        assert ran.code == 0, ran.err
        return next(line for line in ran.out.splitlines() if line.startswith("  copied"))

    assert copied("o.ckpt") == "  copied       1 tensor, and everything else from `a`"
    assert copied("o.ckpt", ", keep: weights") == "  copied       1 tensor from `a`"
    assert copied("o.ckpt", ", keep: weights, drop: '*steps'") == "  copied       nothing from `a`"
    assert copied("o.ckpt", ", drop: '*steps'") == "  copied       all else but what `drop` names, from `a`"
    assert copied("o.safetensors") == "  copied       1 tensor from `a`"
    assert copied("o.pt") == "  copied       1 tensor, and everything else from `a`"


def test_its_memory_is_not_that_of_the_process_that_started_it(folder: Path) -> None:
    held = np.ones(300 << 20, np.uint8)
    done = subprocess.run(
        [sys.executable, "-m", "weightmath", "run", "recipe.yaml", "--json"], check=True, capture_output=True
    )
    assert json.loads(done.stdout)["peak_bytes"] < 200 << 20 < held.nbytes


def test_a_recipe_may_come_from_standard_input(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(content: bytes, *arguments: object) -> Ran:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return cli(*arguments)

    content = (folder / "recipe.yaml").read_bytes()
    assert cli("run", "recipe.yaml", "-o", "file.ckpt", "--set", "strength=0.25").code == 0
    (folder / "recipe.yaml").unlink()
    assert piped(content, "plan", "-").out.startswith("plan of -\n")
    ran = piped(content, "run", "-", "--set", "strength=0.25", "--json")
    assert (ran.code, json.loads(ran.out)["recipe"]) == (0, "-")
    assert all(map(torch.equal, state(folder / "merged.ckpt").values(), state(folder / "file.ckpt").values()))
    assert cli("verify", "merged.ckpt").code == 0
    assert piped(b"inputs: {a: a.ckpt}\nsave: 3", "plan", "-").err.startswith("error: -:2: save: ")
    assert piped(b"\xff", "run", "-").err == "error: -: is not text: byte 0 is not UTF-8\n"
    monkeypatch.setattr("sys.stdin", None)
    ran = cli("run", "-")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: -: standard input is closed")


def test_summary_says_what_changed(cli: Cli, folder: Path) -> None:
    lines = cli("run", "recipe.yaml").out.splitlines()
    assert lines[0].startswith("merged.ckpt  (")
    assert "  merged       4 tensors: 3 changed, 1 unchanged" in lines
    assert "  elements     50 of 53 changed (94.3%)" in lines
    assert "  copied       1 tensor, and everything else from `base`" in lines
    base, merged = (_flat(folder / f"{name}.ckpt") for name in ("base", "merged"))
    change = np.linalg.norm(merged - base) / np.linalg.norm(base)
    cosine = merged @ base / np.linalg.norm(merged) / np.linalg.norm(base)
    assert f"  to template  relative change {change:.4g}, cosine {cosine:.6f}" in lines
    assert lines[-1].endswith("of memory at most")
    assert ", 1 reading of the inputs, " in lines[-1]


def _flat(path: Path) -> np.ndarray:
    return np.concatenate([t.double().numpy().ravel() for t in state(path).values() if t.is_floating_point()])


def test_summary_has_shown_values_claims_and_disagreeing_integers(cli: Cli, folder: Path) -> None:
    out = cli("run", "recipe.yaml").out
    skill = {k: v - state(folder / "base.ckpt")[k] for k, v in state(folder / "chat.ckpt").items()}
    first = torch.cat([skill["blocks.0.weight"].ravel(), skill["blocks.0.bias"]]).double().norm().item()
    assert f'norm(skill, scope="layer")\n  blocks.0  {first:.6g}\n  blocks.1  ' in out
    assert "\nnorm(skill)\n  " in out
    assert "expect\n  holds  cosine(merged, base) > -1  " in out
    assert "against -1" in out
    assert "inputs disagree in 1 tensor outside the vector\n  steps: the template's values were kept" in out


def test_json_is_the_documented_record(cli: Cli, folder: Path) -> None:
    ran = cli("run", "recipe.yaml", "--json")
    assert (ran.code, ran.err) == (0, "")
    report = TypeAdapter(RunReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert report.outputs[0].changed == 3
    assert set(json.loads(ran.out)["show"][0]["value"]) == {"blocks.0", "blocks.1", "head"}
    assert report.integers == {"steps": "template"}
    assert report.expect[0].held
    assert report.expect[0].right == -1


def test_overrides(cli: Cli, folder: Path) -> None:
    ran = cli(
        "run",
        "recipe.yaml",
        "--set",
        "strength=0",
        "--input",
        "chat=code.ckpt",
        "--output",
        "other.ckpt",
        "--threads",
        1,
    )
    assert ran.code == 0
    assert ran.out.startswith(f"{folder / 'other.ckpt'}  (")
    assert not (folder / "merged.ckpt").exists()
    assert torch.equal(state(folder / "other.ckpt")["blocks.0.weight"], state(folder / "base.ckpt")["blocks.0.weight"])


def test_a_merge_without_effect_is_no_plain_success(cli: Cli, folder: Path) -> None:
    ran = cli("run", "recipe.yaml", "--set", "strength=0")
    assert "merged       4 tensors: 0 changed, 4 unchanged" in ran.out
    assert f"warning: merged.ckpt: {WARNED}" in ran.out


WARNED = "nothing changed against the template: the merge had no effect"


@pytest.mark.parametrize(("name", "wish"), [("out.safetensors", "keep: all"), ("out.ckpt", "dtype: bf16")])
def test_another_form_hides_no_merge_without_effect(cli: Cli, folder: Path, name: str, wish: str) -> None:
    text = f"inputs: {{a: base.ckpt, b: chat.ckpt}}\nsave: {{{name}: {{value: a + 0 * (b - a), {wish}}}}}\n"
    (folder / "merge.yaml").write_text(text)
    assert f"warning: {name}: {WARNED}" in cli("run", "merge.yaml").out


def test_an_old_template_hides_no_merge_without_effect(cli: Cli, folder: Path) -> None:
    old = {"state_dict": state(folder / "base.ckpt")}
    torch.save(old, folder / "old.ckpt", _use_new_zipfile_serialization=False)
    inputs = ("a=old.ckpt", "b=chat.ckpt", "-o", "out.ckpt")
    assert WARNED in cli("run", "-e", "a + 0 * (b - a)", *inputs).out
    assert WARNED not in cli("run", "-e", "a", "a=old.ckpt", "-o", "new.ckpt").out


@pytest.mark.parametrize(
    ("name", "wish"),
    [
        ("out.ckpt", "dtype: bf16"),
        ("out.ckpt", "dtype: fp8"),
        ("out.ckpt", "drop: [epoch]"),
        ("out.ckpt", "keep: weights"),
        ("out.safetensors", "keep: all"),
        ("out/", "keep: all"),
    ],
)
def test_a_conversion_is_no_merge_without_effect(cli: Cli, folder: Path, name: str, wish: str) -> None:
    (folder / "convert.yaml").write_text(f"inputs: {{a: base.ckpt}}\nsave: {{{name}: {{value: a, {wish}}}}}\n")
    out = cli("run", "convert.yaml").out
    assert "no effect" not in out
    assert "  elements     0 of 53 changed (0%)" in out
    assert ("  stored       4 tensors as " in out) == ("dtype" in wish)


def test_the_record_counts_tensors_of_another_dtype(cli: Cli, folder: Path) -> None:
    (folder / "convert.yaml").write_text("inputs: {a: base.ckpt}\nsave: {out.ckpt: {value: a, dtype: bf16}}\n")
    (output,) = json.loads(cli("run", "convert.yaml", "--json").out)["outputs"]
    assert (output["elements_changed"], output["retyped"]) == (0, {"bfloat16": 4})


def test_a_storage_of_two_names_counts_once(cli: Cli, folder: Path) -> None:
    shared = torch.ones(3)
    torch.save({"a": shared, "b": shared, "n": torch.tensor(1)}, folder / "tied.ckpt")
    (folder / "convert.yaml").write_text("inputs: {a: tied.ckpt}\nsave: {out.ckpt: {value: a, dtype: bf16}}\n")
    out = cli("run", "convert.yaml").out
    assert "  merged       1 tensor: " in out
    assert "  stored       1 tensor as bfloat16" in out


def test_the_template_is_used_though_no_formula_names_it(cli: Cli, folder: Path) -> None:
    text = "inputs: {base: base.ckpt, chat: chat.ckpt}\nsave: {out.ckpt: chat}\n"
    (folder / "graft.yaml").write_text(text)
    for command in ("check", "plan", "run"):
        assert "nothing uses" not in cli(command, "graft.yaml").out
    assert "everything else from `base`" in cli("run", "graft.yaml", "--force").out


def test_a_wrong_sum_is_refused_before_any_work(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "inputs: {{a: {{path: base.ckpt, sha256: '{}'}}}}\nsave: {{out.ckpt: 2 * a - a}}\n"
    (folder / "pinned.yaml").write_text(text.format("0" * 64))
    assert cli("plan", "pinned.yaml").code == 0
    ran = cli("run", "pinned.yaml")
    assert ran.code == 2
    assert "pinned.yaml:1: inputs.a.sha256: base.ckpt: is not what the recipe pins" in ran.err
    sums = iter(["0" * 64])  # one: it is not read once to refuse and once to run
    monkeypatch.setattr("weightmath.pins.sha256_of", lambda path, told: next(sums))
    assert cli("run", "pinned.yaml").code == 0


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_directory_that_cannot_be_written_is_refused(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    allowed = os.access
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK and allowed(path, mode))
    ran = cli(command, "recipe.yaml")
    assert ran.code == 2
    assert "merged.ckpt: its folder cannot be written to\n  hint: choose another folder" in ran.err


def test_without_a_recipe(cli: Cli, folder: Path) -> None:
    ran = cli("run", "-e", "a + 0.5 * (b - a)", "a=base.ckpt", "b=chat.ckpt", "-o", "out.ckpt")
    assert (ran.code, ran.err) == (0, "")
    base, chat = state(folder / "base.ckpt"), state(folder / "chat.ckpt")
    torch.testing.assert_close(state(folder / "out.ckpt")["head"], (base["head"] + chat["head"]) / 2)


def test_force_replaces(cli: Cli, folder: Path) -> None:
    (folder / "merged.ckpt").write_text("old")
    assert cli("run", "recipe.yaml").code == 2
    assert cli("run", "recipe.yaml", "--force").code == 0
    assert "blocks.0.weight" in state(folder / "merged.ckpt")


def test_distances_of_large_models_are_said_to_be_sampled(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightmath.engine.outcome._LOOKED_AT", 10)
    assert "(of a sample)\n" in cli("run", "recipe.yaml").out


def test_long_tables_are_cut(cli: Cli, folder: Path) -> None:
    many = {f"t{i:03}": torch.ones(2) for i in range(50)}
    torch.save(many, folder / "many.ckpt")
    (folder / "many.yaml").write_text(
        "inputs: {a: many.ckpt}\nshow: 'norm(a, scope=\"tensor\")'\nsave:\n  out.ckpt: a\n"
    )
    out = cli("run", "many.yaml").out
    assert "  t039  1.41421\n  ... and 10 more: --json prints all\n" in out
    assert "t040" not in out


def test_rows_and_matrices_are_shown(cli: Cli, folder: Path) -> None:
    (folder / "shown.yaml").write_text(
        "inputs: {a: base.ckpt, b: chat.ckpt}\n"
        "show:\n  - 'norm(a, scope=\"row\")'\n  - gram([a, b])\n  - 1 + 1\n"
        "save:\n  out.ckpt: a\n"
    )
    out = cli("run", "shown.yaml").out
    rows = state(folder / "base.ckpt")["blocks.1.weight"].double().norm(dim=1)
    assert "  blocks.1.weight  " + " ".join(f"{x:.6g}" for x in rows.tolist()) in out
    a, b = _flat(folder / "base.ckpt"), _flat(folder / "chat.ckpt")
    assert "\n1 + 1\n  2\n" in out
    # The matrix has a line per vector.
    lines = out.partition("gram([a, b])\n")[2].splitlines()
    shown = np.array([[float(x) for x in line.split()] for line in lines[:2]])
    np.testing.assert_allclose(shown, [[a @ a, a @ b], [a @ b, b @ b]], rtol=1e-5)


def test_a_delta_file_is_told_by_what_it_holds(cli: Cli, folder: Path) -> None:
    """Nothing is copied into it, and how far a difference lies from a model says nothing."""
    text = "inputs: {a: base.ckpt, b: chat.ckpt}\nsave: {d.delta: {value: b - a, as: sparse}, z.delta: a - a}\n"
    (folder / "deltas.yaml").write_text(text)
    ran = cli("run", "deltas.yaml")
    assert ran.code == 0
    assert re.match(
        r"d\.delta  \(.* kB\)\n  holds  4 tensors, stored as sparse\n"
        r"z\.delta  \(.* kB\)\n  holds  4 tensors, stored as dense\n\n",
        ran.out,
    )
    assert re.findall("warning: .*", ran.out) == ["warning: z.delta: all numbers are 0: the delta has no effect"]
    report = json.loads(cli("run", "deltas.yaml", "--force", "--json").out)
    assert [one["encoding"] for one in report["outputs"]] == ["sparse", "dense"]
