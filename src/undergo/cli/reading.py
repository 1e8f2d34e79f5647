"""What `record` reads: calls and states at once, values as far as there is time for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from undergo.cli.captures import Captures
from undergo.events.records import counts
from undergo.events.values import Captured, CaptureDecoder
from undergo.kernel.session import Session
from undergo.recording.window import Batch
from undergo.views.capture_rows import CaptureRows
from undergo.views.recording import Recorded

_TURN = 50_000_000  # ns that values are made sense of before the calls are looked after again
_AT_ONCE = 200  # values between two looks at the clock
_MOST_WAITING = 1 << 28  # bytes of values that wait for that; beyond, they are given up


class Reader:
    """Reads the rings of a session."""

    def __init__(self, running: Session, captures: Captures, *, results: bool) -> None:
        """`results`: those are to be kept; else they are read only to see whether calls failed."""
        self._running = running
        self._captures = captures
        self._results = results
        self._decoder = CaptureDecoder(captures.functions, running.dtype("capture_record"))
        types = {function: types for function, (_, types, _) in captures.functions.items()}
        self._rows = CaptureRows(types)
        self._waiting: deque[bytes] = deque()
        self._bytes = 0  # of those
        self.recorded = Recorded()
        self.lost = 0  # values there was no room for here

    @property
    def busy(self) -> bool:
        """Whether values wait to be made sense of."""
        return bool(self._waiting)

    def read(self) -> tuple[Batch, list[Captured]]:
        """What came since: the records, lines of values, and these values themselves."""
        records = self._running.read()
        self.recorded += Recorded(*counts(records))
        if not self._captures.functions:
            return Batch(time.monotonic_ns(), records), []
        # read after the calls, they hold what belongs to them
        for raw in self._running.read_captures():
            if self._bytes + len(raw) > _MOST_WAITING:
                self.lost += 1
                continue
            self._bytes += len(raw)
            self._waiting.append(raw)
        captured = list(self._some())
        lines = self._rows.of(one for one in captured if self._results or not one.at_exit)
        self._captures.learn(self._running)
        return Batch(time.monotonic_ns(), records, lines), captured

    def _some(self) -> Iterator[Captured]:
        """Values that wait, for one turn."""
        until = time.monotonic_ns() + _TURN
        while self._waiting and time.monotonic_ns() < until:
            some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._bytes -= sum(map(len, some))
            yield from self._decoder.feed(some)
