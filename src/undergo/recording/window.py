"""The last seconds of what the ring gave, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from undergo.events.records import Kind

_MOST_OPEN: Final = 1 << 18  # calls that began before the window; beyond, the oldest are forgotten


@dataclass(frozen=True, slots=True)
class Batch:
    """What was read at one time: records, and lines of captures."""

    at: int  # ns, CLOCK_MONOTONIC
    records: npt.NDArray[np.void]
    lines: bytes = b""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.records.nbytes + len(self.lines)


class Window:
    """Keeps the batches of so many ns, in at most so many bytes.

    Of calls that began before and have not ended it keeps what announced them, so that what is in the window is known
    to be beneath them.
    """

    def __init__(self, ns: int, most: int, began: int) -> None:
        """`began`: since when everything is in here, in ns, CLOCK_MONOTONIC."""
        self.since = began
        self.size = 0
        self.crowded = False  # `most` was too little for `ns`, since it was last empty
        self._ns = ns
        self._most = most
        self._batches: deque[Batch] = deque()
        self._before: tuple[
            npt.NDArray[np.void], ...
        ] = ()  # CALL_OPENED, CALL_WAITS of what is in the window

    def add(self, batch: Batch) -> None:
        """The newest; `batch.at` is now."""
        if batch.size:
            self._batches.append(batch)
            self.size += batch.size
        while self._batches and self._batches[0].at < batch.at - self._ns:
            self._give_up()
        while self.size > self._most and len(self._batches) > 1:
            self.crowded = True
            self._give_up()

    def _give_up(self) -> None:
        oldest = self._batches.popleft()
        self.size -= oldest.size
        self.since = oldest.at
        records = np.concatenate([*self._before[:1], oldest.records])
        kinds = records["kind"]
        ended = records["id"][kinds == Kind.CALL_CLOSED]
        opened = records[kinds == Kind.CALL_OPENED]
        opened = opened[~np.isin(opened["id"], ended)][-_MOST_OPEN:]
        # the struct of these has its id elsewhere; few are left, for their calls come right after them
        waits = records[kinds == Kind.CALL_WAITS][-1024:]
        self._before = (opened, waits)

    def take(self) -> Iterator[Batch]:
        """All of it, the oldest first, beginning with what is known of the time before. It is empty then."""
        for records in self._before:
            if len(records):
                yield Batch(self.since, records)
        self.crowded = False
        while self._batches:
            yield self._batches[0]
            self._give_up()
