"""The last seconds of what the ring gave, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from undergo.events.records import Kind
from undergo.recording.pending import OBJECT, Pending

_MOST_OPEN: Final = 1 << 18  # calls that began before the window; beyond, the oldest are forgotten


@dataclass(frozen=True)
class Batch:
    """What was read at one time: records, and captures that nobody has made sense of yet."""

    at: int  # ns, CLOCK_MONOTONIC
    records: npt.NDArray[np.void]
    captures: Sequence[bytes] = ()

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return self.records.nbytes + sum(len(raw) + OBJECT for raw in self.captures)

    @property
    def ended(self) -> npt.NDArray[np.uint64]:
        """The ids of the calls that ended. All that was captured of them is in here, or came before."""
        ended: npt.NDArray[np.uint64] = self.records["id"][self.records["kind"] == Kind.CALL_CLOSED]
        return ended


class Window:
    """Keeps the batches of so many ns, in at most so many bytes.

    Of calls that began before and have not ended it keeps what announced them, so that what is in the window is known
    to be beneath them, and what was captured of them, in a quarter of these bytes more.
    """

    def __init__(self, ns: int, most: int, began: int) -> None:
        """`began`: since when everything is in here, in ns, CLOCK_MONOTONIC."""
        self.since = began
        self.size = 0
        self.crowded = False  # `most` was too little for `ns`, since it was last empty
        self._ns = ns
        self._most = most
        self._batches: deque[Batch] = deque()
        #: CALL_OPENED, CALL_WAITS of what is in the window
        self._before: tuple[npt.NDArray[np.void], npt.NDArray[np.void]] | None = None
        self._captured = Pending(most // 4)

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
        records = oldest.records
        if self._before is not None:
            records = np.concatenate([self._before[0], records])
        kinds = records["kind"]
        ended = oldest.ended
        opened = records[kinds == Kind.CALL_OPENED]
        opened = opened[~np.isin(opened["id"], ended)][-_MOST_OPEN:]
        # the struct of these has its id elsewhere; few are left, for their calls come right after them
        waits = records[kinds == Kind.CALL_WAITS][-1024:]
        self._before = (opened, waits)
        self._captured.add(oldest.captures)
        self._captured.take(ended.tolist())

    def take(self) -> Iterator[Batch]:
        """All of it, the oldest first, beginning with what is known of the time before. It is empty then."""
        if self._before is not None:
            opened, waits = self._before
            yield Batch(self.since, opened, self._captured.all())
            yield Batch(self.since, waits)
        self.crowded = False
        while self._batches:
            yield self._batches[0]
            self._give_up()
