"""From the kernel's records and tables to calls, latencies and the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from undergo.events.calls import Call, CallOpened, End, Latency, Ledger
from undergo.kernel.session import OpenFrame

_OPENED = 1  # enum record_kind
ENDS: tuple[End, ...] = ("return", "panic", "goexit", "died", "open")  # enum call_end
_BUCKET_BITS = 2


def epoch_offset() -> int:
    """ns to add to CLOCK_MONOTONIC to get time since the epoch."""
    return time.time_ns() - time.monotonic_ns()


def calls(records: npt.NDArray[np.void], offset: int) -> list[Call | CallOpened]:
    """Decodes a batch of struct call_record, in order; `offset` as from `epoch_offset`."""
    starts = records["start"].astype(np.int64) + offset
    columns = [records[name].tolist() for name in ("id", "parent", "tgid", "tid", "goid", "func", "depth")]
    kinds, walls, ends = records["kind"].tolist(), records["wall"].tolist(), records["end"].tolist()
    return [
        CallOpened(id, parent, pid, tid, goid, func, depth, start)
        if kind == _OPENED
        else Call(id, parent, pid, tid, goid, func, depth, start, wall, ENDS[end])
        for id, parent, pid, tid, goid, func, depth, start, kind, wall, end in zip(
            *columns, starts.tolist(), kinds, walls, ends, strict=True
        )
    ]


def still_open(frames: Sequence[OpenFrame], now: int, offset: int, died: frozenset[int]) -> list[Call]:
    """Calls that were open when tracing ended at `now` (ns, CLOCK_MONOTONIC), callees first."""
    return [
        Call(
            id=frame.id,
            parent=frame.parent,
            pid=frame.pid,
            tid=0,
            goid=frame.goid,
            func=frame.func,
            depth=frame.depth,
            start_ts_ns=frame.start + offset,
            wall_ns=now - frame.start,
            end="died" if frame.pid in died else "open",
        )
        for frame in reversed(frames)
    ]


def bucket_bounds(index: int) -> tuple[int, int]:
    """(low inclusive, high exclusive) in ns of a histogram bucket; the inverse of bucket_of in bpf/emit.bpf.h."""
    if index < 1 << _BUCKET_BITS:
        return index, index + 1
    log = (index >> _BUCKET_BITS) + 1
    width = 1 << (log - _BUCKET_BITS)
    low = (1 << log) + (index & 3) * width
    return low, low + width


def latencies(
    tables: Iterable[tuple[int, int, npt.NDArray[np.void]]], frames: Sequence[OpenFrame]
) -> Iterator[Latency]:
    """Sums struct latency over CPUs; `frames` are the calls still open."""
    open_calls: dict[tuple[int, int], int] = {}
    for frame in frames:
        key = (frame.pid, frame.func)
        open_calls[key] = open_calls.get(key, 0) + 1
    for pid, func, values in tables:
        ends = values["ends"].sum(axis=0).tolist()
        closed, still = sum(ends), open_calls.pop((pid, func), 0)
        smallest, largest = ~int(values["inverse_min"].max()) & (1 << 64) - 1, int(values["max"].max())
        counts = values["buckets"].sum(axis=0)
        histogram = tuple((*bucket_bounds(int(i)), int(counts[i])) for i in np.flatnonzero(counts))
        p50, p90, p99 = (percentile(histogram, q, smallest, largest) for q in (0.5, 0.9, 0.99))
        yield Latency(
            pid=pid,
            func=func,
            calls=closed + still,
            panics=ends[ENDS.index("panic")],
            open=still,
            sum_ns=int(values["sum"].sum()),
            min_ns=smallest,
            max_ns=largest,
            p50_ns=p50,
            p90_ns=p90,
            p99_ns=p99,
            histogram=histogram,
        )
    for (pid, func), still in open_calls.items():
        yield Latency(pid, func, still, 0, still, 0, 0, 0, 0, 0, 0, ())


def percentile(histogram: Sequence[tuple[int, int, int]], share: float, smallest: int, largest: int) -> int:
    """The `share` quantile in ns, interpolated inside its bucket and kept within the exact extremes."""
    total = sum(count for _, _, count in histogram)
    rank, seen = share * total, 0
    for low, high, count in histogram:
        if seen + count >= rank:
            value = low + (high - low) * (rank - seen) / count
            return int(min(max(value, smallest), largest))
        seen += count
    return largest


def ledger(
    tables: Iterable[tuple[int, int, npt.NDArray[np.void]]],
    overflow: npt.NDArray[np.void],
    causes: Sequence[str],
    open_calls: int,
    *,
    aggregated: bool,
) -> Ledger:
    """The session's account. Calls still open count as delivered, or as aggregated where nothing is streamed."""
    values = [*(rows for _, _, rows in tables), overflow]
    total = {name: sum(int(rows[name].sum()) for rows in values) for name in _COUNTERS}
    dropped = np.sum([rows["dropped"].sum(axis=0) for rows in values], axis=0).tolist()
    return Ledger(
        hits=total["hits"],
        delivered=total["delivered"] + (0 if aggregated else open_calls),
        aggregated=total["aggregated"] + (open_calls if aggregated else 0),
        filtered=total["filtered"],
        dropped={cause: count for cause, count in zip(causes, dropped, strict=True) if count},
        unmatched_exits=total["unmatched_exits"],
        open_calls=open_calls,
    )


_COUNTERS = ("hits", "delivered", "aggregated", "filtered", "unmatched_exits")
