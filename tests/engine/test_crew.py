"""Threads that work through a list: all of it, in the order that stages demand, and an end in every case."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import pytest

from weightmath.engine.crew import Crew

THREADS = (1, 2, 3, 8)


@dataclass(frozen=True)
class Item:
    stage: Hashable
    number: int
    after: Hashable | None = None


def stages(count: int, size: int) -> Iterator[tuple[Hashable, list[Item]]]:
    """Two rounds of each of some groups: a round of the next group stands between two of one."""
    for group in range(count):
        yield (group, 0), [Item((group, 0), i) for i in range(size)]
        if group:
            yield (group - 1, 1), [Item((group - 1, 1), i, (group - 1, 0)) for i in range(size)]
    yield (count - 1, 1), [Item((count - 1, 1), i, (count - 1, 0)) for i in range(size)]


@pytest.mark.parametrize("threads", THREADS)
def test_all_work_is_done_and_stages_are_kept(threads):
    done: list[Item] = []
    completed: list[Hashable] = []

    def work(item: Item) -> None:
        time.sleep(random.random() / 2000)
        assert item.after is None or item.after in completed
        done.append(item)

    Crew(stages(10, 5), work, completed.append).run(threads)
    assert sorted(done, key=lambda item: (item.stage, item.number)) == [
        Item((group, part), i, (group, 0) if part else None) for group in range(10) for part in (0, 1) for i in range(5)
    ]
    assert sorted(completed) == [(group, part) for group in range(10) for part in (0, 1)]


def no_longer_alive(before: int) -> bool:
    """Whether all threads have ended; one that has left its crew takes a moment to."""
    end = time.monotonic() + 1
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.001)
    return threading.active_count() == before


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("place", ["work", "complete", "stages"])
def test_an_error_anywhere_stops_all(threads, place):
    started = 0
    before = threading.active_count()

    def work(item: Item) -> None:
        nonlocal started
        started += 1
        time.sleep(0.001)
        if place == "work" and item.stage == (3, 1):
            raise OSError("the disk is full")

    def complete(stage: Hashable) -> None:
        if place == "complete" and stage == (3, 0):
            raise OSError("the disk is full")

    def broken() -> Iterator[tuple[Hashable, list[Item]]]:
        for number, stage in enumerate(stages(1000, 2)):
            if place == "stages" and number == 7:
                raise OSError("the disk is full")
            yield stage

    with pytest.raises(OSError, match="the disk is full"):
        Crew(broken(), work, complete).run(threads)
    assert started < 100
    assert no_longer_alive(before)


def test_a_stage_without_items_is_complete():
    done: list[Item] = []
    listed = [("a", []), ("b", [Item("b", 0, "a")])]
    Crew(listed, done.append).run(2)
    assert done == [Item("b", 0, "a")]


def test_no_work_at_all():
    Crew([], lambda item: None).run(3)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_stops_all(threads):
    before = threading.active_count()
    timer = threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGINT) if threads == 1 else _interrupt_main())
    timer.start()
    working: list[Item] = []

    def work(item: Item) -> None:
        working.append(item)
        time.sleep(0.002)
        working.remove(item)

    with pytest.raises(KeyboardInterrupt):
        Crew(stages(10_000, 2), work).run(threads)
    assert threads == 1 or not working  # nobody works on when this returns
    timer.join()
    assert no_longer_alive(before)


def _interrupt_main() -> None:
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_a_thread_that_does_not_start_stops_the_others(monkeypatch):
    start = threading.Thread.start
    before = threading.active_count()
    started: list[threading.Thread] = []

    def fail_second(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_second)
    with pytest.raises(RuntimeError, match="can't start"):
        Crew(stages(10_000, 2), lambda item: time.sleep(0.001)).run(2)
    assert no_longer_alive(before)


def test_waiting_threads_do_not_block_each_other():
    """Each stage waits for the one before: as bad as an order can be."""
    chain = [(i, [Item(i, 0, i - 1 if i else None), Item(i, 1, i - 1 if i else None)]) for i in range(500)]

    seen: list[int] = []
    Crew(chain, lambda item: seen.append(item.stage)).run(4)
    assert seen == sorted(seen)
