"""The flight recorder: what came last, in a window that is written when something happens."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from undergo.cli.reading import Backlog, MakeValues
from undergo.cli.recorder import Kept, OpenNow
from undergo.cli.until import Until
from undergo.errors import UndergoError
from undergo.events.calls import Ledger
from undergo.events.records import counts
from undergo.events.triggers import Happened, Triggers
from undergo.kernel.session import OpenFrame
from undergo.recording.window import Batch, Window
from undergo.recording.writer import Writer, check_free
from undergo.views.recording import Recorded

_BOOKS_EVERY = 1_000_000_000  # ns
_LOOK_EVERY = 200_000_000  # ns
_SHARE = 50  # looking at the kernel's tables may take one part in so many of the time

#: Makes a recording: (where, since when in ns since the epoch).
Make = Callable[[str, int], Writer]


def numbered(output: str, number: int) -> str:
    """Where the flight recorder's recordings go: run.undergo, run-2.undergo, run-3.undergo ..."""
    if number == 1:
        return output
    stem, dot, suffix = os.path.basename(os.path.normpath(output)).rpartition(".")
    name = f"{stem}-{number}{dot}{suffix}" if stem else f"{suffix}-{number}"
    return os.path.join(os.path.dirname(os.path.normpath(output)), name)


def check_all_free(output: str, keep: int, *, force: bool) -> None:
    """Whether that many recordings may be made. Raises RecordingError."""
    for number in range(1, keep + 1):
        check_free(numbered(output, number), force=force)


class Asked:
    """SIGUSR1: the window is to be written."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGUSR1, self._note)

    def _note(self, number: int, frame: object) -> None:
        self._asked = True

    def take(self) -> bool:
        """Whether that was asked since the last time."""
        asked, self._asked = self._asked, False
        return asked


class Books:
    """The ledger now and then, so that it can be told for the window alone."""

    def __init__(self, look: Callable[[], Ledger]) -> None:
        self._look = look
        self._seen: deque[tuple[int, Ledger]] = deque()
        self._next = 0

    def keep(self, now: int, since: int) -> None:
        """Looks again if it is time; what lies before `since` is needed no more. In ns, CLOCK_MONOTONIC."""
        if now >= self._next:
            self._seen.append((now, self._look()))
            spent = time.monotonic_ns() - now
            self._next = now + max(_BOOKS_EVERY, _SHARE * spent)
        while len(self._seen) > 1 and self._seen[1][0] <= since:
            self._seen.popleft()

    def since(self, delivered: int) -> Ledger:
        """From before the window to now, where this many events were delivered; so it may tell of more losses."""
        now = self._look()
        first = self._seen[0][1] if self._seen else _NOTHING
        dropped = {cause: count - first.dropped.get(cause, 0) for cause, count in now.dropped.items()}
        dropped = {cause: count for cause, count in dropped.items() if count}
        filtered = now.filtered - first.filtered
        return Ledger(
            hits=delivered + filtered + sum(dropped.values()),
            delivered=delivered,
            aggregated=0,
            filtered=filtered,
            dropped=dropped,
            unmatched_exits=now.unmatched_exits - first.unmatched_exits,
            open_calls=0,
        )


class Flight:
    """The flight recorder: the last seconds, written when something happens, so many times."""

    def __init__(
        self,
        window: Window,
        values: MakeValues,
        until: Until,
        make: Make,
        books: Books,
        open_now: OpenNow,
        output: str,
        keep: int,
        window_ns: int,
        offset: int,
    ) -> None:
        """`offset` leads from CLOCK_MONOTONIC to the epoch."""
        self._window = window
        self._make_values = values
        self._values = values()
        self._until = until
        self._triggers = Triggers(until.triggers)
        self._make = make
        self._books = books
        self._open_now = open_now
        self._output = output
        self._keep = keep
        self._ns = window_ns
        self._offset = offset
        self._asked = Asked()
        self._armed = 0  # when triggers count again, in ns of CLOCK_MONOTONIC
        self._look = 0  # and when to look at open calls again
        self._number = 0
        self._closing: list[tuple[threading.Thread, Kept, Writer]] = []
        self._failure: UndergoError | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._window.size

    @property
    def made(self) -> int:
        """How many recordings there are."""
        return self._number

    @property
    def writing(self) -> str:
        """What is being completed."""
        return ", ".join(kept.path for _, kept, _ in self._closing)

    busy = False  # never is there more to do than what comes
    lost = 0  # nothing waits here in vain

    def take(
        self, batch: Batch, frames: Callable[[], Sequence[OpenFrame]], more: Callable[[], Batch]
    ) -> bool:
        """A batch has come; whether to go on. `frames` and `more` look again, in case something has happened."""
        if self._failure is not None:
            raise self._failure
        self._window.add(batch)
        self._books.keep(batch.at, self._window.since)
        why: Happened | str | None = None
        failing = self._until.failing
        captured = self._values.of(batch.captures, failing) if failing else []
        # all else waits until it is written, which may be never
        self._values.glance(batch.captures)
        self._values.learn()
        if batch.at >= self._armed:
            why = self._triggers.seen(batch.records, captured)
            why = why or self._too_long(batch.at, frames)
        if self._asked.take():
            why = why or "SIGUSR1"
        if why is None:
            return True
        open_now = frames()
        self._window.add(more())  # calls that ended while we looked are in here
        self._write(open_now, why, time.monotonic_ns(), frozenset())
        self._armed = batch.at + self._ns
        return self._number < self._keep

    def _too_long(self, now: int, frames: Callable[[], Sequence[OpenFrame]]) -> Happened | None:
        """A call that is still open and too slow; looked for now and then."""
        if not self._triggers.about_open_calls or now < self._look:
            return None
        found = self._triggers.still(frames(), now)
        self._look = now + max(_LOOK_EVERY, _SHARE * (time.monotonic_ns() - now))
        return found

    def end(self, batch: Batch, frames: Sequence[OpenFrame], at: int, died: frozenset[int]) -> None:
        """Tracing has ended at `at`, and `batch` was the last."""
        self._window.add(batch)
        if self._until.exit and self._number < self._keep:
            self._write(frames, None, at, died)

    def ledger(self, row: Ledger) -> Ledger:
        """That of the session."""
        return row

    def close(self, row: Ledger, ended_ns: int) -> None:
        """What is being written is waited for in `finished`."""

    def finished(self, *, wait: bool = False) -> list[Kept]:
        """Recordings that were completed since. Raises RecordingError if one could not be."""
        done = []
        while self._closing and (wait or not self._closing[0][0].is_alive()):
            thread, kept, writer = self._closing.pop(0)
            thread.join()
            done.append(replace(kept, size=writer.size))
        if self._failure is not None:
            raise self._failure
        return done

    def _write(
        self, frames: Sequence[OpenFrame], why: Happened | str | None, at: int, died: frozenset[int]
    ) -> None:
        self._number += 1
        path, since = numbered(self._output, self._number), self._window.since
        crowded = self._window.crowded
        writer = self._make(path, since + self._offset)
        recorded, gone = Recorded(), set[int]()
        captures: deque[tuple[Sequence[bytes], Sequence[int]]] = deque()
        for batch in self._window.take():
            writer.append(batch.records)
            ended = batch.ended.tolist()
            captures.append((batch.captures, ended))
            recorded += Recorded(*counts(batch.records))
            gone.update(ended)
        still = [frame for frame in frames if frame.id not in gone]
        captures.append(((), [frame.id for frame in still]))
        records = self._open_now(still, at, died)
        writer.append(records)
        recorded += Recorded(*counts(records))
        ledger = self._books.since(recorded.events)
        kept = Kept(path, recorded, at - since, 0, crowded=crowded, why=why)

        backlog = Backlog(self._make_values())

        def close() -> None:
            try:
                try:
                    while captures or backlog:
                        if not backlog:
                            backlog.add(*captures.popleft())
                        writer.append(records[:0], backlog.lines())
                finally:
                    writer.close(at + self._offset, asdict(ledger))
            except UndergoError as error:
                self._failure = error

        # making sense of captures, and segments, takes longer than the ring has patience
        thread = threading.Thread(target=close, name=path)
        thread.start()
        self._closing.append((thread, kept, writer))


_NOTHING = Ledger(0, 0, 0, 0, {}, 0, 0)
