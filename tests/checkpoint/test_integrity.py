"""Checks of what containers can tell of their own bytes: a flipped bit anywhere is found, or cannot be."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoint.rewrite import rewrite
from tests.checkpoint.test_distributed import save as save_distributed
from tests.checkpoint.test_sharded import split
from tests.packages import folds
from weightmath.checkpoint import Integrity, open_checkpoint, verify_container
from weightmath.errors import CheckpointError

STATE = {"a.w": torch.arange(6.0), "b": torch.arange(4), "c": torch.ones(3)}


def test_real_and_rewritten_files_hold(tmp_path: Path) -> None:
    rewrite(folds()[0], tmp_path / "x.ckpt")
    for path in (folds()[0], tmp_path / "x.ckpt"):
        found = verify_container(open_checkpoint(path))
        assert found.records > 98
        assert (found.without, found.problems) == (0, ())


def test_every_flipped_bit_of_a_zip_is_found_or_refused_or_harmless(tmp_path: Path) -> None:
    """Harmless are the bits between records: fillers, times, descriptors."""
    torch.save(STATE, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    records = open_checkpoint(tmp_path / "x.pt").source.records.values()
    inside = {byte for record in records for byte in range(record.offset, record.offset + record.size)}
    found = set()
    chosen = random.Random(0)
    for byte in range(len(data)):
        flipped = bytearray(data)
        flipped[byte] ^= 1 << chosen.randrange(8)
        (tmp_path / "y.pt").write_bytes(flipped)
        try:
            if verify_container(open_checkpoint(tmp_path / "y.pt")).problems:
                found.add(byte)
        except CheckpointError:
            found.add(byte)
    assert inside <= found


def test_the_damaged_tensor_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "x.pt")
    data = bytearray((tmp_path / "x.pt").read_bytes())
    place = open_checkpoint(tmp_path / "x.pt").places["1"]
    data[place.offset] ^= 4
    (tmp_path / "y.pt").write_bytes(data)
    assert verify_container(open_checkpoint(tmp_path / "y.pt")).problems == (
        "record `data/1` (`state_dict.b`): its bytes do not have the checksum that was written with them",
    )


def test_files_without_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "x.safetensors")
    for name, count in (("x.pt", 9), ("old.pt", 3), ("x.safetensors", 3)):
        assert verify_container(open_checkpoint(tmp_path / name)) == Integrity(0, count, ())


PIECES: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "shards": (lambda path: split(STATE, path, "bin", "pytorch_model"), "pytorch_model-00002-of-00003.bin: record", 21),
    "distributed": (lambda path: save_distributed({"model": STATE}, path), "a part of `model.", 3),
}


@pytest.mark.parametrize(("write", "message", "records"), PIECES.values(), ids=PIECES.keys())
def test_containers_of_several_zips(
    write: Callable[[Path], object], message: str, records: int, tmp_path: Path
) -> None:
    write(tmp_path / "m")
    checkpoint = open_checkpoint(tmp_path / "m")
    assert verify_container(checkpoint) == Integrity(records, 0, ())
    tensor = checkpoint.section().tensors["b"]
    file, offset = checkpoint.places[tensor.storage.key]
    data = bytearray(checkpoint.files[file].read_bytes())
    data[offset + 3] ^= 1
    checkpoint.files[file].write_bytes(data)
    (problem,) = verify_container(open_checkpoint(tmp_path / "m")).problems
    assert problem.startswith(message)
