"""Records from files that nobody trusts: whatever they hold, a clear error or a provenance."""

import json

import pytest

from weightmath.errors import CheckpointError
from weightmath.fingerprint import UNKNOWN
from weightmath.provenance.lineage import ancestors_of, originals
from weightmath.provenance.record import LARGEST, Ingredient, Provenance, Record, decode, encode


def record(output="out.ckpt", number=0, inputs=None):
    return Record(
        fingerprint=print_of(number),
        name="merge.yaml",
        output=output,
        recipe={"inputs": {}, "save": {}},
        hash="0" * 32,
        template="a",
        inputs=inputs or {"a": source()},
        versions={"weightmath": "0.1.0"},
    )


def source(made=None, coefficient=0.5):
    mark, digest = (UNKNOWN, None) if made is None else (made.fingerprint, made.digest)
    return Ingredient(file="a.ckpt", section="", fingerprint=mark, record=digest, coefficient=coefficient)


def print_of(number):
    return f"wm1:{number:032x}"


def test_it_comes_back():
    first = record("first.ckpt", 1)
    runs = source(first, ((0.5, 2), (1.0, 3)))
    second = record("second.ckpt", 2, {"a": runs, "b": source(coefficient=None)})
    provenance = Provenance(record=second, ancestors={first.digest: first}, left_out=3)
    assert decode(encode(provenance)) == provenance


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b'{"format":2}',
        encode(Provenance(record=record(), ancestors={}, left_out=0)).replace(b"0.5", b"NaN"),
        encode(Provenance(record=record(), ancestors={}, left_out=0)).replace(b"0.5", b"[[0.5,0]]"),
        encode(Provenance(record=record(), ancestors={}, left_out=0)).replace(b"0.5", b"[]"),
        encode(Provenance(record=record(), ancestors={}, left_out=0)).replace(b"wm1:", b"wm2:"),
        b" " * (LARGEST + 1),
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(CheckpointError, match="its provenance record"):
        decode(content)


def test_an_ancestor_is_what_its_digest_says():
    data = json.loads(encode(Provenance(record=record(), ancestors={}, left_out=0)))
    data["ancestors"] = {"f" * 32: data["record"]}
    with pytest.raises(CheckpointError, match="is not the digest of what it names"):
        decode(json.dumps(data).encode())


def generations(count):
    """Each is made of two checkpoints that both were made of the one before."""
    known, last = {}, record("0", 0)
    for number in range(1, count):
        known[last.digest] = last
        last = record(str(number), number, {"a": source(last), "b": source(last)})
    return Provenance(record=last, ancestors=known, left_out=0)


def test_a_lineage_grows_with_its_records_and_not_with_its_paths():
    found = generations(400)
    assert len(encode(found)) < 400 * 1500
    parts = originals(found)
    assert [(part.file, part.coefficient) for part in parts] == [("a.ckpt", 0.5)]


def test_the_nearest_ancestors_are_kept():
    history = generations(5000)
    kept, left_out = ancestors_of([history])
    assert 0 < left_out < 5000
    assert len(kept) + left_out == 5000
    assert [one.output for one in kept.values()] == [str(4999 - n) for n in range(len(kept))]
    assert sum(len(one.model_dump_json()) for one in kept.values()) <= 1 << 20
