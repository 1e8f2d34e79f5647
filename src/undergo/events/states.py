"""States of goroutines, as the runtime sees them: a stream of changes, and stays summed up."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from undergo.events.calls import Latency
from undergo.events.records import SPENT_KNOWN, Kind
from undergo.goexe.function import Source

#: enum go_status in bpf/undergo.h: numbers of runtime/runtime2.go, Go 1.17 to 1.27.
STATUSES: Final = {
    0: "idle", 1: "runnable", 2: "running", 3: "syscall", 4: "waiting", 6: "dead", 8: "copystack", 9: "preempted",
    10: "leaked", 11: "dead",
}  # fmt: skip
NUMBERS: Final = {name: number for number, name in reversed(STATUSES.items())}
SUMMED: Final = ("runnable", "running", "syscall", "waiting")  # the states that a summary has
_WAITS, _BIRTHS = 16, 255  # enum state_row
_LONGEST = 5  # goroutines per state


@dataclass(frozen=True, slots=True)
class StateChange:
    """A goroutine went from one state to another. Times in ns; `ts_ns` since the epoch."""

    ts_ns: int
    pid: int
    tid: int
    goid: int
    before: str
    after: str
    reason: str  # of the wait that begins or ends, else ""
    waker: int  # goid of who ended the wait; 0: a timer, the poller, the collector
    spent_ns: int | None  # in the state before; None: it was in it since before we looked
    lifetime_ns: int | None = None  # at its death, if its birth was seen


@dataclass(frozen=True, slots=True)
class Birth:
    """A goroutine was made: a change from dead to runnable."""

    ts_ns: int
    pid: int
    tid: int
    goid: int
    parent: int  # goid of who made it; 0: the runtime itself
    statement: Source | None  # the go statement
    start: Source | None  # the function it runs


class StateDecoder:
    """Decodes batches of struct state_record."""

    def __init__(
        self,
        offset: int,
        reasons: Sequence[str],
        record: np.dtype[np.void],
        source: Callable[[int, int, int], Source | None],
    ) -> None:
        """`offset` as from `epoch_offset`, `reasons` the names of the wait slots, `record` struct state_record.

        `source` finds a place: (executable, number of its birth probe, distance in bytes from that probe).
        """
        self._offset = offset
        self._reasons = reasons
        self._record = record
        self._source = source

    def feed(self, records: npt.NDArray[np.void]) -> list[StateChange | Birth]:
        """The changes of a batch, by time: the ring has them in the order in which processors got to it."""
        rows = records.view(self._record)
        rows = rows[rows["kind"] != Kind.GOROUTINE_ENDED]
        rows = rows[np.argsort(rows["time"], kind="stable")]
        names = (
            "kind",
            "time",
            "tgid",
            "tid",
            "goid",
            "from",
            "to",
            "other",
            "flags",
        )
        columns = [rows[name].tolist() for name in (*names, "spent", "born", "go_pc", "start_pc", "site")]
        executables, slots = rows["executable"].tolist(), waits_of(rows, len(self._reasons)).tolist()
        found: list[StateChange | Birth] = []
        for (
            kind,
            time,
            pid,
            tid,
            goid,
            before,
            after,
            other,
            flags,
            spent,
            born,
            *pcs,
            exe,
            slot,
        ) in zip(*columns, executables, slots, strict=True):
            ts = time + self._offset
            if kind == Kind.GOROUTINE_BORN:
                statement, start, site = pcs
                # the return address lies after the call that the go statement is
                at = self._source(exe, site, statement - 1), self._source(exe, site, start)
                found.append(Birth(ts, pid, tid, goid, other, *at))
                continue
            found.append(
                StateChange(
                    ts,
                    pid,
                    tid,
                    goid,
                    STATUSES.get(before, str(before)),
                    STATUSES.get(after, str(after)),
                    "" if slot < 0 else self._reasons[slot],
                    other,
                    spent if flags & SPENT_KNOWN else None,
                    time - born if born and STATUSES.get(after) == "dead" else None,
                )
            )
        return found


_WAITING = NUMBERS["waiting"]


def waits_of(rows: npt.NDArray[np.void], slots: int) -> npt.NDArray[np.int64]:
    """Of each change in an array of struct state_record: which of the wait slots begins or ends with it, else -1.

    Of a wait that began before we looked, the reason is not known. The kernel's very last slot, for what it could
    not read, is the last of `slots`.
    """
    begins = rows["to"] == _WAITING
    ends = (rows["from"] == _WAITING) & (rows["flags"] & SPENT_KNOWN != 0)
    slot = np.where(begins, rows["to_slot"], rows["from_slot"]).astype(np.int64)
    return np.where(begins | ends, np.minimum(slot, slots - 1), -1)


def _reason(reasons: Sequence[str], slot: int) -> str:
    """The name of a wait slot; the kernel's very last one, for what it could not read, is the last name."""
    return reasons[min(slot, len(reasons) - 1)]


@dataclass(frozen=True, slots=True)
class Stays:
    """All stays in one state, or in waits of one reason, of one process. Times in ns."""

    pid: int
    state: str
    reason: str  # "" for the state as a whole
    count: int
    total_ns: int
    p50_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, order=True)
class Longest:
    """A goroutine's longest stay in one state."""

    ns: int
    goid: int
    pid: int
    reason: str  # of a wait
    still: bool  # it had not ended


@dataclass
class Longests:
    """Gathers the goroutines longest in each state: those that ended, then those that are left."""

    reasons: Sequence[str]
    record: np.dtype[np.void]
    deaths: int = 0
    _heaps: dict[str, list[Longest]] = field(default_factory=lambda: {state: [] for state in SUMMED})

    def feed(self, records: npt.NDArray[np.void]) -> None:
        """Takes GOROUTINE_ENDED records."""
        rows = records.view(self.record)
        rows = rows[rows["kind"] == Kind.GOROUTINE_ENDED]
        self.deaths += len(rows)
        if not len(rows):
            return
        for column, state in enumerate(SUMMED):
            times = rows["longest"][:, column]
            for index in np.argpartition(times, max(0, len(times) - _LONGEST))[-_LONGEST:]:
                row = rows[index]
                self._offer(
                    state, int(times[index]), int(row["goid"]), int(row["tgid"]), int(row["from_slot"])
                )

    def left(self, states: Iterable[tuple[int, np.void]], now: int) -> None:
        """Takes the goroutines that live, as of `now` (ns, CLOCK_MONOTONIC)."""
        for pid, row in states:
            goid = int(row["goid"])
            for column, state in enumerate(SUMMED):
                self._offer(state, int(row["longest"][column]), goid, pid, int(row["longest_slot"]))
            status = STATUSES.get(int(row["status"]), "")
            if status in SUMMED:
                self._offer(status, now - int(row["since"]), goid, pid, int(row["slot"]), still=True)

    def _offer(self, state: str, ns: int, goid: int, pid: int, slot: int, *, still: bool = False) -> None:
        if ns <= 0:
            return
        reason = _reason(self.reasons, slot) if state == "waiting" else ""
        heapq.heappush(self._heaps[state], Longest(ns, goid, pid, reason, still))
        if len(self._heaps[state]) > 2 * _LONGEST:
            heapq.heappop(self._heaps[state])

    def of(self, state: str) -> list[Longest]:
        """The goroutines with the longest stays in a state, each once, the longest first."""
        best: dict[tuple[int, int], Longest] = {}
        for stay in sorted(self._heaps[state], reverse=True):
            best.setdefault((stay.pid, stay.goid), stay)
        return list(best.values())[:_LONGEST]


def stays(rows: Iterable[Latency], reasons: Sequence[str]) -> tuple[list[Stays], int]:
    """The stays of a summary, states in the order of `SUMMED` and reasons below; and how many births there were."""
    found, births = [], 0
    for row in rows:
        assert row.pid is not None  # the kernel's tables are per process
        if row.func == _BIRTHS:
            births += row.calls
            continue
        if row.func >= _WAITS:
            state, reason = "waiting", _reason(reasons, row.func - _WAITS)
        else:
            state, reason = STATUSES.get(row.func, str(row.func)), ""
        found.append(Stays(row.pid, state, reason, row.calls, row.sum_ns, row.p50_ns, row.p99_ns, row.max_ns))
    order = {state: index for index, state in enumerate(SUMMED)}
    return sorted(found, key=lambda s: (s.pid, order.get(s.state, 9), bool(s.reason), -s.total_ns)), births
