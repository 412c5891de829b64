"""safetensors: read as strictly as its own library reads it, written as its own library writes it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file, save_model

from tests.checkpoint.rewrite import rewrite, stored
from tests.checkpoint.states import every_dtype, same_bits
from tests.packages import package
from weightmath.checkpoint import open_checkpoint, plan_image
from weightmath.dtypes import DTYPES
from weightmath.errors import CheckpointError, OutputError


def metadata(path: Path) -> Any:
    with safe_open(path, "pt") as file:
        return file.metadata()


def file_of(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# --- reading


def test_reads_what_the_library_reads(tmp_path: Path) -> None:
    state = every_dtype()
    save_file(state, tmp_path / "x.safetensors", metadata={"format": "pt", "who": "me"})
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    with checkpoint.open() as reader:
        found = {
            name: stored(reader, info).reshape(info.entry.shape) for name, info in checkpoint.section().tensors.items()
        }
    assert same_bits(found, state)
    assert checkpoint.texts == {"format": "pt", "who": "me"}
    assert (checkpoint.container, checkpoint.writer) == ("safetensors", "format pt")


def test_a_real_file(tmp_path: Path) -> None:
    path = package("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad_16k.safetensors"
    section = open_checkpoint(path).section()
    assert (len(section.tensors), section.layout.size) == (15, 309_633)
    rewrite(path, tmp_path / "same.safetensors", form="safetensors")
    assert (tmp_path / "same.safetensors").read_bytes() == path.read_bytes()


def test_equal_headers_share_their_description(tmp_path: Path) -> None:
    for name in "ab":
        save_file({"w": torch.rand(3)}, tmp_path / name)
    assert open_checkpoint(tmp_path / "a").tensors is open_checkpoint(tmp_path / "b").tensors


W = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BROKEN = {
    "not JSON": (b'{"w": nonsense}', 8, "its header is not valid JSON"),
    "not UTF-8": (b'{"\xff": 1}', 8, "not valid JSON"),
    "NaN": (b'{"w": NaN}', 8, "not valid JSON"),
    "nested": (b'{"w": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 8, "not valid JSON"),
    "a huge number": (b'{"w": ' + b"9" * 5000 + b"}", 8, "not valid JSON"),
    "a name twice": (b'{"w": 1, "w": 1}', 8, "says `w` twice"),
    "a key twice": (b'{"w": {"dtype": "F32", "dtype": "F16", "shape": [2], "data_offsets": [0, 8]}}', 8, "twice"),
    "metadata that are no texts": ({"__metadata__": {"a": 1}, "w": W}, 8, "metadata are not texts"),
    "a missing key": ({"w": {"dtype": "F32", "shape": [2]}}, 8, "`w` lacks"),
    "a key too many": ({"w": {**W, "more": 1}}, 8, "`w` has more"),
    "an unknown dtype": ({"w": {**W, "dtype": "F8_E8M0"}}, 8, "dtype F8_E8M0, which weightmath does not know"),
    "a negative size": ({"w": {**W, "shape": [-2]}}, 8, "malformed"),
    "a truth value for a size": ({"w": {**W, "shape": [True, 2]}}, 8, "malformed"),
    "a size beyond 64 bits": ({"w": {**W, "shape": [1 << 64]}}, 8, "malformed"),
    "a size that does not fit": ({"w": {**W, "shape": [3]}}, 8, "needs 12 bytes and has 8"),
    "reversed offsets": ({"w": {**W, "data_offsets": [8, 0]}}, 8, "has -8"),
    "a hole in front": ({"w": {**W, "data_offsets": [4, 12]}}, 12, "begins at byte 4, and not at 0"),
    "a hole": ({"w": W, "v": {**W, "data_offsets": [9, 17]}}, 17, "begins at byte 9, and not at 8"),
    "an overlap": ({"w": W, "v": {**W, "data_offsets": [4, 12]}}, 12, "begins at byte 4, and not at 8"),
    "bytes at the end": ({"w": W}, 9, "and the file has"),
    "a missing byte": ({"w": W}, 7, "and the file has"),
}


@pytest.mark.parametrize(("header", "size", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_refused(header: Any, size: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(file_of(header, bytes(size)))
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(tmp_path / "x.safetensors")
    assert caught.value.where == str(tmp_path / "x.safetensors")
    if message != "`w` has more":  # the library would lose it
        with pytest.raises((SafetensorError, KeyError)):
            load_file(tmp_path / "x.safetensors")


def test_headers_of_any_length_end_at_once(tmp_path: Path) -> None:
    for length in (1 << 20, 100_000_001, (1 << 40) - 1):
        (tmp_path / "x").write_bytes(struct.pack("<Q", length) + b'{"w":')
        with pytest.raises(CheckpointError, match="longer than the file or the format allow"):
            open_checkpoint(tmp_path / "x")


def test_every_truncation_is_our_error(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3), "n": torch.tensor(1)}, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    for length in range(len(data)):
        (tmp_path / "y").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            open_checkpoint(tmp_path / "y")


# --- writing


def test_with_nothing_changed_it_is_the_template(tmp_path: Path) -> None:
    save_file(every_dtype(), tmp_path / "x.safetensors", metadata={"format": "pt"})
    rewrite(tmp_path / "x.safetensors", tmp_path / "y.safetensors", form="safetensors", threads=3)
    assert (tmp_path / "y.safetensors").read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_headers_of_other_writers_stay_too(tmp_path: Path) -> None:
    header = {"z": {**W, "dtype": "F16", "shape": [4]}, "__metadata__": {}, "a": {**W, "data_offsets": [8, 16]}}
    (tmp_path / "x.safetensors").write_bytes(file_of(json.dumps(header, indent=3).encode(), bytes(16)))
    rewrite(tmp_path / "x.safetensors", tmp_path / "y.safetensors", form="safetensors")
    assert (tmp_path / "y.safetensors").read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_another_dtype(tmp_path: Path) -> None:
    state = every_dtype()
    save_file(state, tmp_path / "x.safetensors", metadata={"who": "me"})
    names = open_checkpoint(tmp_path / "x.safetensors").section().layout.names
    rewrite(tmp_path / "x.safetensors", tmp_path / "y.safetensors", form="safetensors",
            dtypes=dict.fromkeys(names, DTYPES["float16"]))  # fmt: skip
    assert same_bits(
        load_file(tmp_path / "y.safetensors"), {name: x.half() if name in names else x for name, x in state.items()}
    )
    assert metadata(tmp_path / "y.safetensors") == {"who": "me"}


def test_a_zip_becomes_what_the_library_would_write(tmp_path: Path) -> None:
    state = every_dtype()
    torch.save({"epoch": 3, "model": state}, tmp_path / "x.pt")
    rewrite(tmp_path / "x.pt", tmp_path / "y.safetensors", form="safetensors", extra={"more": b'{"a": "\xc3\xa9"}'})
    told = metadata(tmp_path / "y.safetensors")
    assert told == {"converted_from": "torch zip x.pt: model", "format": "pt", "more": '{"a": "é"}'}
    assert same_bits(load_file(tmp_path / "y.safetensors"), state)
    save_file(state, tmp_path / "z.safetensors")
    rewrite(tmp_path / "z.safetensors", tmp_path / "z2.safetensors", form="safetensors")
    ours, theirs = (read_header(tmp_path / name) for name in ("y.safetensors", "z.safetensors"))
    ours.pop("__metadata__")
    assert list(ours.items()) == list(theirs.items())


def read_header(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])


def test_strided_and_shared_tensors_come_apart(tmp_path: Path) -> None:
    flat = torch.arange(12.0)
    state = {
        "transposed": torch.arange(6.0).reshape(2, 3).t(), "expanded": torch.ones(1).expand(4),
        "first": flat[:8], "second": flat[4:], "number": flat[3],
    }  # fmt: skip
    torch.save(state, tmp_path / "x.pt")
    for computed in (list(state), [], ["first", "transposed"]):
        rewrite(tmp_path / "x.pt", tmp_path / "y.safetensors", computed=computed, form="safetensors", piece=2)
        assert same_bits(load_file(tmp_path / "y.safetensors"), state)
        (tmp_path / "y.safetensors").unlink()


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    model = Tied()
    torch.save(model.state_dict(), tmp_path / "x.pt")
    image = rewrite(tmp_path / "x.pt", tmp_path / "y.safetensors", form="safetensors")
    assert image.aliases == {"head.weight": "embed.weight"}
    assert metadata(tmp_path / "y.safetensors")["head.weight"] == "embed.weight"
    assert load_file(tmp_path / "y.safetensors").keys() == {"embed.weight"}
    # What the library writes in this case is read as two names of one tensor, and stays so.
    save_model(model, str(tmp_path / "m.safetensors"))
    section = open_checkpoint(tmp_path / "m.safetensors").section()
    assert set(section.tensors) == {"embed.weight", "head.weight"}
    assert len({info.storage for info in section.tensors.values()}) == 1
    rewrite(tmp_path / "m.safetensors", tmp_path / "n.safetensors", form="safetensors")
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    rewrite(tmp_path / "m.safetensors", tmp_path / "z.pt")
    zipped = torch.load(tmp_path / "z.pt", weights_only=True)
    assert same_bits(zipped, model.state_dict())
    assert zipped["head.weight"].data_ptr() == zipped["embed.weight"].data_ptr()


def test_tied_tensors_of_which_one_is_merged_come_apart(tmp_path: Path) -> None:
    torch.save(Tied().state_dict(), tmp_path / "x.pt")
    new = torch.zeros(5, 3)
    rewrite(
        tmp_path / "x.pt",
        tmp_path / "y.safetensors",
        {"embed.weight": new},
        computed=["embed.weight"],
        form="safetensors",
    )
    rewrite(tmp_path / "y.safetensors", tmp_path / "z.safetensors", form="safetensors")
    found = load_file(tmp_path / "z.safetensors")
    assert same_bits(found, {"embed.weight": new, "head.weight": torch.load(tmp_path / "x.pt")["head.weight"]})


def test_drop(tmp_path: Path) -> None:
    save_file({"a.w": torch.ones(2), "b.w": torch.ones(3)}, tmp_path / "x.safetensors")
    rewrite(tmp_path / "x.safetensors", tmp_path / "y.safetensors", computed=["a.w"], drop=["b.*"], form="safetensors")
    assert load_file(tmp_path / "y.safetensors").keys() == {"a.w"}
    section = open_checkpoint(tmp_path / "x.safetensors").section()
    for drop, message in (("c.*", r"`drop: c.\*` matches nothing"), ("a.w", "leaves out `a.w`, which is computed")):
        with pytest.raises(OutputError, match=message):
            plan_image(section, ["a.w"], drop=[drop], form="safetensors")


def test_a_dtype_that_the_format_has_not(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "c": torch.ones(2, dtype=torch.complex128)}, tmp_path / "x.pt")
    section = open_checkpoint(tmp_path / "x.pt").section()
    with pytest.raises(OutputError, match="has no complex128, and `c` is of it") as caught:
        plan_image(section, ["w"], form="safetensors")
    assert "drop: c" in str(caught.value.hint)
    rewrite(tmp_path / "x.pt", tmp_path / "y.safetensors", computed=["w"], drop=["c"], form="safetensors")


CHANGES: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "many": lambda state: {f"{i}": torch.full((2,), float(i)) for i in range(2001)},
    "one": lambda state: {"w": torch.ones(2, 3, 4, 5)},
    "every dtype": lambda state: state,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_zip_made_of_safetensors_is_what_torch_would_save(change: Callable[..., Any], tmp_path: Path) -> None:
    save_file(change(every_dtype()), tmp_path / "x.safetensors")
    rewrite(tmp_path / "x.safetensors", tmp_path / "archive.pt")
    state = {name: value.clone() for name, value in load_file(tmp_path / "x.safetensors").items()}
    names = list(open_checkpoint(tmp_path / "x.safetensors").section().tensors)
    (tmp_path / "torch").mkdir()
    torch.save({name: state[name] for name in names}, tmp_path / "torch" / "archive.pt")
    for mode in ({"weights_only": True}, {"mmap": True}, {"weights_only": False}):
        assert same_bits(torch.load(tmp_path / "archive.pt", **mode), state)
    ours, theirs = (open_checkpoint(folder / "archive.pt") for folder in (tmp_path, tmp_path / "torch"))
    assert ours.source.pickle == theirs.source.pickle
    assert [(r.name, r.offset) for r in ours.source.records.values()] == [
        (r.name, r.offset) for r in theirs.source.records.values()
    ][:-1]  # all but torch's identity of the file
