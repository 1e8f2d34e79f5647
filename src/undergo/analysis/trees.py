"""Single recorded calls with all that was called beneath them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from undergo.analysis.ask import BIN_COLUMNS, ask
from undergo.analysis.selection import only
from undergo.events.calls import Call, CallOpened, Split
from undergo.recording.reader import Recordings

_COLUMNS: Final = (
    "recording, id, parent, pid, tid, goid, func, depth, start_ns, wall_ns, ending, " + ", ".join(BIN_COLUMNS)
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call, and which recording it is in."""

    recording: int
    call: Call


@dataclass(frozen=True, slots=True)
class Captured:
    """What one call was given or gave back."""

    place: str  # "argument", "result", "label"
    name: str
    type: str
    value: str  # JSON
    text: str  # as Go would write it


@dataclass(frozen=True, slots=True)
class Tree:
    """A call and the calls beneath it, in the order in which they began."""

    root: Recorded
    beneath: tuple[Call, ...]
    left_out: int  # calls beneath it that are not in `beneath`, the shortest of them


def slowest(recordings: Recordings, count: int, functions: Sequence[int] | None = None) -> list[Recorded]:
    """The calls that took longest, open ones included, the longest first; of nested calls only the outermost.

    Without waits.
    """
    chosen: list[Recorded] = []
    asked, begin = 8 * count, 0
    while True:
        rows = ask(
            recordings,
            f"select {_COLUMNS} from calls where {only('func', functions)}"
            f" order by wall_ns desc, depth, start_ns, id limit {asked} offset {begin}",
        )
        for row in rows:
            one = _recorded(recordings, row)
            if not any(_beneath(one, other) for other in chosen):
                chosen.append(one)
        if len(chosen) >= count or len(rows) < asked:
            return chosen[:count]
        begin, asked = begin + asked, 4 * asked


def _beneath(one: Recorded, other: Recorded) -> bool:
    """Whether the call `one` was made within `other`."""
    inner, outer = one.call, other.call
    return (
        _goroutine(one) == _goroutine(other)
        and inner.depth > outer.depth
        and outer.start_ts_ns <= inner.start_ts_ns < outer.start_ts_ns + outer.wall_ns
    )


def _goroutine(one: Recorded) -> tuple[int, int, int, int]:
    # Code on system stacks shares goroutine 0; there the thread tells callers apart.
    call = one.call
    return one.recording, call.pid, call.goid, 0 if call.goid else call.tid


def call_of(recordings: Recordings, id: int) -> Recorded | None:
    """The call of this id. Without waits."""
    rows = ask(recordings, f"select {_COLUMNS} from calls where id = ?", [id])
    return _recorded(recordings, rows[0]) if rows else None


def tree(recordings: Recordings, root: Recorded, most: int) -> Tree:
    """The call with at most so many of the calls beneath it. Without waits."""
    call = root.call
    thread = "" if call.goid else f" and tid = {call.tid}"
    where = (
        f"recording = {root.recording} and pid = {call.pid} and goid = {call.goid}{thread} and depth > {call.depth}"
        f" and start_ns >= {call.start_ts_ns} and start_ns < {call.start_ts_ns + call.wall_ns} and id <> {call.id}"
    )
    rows = ask(
        recordings,
        f"select {_COLUMNS}, count(*) over () from calls where {where} order by wall_ns desc, depth limit {most}",
    )
    # No call is longer than its callers: what is kept is a whole tree, the longest of it.
    found = [_recorded(recordings, row[:-1]).call for row in rows]
    found.sort(key=lambda call: (call.start_ts_ns, call.depth, call.id))
    return Tree(root, tuple(found), rows[0][-1] - len(rows) if rows else 0)


def with_waits(recordings: Recordings, trees: Iterable[Tree]) -> list[Tree]:
    """The same with what each call waited for, asked for all at once."""
    trees = list(trees)
    ids = [call.id for one in trees for call in (one.root.call, *one.beneath)]
    waits: dict[int, dict[str, int]] = {}
    for id, reason, ns in ask(recordings, f"select call, reason, ns from waits where call in {_list(ids)}"):
        waits.setdefault(id, {})[reason] = ns
    return [
        Tree(
            Recorded(one.root.recording, _waiting(one.root.call, waits)),
            tuple(_waiting(call, waits) for call in one.beneath),
            one.left_out,
        )
        for one in trees
    ]


def captures(recordings: Recordings, trees: Iterable[Tree]) -> dict[int, tuple[Captured, ...]]:
    """What the calls of the trees were given and gave back, in order, by call."""
    ids = [call.id for one in trees for call in (one.root.call, *one.beneath)]
    found: dict[int, list[Captured]] = {}
    for id, *row in ask(
        recordings,
        "select call, place, name, type, value, text from captures"
        f" where call in {_list(ids)} order by call, place, position",
    ):
        found.setdefault(id, []).append(Captured(*row))
    return {id: tuple(rows) for id, rows in found.items()}


def having_captures(recordings: Recordings) -> dict[str, frozenset[int]]:
    """The functions of which arguments or results were recorded, by place."""
    found: dict[str, set[int]] = {}
    for place, func in ask(recordings, "select distinct place, func from captures"):
        found.setdefault(place, set()).add(func)
    return {place: frozenset(functions) for place, functions in found.items()}


def as_records(one: Tree) -> list[Call | CallOpened]:
    """The tree as the kernel would have told it: a call with calls beneath it opens, and every call ends."""
    calls = [one.root.call, *one.beneath]
    records: list[Call | CallOpened] = []
    under_way: list[Call] = []
    for at, call in enumerate(calls):
        while under_way and under_way[-1].depth >= call.depth:
            records.append(under_way.pop())
        if at + 1 < len(calls) and calls[at + 1].depth > call.depth:
            head = (
                call.id,
                call.parent,
                call.pid,
                call.tid,
                call.goid,
                call.func,
                call.depth,
                call.start_ts_ns,
            )
            records.append(CallOpened(*head))
            under_way.append(call)
        else:
            records.append(call)
    return [*records, *reversed(under_way)]


def _recorded(recordings: Recordings, row: Sequence[Any]) -> Recorded:
    recording, id, parent, pid, tid, goid, func, depth, start_ns, wall_ns, ending, *bins = row
    split = None if bins[0] is None else Split.of(bins, {})
    gap = split is None and "split" in recordings.metas[recording].kept
    call = Call(id, parent, pid, tid, goid, func, depth, start_ns, wall_ns, ending, split, gap)
    return Recorded(recording, call)


def _waiting(call: Call, waits: Mapping[int, Mapping[str, int]]) -> Call:
    if call.split is None or call.id not in waits:
        return call
    return replace(call, split=replace(call.split, waits=waits[call.id]))


def _list(ids: Sequence[int]) -> str:
    return f"({', '.join(map(str, ids)) or 'null'})"
