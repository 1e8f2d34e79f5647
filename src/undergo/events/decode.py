"""From the kernel's records and tables to calls, latencies and the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from undergo.events.calls import Call, CallOpened, End, Latency, Ledger, Split
from undergo.events.records import HAS_GAP, HAS_SPLIT, Kind, split_known
from undergo.kernel.session import OpenFrame

_MOST_EARLY = 10_000
ENDS: tuple[End, ...] = ("return", "panic", "goexit", "died", "open")  # enum call_end
_BUCKET_BITS = 2


def epoch_offset() -> int:
    """ns to add to CLOCK_MONOTONIC to get time since the epoch."""
    return time.time_ns() - time.monotonic_ns()


class CallDecoder:
    """Decodes batches of struct call_record in the order they came."""

    def __init__(self, offset: int, reasons: Sequence[str], waits: np.dtype[np.void]) -> None:
        """`offset` as from `epoch_offset`, `reasons` the names of the wait slots, `waits` struct waits_record."""
        self._offset = offset
        self._reasons = reasons
        self._waits = waits
        self._early: dict[
            int, dict[str, int]
        ] = {}  # by call: wait reasons that its own record has no room for

    def feed(self, records: npt.NDArray[np.void]) -> list[Call | CallOpened]:
        """The calls of a batch."""
        kinds = records["kind"]
        if Kind.CALL_WAITS in kinds:
            self._note(records[kinds == Kind.CALL_WAITS].view(self._waits))
            records = records[kinds != Kind.CALL_WAITS]
        starts = records["start"].astype(np.int64) + self._offset
        columns = [
            records[name].tolist() for name in ("id", "parent", "tgid", "tid", "goid", "func", "depth")
        ]
        kinds, walls, ends = records["kind"].tolist(), records["wall"].tolist(), records["end"].tolist()
        flags, splits = records["flags"].tolist(), self._splits(records)
        return [
            CallOpened(id, parent, pid, tid, goid, func, depth, start)
            if kind == Kind.CALL_OPENED
            else Call(
                id, parent, pid, tid, goid, func, depth, start, wall, ENDS[end], split, bool(flag & HAS_GAP)
            )
            for id, parent, pid, tid, goid, func, depth, start, kind, wall, end, flag, split in zip(
                *columns, starts.tolist(), kinds, walls, ends, flags, splits, strict=True
            )
        ]

    def _note(self, rows: npt.NDArray[np.void]) -> None:
        if len(self._early) > _MOST_EARLY:  # the records they belong to were dropped
            self._early.clear()
        for row in rows:
            count = int(row["count"])
            waits = self._early.setdefault(int(row["id"]), {})
            for slot, ns in zip(row["slots"][:count].tolist(), row["waits"].tolist(), strict=False):
                waits[self._reasons[slot]] = ns

    def _splits(self, records: npt.NDArray[np.void]) -> Iterator[Split | None]:
        split = records["split"]
        bins, waits, slots = split["bins"], split["waits"].tolist(), split["slots"].tolist()
        running = (records["wall"] - bins.sum(axis=1)).tolist()
        known = split_known(records["flags"])
        for index, (has, ours, others) in enumerate(zip(known.tolist(), running, bins.tolist(), strict=True)):
            if not has:
                yield None
                continue
            reasons = {}
            if others[3]:
                names = self._reasons
                reasons = {names[slot]: ns for slot, ns in zip(slots[index], waits[index], strict=True) if ns}
                if self._early:
                    reasons |= self._early.pop(int(records["id"][index]), {})
            yield Split.of((ours, *others), reasons)


def still_open(
    frames: Sequence[OpenFrame], now: int, offset: int, died: frozenset[int], reasons: Sequence[str]
) -> list[Call]:
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
            wall_ns=max(0, now - frame.start),
            end="died" if frame.pid in died else "open",
            split=_split_so_far(frame, now, reasons),
            gap=frame.gap,
        )
        for frame in reversed(frames)
    ]


def _split_so_far(frame: OpenFrame, now: int, reasons: Sequence[str]) -> Split | None:
    spent = _spent_so_far(frame, now)
    if spent is None:
        return None
    bins, slots = spent
    return Split.of(bins, {reasons[slot]: ns for slot, ns in slots})


def _spent_so_far(frame: OpenFrame, now: int) -> tuple[list[int], list[tuple[int, int]]] | None:
    """ns per bin, and the wait slots that have any with their ns; None if that is not known."""
    if frame.gap or not frame.bins:
        return None
    bins, waits = list(frame.bins), list(frame.waits)
    since = max(0, now - max(frame.start, frame.since))
    bins[frame.bin] += since
    if frame.bin == len(bins) - 1:
        waits[frame.slot] += since
    return bins, [(slot, ns) for slot, ns in enumerate(waits) if ns]


def open_records(
    frames: Sequence[OpenFrame],
    now: int,
    died: frozenset[int],
    record: np.dtype[np.void],
    waits: np.dtype[np.void],
) -> npt.NDArray[np.void]:
    """The same calls as `still_open` gives, as records of the ring: what it would have had, had they ended now.

    First each is announced, callers first; `record` is struct call_record and `waits` struct waits_record.
    """
    opened, closed = np.zeros(len(frames), record), []
    for row, frame in zip(opened, frames, strict=True):
        row["kind"], row["end"], row["func"] = Kind.CALL_OPENED, ENDS.index("open"), frame.func
        row["start"], row["id"], row["parent"] = frame.start, frame.id, frame.parent
        row["tgid"], row["goid"], row["depth"] = frame.pid, frame.goid, frame.depth
    for row, frame in zip(opened[::-1].copy(), reversed(frames), strict=True):
        row["kind"], row["wall"] = Kind.CALL_CLOSED, max(0, now - frame.start)
        row["end"] = ENDS.index("died" if frame.pid in died else "open")
        row["flags"] = HAS_GAP if frame.gap else 0
        spent = _spent_so_far(frame, now)
        if spent is not None:
            bins, slots = spent
            row["flags"] = HAS_SPLIT
            row["split"]["bins"] = bins[1:]
            near = len(row["split"]["slots"])
            for place, (slot, ns) in enumerate(slots[:near]):
                row["split"]["slots"][place], row["split"]["waits"][place] = slot, ns
            closed += [far.view(record)[0] for far in _far_waits(frame.id, slots[near:], waits)]
        closed.append(row)
    return np.concatenate([opened, np.array(closed, record)])


def _far_waits(
    call: int, slots: Sequence[tuple[int, int]], waits: np.dtype[np.void]
) -> Iterator[npt.NDArray[np.void]]:
    room = waits["waits"].shape[0]
    for first in range(0, len(slots), room):
        some = slots[first : first + room]
        row = np.zeros(1, waits)
        row["kind"], row["count"], row["id"] = Kind.CALL_WAITS, len(some), call
        row["slots"][0, : len(some)] = [slot for slot, _ in some]
        row["waits"][0, : len(some)] = [ns for _, ns in some]
        yield row


def bucket_bounds(index: int) -> tuple[int, int]:
    """(low inclusive, high exclusive) in ns of a histogram bucket; the inverse of bucket_of in bpf/emit.bpf.h."""
    if index < 1 << _BUCKET_BITS:
        return index, index + 1
    log = (index >> _BUCKET_BITS) + 1
    width = 1 << (log - _BUCKET_BITS)
    low = (1 << log) + (index & 3) * width
    return low, low + width


def latencies(
    tables: Iterable[tuple[int, int, npt.NDArray[np.void]]],
    frames: Sequence[OpenFrame],
    reasons: Sequence[str] | None = None,
) -> Iterator[Latency]:
    """Sums struct latency over CPUs; `frames` are the calls still open.

    `reasons` are the names of the wait slots; None if no clocks were kept.
    """
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
            split=_summed(values["spent"], reasons),
            unsplit=int(values["unsplit"].sum()),
            unsplit_ns=int(values["unsplit_sum"].sum()),
            goexits=ends[ENDS.index("goexit")],
        )
    for (pid, func), still in open_calls.items():
        yield Latency(pid, func, still, 0, still, 0, 0, 0, 0, 0, 0, (), goexits=0)


def is_whole(values: npt.NDArray[np.void], *, split: bool) -> bool:
    """Whether no CPU was adding a call to this row (struct latency per CPU) while it was read.

    Then its parts agree: as many ends as calls in buckets and, if clocks are kept (`split`), all time in some bin.
    """
    whole = values["ends"].sum(axis=1) == values["buckets"].sum(axis=1)
    if split:
        spent = values["spent"]
        whole &= spent["bins"].sum(axis=1) + values["unsplit_sum"] == values["sum"]
        whole &= spent["waits"].sum(axis=1) == spent["bins"][:, -1]
    return bool(whole.all())


def _summed(times: npt.NDArray[np.void], reasons: Sequence[str] | None) -> Split | None:
    if reasons is None:
        return None
    waits = times["waits"].sum(axis=0).tolist()
    named = {reason: ns for reason, ns in zip(reasons, waits, strict=False) if ns}
    return Split.of(times["bins"].sum(axis=0).tolist(), named)


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
