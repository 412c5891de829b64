"""`weightmath delta`: what its commands print and write."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Ran

Cli = Callable[..., Ran]


def test_exact_deltas_give_the_file_back(cli: Cli, folder: Path) -> None:
    made = cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "chat.delta")
    assert (made.code, made.err) == (0, "")
    assert "exact" in made.out
    applied = cli("delta", "apply", "base.ckpt", "chat.delta", "-o", "back.ckpt")
    size = Path("chat.ckpt").stat().st_size
    assert applied.out == f"back.ckpt: {size / 1000:.2f} kB, the tuned file to the byte, sha256 compared\n"
    assert Path("back.ckpt").read_bytes() == Path("chat.ckpt").read_bytes()


def test_info_as_json(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta", "--as", "sparse", "--density", 0.5)
    report = json.loads(cli("delta", "info", "x.delta", "--json").out)
    assert report["kind"] == "sparse"
    assert report["options"] == {"density": 0.5}
    assert report["base"]["fingerprint"] == cli("fingerprint", "base.ckpt").out.strip()
    assert report["bytes"] == Path("x.delta").stat().st_size
    assert 0 < report["error"] < 1
    by_name = {tensor["name"]: tensor for tensor in report["tensors"]}
    assert by_name["steps"]["encoder"] in ("step", "xor", "plain")
    assert by_name["blocks.0.weight"]["encoder"] == "sparse"


def test_a_limit_alone_chooses(cli: Cli, folder: Path) -> None:
    report = json.loads(cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x", "--max-error", 0.1, "--json").out)
    assert report["kind"] == "auto"
    assert report["error"] <= 0.1


def test_scales(cli: Cli, folder: Path) -> None:
    for name in ("chat", "code"):
        cli("delta", "make", "base.ckpt", f"{name}.ckpt", "-o", f"{name}.delta", "--as", "dense")
    cli("delta", "apply", "base.ckpt", "chat.delta", "code.delta", "-o", "o.ckpt", "--scale", 0.5, "--scale", 0.25)
    loaded = [torch.load(f"{name}.ckpt", weights_only=False) for name in ("base", "chat", "code", "o")]
    base, chat, code, out = (one.get("state_dict", one) for one in loaded)
    for name in ("head", "blocks.0.weight"):
        expected = base[name] + 0.5 * (chat[name] - base[name]) + 0.25 * (code[name] - base[name])
        torch.testing.assert_close(out[name], expected)


def test_compare_and_compose(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "a.delta")
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "b.delta", "--as", "sign")
    report = json.loads(cli("delta", "compare", "base.ckpt", "a.delta", "b.delta", "--json").out)
    assert report["whole"]["sign_agreement"] == 1.0
    assert 0.7 < report["whole"]["cosine"] < 1
    assert "all tensors" in cli("delta", "compare", "base.ckpt", "a.delta", "b.delta").out
    cli("delta", "make", "chat.ckpt", "code.ckpt", "-o", "c.delta")
    assert cli("delta", "compose", "a.delta", "c.delta", "-o", "ac.delta", "--base", "base.ckpt").code == 0
    cli("delta", "apply", "base.ckpt", "ac.delta", "-o", "back.ckpt")
    assert Path("back.ckpt").read_bytes() == Path("code.ckpt").read_bytes()
    assert list(folder.glob(".*")) == []


def test_compose_with_integers(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "a.delta", "--as", "dense")
    cli("delta", "make", "chat.ckpt", "code.ckpt", "-o", "b.delta", "--as", "int8")
    assert "hint: --base BASE" in cli("delta", "compose", "a.delta", "b.delta", "-o", "ab.delta").err
    ran = cli("delta", "compose", "a.delta", "b.delta", "-o", "ab.delta", "--base", "base.ckpt")
    assert (ran.code, ran.err) == (0, "")
    cli("delta", "apply", "base.ckpt", "ab.delta", "-o", "back.ckpt")
    steps = [torch.load(path, weights_only=False)["state_dict"]["steps"] for path in ("back.ckpt", "code.ckpt")]
    assert torch.equal(*steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "base.ckpt", "chat.ckpt", "-o", "x", "--as", "int4"), "unknown kind of delta `int4`"),
        (("make", "base.ckpt", "chat.ckpt", "-o", "x", "--keep", "most"), "`most` cannot be kept"),
        (
            ("make", "base.ckpt", "chat.ckpt", "-o", "x", "--as", "dense", "--dtype", "int9"),
            "a delta's numbers cannot be int9\n  hint: known: float32 float16 bfloat16",
        ),
        (("make", "base.ckpt", "bose.ckpt", "-o", "x"), "bose.ckpt: no such file"),
        (("info", "base.ckpt"), "base.ckpt: is no delta file"),
        (("apply", "base.ckpt", "chat.ckpt", "-o", "x.ckpt"), "chat.ckpt: is no delta file"),
    ],
)
def test_what_is_refused(cli: Cli, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    ran = cli("delta", *arguments)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("make", "base.ckpt", "none.ckpt", "-o", "y.delta"),
        ("make", "base.ckpt", "x.delta", "-o", "y.delta"),
        ("make", "x.delta", "chat.ckpt", "-o", "y.delta", "--as", "dense"),
        ("apply", "x.delta", "x.delta", "-o", "y.ckpt", "--any-base"),
        ("make", "base.ckpt", "chat.ckpt", "-o", "x.delta"),
        ("make", "base.ckpt", "chat.ckpt", "-o", "chat.ckpt", "--force"),
        ("make", "base.ckpt", "chat.ckpt", "-o", "none/y.delta"),
        ("apply", "none.ckpt", "x.delta", "-o", "y.ckpt"),
        ("apply", "base.ckpt", "chat.ckpt", "-o", "y.ckpt"),
        ("compose", "x.delta", "none.delta", "-o", "y.delta"),
        ("compose", "x.delta", "x.delta", "-o", "x.delta"),
        ("from-lora", "none", "none.ckpt", "-o", "y.delta"),
        ("from-lora", "none", "base.ckpt", "-o", "x.delta"),
        ("to-lora", "chat.ckpt", "-o", "adapter"),
        ("apply", "base.ckpt", "x.delta", "-o", "chat.ckpt"),
        ("apply", "base.ckpt", "x.delta", "-o", "y.safetensors"),
        ("apply", "base.ckpt", "x.delta", "-o", "y/"),
        ("apply", "chat.ckpt", "x.delta", "-o", "y.ckpt"),
        ("from-lora", "nope", "base.ckpt", "-o", "y.delta"),
        ("to-lora", "x.delta", "-o", "chat.ckpt"),
    ],
)
def test_what_is_refused_before_any_work(cli: Cli, folder: Path, arguments: tuple[str, ...]) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ran = cli("delta", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("kind", ["exact", "sparse", "int8"])
def test_applying_needs_no_torch(cli: Cli, folder: Path, kind: str) -> None:
    for name in ("base", "chat"):
        whole = torch.load(f"{name}.ckpt", weights_only=False)
        tensors = whole.get("state_dict", whole)
        torch.save({"w": tensors["head"].bfloat16(), "v": tensors["blocks.0.weight"].half()}, f"{name}.pt")
    cli("delta", "make", "base.pt", "chat.pt", "-o", "x.delta", "--as", kind)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from weightmath.cli import main\n"
        "sys.argv = ['weightmath', 'delta', 'apply', 'base.pt', 'x.delta', '-o', 'out.pt']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert torch.load("out.pt").keys() == {"w", "v"}


def test_adapters_and_back(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta", "--as", "low-rank", "--rank", 2)
    ran = cli("delta", "to-lora", "x.delta", "-o", "adapter")
    assert ran.code == 0
    assert "cannot hold 3 tensors of the delta: blocks.0.bias, head, steps\n" in ran.out
    assert cli("delta", "from-lora", "adapter", "base.ckpt", "-o", "y.delta").code == 0
    report = json.loads(cli("delta", "info", "y.delta", "--json").out)
    assert [(tensor["name"], tensor["rank"]) for tensor in report["tensors"]] == [
        ("blocks.0.weight", 2),
        ("blocks.1.weight", 2),
    ]
    assert json.loads(cli("delta", "to-lora", "y.delta", "-o", "again", "--json").out)["left_out"] == []
    assert "mkdir -p none" in cli("delta", "to-lora", "y.delta", "-o", "none/a.safetensors").err


def test_one_tensor_that_an_adapter_cannot_hold_is_told_as_one(cli: Cli, folder: Path) -> None:
    for name, bias in (("a", 0.0), ("b", 1.0)):
        torch.save({"w.weight": torch.eye(4) + bias, "bias": torch.full((4,), bias)}, f"{name}.pt")
    cli("delta", "make", "a.pt", "b.pt", "-o", "x.delta", "--as", "low-rank", "--rank", 1)
    assert "cannot hold 1 tensor of the delta: bias\n" in cli("delta", "to-lora", "x.delta", "-o", "adapter").out


@pytest.mark.parametrize("output", ["adapter", "lora.safetensors"])
def test_an_adapter_is_replaced_when_asked(cli: Cli, folder: Path, output: str) -> None:
    for rank in (2, 1):
        cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", f"{rank}.delta", "--as", "low-rank", "--rank", rank)
    assert cli("delta", "to-lora", "2.delta", "-o", output).code == 0
    ran = cli("delta", "to-lora", "1.delta", "-o", output)
    assert (ran.code, "--force" in ran.err) == (2, True)
    assert cli("delta", "to-lora", "1.delta", "-o", output, "--force").code == 0
    assert cli("delta", "from-lora", output, "base.ckpt", "-o", "back.delta", "--section", "state_dict").code == 0
    report = json.loads(cli("delta", "info", "back.delta", "--json").out)
    assert {tensor["rank"] for tensor in report["tensors"]} == {1}
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize("name", ["lora.pt", "lora.delta"])
def test_an_adapter_has_no_ending_of_a_checkpoint(cli: Cli, folder: Path, name: str) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta", "--as", "low-rank", "--rank", 2)
    ran = cli("delta", "to-lora", "x.delta", "-o", name)
    assert (ran.code, ran.out, Path(name).exists()) == (2, "", False)
    assert "hint: a folder, lora/, for peft; or as kohya, lora.safetensors" in ran.err
    assert cli("delta", "to-lora", "x.delta", "-o", "lora-v1.5").code == 0


def test_only_an_adapter_is_replaced(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.safetensors", "--as", "low-rank", "--rank", 2)
    cli("delta", "to-lora", "x.safetensors", "-o", "adapter")
    Path("adapter/notes.txt").write_text("mine")
    Path("dir.safetensors").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for output, fact in (
        ("adapter", "holds more than an adapter (`notes.txt`)"),
        ("x.safetensors", "is an input"),
        ("chat.ckpt", "is a file, and the output a folder"),
        ("dir.safetensors", "is a folder, and the output a file"),
    ):
        ran = cli("delta", "to-lora", "x.safetensors", "-o", output, "--force")
        assert (ran.code, ran.out) == (2, "")
        assert fact in ran.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_adapters_for_other_bases_are_refused_before_any_work(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta", "--as", "low-rank", "--rank", 2)
    cli("delta", "to-lora", "x.delta", "-o", "adapter")
    torch.save({"a": torch.ones(3, 3)}, "other.ckpt")
    for arguments, fact in (
        (("base.ckpt", "adapter"), "adapter: is a LoRA adapter, and no base for one\n  hint: the adapter comes first"),
        (("base.ckpt", "chat.ckpt"), "if this is the base: the adapter comes first"),
        (("adapter", "other.ckpt"), "none of its 1 tensors has a name that ends in .weight"),
        (("adapter", "x.delta"), "x.delta: is a delta file"),
    ):
        ran = cli("delta", "from-lora", *arguments, "-o", "y.delta")
        assert (ran.code, ran.out) == (2, "")
        assert fact in ran.err


def test_a_delta_says_that_nothing_differs(cli: Cli, folder: Path) -> None:
    for kind in ("exact", "dense"):
        same = cli("delta", "make", "base.ckpt", "base.ckpt", "-o", f"{kind}.delta", "--as", kind).out
        assert "nothing: base and tuned have the same weights" in same
    assert "differs" not in cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta").out


def test_provenance_of_deltas(cli: Cli, folder: Path) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta")
    ran = cli("provenance", "x.delta")
    assert ran.code == 2
    assert "hint: weightmath delta info x.delta shows base, fine-tune and encoding" in ran.err
    assert cli("run", "-e", "0.5 * (b - a)", "a=base.ckpt", "b=chat.ckpt", "-o", "y.delta").code == 0
    assert "-0.5 x a: base.ckpt" in cli("provenance", "y.delta").out
    assert "equal bit for bit" in cli("verify", "y.delta").out


@pytest.mark.parametrize("kind", ["exact", "dense", "sparse", "int8", "sign"])
def test_flipped_bits_of_deltas_are_found(cli: Cli, folder: Path, kind: str) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta", "--as", kind)
    ran = cli("inspect", "x.delta", "--check")
    assert (ran.code, ran.err) == (0, "")
    assert "all bytes have the checksums that were written with them" in ran.out
    content = bytearray(Path("x.delta").read_bytes())
    content[-3] ^= 2
    Path("x.delta").write_bytes(content)
    ran = cli("inspect", "x.delta", "--check")
    assert ran.code == 1
    assert "its bytes do not have the checksum that was written with them" in ran.out


@pytest.mark.parametrize(
    "command",
    [
        ("delta", "make", "base.ckpt", "chat.ckpt", "-o"),
        ("delta", "make", "base.ckpt", "chat.ckpt", "--as", "sparse", "-o"),
        ("delta", "apply", "base.ckpt", "chat.delta", "-o"),
        ("delta", "compose", "chat.delta", "chat.delta", "-o"),
        ("delta", "to-lora", "chat.delta", "-o"),
        ("compare", "base.ckpt", "chat.ckpt", "--csv"),
    ],
)
def test_a_directory_that_cannot_be_written_to_is_refused_before_any_work(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "chat.delta", "--as", "low-rank", "--rank", 1)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and allowed(path, mode))
    ran = cli(*command, "new.ckpt")
    fact = "its folder cannot be written to\n  hint: choose another folder"
    assert (ran.code, ran.err) == (2, f"error: new.ckpt: {fact}\n")


@pytest.mark.parametrize(
    "command",
    [
        ("make", "base.ckpt", "chat.ckpt"),
        ("make", "base.ckpt", "chat.ckpt", "--as", "sparse"),
        ("apply", "base.ckpt", "chat.delta"),
    ],
)
def test_a_disk_that_takes_no_more_is_said_of_the_output(cli: Cli, folder: Path, command: tuple[str, ...]) -> None:
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "chat.delta")
    before = sorted(os.listdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # no file grows beyond, as on a full disk
    try:
        ran = cli("delta", *command, "-o", "new.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (ran.code, ran.err) == (1, f"error: new.ckpt: cannot be written: {os.strerror(errno.EFBIG)}\n")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (
            "make shards chat.ckpt -o y.delta",
            "shards: consists of several files, and whole files are compared one by one",
        ),
        ("make base.ckpt other.ckpt -o y.delta --as dense", "other.ckpt: does not have the base's tensors"),
        ("compose x.delta x2.delta -o y.delta", "exact deltas are composed with their base at hand"),
        ("to-lora x.delta -o y.safetensors", "holds no products of two matrices"),
    ],
)
def test_what_headers_tell_is_refused_before_any_work(cli: Cli, folder: Path, arguments: str, fact: str) -> None:
    (folder / "shards").mkdir()
    for number, name in enumerate("ab", 1):
        save_file({name: torch.ones(2)}, folder / f"shards/model-{number:05}-of-00002.safetensors")
    weight_map = {name: f"model-{number:05}-of-00002.safetensors" for number, name in enumerate("ab", 1)}
    (folder / "shards/model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    torch.save({"state_dict": {"w": torch.ones(2)}}, "other.ckpt")
    cli("delta", "make", "base.ckpt", "chat.ckpt", "-o", "x.delta")
    cli("delta", "make", "chat.ckpt", "code.ckpt", "-o", "x2.delta")
    before = sorted(folder.iterdir())
    ran = cli("delta", *arguments.split())
    assert fact in ran.err
    assert ran.code == 2
    assert sorted(folder.iterdir()) == before
