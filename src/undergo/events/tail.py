"""Whole trees of calls, kept only if their outermost call turned out to be worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from undergo.events.calls import Call, CallOpened

MOST_RECORDS = 100_000  # of one tree that is under way; beyond, its oldest are given up

_Key = tuple[int, int, int]


class Tail:
    """Holds the records of each goroutine until its outermost call ends, then gives them out or drops them."""

    def __init__(
        self, slow: int, failed: Callable[[Call], bool], dropped: Callable[[int], None] = lambda _: None
    ) -> None:
        """Kept are outermost calls of `slow` ns or more, those that panicked, and those that `failed`.

        `dropped` is told the id of each call that is not shown.
        """
        self._slow = slow
        self._failed = failed
        self._dropped = dropped
        self._waiting: dict[_Key, list[Call | CallOpened]] = {}
        self.cut = 0  # calls that were dropped

    def admit(self, records: Iterable[Call | CallOpened]) -> list[Call | CallOpened]:
        """The records of trees that are complete and kept, tree by tree."""
        kept: list[Call | CallOpened] = []
        for record in records:
            key = (record.pid, record.goid, 0 if record.goid else record.tid)
            waiting = self._waiting.setdefault(key, [])
            waiting.append(record)
            if isinstance(record, Call) and not record.depth:
                del self._waiting[key]
                if record.wall_ns >= self._slow or record.end == "panic" or self._failed(record):
                    kept += waiting
                else:
                    self._drop(waiting)
            elif len(waiting) > MOST_RECORDS:
                self._drop(waiting[: MOST_RECORDS // 2])
                del waiting[: MOST_RECORDS // 2]
        return kept

    def finish(self) -> None:
        """What is left belongs to calls of which nobody saw the end: it is dropped."""
        for waiting in self._waiting.values():
            self._drop(waiting)
        self._waiting.clear()

    def _drop(self, records: Sequence[Call | CallOpened]) -> None:
        for record in records:
            if isinstance(record, Call):
                self.cut += 1
                self._dropped(record.id)
