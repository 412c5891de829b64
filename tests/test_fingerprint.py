"""Fingerprints against the definition written out in plain numpy; what they depend on, and what not."""

import hashlib
import itertools
import json
import math

import numpy as np
import pytest
import torch
import xxhash

from tests.packages import folds
from weightmath.checkpoint import open_checkpoint
from weightmath.dtypes import DTYPES
from weightmath.fingerprint import UNKNOWN, Digests, fingerprint, is_fingerprint
from weightmath.layout import Entry

WORDS = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.int64: "int64", torch.bool: "bool"}


def xxh3(content):
    return xxhash.xxh3_128_digest(content)


def tile_sizes(shape):
    """Whole rows up to 65,536 elements; longer rows in pieces of 65,536 and the rest."""
    size = math.prod(shape)
    if size == 0:
        return []
    row = size // shape[0] if len(shape) > 1 else size
    if row > 65_536:
        return [min(65_536, row - start) for start in range(0, row, 65_536)] * (size // row)
    step = 65_536 // row * row
    return [min(step, size - start) for start in range(0, size, step)]


def reference(state):
    """The definition, on whole tensors."""
    whole = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        raw = (
            tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            if tensor.numel()
            else np.empty(0, np.uint8)
        )
        edges = np.cumsum([0, *tile_sizes(tensor.shape)]) * tensor.element_size()
        digests = [xxh3(raw[a:b].tobytes()) for a, b in itertools.pairwise(edges)]
        line = json.dumps([name, list(tensor.shape), WORDS[tensor.dtype], xxh3(b"".join(digests)).hex()])
        whole.update(line.encode() + b"\n")
    return f"wm1:{whole.hexdigest()}"


def state():
    drawn = torch.Generator().manual_seed(1)
    return {
        "small": torch.randn(3, 4, generator=drawn),
        "rows": torch.randn(300, 700, generator=drawn).bfloat16(),
        "long": torch.randn(2, 70_000, generator=drawn),
        "flat": torch.randn(200_001, generator=drawn),
        "number": torch.tensor(7),
        "truths": torch.arange(9) > 3,
        "empty": torch.empty(0, 5),
    }


def saved(path, content):
    torch.save(content, path)
    return fingerprint(open_checkpoint(path).section())


def test_it_is_what_it_says(tmp_path):
    assert saved(tmp_path / "a.ckpt", {"state_dict": state()}) == reference(state())


def test_of_a_real_model():
    fold = folds()[0]
    content = torch.load(fold, weights_only=True, map_location="cpu")
    section = open_checkpoint(fold).section()
    tensors = content[section.name] if section.name else content
    assert fingerprint(section) == reference({name: tensors[name] for name in section.tensors})


def test_container_order_ties_strides_and_neighbours_do_not_count(tmp_path):
    content = state()
    expected = saved(tmp_path / "a.ckpt", {"state_dict": content})
    backwards = dict(reversed(content.items()))
    backwards["rows"] = backwards["rows"].T.contiguous().T
    backwards["flat"] = torch.cat([torch.zeros(5), backwards["flat"]])[5:]
    assert saved(tmp_path / "b.ckpt", {"epoch": 3, "state_dict": backwards}) == expected
    assert saved(tmp_path / "c.ckpt", content) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(small=s["small"].reshape(4, 3)),
        lambda s: s.update(small2=s.pop("small")),
        lambda s: s.update(number=s["number"].float()),
        lambda s: s["flat"].view(torch.int32)[131_071:131_072].bitwise_xor_(1),
        lambda s: s["truths"][0:1].logical_not_(),
        lambda s: s.pop("empty"),
        lambda s: s.update(small=-0.0 * s["small"].abs(), flat=s["flat"]),
    ],
)
def test_names_shapes_dtypes_and_bits_count(tmp_path, change):
    changed = state()
    change(changed)
    assert saved(tmp_path / "a.ckpt", state()) != saved(tmp_path / "b.ckpt", changed)


def test_a_prefix_is_a_vector_of_its_own(tmp_path):
    torch.save({f"ema.{name}": value for name, value in state().items()} | {"other": torch.ones(2)}, tmp_path / "a.pt")
    assert fingerprint(open_checkpoint(tmp_path / "a.pt").section(), "ema.") == reference(state())


@pytest.mark.parametrize("shape", [(200_001,), (300, 700), (2, 70_000)])
def test_pieces_do_not_matter(shape):
    """Random pieces in random order, some of them twice; and what is left is read."""
    entry = Entry("w", shape, DTYPES["float32"])
    drawn = np.random.default_rng(2)
    values = drawn.random(entry.size, np.float32)
    edges = np.unique([0, entry.size, *drawn.integers(0, entry.size, 40)])
    pieces = list(itertools.pairwise(edges))
    whole, pieced, partly = (Digests({"w": entry}) for _ in range(3))
    whole.see("w", 0, values)
    for number in [*drawn.permutation(len(pieces)), 0, 3]:
        start, stop = pieces[number]
        pieced.see("w", int(start), values[start:stop])
        if number % 3 == 0:
            partly.see("w", int(start), values[start:stop])
    read = []

    def missing(name, start, stop, out):
        read.append(stop - start)
        np.copyto(out, values[start:stop])

    pieced.complete(missing)
    assert not read
    partly.complete(missing, threads=3)
    assert 0 < sum(read) <= entry.size
    assert whole.fingerprint() == pieced.fingerprint() == partly.fingerprint()
    values[7] += 1
    other = Digests({"w": entry})
    other.see("w", 0, values)
    assert other.fingerprint() != whole.fingerprint()


def test_its_form_is_known():
    assert is_fingerprint(UNKNOWN)
    assert not any(
        map(is_fingerprint, ("", "wm1:", UNKNOWN[:-1], UNKNOWN.upper(), UNKNOWN + "\n", "sha256:" + "0" * 32))
    )
