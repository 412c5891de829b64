"""Mistakes whose way out is not at hand where they are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Ran

Cli = Callable[..., Ran]

STATE = {"w": torch.ones(3), "v": torch.ones(2)}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(STATE, "a.ckpt")
    torch.save({"w": torch.zeros(3), "v": torch.ones(2)}, "b.ckpt")
    torch.save({f"module.{name}": value for name, value in STATE.items()}, "p.ckpt")
    torch.save({**STATE, "w": torch.tensor([1, float("nan"), 2])}, "n.ckpt")
    torch.save({"w": torch.ones(3).to_sparse()}, "s.ckpt")


def average(cli: Cli, other: str = "b", formula: str = "a + 0.5 * (b - a)", *options: object) -> Ran:
    return cli("run", "-e", formula, "a=a.ckpt", f"b={other}.ckpt", "-o", "o.ckpt", *options)


def test_an_expression_has_no_place_for_the_line_that_would_help(cli: Cli) -> None:
    ran = average(cli, "p")
    assert ran.code == 2
    assert 'hint: -e has no place for it; in a recipe (weightmath new): add to the input: strip: ["module."]' in ran.err


@pytest.mark.parametrize("command", ["soup", "landscape"])
def test_a_command_has_no_place_for_it_either(cli: Cli, command: str) -> None:
    words = ("soup",) if command == "soup" else ("landscape", "line", "--metric", "python e.py {checkpoint}")
    ran = cli(*words, "a.ckpt", "p.ckpt", "-o", "o.ckpt")
    assert ran.code == 2
    hint = f'hint: {command} has no place for it; in a recipe (weightmath new): add to the input: strip: ["module."]'
    assert hint in ran.err


def test_an_expression_of_deltas_alone(cli: Cli) -> None:
    assert cli("delta", "make", "a.ckpt", "b.ckpt", "-o", "d.delta", "--as", "dense").code == 0
    ran = cli("run", "-e", "0.5 * d", "d=d.delta", "-o", "half.delta")
    assert (ran.code, "hint: give one, used or not: base=base.ckpt" in ran.err) == (2, True)
    assert cli("run", "-e", "0.5 * d", "d=d.delta", "base=a.ckpt", "-o", "half.delta").code == 0


def test_an_output_is_no_stream(cli: Cli) -> None:
    ran = cli("run", "-e", "a", "a=a.ckpt", "-o", "-")
    assert (ran.code, "and not standard output\n  hint: -o merged.ckpt" in ran.err) == (2, True)


def test_a_name_that_is_no_input(cli: Cli) -> None:
    assert "unknown name `chat`" in (said := average(cli, "b", "a + chat").err)
    assert "hint: the names here are: a, b\n" in said


@pytest.mark.parametrize("there", ["_orig_mod.", "module._orig_mod.", "net.0."])
@pytest.mark.parametrize("here", ["module.", "model.encoder."])
def test_names_with_another_beginning(cli: Cli, here: str, there: str) -> None:
    state = {**STATE, "0.w": torch.ones(2)}
    for name, beginning in (("p", here), ("q", there)):
        torch.save({f"{beginning}{key}": value for key, value in state.items()}, f"{name}.ckpt")
    text = "inputs: {a: p.ckpt, b: {path: q.ckpt%s}}\nsave: {o.ckpt: (a + b) / 2}\n"
    Path("r.yaml").write_text(text % "")
    rule = f'rename: {{"{there}": "{here}"}}'
    assert f"hint: add to the input: {rule}\n" in cli("run", "r.yaml").err
    Path("r.yaml").write_text(text % f", {rule}")
    assert cli("run", "r.yaml").code == 0


def test_decimal_commas_and_quoted_numbers(cli: Cli) -> None:
    assert (
        "`0,5` is not a number\n  a + 0,5 * (b - a)\n      ^^^\n  hint: write 0.5\n"
        in average(cli, "b", "a + 0,5 * (b - a)").err
    )
    for written in ("'0.7'", "0,7"):
        for formula in ("a + s * (b - a)", "lerp(a, b, s)", "keep_largest(b - a, density=s)"):
            text = f"inputs: {{a: a.ckpt, b: b.ckpt}}\nparams:\n  s: {written}\nsave:\n  o.ckpt: {formula}\n"
            Path("r.yaml").write_text(text)
            ran = cli("run", "r.yaml")
            assert ran.code == 2
            assert "hint: a number stands without quotes and with a point: 0.7\n" in ran.err


def test_a_budget_of_next_to_nothing(cli: Cli) -> None:
    ran = average(cli, "b", "a + 0.5 * (b - a)", "--memory", "1KB")
    assert ran.code == 2
    assert "and the budget is 1,000 bytes\n" in ran.err


def test_names_that_differ_by_a_prefix_alone(cli: Cli) -> None:
    ran = cli("diff", "a.ckpt", "p.ckpt")
    assert ran.code == 2
    assert ran.err == (
        "error: p.ckpt: has no tensor of a.ckpt, by name\n"
        '  hint: as an input of a recipe, with strip: ["module."], it would have 2 of them\n'
    )


def test_the_input_that_had_nan_is_named(cli: Cli) -> None:
    ran = average(cli, "n")
    assert ran.code == 1
    assert "NaN or infinite values in `w` (1); `w` has them in `b`\n" in ran.err
    assert "; `w`" not in average(cli, "b", "a + 1e39 * (b - a)").err


def test_tensors_that_are_not_dense(cli: Cli) -> None:
    ran = cli("fingerprint", "s.ckpt")
    assert ran.err == (
        "error: s.ckpt: holds no dense tensors: `w` is sparse\n  hint: load it with torch and save tensor.to_dense()\n"
    )


def test_what_a_killed_run_has_left_of_a_delta_is_no_obstacle(cli: Cli) -> None:
    Path(".o.delta.weightmath.dense").write_bytes(b"half")
    Path(".o.delta.weightmath.encoded").write_bytes(b"half")
    assert cli("run", "-e", "b - a", "a=a.ckpt", "b=b.ckpt", "-o", "o.delta").code == 0
    assert [path.name for path in Path().iterdir() if path.name.startswith((".o", "o"))] == ["o.delta"]


@pytest.mark.parametrize("inputs", [("base=m.ckpt", "skill=lora"), ("skill=lora", "base=m.ckpt")])
def test_an_adapter_is_to_be_made_a_delta_first(cli: Cli, inputs: tuple[str, str]) -> None:
    torch.save({"layers.0.weight": torch.ones(3, 4), "head": torch.ones(2)}, "m.ckpt")
    pair = {"lora_A.weight": torch.full((1, 4), 2.0), "lora_B.weight": torch.ones(3, 1)}
    Path("lora").mkdir()
    save_file(
        {f"base_model.model.layers.0.{name}": value for name, value in pair.items()}, "lora/adapter_model.safetensors"
    )
    Path("lora/adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 1}')
    ran = cli("run", "-e", "base + 0.5 * skill", *inputs, "-o", "o.ckpt")
    assert ran.code == 2
    assert "`skill` is a LoRA adapter: factors of a difference, not the difference itself" in ran.err
    line = "weightmath delta from-lora lora m.ckpt -o skill.delta"
    assert f"hint: make a delta of it, and read that: {line}\n" in ran.err
    assert cli(*line.split()[1:]).code == 0
    assert cli("run", "-e", "base + 0.5 * skill", "base=m.ckpt", "skill=skill.delta", "-o", "o.ckpt").code == 0
    assert torch.equal(torch.load("o.ckpt")["layers.0.weight"], torch.full((3, 4), 2.0))


def test_adapters_of_other_ranks_are_to_be_made_deltas(cli: Cli) -> None:
    for name, rank in (("a", 1), ("b", 2)):
        factors = {"lora_down.weight": torch.ones(rank, 4), "lora_up.weight": torch.ones(3, rank)}
        save_file({f"lora_unet_mid.{key}": value for key, value in factors.items()}, f"{name}.safetensors")
    ran = cli("run", "-e", "lerp(a, b, 0.5)", "a=a.safetensors", "b=b.safetensors", "-o", "o.safetensors")
    assert "`b` and `a` are LoRA adapters: factors of differences" in ran.err
    assert "hint: make deltas of both, which do merge: weightmath delta from-lora ADAPTER BASE" in ran.err


def test_a_line_to_paste_takes_any_path(cli: Cli, folder: Path) -> None:
    """What a shell would cut or expand stands in quotes: each of these lines is a command as it is."""
    (folder / "my base.ckpt").symlink_to("base.ckpt")
    assert cli("run", "-e", "a", "a=base.ckpt", "-o", "new folder/out.ckpt").err.endswith(
        "  hint: mkdir -p 'new folder'\n"
    )
    assert cli("delta", "make", "my base.ckpt", "chat.ckpt", "-o", "my skill.delta").code == 0
    told = cli("run", "-e", "base + skill", "base=my base.ckpt", "skill=my skill.delta", "-o", "out.ckpt").err
    assert "weightmath delta apply 'my base.ckpt' 'my skill.delta' -o tuned.ckpt" in told
    told = cli("delta", "make", "my skill.delta", "chat.ckpt", "-o", "x.delta").err
    assert "weightmath delta apply BASE 'my skill.delta' -o FILE" in told
    assert "weightmath delta info 'my skill.delta'" in cli("provenance", "my skill.delta").err
    assert cli("run", "-e", "(a + b) / 2", "a=my base.ckpt", "b=chat.ckpt", "-o", "merged.ckpt").code == 0
    (folder / "away").mkdir()
    (folder / "merged.ckpt").rename(folder / "away" / "merged.ckpt")
    told = cli("verify", "away/merged.ckpt").err
    assert told.endswith("  hint: --input 'a=PATH/my base.ckpt' --input b=PATH/chat.ckpt\n")
    (folder / "my sweep.yaml").write_text(
        "inputs: {a: base.ckpt}\nvary:\n  t: [1, 2]\nparams: {t: 1}\nsave: {o.ckpt: t * a}\n"
    )
    assert "weightmath sweep 'my sweep.yaml' measures" in cli("run", "my sweep.yaml").err
    assert "weightmath run 'my sweep.yaml' --set t=2" in cli("sweep", "my sweep.yaml", "--set", "t=2").err
    assert cli("new", "ties", "-o", "my ties.yaml").out.endswith("weightmath plan 'my ties.yaml'\n")
