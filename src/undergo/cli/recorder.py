"""What `record` knows of a session, as meta.json says it; and the way of what it reads to the disk."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from undergo import __version__
from undergo.cli.reading import Backlog, Values
from undergo.cli.sources import birth_sites
from undergo.cli.targets import Targets
from undergo.errors import RecordingError
from undergo.events.calls import Ledger
from undergo.events.records import counts
from undergo.events.triggers import Happened
from undergo.kernel.session import OpenFrame, Session
from undergo.plan.probe_plan import ProbePlan
from undergo.plan.wait_slots import WaitSlots
from undergo.recording.meta import ExecutableRow, FunctionRow, Host, Meta, ProcessRow
from undergo.recording.raw import STRUCTS, layout_of
from undergo.recording.window import Batch
from undergo.recording.writer import Writer
from undergo.views.recording import Recorded

_MANY: Final = 1000  # calls whose values wait
#: Makes records of calls that are open: (frames, now in ns of CLOCK_MONOTONIC, pids that died).
OpenNow = Callable[[Sequence[OpenFrame], int, frozenset[int]], npt.NDArray[np.void]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that was made. `why` is None if it ends where tracing did, else what happened."""

    path: str
    recorded: Recorded
    wall_ns: int
    size: int
    gone: int = 0  # segments given up for room
    crowded: bool = False  # the window had no room for all that it was to keep
    why: Happened | str | None = None


class Straight:
    """Everything goes to disk at once."""

    def __init__(self, writer: Writer, open_now: OpenNow, values: Values) -> None:
        self._writer = writer
        self._values = values
        self._backlog = Backlog(values)
        self._open_now = open_now
        self._recorded = Recorded()
        self._full = False
        self._unwritten = 0
        self._kept: list[Kept] = []

    @property
    def made(self) -> int:
        """How many recordings there are."""
        return 1

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._writer.size

    @property
    def writing(self) -> str:
        """What comes to disk later than it came, if that is much."""
        waiting = len(self._backlog)
        return f"{waiting:,} values" if waiting > _MANY else ""

    @property
    def busy(self) -> bool:
        """Whether there is more to do than what comes."""
        return len(self._backlog) > 0

    @property
    def lost(self) -> int:
        """Captures that there was no room for here."""
        return self._backlog.lost

    def take(
        self, batch: Batch, frames: Callable[[], Sequence[OpenFrame]], more: Callable[[], Batch]
    ) -> bool:
        """A batch has come; whether to go on. Raises RecordingError when no more can be written."""
        self._backlog.add(batch.captures, batch.ended.tolist())
        self._write(batch.records, self._backlog.lines())
        self._values.glance(batch.captures)
        self._values.learn()
        return True

    def _write(self, records: npt.NDArray[np.void], lines: bytes = b"") -> None:
        found = Recorded(*counts(records))
        if self._full:
            self._unwritten += found.events
            return
        try:
            self._writer.append(records, lines)
            self._recorded += found
        except RecordingError:
            self._full = True
            self._unwritten += found.events
            raise

    def end(self, batch: Batch, frames: Sequence[OpenFrame], at: int, died: frozenset[int]) -> None:
        """Tracing has ended at `at`, and `batch` was the last. Raises RecordingError."""
        self._backlog.add(batch.captures, [*batch.ended.tolist(), *(frame.id for frame in frames)])
        self._write(batch.records)
        while self.busy and not self._full:
            self._write(batch.records[:0], self._backlog.lines())
        self._write(self._open_now(frames, at, died))

    def ledger(self, row: Ledger) -> Ledger:
        """That of the session, where what came from the kernel and could not be written is dropped."""
        if not self._unwritten:
            return row
        dropped = {**row.dropped, "not written": self._unwritten}
        return replace(row, delivered=row.delivered - self._unwritten, dropped=dropped)

    def close(self, row: Ledger, ended_ns: int) -> None:
        """Brings it to its end; `ended_ns` since the epoch. Raises RecordingError."""
        self._writer.close(ended_ns, asdict(row))
        wall = ended_ns - self._writer.started_ns
        gone = self._writer.dropped_segments
        self._kept = [Kept(self._writer.directory, self._recorded, wall, self._writer.size, gone)]

    def finished(self, *, wait: bool = False) -> list[Kept]:
        """Recordings that were completed since."""
        found, self._kept = self._kept, []
        return found


def meta_of(
    running: Session,
    targets: Targets,
    plans: Sequence[ProbePlan],
    slots: WaitSlots,
    kept: Sequence[str],
    started_ns: int,
    offset_ns: int,
) -> Meta:
    """The meta.json of a recording that begins; times in ns, `started_ns` since the epoch."""
    return Meta(
        undergo=__version__,
        host=Host(platform.node(), platform.release(), platform.machine(), os.cpu_count() or 1),
        started_ns=started_ns,
        offset_ns=offset_ns,
        kept=tuple(kept),
        executables=tuple(
            ExecutableRow(one.display, one.build.go_version, one.build_id, one.build.module)
            for one in targets.executables
        ),
        processes=tuple(ProcessRow(pid, index) for pid, index in targets.pids.items()),
        functions=tuple(
            FunctionRow(planned.function.name, plan.executable, planned.function.file, planned.function.line)
            for plan in plans
            for planned in plan.functions
        ),
        clock_reasons=slots.in_clocks,
        state_reasons=slots.names,
        birth_sites=tuple(map(birth_sites, plans)),
        layouts={name: layout_of(running.dtype(name)) for name in STRUCTS},
        issues=tuple(asdict(issue) for plan in plans for issue in plan.issues),
    )
