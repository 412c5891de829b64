"""Threads that work through one ordered list together, where some items must wait for all of an earlier group's.

An item only ever waits for items that come before it in the order, and items are taken in order, so that nothing can
wait forever. The first error stops everybody and is raised in the calling thread, as is Ctrl-C.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Item(Protocol):
    """Work that belongs to a stage; `after` is the stage that must be complete before it starts."""

    @property
    def stage(self) -> Hashable:
        """The stage that this item is a part of."""

    @property
    def after(self) -> Hashable | None:
        """The stage that must be complete before, if any."""


I = TypeVar("I", bound=Item)  # noqa: E741


class Crew(Generic[I]):
    """Runs `work(item)` for all items with some threads, and `complete(stage)` after a stage's last item.

    `stages` yields each stage with the list of its items, in order; a stage without items is complete at once.
    `stopped` is called once if an error, or Ctrl-C, ends it: it may end what items wait for.
    """

    def __init__(
        self,
        stages: Iterable[tuple[Hashable, list[I]]],
        work: Callable[[I], None],
        complete: Callable[[Hashable], None] = lambda stage: None,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._complete = complete
        self._stopped = stopped
        self._items = self._listed(stages)
        self._taking = threading.Lock()
        self._news = threading.Condition()
        self._left: Counter[Hashable] = Counter()  # items of stages that are not complete
        self._error: BaseException | None = None
        self._working = 0  # threads that have not left

    def _listed(self, stages: Iterable[tuple[Hashable, list[I]]]) -> Iterator[I]:
        for stage, items in stages:
            if items:
                with self._news:
                    self._left[stage] = len(items)
            yield from items

    def run(self, threads: int) -> None:
        """Work until all is done; raises the first error of any thread."""
        if threads == 1:
            self._drain()
        else:
            try:
                for _ in range(threads):
                    self._enlist()
                self._wait_for_all()
            except BaseException as interrupt:  # noqa: BLE001 - raised below, when all threads have stopped
                self._stop(interrupt)
                self._wait_for_all()
        if self._error is not None:
            raise self._error

    def _enlist(self) -> None:
        """Start one thread."""
        with self._news:
            self._working += 1
        try:
            threading.Thread(target=self._member, daemon=True).start()
        except RuntimeError:
            self._leave()
            raise

    def _member(self) -> None:
        try:
            self._drain()
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._news:
            self._working -= 1
            self._news.notify_all()

    def _wait_for_all(self) -> None:
        # Not by Thread.join: when Ctrl-C breaks into it, Python 3.11 takes the thread to have ended, and files would be
        # closed while it still writes to them.
        with self._news:
            self._news.wait_for(lambda: self._working == 0)

    def _drain(self) -> None:
        try:
            while self._error is None and (item := self._take()) is not None:
                if self._wait_for(item.after):
                    self._work(item)
                    self._tick(item.stage)
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread
            self._stop(error)

    def _take(self) -> I | None:
        with self._taking:
            return next(self._items, None)

    def _wait_for(self, stage: Hashable | None) -> bool:
        """Wait for a stage; false when an error stopped the work."""
        with self._news:
            self._news.wait_for(lambda: self._error is not None or stage not in self._left)
            return self._error is None

    def _tick(self, stage: Hashable) -> None:
        with self._news:
            self._left[stage] -= 1
            last = self._left[stage] == 0
        if last:
            self._complete(stage)
            with self._news:
                del self._left[stage]
                self._news.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self._news:
            is_first = self._error is None
            if is_first:
                self._error = error
            self._news.notify_all()
        if is_first:
            self._stopped()
