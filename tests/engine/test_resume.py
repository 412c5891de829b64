"""Runs that are stopped after any number of notes in their journal, and go on: same bits, nothing computed twice."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from tests.engine.small import LAYOUT, SETTINGS, a, assert_same_bits, b, c, small  # noqa: F401
from tests.engine.whole import Memory, plan_of
from weightmath import functions as f
from weightmath import methods
from weightmath.algebra.graph import Vector
from weightmath.engine import search as searching
from weightmath.engine.execute import Results, Settings, execute
from weightmath.engine.plan import WHOLE_TENSOR, Plan

pytestmark = pytest.mark.usefixtures("small")
d, e = b - a, c - a
METHODS = methods.load()

VALUES: dict[str, Callable[[], Vector]] = {
    "sum": lambda: a + 0.5 * d + f.gaussian(seed=3),
    "folds": lambda: a + f.norm(d) * d + f.std(a, scope="layer") * e,
    "two passes": lambda: a + f.norm(d / f.norm(d)) * f.mean(e, scope="layer") * d,
    "local folds": lambda: a + f.norm(d, scope="tensor") * d + f.mean(e, scope="row"),
    "ties": lambda: METHODS["ties"].call(a, [b, c], densities=0.3),
    "ties by tensor": lambda: METHODS["ties"].call(a, [b, c], densities=0.3, scope="tensor"),
    "rows": lambda: a + f.keep_largest(d, 0.4, scope="row") + f.quantile(e, 0.3, scope="row"),
    "quantiles": lambda: (
        a + f.median(d, scope="layer") * e + f.quantile(f.norm(d, scope="tensor"), 0.5, scope="global")
    ),
    "whole tensors": lambda: METHODS["tsv"].call(a, [b, c]),
    "after whole tensors": lambda: a + f.norm(METHODS["tsv"].call(a, [b, c]) - a) * d,
    "gram": lambda: METHODS["karcher"].call([a, b, c], scope="layer"),
}
WATCHED = (
    f.norm(d, scope="tensor"),
    f.median(d, scope="tensor"),
    f.norm(d, scope="row"),
    f.cosine(d, e),
    f.median(e, scope="global"),
)


class StoppedError(Exception):
    """The process is killed."""


class Notes:
    """A journal in memory, as JSON text, that stops the run at a number of notes."""

    def __init__(self, texts: dict[str, str] | None = None, stop_at: int | None = None) -> None:
        self.texts = dict(texts or {})
        self.found = 0
        self.noted = 0
        self._stop_at = stop_at
        self._lock = threading.Lock()

    def find(self, key: str) -> Any:
        self.found += key in self.texts
        return json.loads(self.texts[key]) if key in self.texts else None

    def note(self, key: str, value: Any) -> None:
        with self._lock:
            if self.noted == self._stop_at:
                raise StoppedError
            self.noted += 1
            self.texts[key] = json.dumps(value)


class Disk(Memory):
    """An output that outlives the run that writes it: an array of bytes, and checksums."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.copies = [0, 1, 2]
        self.copied = [False, False, False]
        self.adopted = 0

    def write(self, name: str, start: int, bits: np.ndarray) -> int:
        super().write(name, start, bits)
        return crc32(bits.tobytes())

    def holds(self, name: str, start: int, size: int, crc: int) -> bool:
        return crc32(self.arrays[name].reshape(-1)[start : start + size].tobytes()) == crc

    def adopt(self, name: str, start: int, size: int, crc: int) -> None:
        self.adopted += size

    def copy(self, job: int) -> tuple[int, int]:
        self.copied[job] = True
        return 10, 1000 + job

    def adopt_copy(self, job: int, crc: int) -> bool:
        return crc == 1000 + job and self.copied[job]


@dataclass
class Case:
    """One value, its plan, and the undisturbed run of it."""

    plan: Plan
    settings: Settings
    notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        self.disk = self.new_disk()
        self.results = self.run(self.disk, self.notes)

    @property
    def has_whole_tensors(self) -> bool:
        return any(node.op in WHOLE_TENSOR for node in self.plan.nodes)

    def new_disk(self) -> Disk:
        dtypes = {e.name: d.bits for e, d in zip(self.plan.layout, self.plan.compute_dtypes, strict=True)}
        return Disk({entry.name: np.full(entry.shape, 777, dtypes[entry.name]) for entry in self.plan.layout})

    def run(self, disk: Disk, notes: Notes) -> Results:
        sources = {node: node.source.origin for node in self.plan.nodes if node.source is not None}
        return execute(self.plan, sources, {"out": disk}, self.settings, journal=notes)

    def stopped_at(self, stop_at: int) -> tuple[Disk, Notes]:
        """What a run leaves that is stopped after so many notes."""
        disk, notes = self.new_disk(), Notes(stop_at=stop_at)
        with pytest.raises(StoppedError):
            self.run(disk, notes)
        return disk, notes

    def check(self, disk: Disk, results: Results) -> None:
        assert_same_bits(disk.arrays, self.disk.arrays, "output")
        assert all(disk.copied)
        assert results.reads == self.results.reads
        np.testing.assert_equal(results.watched, self.results.watched)
        for name, outcome in self.results.outcomes.items():
            assert results.outcomes[name].tensors == outcome.tensors
            assert results.outcomes[name].parts.tobytes() == outcome.parts.tobytes()


@pytest.fixture(params=VALUES)
def case(request: pytest.FixtureRequest) -> Case:
    plan = plan_of(VALUES[request.param](), WATCHED, a, layout=LAYOUT)
    return Case(plan, SETTINGS[len(request.param) % len(SETTINGS)])


def moments(case: Case, count: int) -> list[int]:
    return sorted(random.Random(0).sample(range(case.notes.noted), min(count, case.notes.noted)))


def test_a_stopped_run_goes_on(case: Case) -> None:
    for moment in moments(case, 12):
        disk, notes = case.stopped_at(moment)
        assert notes.noted == moment
        again = Notes(notes.texts)
        case.check(disk, case.run(disk, again))
        # What was noted is not noted again, but for rounds whose whole tensors are gone with the process.
        rounds = {key for key in notes.texts if "round" in key} if case.has_whole_tensors else set()
        assert 0 <= moment + again.noted - case.notes.noted <= len(rounds)
        assert set(again.texts) == set(case.notes.texts)


@pytest.mark.parametrize("name", VALUES)
def test_at_most_the_chunks_in_work_are_written_again(name: str) -> None:
    settings = Settings(threads=2, chunk=64)
    case = Case(plan_of(VALUES[name](), WATCHED, a, layout=LAYOUT), settings)
    total = sum(entry.size for entry in LAYOUT)
    for left in (1, 5, 20):
        disk, notes = case.stopped_at(case.notes.noted - left)
        disk.written.clear()
        case.run(disk, Notes(notes.texts))
        assert disk.adopted + sum(disk.written.values()) == total
        assert sum(disk.written.values()) <= (left + settings.threads) * settings.chunk < total


def test_stopped_again_and_again(case: Case) -> None:
    disk, texts = case.new_disk(), {}
    for _ in range(1000):
        notes = Notes(texts, stop_at=3)
        try:
            results = case.run(disk, notes)
        except StoppedError:
            texts = notes.texts
        else:
            break
    case.check(disk, results)


def test_what_is_lost_of_the_output_is_written_again(case: Case) -> None:
    """Power failed: the journal is on the disk, and some of the bytes it speaks of are not."""
    disk, notes = case.stopped_at(case.notes.noted - 1)
    for name in ("blocks.0.w", "embed", "head.1.long"):
        flat = disk.arrays[name].reshape(-1)
        flat[len(flat) // 2 :] = 0
    disk.copied[1] = False
    case.check(disk, case.run(disk, Notes(notes.texts)))


def test_selections_that_overflow_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = searching.Selector
    monkeypatch.setattr(searching, "Selector", lambda *args, **options: plain(*args, **{**options, "budget": 1}))
    monkeypatch.setattr(plain, "sample", lambda selector, blocks: None)
    case = Case(plan_of(VALUES["ties"](), WATCHED, a, layout=LAYOUT), SETTINGS[0])
    assert case.results.reads > 2
    for moment in moments(case, 20):
        disk, notes = case.stopped_at(moment)
        case.check(disk, case.run(disk, Notes(notes.texts)))


def test_no_note_is_needed_to_be_right(case: Case) -> None:
    """Any subset of the notes will do: those that a failing disk has lost are done again."""
    chance = random.Random(1)
    disk = case.new_disk()
    case.run(disk, Notes())
    for _ in range(5):
        kept = {key: text for key, text in case.notes.texts.items() if chance.random() < 0.5}
        case.check(disk, case.run(disk, Notes(kept)))
