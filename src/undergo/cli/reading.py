"""What `record` reads of a session, and how it makes sense of captures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from undergo.cli.captures import Captures
from undergo.events.records import counts
from undergo.events.values import Captured, CaptureDecoder
from undergo.kernel.session import Session
from undergo.recording.pending import Pending
from undergo.recording.window import Batch
from undergo.views.capture_rows import CaptureRows
from undergo.views.recording import Recorded

_TURN = 50_000_000  # ns that captures are made sense of before the calls are looked after again
_GLANCE = 2_000_000  # ns, where it is about their types alone
_SHARE = 50  # which may take one part in so many of the time
_AT_ONCE = 20  # captures between two looks at the clock
_MOST_WAITING = 1 << 28  # bytes of captures that wait for that; beyond, they are given up


class Reader:
    """Reads the rings of a session."""

    def __init__(self, running: Session, *, captures: bool) -> None:
        """`captures`: whether there are any."""
        self._running = running
        self._captures = captures
        self.recorded = Recorded()

    def read(self) -> Batch:
        """What came since."""
        records = self._running.read()
        self.recorded += Recorded(*counts(records))
        # read after the calls, they hold what belongs to them
        captures = tuple(self._running.read_captures()) if self._captures else ()
        return Batch(time.monotonic_ns(), records, captures)


class Values:
    """Makes sense of captures, and has the kernel side look into the types that it meets."""

    def __init__(self, running: Session, captures: Captures, *, results: bool) -> None:
        """`results`: those are to be kept; else they are read only to see whether calls failed."""
        self._running = running
        self._captures = captures
        self._results = results
        self._decoder = CaptureDecoder(captures.functions, running.dtype("capture_record"))
        types = {function: types for function, (_, types, _) in captures.functions.items()}
        self._rows = CaptureRows(types)
        self._glance_again = 0  # ns, CLOCK_MONOTONIC

    def of(self, captures: Sequence[bytes], functions: Collection[int] | None = None) -> list[Captured]:
        """What some captures say; of these functions (FunctionPlan.id), or of all."""
        return list(self._decoder.feed(captures, functions))

    def lines(self, captures: Sequence[bytes]) -> bytes:
        """The same as lines of a recording's table."""
        found = self._decoder.feed(captures)
        return self._rows.of(one for one in found if self._results or not one.at_exit)

    def glance(self, captures: Sequence[bytes]) -> None:
        """Meets the types of as many as there is a little time for now and then; `learn` of them after it."""
        began = time.monotonic_ns()
        if not captures or began < self._glance_again:
            return
        for at in range(0, len(captures), _AT_ONCE):
            self.of(captures[at : at + _AT_ONCE])
            if time.monotonic_ns() > began + _GLANCE:
                break
        self._glance_again = began + _SHARE * (time.monotonic_ns() - began)

    def learn(self) -> None:
        """What is behind interfaces of the types that were met is captured from now on."""
        self._captures.learn(self._running)


#: Another one; each thread has to have its own.
MakeValues = Callable[[], Values]


class Backlog:
    """Captures that wait to be made sense of: they come faster than Python understands them, calls must not wait.

    Those of a call wait for its end first: only then is it known whether it is kept.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._open = Pending(_MOST_WAITING)
        self._waiting: deque[bytes] = deque()
        self._bytes = 0  # of those
        self.lost = 0  # that there was no room for

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, captures: Sequence[bytes], ended: Iterable[int]) -> None:
        """These came last; these calls have ended, or are kept though they have not."""
        self._open.add(captures)
        for raw in self._open.take(ended):
            if self._bytes + len(raw) > _MOST_WAITING:
                self.lost += 1
                continue
            self._bytes += len(raw)
            self._waiting.append(raw)

    def lines(self) -> bytes:
        """Those of the oldest, for one turn."""
        found = []
        until = time.monotonic_ns() + _TURN
        while self._waiting and time.monotonic_ns() < until:
            some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._bytes -= sum(map(len, some))
            found.append(self._values.lines(some))
        return b"".join(found)
