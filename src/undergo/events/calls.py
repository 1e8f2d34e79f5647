"""Calls, as the rest of undergo sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

End = Literal["return", "panic", "goexit", "died", "open"]


@dataclass(frozen=True, slots=True)
class Split:
    """Where a stretch of wall time went, in ns; the five add up to it, and the waits to `waiting_ns`.

    `waits` maps wait reasons to ns, in no order; what is missing there of `waiting_ns` was lost with a record.
    """

    running_ns: int
    descheduled_ns: int
    syscall_ns: int
    runnable_ns: int
    waiting_ns: int
    waits: Mapping[str, int]

    @classmethod
    def of(cls, bins: Sequence[int], waits: Mapping[str, int]) -> Split:
        """From ns per bin, in the order of enum bin in bpf/undergo.h."""
        running, descheduled, syscall, runnable, waiting = bins
        return cls(running, descheduled, syscall, runnable, waiting, waits)


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A call that is under way; reported only once something happens beneath it. Times in ns since the epoch."""

    id: int
    parent: int  # id of the nearest traced caller in this goroutine, 0 if there is none
    pid: int
    tid: int
    goid: int
    func: int  # FunctionPlan.id
    depth: int  # number of traced callers
    start_ts_ns: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call that ended, or was still open when tracing ended. Times in ns."""

    id: int
    parent: int
    pid: int
    tid: int
    goid: int
    func: int
    depth: int
    start_ts_ns: int
    wall_ns: int
    end: End
    split: Split | None = None  # None: no clock was kept, or a transition was lost
    gap: bool = False  # a transition was lost


@dataclass(frozen=True, slots=True)
class Latency:
    """One function of one process, summed over all its calls. Times in ns."""

    pid: int | None  # None: of a recording, where its calls were of several processes
    func: int
    calls: int  # calls that began while tracing, open ones included
    panics: int
    open: int
    sum_ns: int
    min_ns: int
    max_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    #: (low_ns inclusive, high_ns exclusive, count), empty buckets left out
    histogram: tuple[tuple[int, int, int], ...]
    split: Split | None = None  # of the calls that ended; None: no clocks were kept
    unsplit: int = 0  # calls whose transitions were lost: in the figures above, not in `split`
    unsplit_ns: int = 0  # their wall time
    goexits: int | None = None  # calls that ended by runtime.Goexit; None: not counted apart


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where every hit went: hits = delivered + aggregated + filtered + sum(dropped)."""

    hits: int
    delivered: int
    aggregated: int
    filtered: int
    dropped: dict[str, int]
    unmatched_exits: int
    open_calls: int

    def without(self, calls: int) -> Ledger:
        """The same where this many delivered calls were not shown after all: they count as filtered."""
        return replace(self, delivered=self.delivered - calls, filtered=self.filtered + calls)
