"""What is read for fingerprints alone: what the plan says, against what was missing when the passes were through."""

import pytest
import torch

import weightmath as wm
from tests.merging import Bench
from weightmath.checkpoint import open_checkpoint
from weightmath.fingerprint import Digests
from weightmath.provenance.lineage import provenance_of
from weightmath.provenance.watching import bytes_beside
from weightmath.running import run


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    for name in ("base", "chat"):
        content = {"a.w": torch.randn(300, 400), "b.w": torch.randn(20, 30).half(), "n": torch.tensor(1)}
        made.save(**{name: content})
    return made


RECIPES = {
    # All that is read are the two counters of int64, for each input.
    "all": ("0.5 * base + 0.5 * chat", "", 2 * 8),
    "left out": ("0.5 * base + 0.5 * chat", "except: b*", 2 * (8 + 1200)),
    "a zero": ("base + t * chat - t * base", 'params: {t: {"a*": 0, "*": 1}}', 2 * 8 + 480_000),
    "not used": ("2 * base - base", "", 2 * 8 + 480_000 + 1200),
    "passes": ("base + (chat - base) / norm(chat)", "", 2 * 8),
    "a selection": ("base + keep_largest(chat - base, 0.1)", "", 2 * 8),
}


@pytest.mark.parametrize(("formula", "more", "expected"), RECIPES.values(), ids=RECIPES)
def test_the_plan_says_what_is_read_for_fingerprints(bench, monkeypatch, formula, more, expected):
    missing = []
    complete = Digests.complete

    def counted(digests, read, threads):
        pieces = []
        complete(digests, lambda *place: pieces.append(place[-1].nbytes) or read(*place), threads)
        missing.append(sum(pieces))

    monkeypatch.setattr(Digests, "complete", counted)
    job = bench.plan(f'inputs: {{base: base.ckpt, chat: chat.ckpt}}\nsave: {{out.ckpt: "{formula}"}}\n{more}\n')
    assert bytes_beside(job.inputs, job.plan) == expected
    run(job, threads=2)
    assert sum(missing[:2]) == expected
    assert missing[2] == 0  # the output's: computed, or the template's


def test_nothing_is_read_where_nothing_is_carried(bench, monkeypatch):
    monkeypatch.setattr(Digests, "complete", lambda *arguments: pytest.fail("a fingerprint was taken"))
    bench.run("inputs: {base: base.ckpt}\nsave: {out.ckpt: 2 * base - base}\nprovenance: none\n")
    wm.save(wm.open(bench.folder / "base.ckpt"), bench.folder / "two.ckpt", provenance="none")
    assert provenance_of(open_checkpoint(bench.folder / "two.ckpt")) is None
