"""The story of one recorded call: what it called, what it waited for, and what they did who ended its waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from undergo.analysis.ask import ask
from undergo.analysis.trees import Recorded, Tree, tree, with_waits
from undergo.recording.reader import Recordings

_OFF: Final = ("waiting", "runnable", "syscall", "preempted")  # states that are told; running needs no words


@dataclass(frozen=True, slots=True)
class Waker:
    """Who ended a wait, and what it did meanwhile, as far as that was recorded. Times in ns."""

    goid: int
    within: tuple[str, ...] | None  # its recorded calls at that moment, outermost first; None: in none
    spent: Mapping[str, int]  # during the wait, by state, or wait reason for waits
    unknown_ns: int  # of the wait, what is not in `spent`


@dataclass(frozen=True, slots=True)
class Stay:
    """A stretch in which the call's goroutine did not run, cut to the call. Times in ns since the epoch."""

    start_ts_ns: int
    ns: int
    state: str
    reason: str  # of a wait
    ended: bool  # within the call
    waker: Waker | None  # None: no goroutine ended it, or it is no wait


@dataclass(frozen=True, slots=True)
class Story:
    """What there is to tell of a call."""

    tree: Tree
    callers: tuple[str, ...]  # functions from the outermost recorded caller to the call itself
    stays: tuple[Stay, ...] | None  # by time; None: states were not recorded
    stays_left_out: int = 0  # the shortest


def story(recordings: Recordings, root: Recorded, most: int) -> Story:
    """Looks up at most so many calls beneath it, and so many stays, the longest of each."""
    told = with_waits(recordings, [tree(recordings, root, most)])[0]
    callers = _callers(recordings, root.call.id)
    if "states" not in recordings.metas[root.recording].kept:
        return Story(told, callers, None)
    stays = _stays(recordings, root)
    kept = sorted(sorted(stays, key=lambda stay: -stay.ns)[:most], key=lambda stay: stay.start)
    wakers = _wakers(recordings, root, kept)
    found = tuple(
        Stay(stay.start, stay.ns, stay.state, stay.reason, stay.ended, wakers.get(at))
        for at, stay in enumerate(kept)
    )
    return Story(told, callers, found, len(stays) - len(kept))


def _callers(recordings: Recordings, id: int) -> tuple[str, ...]:
    names = recordings.labels
    rows = ask(recordings, "select path, parent, func from paths")
    known = {path: (parent, func) for path, parent, func in rows}
    at = ask(recordings, "select path from calls where id = ?", [id])[0][0]
    found: list[str] = []
    while at in known and len(found) <= len(known):
        at, func = known[at]
        found.append(names[func])
    return (*(["?"] if at is not None else []), *reversed(found))


@dataclass(slots=True)
class _Stay:
    start: int
    ns: int
    state: str
    reason: str
    ended: bool
    waker: int | None


def _stays(recordings: Recordings, root: Recorded) -> list[_Stay]:
    call = root.call
    begin, end = call.start_ts_ns, call.start_ts_ns + call.wall_ns
    who = f"recording = {root.recording} and pid = {call.pid} and goid = {call.goid}"
    rows = ask(
        recordings,
        f"select ts_ns, before, reason, waker, spent_ns from states where {who} and ts_ns > {begin}"
        f" and (spent_ns is null or ts_ns - spent_ns < {end}) order by ts_ns",
    )
    found = []
    for at, before, reason, waker, spent in rows:
        start = max(begin, at - spent if spent is not None else begin)
        if before in _OFF and start < end:
            found.append(_Stay(start, min(at, end) - start, before, reason or "", at <= end, waker))
    # What lasted until the recording ended has no row that ends it.
    last = ask(
        recordings,
        f"select ts_ns, after, reason from states where {who} order by ts_ns desc limit 1",
    )
    if last and last[0][0] < end and last[0][1] in _OFF:
        at, after, reason = last[0]
        start = max(at, begin)
        found.append(_Stay(start, end - start, after, reason or "", False, None))
    return found


def _wakers(recordings: Recordings, root: Recorded, stays: Sequence[_Stay]) -> dict[int, Waker]:
    """What those did who ended the waits, by index in `stays`."""
    pid, waits = (
        root.call.pid,
        [(at, stay) for at, stay in enumerate(stays) if stay.state == "waiting" and stay.waker],
    )
    if not waits:
        return {}
    values = ", ".join(f"({at}, {stay.waker}, {stay.start}, {stay.start + stay.ns})" for at, stay in waits)
    meanwhile = f"(values {values}) w(number, goid, since, upto)"
    of = f"x.recording = {root.recording} and x.pid = {pid} and x.goid = w.goid"
    spent: dict[int, dict[str, int]] = {}
    for at, state, reason, ns in ask(
        recordings,
        "select number, before, reason, least(x.ts_ns, w.upto) - greatest(x.ts_ns - x.spent_ns, w.since) as ns"
        f" from states x join {meanwhile} on {of} where x.ts_ns > w.since and x.ts_ns - x.spent_ns < w.upto",
    ):
        what = (reason or state) if state == "waiting" else state
        spent.setdefault(at, {})[what] = spent.get(at, {}).get(what, 0) + ns
    # At the moment of waking it runs, most often: the state it is in then ends only after the wait.
    for at, state, reason, since in ask(
        recordings,
        "select number, arg_max(x.after, x.ts_ns), arg_max(coalesce(x.reason, ''), x.ts_ns), max(x.ts_ns)"
        f" from states x join {meanwhile} on {of} group by number, w.upto having max(x.ts_ns) < w.upto",
    ):
        stay = stays[at]
        what = (reason or state) if state == "waiting" else state
        ns = stay.start + stay.ns - max(since, stay.start)
        spent.setdefault(at, {})[what] = spent.get(at, {}).get(what, 0) + ns
    within: dict[int, list[tuple[int, int]]] = {}
    for at, depth, func in ask(
        recordings,
        f"select number, x.depth, x.func from calls x join {meanwhile} on {of}"
        " where x.start_ns <= w.upto and x.start_ns + x.wall_ns >= w.upto and x.start_ns + x.wall_ns > w.since",
    ):
        within.setdefault(at, []).append((depth, func))
    names = recordings.labels
    found = {}
    for at, stay in waits:
        known = spent.get(at, {})
        calls = tuple(names[func] for _, func in sorted(within.get(at, [])))
        found[at] = Waker(int(stay.waker or 0), calls or None, known, max(stay.ns - sum(known.values()), 0))
    return found
