"""Pinned inputs: the run goes on with what is meant, and with nothing else; and `lock`, which writes the pins."""

import hashlib
import os

import pytest
import torch

from tests.merging import Bench
from weightmath.checkpoint import Reader, open_checkpoint
from weightmath.errors import RecipeError
from weightmath.fingerprint import fingerprint
from weightmath.job import prepare
from weightmath.lock import lock
from weightmath.provenance.lineage import provenance_of
from weightmath.recipe import load

SAVE = "save: {out.ckpt: 0.5 * base + 0.5 * chat}\n"


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.save(**{name: {"w": torch.randn(20, 30), "n": torch.tensor(1)} for name in ("base", "chat", "code")})
    return made


def mark(bench, name):
    return fingerprint(open_checkpoint(bench.folder / f"{name}.ckpt").section())


def checksum(bench, name):
    return hashlib.sha256((bench.folder / f"{name}.ckpt").read_bytes()).hexdigest()


def recipe(bench, key, value, more=""):
    return f"inputs: {{base: {{path: base.ckpt, {key}: '{value}'}}, chat: chat.ckpt}}\n{SAVE}{more}"


@pytest.mark.parametrize("more", ["", "provenance: none\n"])
def test_the_pinned_input_is_taken(bench, more):
    bench.run(recipe(bench, "fingerprint", mark(bench, "base"), more))
    assert (provenance_of(open_checkpoint(bench.folder / "out.ckpt")) is None) == bool(more)
    bench.run(recipe(bench, "sha256", checksum(bench, "base"), more), force=True)
    assert provenance_of(open_checkpoint(bench.folder / "out.ckpt")) is None or not more


@pytest.mark.parametrize("more", ["", "provenance: none\n"])
def test_another_one_is_refused(bench, more):
    wanted, there = mark(bench, "code"), mark(bench, "base")
    assert bench.mistake(recipe(bench, "fingerprint", wanted, more)) == (
        f"merge.yaml: inputs.base.fingerprint: base.ckpt: is not what the recipe pins: its fingerprint is {there}, "
        f"not {wanted}\n  hint: get the file that is meant; or pin this one: weightmath lock RECIPE"
    ).replace("merge.yaml: ", "merge.yaml:1: ")
    wanted, there = checksum(bench, "code"), checksum(bench, "base")
    assert f"its sha256 is {there}, not {wanted}" in bench.mistake(recipe(bench, "sha256", wanted, more))


def test_a_sum_is_checked_before_any_tensor_is_read(bench, monkeypatch):
    monkeypatch.setattr(Reader, "read", lambda *arguments: pytest.fail("a tensor was read"))
    assert "its sha256 is" in bench.mistake(recipe(bench, "sha256", "0" * 64))


def test_progress_is_told_while_sums_are_taken_and_they_are_taken_once(bench):
    (bench.folder / "merge.yaml").write_text(recipe(bench, "sha256", checksum(bench, "base")))
    pins = prepare(load(bench.folder / "merge.yaml")).pins
    told, size = [], (bench.folder / "base.ckpt").stat().st_size
    for _ in range(2):
        pins.check_files(lambda done, total: told.append((done, total)))
    assert told == [(size, size)]


def test_a_list_has_one_pin_for_each_file(bench):
    marks = [mark(bench, name) for name in ("base", "chat", "code")]
    text = 'inputs: {{runs: {{glob: "*.ckpt", sort: name, fingerprint: [{}]}}}}\nsave: {{out.ckpt: mean(runs)}}\n'
    bench.run(text.format(", ".join(marks)))
    os.unlink(bench.folder / "out.ckpt")
    assert "inputs.runs.fingerprint: code.ckpt: is not" in bench.mistake(text.format(", ".join([*marks[:2], marks[0]])))
    assert "`runs` has 3 files, and pins 2" in bench.mistake(text.format(", ".join(marks[:2])))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fingerprint", "abc", "`abc` is not a fingerprint"),
        ("sha256", "wm1:" + "0" * 32, "is not a sha256 sum"),
        ("sha256", "A" * 64, "is not a sha256 sum"),
    ],
)
def test_what_is_no_pin(bench, key, value, message):
    with pytest.raises(RecipeError, match=message):
        bench.plan(recipe(bench, key, value))


def test_one_file_has_one_pin(bench):
    text = f"inputs: {{base: {{path: base.ckpt, sha256: ['{'0' * 64}', '{'1' * 64}']}}}}\nsave: {{out.ckpt: base}}\n"
    assert "one file has one `sha256`" in bench.mistake(text)


def test_lock_pins_what_is_there(bench):
    path = bench.folder / "recipe.yaml"
    path.write_text(f"inputs:\n  base: base.ckpt  # the base\n  chat: chat.ckpt\n{SAVE}")
    path.chmod(0o640)
    assert lock(path).changed
    spec = load(path).spec.inputs
    assert {name: one.fingerprint for name, one in spec.items()} == {
        name: (mark(bench, name),) for name in ("base", "chat")
    }
    assert spec["base"].sha256 == ()
    assert "# the base\n" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert not lock(path).changed
    bench.run(path.read_text())


def test_lock_renews_sums_that_are_there(bench):
    path = bench.folder / "recipe.yaml"
    path.write_text(f"inputs: {{base: base.ckpt, chat: chat.ckpt}}\n{SAVE}")
    lock(path, sums=True)
    (bench.folder / "base.ckpt").write_bytes((bench.folder / "code.ckpt").read_bytes())
    assert "is not what the recipe pins" in bench.mistake(path.read_text())
    lock(path)
    assert load(path).spec.inputs["base"].sha256 == (checksum(bench, "code"),)
    bench.run(path.read_text())


def test_a_recipe_that_cannot_be_locked_stays(bench):
    path = bench.folder / "recipe.yaml"
    path.write_text(f"inputs: {{base: missing.ckpt, chat: chat.ckpt}}\n{SAVE}")
    before = path.read_bytes()
    with pytest.raises(Exception, match="no such file"):
        lock(path)
    assert path.read_bytes() == before
