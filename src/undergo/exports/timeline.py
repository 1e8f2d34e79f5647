"""Calls in the order in which they began, in chunks of a size that does not grow with the recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from undergo.recording.reader import Recordings

Ints = npt.NDArray[np.int64]
ENDINGS: Final = ("return", "panic", "goexit", "died", "open")
BINS: Final = ("running_ns", "descheduled_ns", "syscall_ns", "runnable_ns", "waiting_ns")
#: Calls beneath as many callers are shown one by one. Perfetto nests 512 slices, and takes the ends of deeper ones for
#: those of their callers; flame graphs and stacks get the longer the deeper they are.
DEEPEST: Final = 500
CHUNK: Final = 100_000  # rows, about
_SAMPLE: Final = 1 << 16
_GOID_BITS: Final = 47
_SYSTEM: Final = 1 << (_GOID_BITS - 1)  # of the runtime's own code: by thread, since all of it has goid 0
_END: Final = (1 << 63) - 1


def numbered(values: Ints) -> tuple[Ints, Ints]:
    """Distinct values, and the number of each value among them. With few of them it is faster than numpy's own."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if least == most:  # of processes there is one, most often
        return values[:1], np.zeros(len(values), np.int64)
    if 0 <= least and most < len(values):  # functions, and names, are counted from 0
        there = np.bincount(values) > 0
        return np.flatnonzero(there), (np.cumsum(there) - 1)[values]
    distinct = np.unique(values)
    return distinct, np.searchsorted(distinct, values)


class Seen:
    """Distinct values of columns, of which few are new in each. Looking them up is faster than numpy's unique."""

    def __init__(self) -> None:
        self.values: Ints = np.empty(0, np.int64)  # sorted

    def new(self, values: Ints) -> Ints:
        """The distinct ones that were in no column before, sorted."""
        found = values
        if len(self.values):
            at = np.searchsorted(self.values, values)
            at[at == len(self.values)] = 0
            found = values[self.values[at] != values]
        if len(found):
            found = np.unique(found)
            self.values = np.union1d(self.values, found)
        return found


class Processes:
    """Numbers processes of all recordings, and goroutines by theirs: a number of less than 2^61 each."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], int] = {}  # (recording, pid)
        self._pairs = Seen()

    def keys(self, recording: Ints, pid: Ints, goid: Ints, tid: Ints) -> Ints:
        """A number per row for its goroutine; threads stand in for the goroutine that has no goid."""
        return self._base(recording, pid) | np.where(goid != 0, goid, tid | _SYSTEM)

    def threads(self, recording: Ints, pid: Ints, tid: Ints) -> Ints:
        """A number per row for its thread, which no goroutine of a goid has."""
        return self._base(recording, pid) | tid | _SYSTEM

    def _base(self, recording: Ints, pid: Ints) -> Ints:
        pairs = recording << 32 | pid
        for pair in self._pairs.new(pairs).tolist():
            self.known[_pair(pair)] = len(self.known)
        numbers = np.array([self.known[_pair(pair)] for pair in self._pairs.values.tolist()], np.int64)
        return numbers[np.searchsorted(self._pairs.values, pairs)] << _GOID_BITS

    def name(self, key: int) -> str:
        """What to call the goroutine of a key."""
        low = key & ((1 << _GOID_BITS) - 1)
        return f"system stack of thread {low ^ _SYSTEM}" if low & _SYSTEM else f"goroutine {low}"

    def process(self, key: int) -> int:
        """The number of a key's process."""
        return key >> _GOID_BITS


def _pair(both: int) -> tuple[int, int]:
    return both >> 32, both & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Calls:
    """Some calls by start, callers first; each array has one item per call. Times in ns since the epoch."""

    recording: Ints
    id: Ints
    parent: Ints
    func: Ints
    path: Ints
    pid: Ints
    tid: Ints
    goid: Ints
    depth: Ints
    start: Ints
    wall: Ints
    ending: Ints  # index in ENDINGS
    bins: Ints  # five columns; -1 where not known
    until: int  # all calls that begin before this, and not in an earlier chunk, are here

    def __len__(self) -> int:
        return len(self.id)


_COLUMNS: Final = ("recording", "id", "parent", "func", "path", "pid", "tid", "goid", "depth")


def calls(recordings: Recordings, chunk: int = CHUNK, deepest: int | None = None) -> Iterator[Calls]:
    """All calls, once each; or those of at most so many callers."""
    endings = f"{choice('ending', ENDINGS)} as ending"
    bins = ", ".join(f"coalesce({name}, -1) as {name}" for name in BINS)
    shown = "calls" if deepest is None else f"(select * from calls where depth <= {deepest})"
    columns = f"{', '.join(_COLUMNS)}, start_ns, wall_ns, {endings}, {bins}"
    for found, until in _chunks(recordings, shown, "start_ns", columns, chunk):
        order = np.argsort(found["start_ns"])
        times = found["start_ns"][order]
        same = np.append(times[1:] == times[:-1], False)
        tied = np.flatnonzero(same | np.append(False, same[:-1]))
        rows = order[tied]
        order[tied] = rows[np.lexsort((found["id"][rows], found["depth"][rows], times[tied]))]
        found = {name: values[order] for name, values in found.items()}
        yield Calls(
            **{name: found[name] for name in _COLUMNS},
            start=found["start_ns"],
            wall=found["wall_ns"],
            ending=found["ending"],
            bins=np.stack([found[name] for name in BINS]).T,
            until=until,
        )


def choice(expression: str, texts: Sequence[str]) -> str:
    """SQL for the index of a text in a list; 0 if it is none of them. Twice as fast as list_position."""
    quoted = (text.replace("'", "''") for text in texts)
    cases = " ".join(f"when '{text}' then {index}" for index, text in enumerate(quoted))
    return f"case {expression} {cases} else 0 end" if cases else "0"


def captured(recordings: Recordings, found: Calls) -> dict[int, list[tuple[str, str]]]:
    """What these calls were given and gave back, by id: such as ("argument.n", "42")."""
    values: dict[int, list[tuple[str, str]]] = {}
    if not len(found) or not any({"args", "results"} & set(meta.kept) for meta in recordings.metas):
        return values
    ids = set(found.id.tolist())
    rows = recordings.connection.execute(
        "select call, place, position, name, text from captures"
        f" where call between {found.id.min()} and {found.id.max()} order by call, place, position"
    )
    while some := rows.fetchmany(10_000):
        for call, place, position, name, text in some:
            if call in ids:
                values.setdefault(call, []).append((f"{place}.{name or position}", text))
    return values


def by_time(
    recordings: Recordings, table: str, columns: str, chunk: int = CHUNK
) -> Iterator[dict[str, Ints]]:
    """The rows of `states` or `births`, by time; `columns` are expressions that are integers."""
    for found, _ in _chunks(recordings, table, "ts_ns", f"ts_ns, {columns}", chunk):
        order = np.argsort(found["ts_ns"], kind="stable")
        yield {name: values[order] for name, values in found.items()}


def _chunks(
    recordings: Recordings, table: str, time: str, columns: str, chunk: int
) -> Iterator[tuple[dict[str, Ints], int]]:
    """Rows by stretches of time with about `chunk` rows each, which a sample tells: no sorting of it all."""
    con = recordings.connection.cursor()  # of its own: it may be used ahead, in another thread
    row = con.execute(f"select count(*) from {table}").fetchone()
    count = row[0] if row else 0
    if not count:
        return
    bounds = [_END]
    if count > chunk:
        sample = f"select {time} as t from {table} using sample reservoir({_SAMPLE} rows) repeatable (1)"
        times = np.sort(con.execute(sample).fetchnumpy()["t"])
        cuts = times[:: max(1, len(times) * chunk // count)][1:]
        bounds = [*dict.fromkeys(cuts.tolist()), _END]
    since = -_END
    for until in bounds:
        query = f"select {columns} from {table} where {time} >= {since} and {time} < {until}"
        found: dict[str, Any] = con.execute(query).fetchnumpy()
        yield {name: np.asarray(values, np.int64) for name, values in found.items()}, until
        since = until


def ahead(chunks: Iterator[Calls]) -> Iterator[Calls]:
    """The same, each made while the one before it is worked on."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, chunks, None)
        while (some := coming.result()) is not None:
            coming = thread.submit(next, chunks, None)
            yield some


@dataclass(frozen=True, slots=True)
class Events:
    """Beginnings of some calls, and ends of these and of earlier ones, in an order in which they nest.

    `order` has numbers of ends (indices of `end_key` and `end_ts`) and, from len(end_ts) on, of beginnings.
    """

    calls: Calls
    key: Ints  # the goroutine of each call
    end_key: Ints
    end_ts: Ints
    order: Ints


def events(chunks: Iterator[Calls], processes: Processes) -> Iterator[Events]:
    """Beginnings and ends by time. At one time and in one goroutine: what ends, innermost first, then what begins.

    Calls that took no time at all begin and end where they belong in the tree.
    """
    late = np.empty((3, 0), np.int64)  # time, goroutine and depth of ends after the last chunk
    for some in chunks:
        key = processes.keys(some.recording, some.pid, some.goid, some.tid)
        pending = np.concatenate([late, [some.start + some.wall, key, some.depth]], axis=1)
        now = pending[0] < some.until
        late, ended = (pending.take(np.flatnonzero(which), axis=1) for which in (~now, now))
        empty = np.flatnonzero(some.wall == 0)
        if len(empty):
            own = np.cumsum(now)[-len(some) :] - 1 if len(some) else empty  # the number of each call's end
            time = np.concatenate([ended[0], some.start])
            order = np.lexsort((_ranks(some, key, ended, empty, own), time))
        else:
            order = _merged(ended[0], some.start)
        yield Events(some, key, ended[1], ended[0], order)
    # the last chunk is without a bound, so nothing is late


def _merged(ends: Ints, starts: Ints) -> Ints:
    """The order of both, as in Events; starts are in theirs, and ends come first at one time."""
    by_time = np.argsort(ends)
    order = np.empty(len(ends) + len(starts), np.int64)
    begins = np.searchsorted(ends[by_time], starts, "right") + np.arange(len(starts))
    order[begins] = np.arange(len(ends), len(order))
    is_end = np.ones(len(order), np.bool_)
    is_end[begins] = False
    order[is_end] = by_time
    return order


def _ranks(some: Calls, key: Ints, ended: Ints, empty: Ints, own: Ints) -> Ints:
    """Ranks of events of one time: ends, beginnings, and where calls took no time what `_tied` says."""
    ends = ended.shape[1]
    ranks = np.concatenate([np.zeros(ends, np.int64), np.ones(len(some), np.int64)])
    times = np.unique(some.start[empty])
    groups: dict[tuple[int, int], tuple[list[_Began], list[tuple[int, int]]]] = {}
    for index in empty.tolist():
        groups.setdefault((int(key[index]), int(some.start[index])), ([], []))
    for index in np.flatnonzero(np.isin(some.start, times)).tolist():
        group = groups.get((int(key[index]), int(some.start[index])))
        if group:
            end = int(own[index]) if not some.wall[index] else None
            began = (int(some.id[index]), int(some.parent[index]), int(some.depth[index]), ends + index, end)
            group[0].append(began)
    instant = set(own[empty].tolist())
    for end in np.flatnonzero(np.isin(ended[0], times)).tolist():
        group = groups.get((int(ended[1][end]), int(ended[0][end])))
        if group and end not in instant:
            group[1].append((int(ended[2][end]), end))
    for begun, endings in groups.values():
        for rank, event in enumerate(_tied(begun, endings), 2):
            ranks[event] = rank
    return ranks


#: id, parent, depth, the number of its beginning, and of its end if it took no time
_Began = tuple[int, int, int, int, int | None]


def _tied(begun: Sequence[_Began], endings: Sequence[tuple[int, int]]) -> list[int]:
    """The events of one goroutine at one time, in order; `endings` are (depth, number) of earlier calls."""
    ids = {row[0] for row in begun}
    below: dict[int, list[_Began]] = {}
    for row in begun:
        below.setdefault(row[1] if row[1] in ids else 0, []).append(row)
    # deeper ones have callers that end now; what takes time ends later, so whatever takes none comes before it
    waiting = sorted(below.pop(0, []), key=lambda row: (-row[2], row[4] is None, row[0]))
    stack = sorted(endings)  # (depth, number) of what is open and ends now
    found = []
    waiting.reverse()
    while waiting:
        id, _, depth, begin, end = waiting.pop()
        while stack and stack[-1][0] >= depth:
            found.append(stack.pop()[1])
        found.append(begin)
        if end is not None:
            stack.append((depth, end))
        waiting += sorted(below.get(id, []), key=lambda row: (row[4] is None, row[0]), reverse=True)
    return found + [number for _, number in reversed(stack)]
