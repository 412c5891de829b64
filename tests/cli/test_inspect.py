"""`weightmath inspect`, against what torch reads of the same file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from tests.cli.conftest import Ran, state, tensors
from tests.packages import folds
from weightmath.checkpoint import open_checkpoint
from weightmath.plain import as_json
from weightmath.reports.checkpoint import CheckpointReport

Cli = Callable[..., Ran]


class Config:
    """A class whose name is shown and whose state can be."""

    def __init__(self) -> None:
        self.width = 7


@pytest.fixture
def rich_file(folder: Path) -> Path:
    """A checkpoint with twins, tied and half-precision tensors, an optimizer, and an object of a class."""
    weights = tensors(0)
    weights["tied"] = weights["head"]
    weights["half"] = torch.ones(2, 0).half()
    content = {
        "state_dict": weights,
        "state_dict_ema": {name: tensor.clone() for name, tensor in weights.items()},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(400)}}},
        "config": Config(),
        "epoch": 3,
        "note": None,
        "raw": b"abc",
    }
    torch.save(content, folder / "rich.ckpt", pickle_protocol=4)
    return folder / "rich.ckpt"


def test_check(cli: Cli, rich_file: Path) -> None:
    """A flipped bit is found, and named; the exit code tells."""
    ran = cli("inspect", "rich.ckpt", "--check")
    assert (ran.code, ran.err) == (0, "")
    assert "all bytes have the checksums that were written with them (2" in ran.out
    data = bytearray(rich_file.read_bytes())
    last = data.rindex(torch.zeros(400).numpy().tobytes())
    data[last] ^= 1
    (rich_file.parent / "flipped.ckpt").write_bytes(data)
    ran = cli("inspect", "flipped.ckpt", "--check")
    assert ran.code == 1
    assert "(`optimizer.state.0.exp_avg`): its bytes do not have the checksum" in ran.out
    ran = cli("inspect", "flipped.ckpt", "--check", "--json")
    assert ran.code == 1
    assert len(json.loads(ran.out)["check"]["problems"]) == 1
    assert cli("inspect", "flipped.ckpt").code == 0


def test_sections(cli: Cli, rich_file: Path) -> None:
    ran = cli("inspect", "rich.ckpt")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "rich.ckpt"
    assert lines[1].startswith("torch zip (PyTorch")
    rows = [" ".join(line.split()) for line in lines[5:8]]
    assert rows == [
        "* state_dict 7 56 float32: 5, int64: 1, float16: 1 state_dict_ema",
        "state_dict_ema 7 56 float32: 5, int64: 1, float16: 1",
        "optimizer.state.0 1 400 float32",
    ]


def test_tensors_have_their_flat_ranges(cli: Cli, rich_file: Path) -> None:
    report = json.loads(cli("inspect", "rich.ckpt", "--json").out)
    expected, offset = {}, 0
    for name, tensor in sorted(state_of(rich_file).items()):
        if tensor.is_floating_point():
            expected[name] = (list(tensor.shape), offset, offset + tensor.numel())
            offset += tensor.numel()
    found = {t["name"]: (t["shape"], t["start"], t["stop"]) for t in report["tensors"] if t["start"] is not None}
    assert found == expected
    assert list(found) == list(expected)
    assert report["values"] == offset
    assert [t["name"] for t in report["tensors"] if t["start"] is None] == ["steps"]


def state_of(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=False)["state_dict"]
    return loaded


def test_text_of_tensors(cli: Cli, rich_file: Path) -> None:
    out = cli("inspect", "rich.ckpt").out
    assert "  blocks.0.weight  4 x 6  float32   6..30\n" in out
    assert "  head             3      float32  50..53  shares its storage with state_dict.tied\n" in out
    assert "  half             2 x 0  float16  50..50\n" in out
    assert "outside the vector\n  name   shape  dtype\n  steps  ()     int64\n" in out


def test_everything_else_is_a_tree(cli: Cli, rich_file: Path) -> None:
    out = cli("inspect", "rich.ckpt").out
    tree = out.partition("everything\n")[2]
    assert "├── state_dict\n│   └── 7 tensors, listed above\n" in tree
    assert "└── 0  (1 item: --all prints them)\n" in tree
    assert "└── exp_avg: tensor 400 float32\n" in cli("inspect", "rich.ckpt", "--all").out
    assert f"├── config: {Config.__module__}.Config\n│   └── width: 7\n" in tree
    assert "├── epoch: 3\n├── note: None\n└── raw: 3 bytes\n" in tree


def test_json_is_the_documented_record(cli: Cli, rich_file: Path) -> None:
    ran = cli("inspect", "rich.ckpt", "--json")
    report = TypeAdapter(CheckpointReport).validate_json(ran.out)
    assert as_json(report) + "\n" == ran.out
    assert isinstance(report.everything, dict)
    assert report.everything["epoch"] == 3
    assert report.everything["raw"] == {"bytes": 3}
    assert report.everything["config"] == {"class": f"{Config.__module__}.Config", "content": {"width": 7}}
    assert report.everything["state_dict"]["head"] == {"tensor": "state_dict.head"}
    assert report.tensors[4].shares == ("state_dict.tied",)


def test_another_section(cli: Cli, rich_file: Path) -> None:
    out = cli("inspect", "rich.ckpt", "--section", "optimizer.state.0").out
    assert "\noptimizer.state.0: 400 values\n" in out
    assert "  exp_avg  400    float32  0..400\n" in out


def test_long_lists_are_cut_unless_all_is_asked_for(cli: Cli, folder: Path) -> None:
    torch.save({f"t{i:03}": torch.ones(1) for i in range(60)} | {"steps": list(range(30))}, folder / "long.ckpt")
    short, full = cli("inspect", "long.ckpt").out, cli("inspect", "long.ckpt", "--all").out
    assert "  ... and 20 more tensors: --all prints them\n" in short
    assert "t040" not in short
    assert "├── 11: 11\n" in short
    assert "... and 18 more: --all prints them" in short
    assert "├── 12: 12\n" not in short
    assert "└── 29: 29\n" in full
    assert "t059" in full


def test_a_file_without_weights_is_shown_all_the_same(cli: Cli, folder: Path) -> None:
    torch.save({"epoch": 3}, folder / "none.ckpt")
    ran = cli("inspect", "none.ckpt")
    assert ran.code == 0
    assert "└── epoch: 3\n" in ran.out
    assert json.loads(cli("inspect", "none.ckpt", "--json").out)["section"] is None


def test_markup_in_names_is_text(cli: Cli, folder: Path) -> None:
    torch.save({"[bold]w[/bold]": torch.ones(1), ":smile:": 1}, folder / "odd.ckpt")
    out = cli("inspect", "odd.ckpt").out
    assert "  [bold]w[/bold]  1      float32   0..1\n" in out
    assert ":smile:: 1" in out


def test_devices_are_noted(cli: Cli) -> None:
    out = cli("inspect", folds()[0]).out
    assert "98" in out
    assert "  cuda:0\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"), [(["no.ckpt"], "no.ckpt: no such file"), (["."], ".: holds several models")]
)
def test_bad_input(cli: Cli, folder: Path, arguments: list[str], message: str) -> None:
    ran = cli("inspect", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {message}")


def test_unknown_section(cli: Cli, folder: Path) -> None:
    ran = cli("inspect", "base.ckpt", "--section", "statedict")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: base.ckpt: has no section `statedict`\n  hint: did you mean `state_dict`?")
    assert state(folder / "base.ckpt")


@pytest.mark.parametrize("output", ["out.safetensors", "out.ckpt"])
def test_check_compares_the_fingerprint_that_an_output_carries(cli: Cli, folder: Path, output: str) -> None:
    """safetensors has no checksums."""
    assert cli("run", "-e", "a + 0.5 * (b - a)", "a=base.ckpt", "b=chat.ckpt", "-o", output).code == 0
    ran = cli("inspect", output, "--check")
    assert (ran.code, ran.err) == (0, "")
    assert "the weights have the fingerprint that was recorded when they were made" in ran.out
    assert json.loads(cli("inspect", output, "--check", "--json").out)["recorded"] is True
    checkpoint = open_checkpoint(output)
    tensor = checkpoint.section().tensors["head"]
    data = bytearray(Path(output).read_bytes())
    data[checkpoint.places[tensor.storage.key].offset] ^= 1
    Path(output).write_bytes(data)
    ran = cli("inspect", output, "--check")
    assert ran.code == 1
    assert "and the record of how they were made says wm1:" in " ".join(ran.out.split())


def test_what_lies_at_the_top_is_set_apart_from_its_class(cli: Cli, folder: Path) -> None:
    torch.save(torch.nn.Linear(3, 2), "module.ckpt")
    torch.save([torch.ones(2), 1], "list.ckpt")
    assert "(top level): torch.nn.modules.linear.Linear\n├── training: True\n" in cli("inspect", "module.ckpt").out
    assert "(top level): list of 2\n" in cli("inspect", "list.ckpt").out
    assert "(top level)\n├── " in cli("inspect", "base.ckpt").out
