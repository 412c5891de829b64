"""Exact deltas of whole files: the tuned file comes back to the byte."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.delta.conftest import every_dtype, state
from tests.packages import folds
from weightmath.checkpoint import open_checkpoint
from weightmath.delta import api as delta
from weightmath.delta.writing import open_part
from weightmath.errors import CheckpointError, DiskError, LayoutError, OutputError
from weightmath.fingerprint import Digests, fingerprint


def section(path: str | Path):
    return open_checkpoint(path).section()


def made(base: str | Path, tuned: str | Path, path: str = "x.delta", **options) -> delta.DeltaFile:
    delta.make(section(base), section(tuned), path, **options)
    return delta.open_delta(path)


def comes_back(base: str | Path, tuned: str | Path) -> float:
    """Check that the tuned file comes back, and what is said of both; the share of its bytes that the delta has."""
    file = made(base, tuned, force=True)
    for side, path in ((file.delta.base, base), (file.delta.tuned, tuned)):
        assert side is not None
        assert side.fingerprint == fingerprint(section(path))
    back = f"back{Path(tuned).suffix}"
    applied = delta.apply(section(base), [file], back, force=True)
    assert Path(back).read_bytes() == Path(tuned).read_bytes()
    assert applied.whole
    return file.size / Path(tuned).stat().st_size


def test_every_dtype_with_odd_values(folder):
    torch.save({"state_dict": every_dtype(1), "epoch": 3}, "base.pt")
    torch.save({"epoch": 4, "state_dict": every_dtype(2)}, "tuned.pt")
    comes_back("base.pt", "tuned.pt")


def test_a_safetensors_file_that_begins_as_a_pickle_does(folder):
    for name, number in (("base", 1.0), ("tuned", 2.0)):
        save_file({"w": torch.full((3,), number)}, f"{name}.safetensors", {"filled": "." * 40})
    assert Path("tuned.safetensors").read_bytes()[0] == 0x80  # a header of 128 bytes
    comes_back("base.safetensors", "tuned.safetensors")


def test_a_training_checkpoint_with_optimizer_state_objects_and_shared_storages(folder):
    model = torch.nn.Linear(300, 200)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)

    def save(path):
        model(torch.ones(4, 300)).sum().backward()
        optimizer.step()
        whole = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "at": Path("somewhere")}
        whole["tied"] = whole["state_dict"]["weight"]
        whole["turned"] = torch.arange(600.0).reshape(20, 30).T
        torch.save(whole, path)

    save("base.pt")
    save("tuned.pt")
    assert comes_back("base.pt", "tuned.pt") < 0.6


@pytest.mark.parametrize("base_ending", ["pt", "safetensors"])
@pytest.mark.parametrize("tuned_ending", ["pt", "safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_both_containers_and_mixtures_of_them(folder, base_ending, tuned_ending, dtype):
    for name, wide, ending in (("base", state(0), base_ending), ("tuned", state(1, 1e-5), tuned_ending)):
        values = {key: value.to(dtype) for key, value in wide.items()}
        (torch.save if ending == "pt" else save_file)(values, f"{name}.{ending}")
    assert comes_back(f"base.{base_ending}", f"tuned.{tuned_ending}") < 0.75


def test_a_fine_tune_in_another_dtype_is_seen_from_the_base_in_that_dtype(folder):
    torch.save(state(0), "base.pt")
    torch.save({name: value.bfloat16() for name, value in state(1, 1e-5).items()}, "tuned.pt")
    assert comes_back("base.pt", "tuned.pt") < 0.5


def test_tensors_and_rows_come_and_go(folder):
    base, tuned = state(0), state(1, 1e-6)
    del tuned["layers.1.weight"]
    tuned["new"] = torch.ones(70)
    tuned["layers.3.weight"] = torch.cat([tuned["layers.3.weight"], torch.randn(20, 40)])
    torch.save(base, "base.pt")
    torch.save(tuned, "tuned.pt")
    comes_back("base.pt", "tuned.pt")
    comes_back("tuned.pt", "base.pt")


def test_tensors_of_several_pieces(folder, monkeypatch):
    monkeypatch.setattr("weightmath.delta.pieces.PIECE", 1000)
    monkeypatch.setattr("weightmath.delta.stages.REST_PIECE", 512)
    torch.save(state(0), "base.pt")
    torch.save(state(1, 1e-5), "tuned.pt")
    comes_back("base.pt", "tuned.pt")
    assert len(delta.open_delta("x.delta").delta.records["layers.3.weight"].sizes) == 12


def test_tensors_that_are_a_part_of_a_storage(folder):
    for path, step in (("base.pt", 0.0), ("tuned.pt", 1e-5)):
        whole = torch.arange(1000.0).reshape(10, 100) + step
        torch.save({"rows": whole[3:6], "whole": whole, "column": whole[:, 0]}, path)
    comes_back("base.pt", "tuned.pt")


def test_both_files_are_read_once(folder, monkeypatch):
    """Fingerprints are of what is read to be packed."""
    torch.save(state(0), "base.pt")
    torch.save(state(1, 1e-5), "tuned.pt")
    with monkeypatch.context() as nothing_more:
        nothing_more.setattr(Digests, "complete", lambda *_: None)
        sides = made("base.pt", "tuned.pt").delta
    assert sides.base.fingerprint == fingerprint(section("base.pt"))
    assert sides.tuned.fingerprint == fingerprint(section("tuned.pt"))


def test_an_unchanged_file_costs_a_header(folder):
    torch.save(state(0), "base.pt")
    file = made("base.pt", "base.pt")
    assert all(set(record.sizes) == {0} for record in file.delta.records.values())


def test_real_models_of_one_family(folder):
    first, second = folds()[:2]
    assert comes_back(first, second) < 0.9


def test_a_chain_is_applied_in_one_pass(folder):
    for number in range(4):
        torch.save({"model": state(1, number * 1e-4), "epoch": number}, f"v{number}.pt")
    files = [made(f"v{n}.pt", f"v{n + 1}.pt", f"{n}.delta") for n in range(3)]
    applied = delta.apply(section("v0.pt"), files, "back.pt")
    assert applied.whole
    assert Path("back.pt").read_bytes() == Path("v3.pt").read_bytes()
    assert sorted(path.name for path in folder.glob(".*")) == []


def test_another_base_is_refused_with_both_fingerprints(folder):
    for number in range(3):
        torch.save(state(number, 0.1), f"{number}.pt")
    file = made("0.pt", "1.pt")
    with pytest.raises(LayoutError) as error:
        delta.apply(section("2.pt"), [file], "back.pt")
    assert file.delta.base.fingerprint in str(error.value)
    assert error.value.what.count("wm1:") == 2
    assert not Path("back.pt").exists()


def test_a_base_that_differs_outside_its_weights_is_noticed(folder):
    torch.save({"model": state(0), "optimizer": torch.zeros(5000)}, "base.pt")
    torch.save({"model": state(1, 0.1), "optimizer": torch.ones(5000)}, "tuned.pt")
    file = made("base.pt", "tuned.pt")
    torch.save({"model": state(0), "optimizer": torch.full((5000,), 0.3)}, "other.pt")
    with pytest.raises(CheckpointError, match="sha256"):
        delta.apply(section("other.pt"), [file], "back.pt")
    assert not Path("back.pt").exists()


def test_the_right_weights_in_another_file_are_no_damage(folder):
    torch.save({"model": state(0), "epoch": 1}, "base.pt")
    torch.save({"model": state(1, 0.1), "epoch": 2}, "tuned.pt")
    file = made("base.pt", "tuned.pt")
    save_file(state(0), "base.safetensors")
    torch.save({"epoch": 1, "a note": "!" * 3000, "model": state(0)}, "longer.pt")
    torch.save({"model": state(0)}, "less.pt")
    facts = []
    for other in ("base.safetensors", "longer.pt", "less.pt"):
        with pytest.raises(CheckpointError) as error:
            delta.apply(section(other), [file], "back.pt")
        facts.append(str(error.value))
        assert "damaged" not in facts[-1]
    assert "needs the file base.pt that it was made from, and another one was given" in facts[0]
    assert not Path("back.pt").exists()


@pytest.mark.parametrize(
    ("tuned", "legacy", "path", "fact"),
    [
        ("tuned.pt", False, "o.safetensors", "as a file of torch's; this name asks for a safetensors file"),
        ("tuned.pt", True, "o.safetensors", "as a file of torch's; this name asks for a safetensors file"),
        ("tuned.pt", False, "out/", "this name asks for a folder of safetensors"),
        ("tuned.pt", False, "./", "this name asks for a folder of safetensors"),
        ("tuned.safetensors", False, "o.pt", "as a safetensors file; this name asks for a file of torch's"),
    ],
)
def test_a_whole_file_has_its_own_container(folder, tuned, legacy, path, fact):
    torch.save(state(0), "base.pt")
    if tuned == "tuned.pt":
        torch.save(state(1, 0.1), tuned, _use_new_zipfile_serialization=not legacy)
    else:
        save_file(state(1, 0.1), tuned)
    file = made("base.pt", tuned)
    before = sorted(folder.iterdir())
    with pytest.raises(OutputError, match=fact):
        delta.apply(section("base.pt"), [file], path)
    assert sorted(folder.iterdir()) == before
    delta.apply(section("base.pt"), [file], "any name.7")
    assert Path("any name.7").read_bytes() == Path(tuned).read_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_noticed(folder, seed):
    torch.save(state(0), "base.pt")
    torch.save(state(1, 1e-3), "tuned.pt")
    content = bytearray(Path(made("base.pt", "tuned.pt").path).read_bytes())
    head = 8 + int.from_bytes(content[:8], "little")
    place = head + int(torch.randint(len(content) - head, (1,), generator=torch.Generator().manual_seed(seed)))
    content[place] ^= 0x10
    Path("x.delta").write_bytes(content)
    with pytest.raises(CheckpointError):
        delta.apply(section("base.pt"), [delta.open_delta("x.delta")], "back.pt")
    assert not Path("back.pt").exists()


def test_outputs_never_replace_anything_unasked(folder):
    torch.save(state(0), "base.pt")
    torch.save(state(1, 0.1), "tuned.pt")
    file = made("base.pt", "tuned.pt")
    with pytest.raises(OutputError, match="exists"):
        made("base.pt", "tuned.pt")
    with pytest.raises(OutputError, match="is an input"):
        made("base.pt", "tuned.pt", "base.pt", force=True)
    with pytest.raises(OutputError, match="is an input"):
        delta.apply(section("base.pt"), [file], "base.pt", force=True)


def test_deltas_of_weights_alone_leave_the_optimizer_to_the_base(folder):
    torch.save({"model": every_dtype(1), "optimizer": [torch.zeros(9)]}, "base.pt")
    torch.save({"model": every_dtype(2)}, "tuned.pt")
    file = made("base.pt", "tuned.pt", keep="weights")
    delta.apply(section("base.pt"), [file], "back.pt")
    from tests.delta.conftest import tensors_equal

    back = torch.load("back.pt")
    assert tensors_equal(back["model"], every_dtype(2))
    assert torch.equal(back["optimizer"][0], torch.zeros(9))


def test_a_folder_is_no_file(folder):
    torch.save(state(0), "base.pt")
    Path("tuned").mkdir()
    save_file(state(1), "tuned/model.safetensors")
    with pytest.raises(CheckpointError, match=r"tuned: is a folder.*\n.*name its file: tuned/model.safetensors; or "):
        made("base.pt", "tuned")
    comes_back("base.pt", "tuned/model.safetensors")


def test_no_delta_is_made_of_a_delta(folder):
    for number in range(2):
        torch.save(state(number, 0.1), f"{number}.pt")
    file = made("0.pt", "1.pt")
    for sides in (("0.pt", "x.delta"), ("x.delta", "1.pt")):
        for kind in ("exact", "dense"):
            with pytest.raises(CheckpointError, match=r"x\.delta: is a delta file, and a checkpoint is needed here"):
                made(*sides, "y.delta", options=delta.Options(kind))
    with pytest.raises(CheckpointError, match="is a delta file"):
        delta.apply(section("x.delta"), [file], "back.pt", any_base=True)


@pytest.mark.parametrize("name", [":rest", "__metadata__"])
def test_names_that_delta_files_have_for_themselves(folder, name):
    for number in range(2):
        torch.save({**state(number, 0.1), name: torch.full((5,), float(number))}, f"{number}.pt")
    before = sorted(folder.iterdir())
    with pytest.raises(CheckpointError):
        made("0.pt", "1.pt")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["exact", "int8"])
def test_a_disk_that_fails_leaves_nothing_and_is_told(folder, monkeypatch, kind):
    for number in range(2):
        torch.save(state(number, 0.1), f"{number}.pt")
    before = sorted(folder.iterdir())

    def broken(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(DiskError, match=r"x.delta: cannot be written: Input/output error"):
        delta.make(section("0.pt"), section("1.pt"), "x.delta", delta.Options(kind))
    assert sorted(folder.iterdir()) == before


def test_the_second_program_that_writes_a_delta_is_refused(folder):
    for number in range(2):
        torch.save(state(number, 0.1), f"{number}.pt")
    file = made("0.pt", "1.pt")
    with open_part(folder / "x.delta"), pytest.raises(OutputError, match="another run is writing it"):
        made("0.pt", "1.pt", force=True)
    with open_part(folder / "back.pt"), pytest.raises(OutputError, match="another run is writing it"):
        delta.apply(section("0.pt"), [file], "back.pt")
    (folder / ".x.delta.weightmath.part").write_bytes(b"left by a program that was killed")
    comes_back("0.pt", "1.pt")
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_real_models_in_half_precision(folder, dtype, write):
    ending = "pt" if write is torch.save else "safetensors"
    for path, name in zip(folds(), ("base", "tuned"), strict=False):
        state_dict = torch.load(path, weights_only=True, map_location="cpu")
        half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state_dict.items()}
        write(half, f"{name}.{ending}")
    assert comes_back(f"base.{ending}", f"tuned.{ending}") < (0.92 if dtype is torch.float16 else 0.75)


@pytest.mark.parametrize("kind", ["exact", "sparse", "int8", "sign", "dense"])
def test_applying_needs_numpy_and_the_compressor_alone(folder, kind):
    """And xxhash, for fingerprints; isal, which is faster than zlib, where it is there."""
    for number in range(2):
        torch.save(state(number, 0.1), f"{number}.pt")
    file = made("0.pt", "1.pt", options=delta.Options(kind))
    code = (
        "import sys\n"
        "for name in ('torch', 'numkong', 'yaml', 'pydantic', 'typer', 'rich', 'isal', 'threadpoolctl', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "from weightmath.delta import api as delta\n"
        "from weightmath.checkpoint import open_checkpoint\n"
        "delta.apply(open_checkpoint('0.pt').section(), [delta.open_delta('x.delta')], 'back.pt')\n"
        "found = {name.partition('.')[0] for name, module in sys.modules.items() if module} - sys.stdlib_module_names\n"
        "print(sorted(name for name in found if name[:1] != '_'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['numpy', 'weightmath', 'xxhash', 'zstandard']", done.stderr
    delta.apply(section("0.pt"), [file], "with-torch.pt")
    assert Path("back.pt").read_bytes() == Path("with-torch.pt").read_bytes()
