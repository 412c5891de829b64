"""Compact deltas: what applying them gives, against arithmetic written out in numpy; errors that are measured."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.delta.conftest import redescribe, state
from tests.delta.test_whole_file import section
from weightmath.delta import api as delta
from weightmath.delta.api import Options
from weightmath.delta.compare import Alike
from weightmath.delta.decoding import DeltaReader
from weightmath.errors import CheckpointError, LayoutError, NumericError, RecipeError

KINDS = [
    Options("dense"),
    Options("sparse"),
    Options("sparse", density=0.1),
    Options("sparse", threshold=1e-3),
    Options("int8"),
    Options("sign"),
    Options("low-rank", rank=4),
    Options("low-rank", energy=0.8),
    Options("dense", dtype="bfloat16"),
    Options("sparse", density=0.2, dtype="float16"),
    Options("auto", max_error=0.05),
]


@pytest.fixture
def both(folder):
    torch.save({"state_dict": state(0), "n": 1}, "base.pt")
    torch.save({"state_dict": state(1, 1e-3), "n": 2}, "tuned.pt")
    return section("base.pt"), section("tuned.pt")


def difference() -> dict[str, np.ndarray]:
    base, tuned = state(0), state(1, 1e-3)
    return {name: tuned[name].numpy() - base[name].numpy() for name in base}


def numbers(path: str = "x.delta") -> dict[str, np.ndarray]:
    file = delta.open_delta(path)
    with DeltaReader(file) as reader:
        records = file.delta.records
        return {n: reader.values(n, 0, r.entry.size).reshape(r.entry.shape) for n, r in records.items()}


def written_out(kind: Options, wanted: np.ndarray) -> np.ndarray:
    """What a kind keeps of a difference, by numpy."""
    flat = wanted.reshape(-1)
    if kind.kind == "sparse":
        if kind.density:
            order = np.argsort(-np.abs(flat), kind="stable")
            kept = np.zeros_like(flat)
            best = order[: max(1, int(kind.density * flat.size))]
            kept[best] = flat[best]
        else:
            kept = np.where(np.abs(flat) >= (kind.threshold or 0), flat, 0)
        stored = kept.astype(np.float16).astype(np.float32) if kind.dtype == "float16" else kept
        return stored.reshape(wanted.shape)
    if kind.kind == "int8":
        rows = wanted.reshape(len(wanted), -1) if wanted.ndim > 1 else wanted.reshape(1, -1)
        scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
        return (np.rint(rows / scale) * scale).reshape(wanted.shape)
    if kind.kind == "sign" and wanted.ndim > 1:
        return np.where(wanted > 0, 1, -1) * np.abs(wanted).mean()
    if kind.kind == "low-rank" and wanted.ndim > 1:
        left, values, right = np.linalg.svd(wanted.reshape(len(wanted), -1).astype(np.float64), full_matrices=False)
        rank = kind.rank or int(np.argmax(np.cumsum(values**2) >= kind.energy * (values**2).sum())) + 1
        return (left[:, :rank] * values[:rank] @ right[:rank]).reshape(wanted.shape)
    if kind.dtype == "bfloat16":
        return torch.from_numpy(wanted).bfloat16().float().numpy()
    return wanted


@pytest.mark.parametrize("kind", KINDS[:-1], ids=str)
@pytest.mark.parametrize("piece", [1 << 20, 500])
def test_numbers_are_those_of_the_formula(both, monkeypatch, kind, piece):
    monkeypatch.setattr("weightmath.delta.pieces.PIECE", piece)
    found = delta.make(*both, "x.delta", kind)
    got = numbers()
    squares = {"error": 0.0, "norm": 0.0}
    for name, wanted in difference().items():
        expected = written_out(kind, wanted)
        np.testing.assert_allclose(got[name], expected, rtol=2e-5, atol=2e-8)
        error = np.linalg.norm((wanted - expected).astype(np.float64))
        norm = np.linalg.norm(wanted.astype(np.float64))
        assert found.records[name].error == pytest.approx(error / norm, rel=1e-3, abs=1e-6)
        squares["error"] += error**2
        squares["norm"] += norm**2
    assert found.error == pytest.approx((squares["error"] / squares["norm"]) ** 0.5, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.7, -1.0])
def test_applying_adds_the_numbers(both, kind, scale):
    delta.make(*both, "x.delta", kind)
    delta.apply(both[0], [delta.open_delta("x.delta")], "out.pt", scales=scale)
    out = torch.load("out.pt")
    assert out["n"] == 1
    for name, value in numbers().items():
        expected = state(0)[name].numpy() + np.float32(scale) * value
        np.testing.assert_array_equal(out["state_dict"][name].numpy(), expected)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_results_are_rounded_once(folder, name):
    dtype = getattr(torch, name)
    torch.save({key: value.to(dtype) for key, value in state(0).items()}, "base.pt")
    torch.save({key: value.to(dtype) for key, value in state(1, 1e-3).items()}, "tuned.pt")
    delta.make(section("base.pt"), section("tuned.pt"), "x.delta", Options("int8"))
    delta.apply(section("base.pt"), [delta.open_delta("x.delta")], "out.pt", scales=0.5)
    out = torch.load("out.pt")
    for key, value in numbers().items():
        expected = (torch.load("base.pt")[key].float() + torch.from_numpy(value) * 0.5).to(dtype)
        assert torch.equal(out[key], expected)


@pytest.mark.parametrize("kind", ["auto", "sparse", "int8", "sign", "low-rank", "dense"])
@pytest.mark.parametrize("limit", [0.5, 0.1, 0.01, 1e-4])
def test_a_limit_on_the_error_is_met(both, kind, limit):
    found = delta.make(*both, "x.delta", Options(kind, max_error=limit))
    assert found.error <= limit
    assert all(record.error <= limit for record in found.records.values())
    dense = sum(value.nbytes for value in difference().values())
    assert sum(sum(record.sizes) for record in found.records.values()) <= dense


def test_auto_is_no_larger_than_any_kind(both):
    sizes = {}
    for kind in ("auto", "sparse", "int8", "sign", "low-rank", "dense"):
        found = delta.make(*both, "x.delta", Options(kind, max_error=0.1), force=True)
        sizes[kind] = sum(sum(record.sizes) for record in found.records.values())
    assert sizes["auto"] == min(sizes.values())


def test_integers_follow_bit_for_bit(folder):
    torch.save({"w": torch.zeros(4), "steps": torch.arange(5)}, "base.pt")
    torch.save({"w": torch.ones(4), "steps": torch.arange(5) * 1000}, "tuned.pt")
    delta.make(section("base.pt"), section("tuned.pt"), "x.delta", Options("int8"))
    file = delta.open_delta("x.delta")
    delta.apply(section("base.pt"), [file], "out.pt")
    assert torch.equal(torch.load("out.pt")["steps"], torch.arange(5) * 1000)
    delta.apply(section("base.pt"), [file], "half.pt", scales=0.5)
    half = torch.load("half.pt")
    assert torch.equal(half["steps"], torch.arange(5))
    assert torch.equal(half["w"], torch.full((4,), 0.5))


def test_exact_deltas_can_be_scaled(both):
    for keep in ("all", "weights"):
        delta.make(*both, "x.delta", keep=keep, force=True)
        delta.apply(both[0], [delta.open_delta("x.delta")], "out.pt", scales=0.25, force=True)
        out = torch.load("out.pt")["state_dict"]
        for name, value in difference().items():
            np.testing.assert_array_equal(out[name].numpy(), state(0)[name].numpy() + np.float32(0.25) * value)


def test_stacks_and_mixed_chains(both):
    torch.save({"state_dict": state(2, 1e-3)}, "other.pt")
    delta.make(*both, "a.delta", Options("int8"))
    delta.make(both[0], section("other.pt"), "b.delta", Options("sparse", density=0.5))
    delta.make(*both, "exact.delta")
    delta.make(both[1], section("other.pt"), "c.delta", Options("int8"))
    a, b, exact, c = (delta.open_delta(f"{name}.delta") for name in ("a", "b", "exact", "c"))
    delta.apply(both[0], [a, b], "stack.pt", scales=[0.5, 2])
    delta.apply(both[0], [exact, c], "chain.pt")
    stacked, chained = torch.load("stack.pt")["state_dict"], torch.load("chain.pt")["state_dict"]
    for name in state(0):
        base = state(0)[name].numpy()
        expected = base + np.float32(0.5) * numbers("a.delta")[name] + np.float32(2) * numbers("b.delta")[name]
        np.testing.assert_array_equal(stacked[name].numpy(), expected)
        expected = base + (state(1, 1e-3)[name].numpy() - base) + numbers("c.delta")[name]
        np.testing.assert_array_equal(chained[name].numpy(), expected)


def test_any_base_needs_the_same_tensors(both):
    delta.make(*both, "x.delta", Options("dense"))
    torch.save({"state_dict": state(5, 0.1)}, "other.pt")
    file = delta.open_delta("x.delta")
    with pytest.raises(LayoutError, match="belongs to another base"):
        delta.apply(section("other.pt"), [file], "out.pt")
    delta.apply(section("other.pt"), [file], "out.pt", any_base=True)
    name = "layers.0.weight"
    expected = state(5, 0.1)[name].numpy() + numbers()[name]
    np.testing.assert_array_equal(torch.load("out.pt")["state_dict"][name].numpy(), expected)
    torch.save({"x": torch.ones(3)}, "strange.pt")
    with pytest.raises(LayoutError, match="other tensors"):
        delta.apply(section("strange.pt"), [file], "no.pt", any_base=True)
    assert not Path("no.pt").exists()


def test_what_both_have_by_explicit_option(both):
    tuned = state(1, 1e-3)
    del tuned["layers.1.weight"]
    tuned["layers.3.weight"] = torch.cat([tuned["layers.3.weight"], torch.randn(20, 40)])
    torch.save(tuned, "other.pt")
    with pytest.raises(LayoutError) as error:
        delta.make(both[0], section("other.pt"), "x.delta", Options("dense"))
    assert "lacks `layers.1.weight`" in str(error.value)
    assert "--fit" in str(error.value)
    delta.make(both[0], section("other.pt"), "x.delta", Options("dense"), fit=True)
    delta.make(section("other.pt"), both[0], "back.delta", Options("dense"), fit=True)
    delta.apply(both[0], [delta.open_delta("x.delta")], "out.pt")
    out = torch.load("out.pt")["state_dict"]
    assert torch.equal(out["layers.1.weight"], state(0)["layers.1.weight"])
    torch.testing.assert_close(out["layers.3.weight"], tuned["layers.3.weight"][:300], rtol=0, atol=1e-7)
    delta.apply(section("other.pt"), [delta.open_delta("back.delta")], "longer.pt")
    longer = torch.load("longer.pt")["layers.3.weight"]
    assert torch.equal(longer[300:], tuned["layers.3.weight"][300:])
    torch.testing.assert_close(longer[:300], state(0)["layers.3.weight"], rtol=0, atol=1e-7)


def test_a_difference_that_is_not_finite_is_refused(folder):
    torch.save({"w": torch.zeros(4)}, "base.pt")
    torch.save({"w": torch.tensor([1.0, float("nan"), 2, 3])}, "tuned.pt")
    with pytest.raises(NumericError, match="`w` is not finite"):
        delta.make(section("base.pt"), section("tuned.pt"), "x.delta", Options("int8"))
    assert not Path("x.delta").exists()
    assert list(folder.glob(".*")) == []


def test_a_dense_delta_is_a_safetensors_file_of_its_numbers(both):
    from safetensors.torch import load_file

    delta.make(*both, "x.delta", Options("dense"))
    assert {name: value.shape for name, value in load_file("x.delta").items()} == {
        name: value.shape for name, value in state(0).items()
    }
    for name, value in load_file("x.delta").items():
        np.testing.assert_array_equal(value.numpy(), difference()[name])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["sparse", "int8", "sign"])
def test_damaged_pieces_never_crash(both, kind, seed, monkeypatch):
    delta.make(*both, "x.delta", Options(kind))
    content = bytearray(Path("x.delta").read_bytes())
    head = 8 + int.from_bytes(content[:8], "little")
    place = head + int(np.random.default_rng(seed).integers(len(content) - head))
    content[place : place + 4] = b"\xff" * len(content[place : place + 4])
    Path("x.delta").write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        numbers()
    monkeypatch.setattr(delta.DeltaFile, "is_sound", lambda *_: True)  # as of a file that is made to deceive
    with suppress(CheckpointError):  # bits of numbers may have changed into others; all else is noticed
        numbers()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "tiny"}, "unknown kind of delta `tiny`"),
        ({"kind": "int8", "density": 0.1}, "`density` is not for int8 deltas"),
        ({"kind": "sparse", "density": 0}, "above 0 and at most 1"),
        ({"kind": "sparse", "density": 0.1, "threshold": 1}, "both choose"),
        ({"kind": "low-rank"}, "needs a rank"),
        ({"kind": "low-rank", "rank": 0}, "1 or more"),
        ({"kind": "auto"}, "needs a limit"),
        ({"kind": "sparse", "density": 0.1, "max_error": 0.1}, "chooses what"),
        ({"kind": "dense", "dtype": "float64"}, "cannot be float64"),
        ({"kind": "exact", "max_error": 0.1}, "not for exact"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(RecipeError, match=message):
        Options(**options)


def test_composing_adds(both):
    torch.save({"state_dict": state(2, 1e-3)}, "other.pt")
    delta.make(*both, "a.delta", Options("sparse", density=0.2))
    delta.make(both[1], section("other.pt"), "b.delta", Options("sparse", density=0.2))
    delta.make(both[0], section("other.pt"), "c.delta", Options("int8"))
    a, b, c = (delta.open_delta(f"{name}.delta") for name in "abc")
    made = delta.compose(a, b, "ab.delta")
    assert (made.kind, made.base, made.tuned) == ("sparse", a.delta.base, b.delta.tuned)
    assert delta.compose(a, c, "ac.delta").tuned is None
    for second, both_in in (("b.delta", "ab.delta"), ("c.delta", "ac.delta")):
        for name, value in numbers(both_in).items():
            np.testing.assert_array_equal(value, numbers("a.delta")[name] + numbers(second)[name])
    with pytest.raises(LayoutError, match="follow each other"):
        delta.compose(b, a, "ba.delta")
    with pytest.raises(RecipeError, match="no exact delta"):
        delta.compose(a, b, "exact.delta", Options("exact"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("follows", [True, False])
def test_composing_deltas_of_numbers_that_keep_integers(folder, monkeypatch, kind, follows):
    monkeypatch.setattr("weightmath.delta.pieces.PIECE", 500)
    for number in range(3):
        steps = {"steps": torch.arange(300) * 7**number, "seen": torch.tensor(number == 1), "n": torch.tensor(number)}
        torch.save({**state(number, 1e-3), **steps}, f"{number}.pt")
    base, tuned, last = (section(f"{number}.pt") for number in range(3))
    delta.make(base, tuned, "a.delta", Options("dense"))
    delta.make(tuned if follows else base, last, "b.delta", Options("dense"))
    sides = [delta.open_delta(f"{name}.delta") for name in "ab"]
    with pytest.raises(LayoutError, match=r"a\.delta: keeps `steps` bit for bit.*\n.*--base BASE"):
        delta.compose(*sides, "ab.delta", kind)
    with pytest.raises(LayoutError, match="belongs to another base"):
        delta.compose(*sides, "ab.delta", kind, base=last)
    assert not (folder / "ab.delta").exists()
    made = delta.compose(*sides, "ab.delta", kind, base=base)
    assert made.records["steps"].is_exact
    delta.apply(base, [delta.open_delta("ab.delta")], "out.pt")
    delta.apply(base, sides, "both.pt")
    out, both = torch.load("out.pt"), torch.load("both.pt")
    for name, value in both.items():
        if value.is_floating_point():
            assert made.records[name].encoder in ("dense", kind.kind) or kind.kind == "auto"
            if kind == Options("dense"):
                torch.testing.assert_close(out[name], value)
        else:
            assert torch.equal(out[name], value)
            assert torch.equal(value, torch.load("2.pt")[name])


def test_bits_and_numbers_are_not_composed(both):
    delta.make(*both, "a.delta")
    delta.make(both[1], both[0], "b.delta", Options("dense"))
    with pytest.raises(LayoutError, match="is exact and the other one is not"):
        delta.compose(*(delta.open_delta(f"{name}.delta") for name in "ab"), "ab.delta", base=both[0])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_exact_deltas_compose_to_any_kind(both, kind):
    torch.save({"state_dict": state(2, 1e-3)}, "other.pt")
    delta.make(*both, "a.delta")
    delta.make(both[1], section("other.pt"), "b.delta")
    delta.compose(*(delta.open_delta(f"{name}.delta") for name in "ab"), "ab.delta", kind, base=both[0])
    delta.make(both[0], section("other.pt"), "direct.delta", kind)
    made, direct = (delta.open_delta(f"{name}.delta").delta for name in ("ab", "direct"))
    assert (made.kind, made.options, made.error) == (kind.kind, kind.given(), direct.error)
    found, expected = numbers("ab.delta"), numbers("direct.delta")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tensors_without_elements(folder, kind):
    for name, step in (("base", 0.0), ("tuned", 1e-3)):
        torch.save({**state(1, step), "empty": torch.empty(0, 3), "number": torch.tensor(step)}, f"{name}.pt")
    delta.make(section("base.pt"), section("tuned.pt"), "x.delta", kind)
    delta.apply(section("base.pt"), [delta.open_delta("x.delta")], "out.pt")
    assert torch.load("out.pt")["empty"].shape == (0, 3)


def test_comparing_counts(both):
    torch.save({"state_dict": state(2, 1e-3)}, "other.pt")
    delta.make(*both, "a.delta", Options("sparse", density=0.2))
    delta.make(both[0], section("other.pt"), "b.delta")
    found = delta.compare(both[0], delta.open_delta("a.delta"), delta.open_delta("b.delta"))
    a = np.concatenate([value.reshape(-1) for value in numbers("a.delta").values()]).astype(np.float64)
    other, base = state(2, 1e-3), state(0)
    b = np.concatenate([(other[n].double() - base[n].double()).numpy().reshape(-1) for n in base])
    whole = sum(found.values(), Alike())
    both_there = (a != 0) & (b != 0)
    assert whole.norms == pytest.approx((np.linalg.norm(a), np.linalg.norm(b)))
    assert whole.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert whole.overlap == pytest.approx(both_there.sum() / ((a != 0) | (b != 0)).sum())
    assert whole.sign_agreement == pytest.approx((np.sign(a) == np.sign(b))[both_there].mean())
    assert list(found) == list(base)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version":1', '"version":9', "malformed: version 9"),
        ('"encoder":"int8"', '"encoder":"int9"', "encoded as int9"),
        ('"shape":[64,48]', '"shape":[99999999,48]', "other pieces"),
        ('"shape":[64,48]', '"shape":[-64,48]', "whole numbers"),
        ('"norm":', '"norm":-', "`norm` is -"),
        ('"kind"', '"kink"', "malformed"),
    ],
)
def test_descriptions_that_contradict_their_file(both, old, new, message):
    delta.make(*both, "x.delta", Options("int8"))
    made = Path("x.delta").read_bytes()
    for checksum, found in ((False, "checksum"), (True, message)):
        Path("x.delta").write_bytes(made)
        redescribe("x.delta", old, new, checksum=checksum)
        with pytest.raises(CheckpointError, match=found):
            delta.open_delta("x.delta")
