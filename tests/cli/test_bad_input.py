"""What cannot work gets one message, the right exit code, no traceback, and leaves no file behind."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.cli.conftest import Ran, tensors
from weightmath.files.inputs import CheckpointSource

Cli = Callable[..., Ran]


@dataclass(frozen=True)
class Case:
    """A way to go wrong: what prepares the folder, the arguments, and what the command must say."""

    name: str
    arguments: tuple[str, ...]
    message: str
    prepare: Callable[[Path], Any] = lambda folder: None
    code: int = 2


def _saved(value: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(value, folder / "bad.ckpt")


def _recipe(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "bad.yaml").write_text(text)


def _prefixed(folder: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in tensors(1).items()}, folder / "bad.ckpt")


def _other_layout(folder: Path) -> None:
    other = tensors(1)
    other["blocks.0.bias"] = torch.ones(7)
    other["blocks.2.bias"] = torch.ones(7)
    del other["head"]
    torch.save({"state_dict": other}, folder / "bad.ckpt")


def _truncated(folder: Path) -> None:
    whole = (folder / "base.ckpt").read_bytes()
    (folder / "bad.ckpt").write_bytes(whole[: len(whole) // 2])


def _half(folder: Path) -> None:
    torch.save({"w": torch.full((3,), 60000.0).half()}, folder / "bad.ckpt")


ONE = ("run", "-e", "a", "a=bad.ckpt", "-o", "out.ckpt")


def _expression(text: str, *more: str) -> tuple[str, ...]:
    return ("run", "-e", text, "a=base.ckpt", "b=chat.ckpt", "-o", "out.ckpt", *more)


CASES = [
    Case("missing input", ONE, "error: -e: inputs.a: bad.ckpt: no such file\n"),
    Case("missing recipe", ("run", "bad.yaml"), "error: bad.yaml: there is no such file\n"),
    Case("empty input", ONE, "error: -e: inputs.a: bad.ckpt: is empty\n", lambda d: (d / "bad.ckpt").touch()),
    Case(
        "no checkpoint",
        ONE,
        "error: -e: inputs.a: bad.ckpt: is not a checkpoint\n",
        lambda d: (d / "bad.ckpt").write_text("hello"),
    ),
    Case("truncated", ONE, "error: -e: inputs.a: bad.ckpt: ", _truncated),
    Case(
        "directory",
        ONE,
        "error: -e: inputs.a: bad.ckpt: is a folder without a model in it\n",
        lambda d: (d / "bad.ckpt").mkdir(),
    ),
    Case("no tensors", ONE, "error: -e: inputs.a: bad.ckpt: holds no named tensors\n", _saved({"epoch": 3})),
    Case(
        "layouts differ by a prefix",
        ("run", "-e", "a + b - a", "a=base.ckpt", "b=bad.ckpt", "-o", "out.ckpt"),
        'in a recipe (weightmath new): add to the input: strip: ["module."]\n',
        _prefixed,
    ),
    Case(
        "layouts differ",
        ("run", "-e", "a + b - a", "a=base.ckpt", "b=bad.ckpt", "-o", "out.ckpt"),
        "error: -e: inputs.b: bad.ckpt: `b` does not have the layout of `a` (1 missing, 1 extra, 1 of another shape)\n",
        _other_layout,
    ),
    Case(
        "output is an input",
        ("run", "-e", "a", "a=base.ckpt", "-o", "base.ckpt", "--force"),
        "error: base.ckpt: is an input: an output never replaces an input\n",
    ),
    Case(
        "output is a link to an input",
        ("run", "-e", "a", "a=base.ckpt", "-o", "link.ckpt", "--force"),
        "error: link.ckpt: is an input: an output never replaces an input\n",
        lambda d: (d / "link.ckpt").symlink_to("base.ckpt"),
    ),
    Case(
        "output is an input under another name",
        ("run", "-e", "a", "a=base.ckpt", "-o", "link.ckpt", "--force"),
        "error: link.ckpt: is an input: an output never replaces an input\n",
        lambda d: os.link(d / "base.ckpt", d / "link.ckpt"),
    ),
    Case(
        "output exists",
        ("run", "-e", "a", "a=base.ckpt", "-o", "chat.ckpt"),
        "error: chat.ckpt: exists\n  hint: choose another name, or allow it with --force\n",
    ),
    Case(
        "output is a folder",
        ("run", "-e", "a", "a=base.ckpt", "-o", "here.ckpt"),
        "error: here.ckpt: is a folder\n",
        lambda d: (d / "here.ckpt").mkdir(),
    ),
    Case(
        "no container for the output",
        ("run", "-e", "a", "a=base.ckpt", "-o", "out"),
        "error: -e: save.out: `out`: no ending tells its container\n"
        "  hint: known: .ckpt .pt .pth .bin .pth.tar .safetensors, or `out/` for a folder of safetensors\n",
    ),
    Case(
        "another ending for the output",
        ("run", "-e", "a", "a=base.ckpt", "-o", "out.cpkt"),
        "error: -e: save.out.cpkt: `out.cpkt`: no container has the ending `.cpkt`\n"
        "  hint: did you mean `.ckpt`? known: .ckpt .pt .pth .bin .pth.tar .safetensors, or `out.cpkt/` for a folder",
    ),
    Case("no folder for the output", (*_expression("a")[:-1], "no/out.ckpt"), "its folder does not exist\n"),
    Case("memory", _expression("a", "--memory", "1MB"), "and the budget is 1 MB\n  hint: --memory "),
    Case("size", _expression("a", "--memory", "1XB"), "error: --memory: `1XB` is not a size\n"),
    Case(
        "invalid YAML",
        ("run", "bad.yaml"),
        "error: bad.yaml:3:5: inside braces and brackets YAML reads `[ ] { } ,` itself\n  save: {}\n      ^\n",
        _recipe("inputs:\n  a: [b\nsave: {}\n"),
    ),
    Case(
        "a trap of YAML",
        ("run", "bad.yaml"),
        "inside braces and brackets YAML cuts `lerp(a, b, 0.5)` at its commas\n",
        _recipe("inputs: {a: base.ckpt, b: chat.ckpt}\nlet: {out: lerp(a, b, 0.5)}\nsave: {out.ckpt: out}\n"),
    ),
    Case(
        "unknown key",
        ("run", "bad.yaml"),
        "error: bad.yaml:2: outputs: unknown key `outputs`\n  hint: it is called `save` here\n",
        _recipe("inputs: {a: base.ckpt}\noutputs: {out.ckpt: a}\n"),
    ),
    Case("unknown function", _expression("nrm(a) * b"), "unknown function `nrm`\n  nrm(a) * b\n  ^^^^^^\n"),
    Case("unknown name", _expression("a + c - b"), "unknown name `c`\n"),
    Case("unknown parameter", ("run", "recipe.yaml", "--set", "strenth=1"), "hint: did you mean `strength`?\n"),
    Case("wrong kind", _expression("a + b"), "must be a model, and this has weight 2: it adds up to 2 models\n"),
    Case(
        "wrong kind of a method's input",
        _expression("b + 0.5 * delta(a) + task_arithmetic(a - b, [b])"),
        "must be a model, and this is a delta: its weights cancel (weight 0)\n",
    ),
    Case("out of range", _expression("keep_largest(a, density=2) + b"), "`density` must be in [0, 1], not 2\n"),
    Case("not one recipe", ("run", "recipe.yaml", "recipe.yaml"), "error: expected one recipe, not 2: recipe.yaml"),
    Case(
        "two outputs of an expression",
        ("run", "-e", "a", "a=base.ckpt", "-o", "x.ckpt", "-o", "y.ckpt"),
        "error: -e: an expression is saved to one output\n",
    ),
    Case("NaN", _expression("a + sqrt(-abs(a - b))"), "error: -e: save.out.ckpt: NaN or infinite values in ", code=1),
    Case(
        "overflow",
        ("run", "-e", "model(a * 2)", "a=bad.ckpt", "-o", "out.ckpt"),
        "error: -e: save.out.ckpt: NaN or infinite values in `w` (3)\n  hint: a wider `dtype:` if they overflowed",
        _half,
        code=1,
    ),
    Case(
        "an expectation",
        ("run", "recipe.yaml", "--set", "strength=-3"),
        "error: recipe.yaml:14: expect[0]: `cosine(merged, base) > 0.99` does not hold: ",
        lambda d: (d / "recipe.yaml").write_text((d / "recipe.yaml").read_text().replace("> -1", "> 0.99")),
        code=1,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message_code_and_no_file_left(cli: Cli, folder: Path, case: Case) -> None:
    case.prepare(folder)
    before = _contents(folder)
    ran = cli(*case.arguments)
    assert case.message in ran.err
    assert ran.code == case.code
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")
    assert _contents(folder) == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_as_json(cli: Cli, folder: Path, case: Case) -> None:
    case.prepare(folder)
    ran = cli(*case.arguments, "--json")
    error = json.loads(ran.out)["error"]
    assert set(error) == {"what", "where", "hint"}
    assert (ran.code, ran.err) == (case.code, "")
    plain = f"error: {error['where'] + ': ' if error['where'] else ''}{error['what']}\n"
    assert (plain + (f"  hint: {error['hint']}\n" if error["hint"] else "")).find(case.message) >= 0


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def test_layout_table(cli: Cli, folder: Path) -> None:
    _other_layout(folder)
    err = cli("run", "-e", "a + b - a", "a=base.ckpt", "b=bad.ckpt", "-o", "out.ckpt").err
    for row in ("    shape   blocks.0.bias: ", "    missing head\n", "    extra   blocks.2.bias\n"):
        assert row in err


def test_too_little_disk_space(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_blocks=1, f_bfree=1, f_bavail=1, f_frsize=512))
    before = _contents(folder)
    ran = cli("run", "recipe.yaml")
    assert ran.code == 2
    assert ran.err.startswith("error: merged.ckpt: the outputs need ")
    assert " bytes here, and the disk has 512\n" in ran.err
    assert _contents(folder) == before


def test_disk_full_while_writing(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, content: object, position: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    before = _contents(folder)
    ran = cli("run", "recipe.yaml")
    assert (ran.code, ran.err) == (1, "error: merged.ckpt: its journal cannot be written: No space left on device\n")
    assert _contents(folder) == before


@pytest.mark.parametrize("arguments", [("compare", "base.ckpt", "chat.ckpt", "--csv"), ("new", "quickstart", "-o")])
def test_disk_full_at_the_end(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def full(path: Path, *arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    ran = cli(*arguments, "new.txt")
    assert (ran.code, ran.err) == (1, "error: new.txt: cannot be written: No space left on device\n")


def test_disk_full_while_pictures_are_drawn(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("weightmath.lab.report.write.report", full)
    ran = cli("report", "results.jsonl", "--svg", "figures")
    assert (ran.code, ran.err) == (1, "error: No space left on device\n")


def _broken(*arguments: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_an_input_that_cannot_be_read(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", _broken)
    ran = cli("run", "recipe.yaml")
    place = "recipe.yaml:2: inputs.base: base.ckpt"
    assert (ran.code, ran.err) == (2, f"error: {place}: cannot be read: Input/output error\n")


@pytest.mark.parametrize("threads", [1, 2])
def test_an_input_that_cannot_be_read_on(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    def breaks() -> None:
        for call in ("pread", "preadv"):
            monkeypatch.setattr(os, call, _broken)

    _while_reading(monkeypatch, breaks)
    before = _contents(folder)
    ran = cli("run", "recipe.yaml", "--threads", threads)
    assert ran.code == 1
    assert re.fullmatch(r"error: \w+\.ckpt: cannot be read: Input/output error\n", ran.err)
    assert _contents(folder) == before


def _while_reading(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    def interrupted(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            happens()
            return read(*arguments)

        return call

    for name in ("reading", "read_tensors"):
        monkeypatch.setattr(CheckpointSource, name, interrupted(getattr(CheckpointSource, name)))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_input_that_changes(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    _while_reading(monkeypatch, lambda: os.utime(folder / "chat.ckpt", (1, 1)))
    before = _contents(folder)
    ran = cli("run", "recipe.yaml", "--threads", threads)
    assert (ran.code, ran.err) == (1, "error: chat.ckpt: changed while it was read\n  hint: run it again\n")
    assert _contents(folder) == before


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    _while_reading(monkeypatch, interrupt)
    before = _contents(folder)
    ran = cli("run", "recipe.yaml", "--threads", threads)
    assert (ran.code, ran.err) == (130, "error: interrupted\n  hint: no output was written\n")
    assert _contents(folder) == before


def test_a_bug_keeps_its_traceback(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ZeroDivisionError("a bug")

    _while_reading(monkeypatch, bug)
    before = _contents(folder)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli("run", "recipe.yaml")
    assert _contents(folder) == before
