"""Latencies of recorded calls: exact, told apart by function and, if wanted, by one thing more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from undergo.analysis.ask import ask
from undergo.analysis.queries import BY_FUNCTION, CAPTURED, ORDER, By, Queries
from undergo.analysis.selection import only
from undergo.errors import UsageError
from undergo.events.calls import Latency, Split
from undergo.events.row_values import Rest, RowValue
from undergo.recording.reader import Recordings


@dataclass(frozen=True, slots=True)
class Latencies:
    """Rows in the order asked for; `func` of each is its index here. Of `--by wait`, times are of waits."""

    by: By
    rows: tuple[Latency, ...]
    funcs: tuple[int, ...]  # of each row
    values: tuple[RowValue, ...]  # what each is told apart by, beside its function; empty if by nothing
    labels: tuple[str, ...]  # what each is called
    left_out: int = 0  # rows beyond the limit


def latencies(
    recordings: Recordings,
    by: By = BY_FUNCTION,
    functions: Sequence[int] | None = None,
    sort: str = "sum",
    limit: int | None = None,
    *,
    histograms: bool = False,
    of: range | None = None,
) -> Latencies:
    """Sums up the calls of these functions (None: of all) in the recordings of these numbers (None: in all).

    Raises UndergoError.
    """
    among = "true" if of is None else f"recording between {of.start} and {of.stop - 1}"
    if by.kind in CAPTURED:
        _known(recordings, by)
    source = Queries(by, f"{only('func', functions)} and {among}")
    found = ask(recordings, source.query(ORDER[sort], limit))
    width, several = len(source.keys), len(recordings.paths) > 1
    kept_split = any("split" in meta.kept for meta in recordings.metas) and by.kind != "wait"
    waits = _by_key(recordings, source.waits(), width) if kept_split else {}
    counted = _by_key(recordings, source.histograms(), width) if histograms else {}
    rows, keys = [], [row[:width] for row in found]
    for index, (key, values) in enumerate(zip(keys, found, strict=True)):
        row = _latency(index, values[width:-1], kept_split, dict(waits.get(key, ())))
        if counted:
            row = replace(row, histogram=_buckets(counted.get(key, ())))
        rows.append(row)
    names = recordings.labels
    if by.kind == "callpath":
        called: tuple[RowValue, ...] = _path_labels(recordings, names, [key[1] for key in keys])
    elif by.kind in ("process", "goroutine"):
        where = [f"{recordings.paths[key[1]]}:" if several else "" for key in keys]
        called = tuple(f"{at}{key[-1]}" if at else int(key[-1]) for at, key in zip(where, keys, strict=True))
    elif by.kind == "func":
        called = ()
    else:
        called = tuple(Rest.UNREAD if key[1] is None else str(key[1]) for key in keys)
    return Latencies(
        by,
        tuple(rows),
        tuple(key[0] for key in keys),
        called,
        tuple(
            _label(by, names[key[0]], value)
            for key, value in zip(keys, called or (None,) * len(keys), strict=True)
        ),
        found[0][-1] - len(found) if found else 0,
    )


def _label(by: By, name: str, value: RowValue | None) -> str:
    if value is None:
        return name
    shown = f"<{value.value}>" if isinstance(value, Rest) else str(value)
    match by.kind:
        case "callpath":
            return shown
        case "wait":
            return f"{name}  {shown}"
        case "goroutine":
            return f"{name} goid={shown}"
        case "process":
            return f"{name} pid={shown}"
    return f"{name} {by.name}={shown}"


def _by_key(recordings: Recordings, query: str, width: int) -> dict[tuple[Any, ...], list[tuple[Any, int]]]:
    found: dict[tuple[Any, ...], list[tuple[Any, int]]] = {}
    for row in ask(recordings, query):
        found.setdefault(row[:width], []).append((row[width], int(row[width + 1])))
    return found


def _latency(index: int, values: Sequence[Any], split: bool, waits: dict[str, int]) -> Latency:
    calls, still, panics, total, least, most, quantiles, pid_from, pid_to, *rest = values
    bins, known, unknown_ns = rest[:5], rest[5], rest[6]
    p50, p90, p99 = (round(each) for each in quantiles) if quantiles else (0, 0, 0)
    return Latency(
        pid=pid_from if pid_from == pid_to else None,
        func=index,
        calls=calls + still,
        panics=panics,
        open=still,
        sum_ns=int(total or 0),
        min_ns=least or 0,
        max_ns=most or 0,
        p50_ns=p50,
        p90_ns=p90,
        p99_ns=p99,
        histogram=(),
        split=Split.of([int(ns or 0) for ns in bins], waits) if split and calls else None,
        unsplit=calls - (known or 0) if split else 0,
        unsplit_ns=int(unknown_ns or 0) if split else 0,
    )


def _buckets(counted: Iterable[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    from undergo.events.decode import bucket_bounds  # with it comes all that tracing takes

    return tuple((*bucket_bounds(at), count) for at, count in sorted(counted))


def _path_labels(recordings: Recordings, names: Sequence[str], wanted: Sequence[int]) -> tuple[str, ...]:
    known = {
        path: (parent, func) for path, parent, func in ask(recordings, "select path, parent, func from paths")
    }
    found = []
    for path in wanted:
        parts: list[str] = []
        at: int | None = path
        while at in known and len(parts) <= len(known):
            at, func = known[at]
            parts.append(names[func])
        if at is not None:
            parts.append("?")  # who called was lost
        found.append(" → ".join(reversed(parts)))
    return tuple(found)


def _known(recordings: Recordings, by: By) -> None:
    """Raises UsageError if no call has it."""
    place = CAPTURED[by.kind]
    query = (
        "select name from captures where place = ? and name <> '' group by name order by count(*) desc, name"
    )
    names = [str(name) for (name,) in ask(recordings, query, [place])]
    if by.name not in names:
        hint = (
            f"recorded are: {', '.join(names[:10])}{', ...' if names[10:] else ''}"
            if names
            else "`undergo record --args --results` records what calls are given and give back"
        )
        raise UsageError(
            f"no recorded call has {'an' if place == 'argument' else 'a'} {place} {by.name}", hint
        )
