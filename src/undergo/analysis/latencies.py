"""Latencies of recorded calls: exact, told apart by function and, if wanted, by one thing more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from undergo.analysis.ask import BIN_COLUMNS, ask
from undergo.analysis.selection import labels, only
from undergo.errors import UsageError
from undergo.events.calls import Latency, Split
from undergo.events.row_values import Rest, RowValue
from undergo.recording.reader import Recordings

#: What rows may be told apart by beside the function; `arg:`, `result:` and `label:` take a name.
BY: Final = ("func", "goroutine", "process", "wait", "callpath")
CAPTURED: Final = {"arg": "argument", "result": "result", "label": "label"}

#: Sort keys -> columns of the query below.
_ORDER: Final = {
    "sum": "sum_ns", "calls": "coalesce(calls, 0) + coalesce(still, 0)", "panics": "panics", "open": "still", "min": "min_ns",
    "p50": "quantiles[1]", "p90": "quantiles[2]", "p99": "quantiles[3]", "max": "max_ns",
    **{name.removesuffix("_ns"): name for name in BIN_COLUMNS},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class By:
    """What rows are told apart by: one of `BY`, or one of `CAPTURED` and the name of what was captured."""

    kind: str = "func"
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class Latencies:
    """Rows in the order asked for; `func` of each is its index here. Of `--by wait`, times are of waits."""

    by: By
    rows: tuple[Latency, ...]
    funcs: tuple[int, ...]  # of each row
    values: tuple[RowValue, ...]  # what each is told apart by, beside its function; empty if by nothing
    labels: tuple[str, ...]  # what each is called
    left_out: int = 0  # rows beyond the limit


def parse_by(text: str) -> By:
    """What follows --by. Raises UsageError."""
    kind, _, name = text.partition(":")
    if text in BY or (kind in CAPTURED and name):
        return By(kind, name)
    known = ", ".join([*BY, "arg:NAME", "result:NAME", "label:NAME"])
    raise UsageError(f"--by {text}: there is no such thing", f"one of: {known}")


def latencies(
    recordings: Recordings,
    by: By = By(),
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
    source = _Source(by, f"{only('func', functions)} and {among}")
    found = ask(recordings, source.query(_ORDER[sort], limit))
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
    names = labels(recordings)
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


class _Source:
    """The queries for one way of telling rows apart."""

    def __init__(self, by: By, where: str) -> None:
        """`where` is a condition on func and recording, which `calls` and `waits` both have."""
        bins = ", ".join(BIN_COLUMNS)
        self.keys: tuple[str, ...] = {
            "process": ("func", "recording", "pid"),
            "goroutine": ("func", "recording", "pid", "goid"),
            "callpath": ("func", "path"),
            "wait": ("func", "reason"),
        }.get(by.kind, ("func", "captured") if by.kind in CAPTURED else ("func",))
        self._named = ""
        self._calls = f"(select * from calls where {where})"
        self._waits = f"(select * from waits where {where})"
        if by.kind == "wait":
            # Of a wait the figures are how long it was; what the rest of its call did is of no interest here.
            nulls = ", ".join(f"null::BIGINT as {name}" for name in BIN_COLUMNS)
            self._calls = (
                f"(select w.func, w.reason, w.ns as wall_ns, w.pid, c.ending, {nulls} from {self._waits} w"
                " left join (select id, ending from calls where ending = 'open') c on c.id = w.call)"
            )
        elif by.kind in CAPTURED:
            self._named = (
                "named as (select call, func, any_value(text) as captured from captures"
                f" where place = '{CAPTURED[by.kind]}' and name = {_quoted(by.name)} group by call, func),"
            )
            # A function that has it in one call has it in every one: where it is missing, it was lost.
            self._calls = (
                f"(select c.func, n.captured, c.wall_ns, c.pid, c.ending, {bins}"
                f" from {self._calls} c left join named n on n.call = c.id"
                " where c.func in (select func from named))"
            )
            self._waits = (
                f"(select w.*, n.captured from {self._waits} w left join named n on n.call = w.call"
                " where w.func in (select func from named))"
            )

    def query(self, order: str, limit: int | None) -> str:
        """Rows of keys, figures and, last, how many rows there are without the limit."""
        keys = ", ".join(self.keys)
        sums = ", ".join(f"sum({name}) as {name}" for name in BIN_COLUMNS)
        same = " and ".join(f"e.{key} is not distinct from o.{key}" for key in self.keys)
        chosen = ", ".join(f"coalesce(e.{key}, o.{key}) as {key}" for key in self.keys)
        return (
            f"with {self._named} ended as (select {keys}, count(*) as calls,"
            " count(*) filter (ending = 'panic') as panics, sum(wall_ns) as sum_ns, min(wall_ns) as min_ns,"
            " max(wall_ns) as max_ns, quantile_cont(wall_ns, [0.5, 0.9, 0.99]) as quantiles, min(pid) as pid_from,"
            f" max(pid) as pid_to, {sums}, count(running_ns) as known, sum(wall_ns) filter (running_ns is null) as"
            f" unknown_ns from {self._calls} where ending is distinct from 'open' group by all),"
            f" still as (select {keys}, count(*) as still, min(pid) as pid_from, max(pid) as pid_to"
            f" from {self._calls} where ending = 'open' group by all)"
            f" select {chosen}, coalesce(calls, 0) as calls, coalesce(still, 0) as still,"
            " coalesce(panics, 0) as panics, sum_ns, min_ns, max_ns, quantiles,"
            " least(e.pid_from, o.pid_from), greatest(e.pid_to, o.pid_to),"
            f" {', '.join(BIN_COLUMNS)}, known, unknown_ns, count(*) over ()"
            f" from ended e full join still o on {same}"
            f" order by {order} desc nulls last, {', '.join(map(str, range(1, len(self.keys) + 1)))}"
            + (f" limit {limit}" if limit is not None else "")
        )

    def waits(self) -> str:
        """Rows of keys, reason and ns: of calls that ended and whose split is known."""
        keys = ", ".join(f"w.{key}" for key in self.keys)
        return (
            f"with {self._named} unknown as (select id from calls where ending = 'open' or running_ns is null)"
            f" select {keys}, w.reason, sum(w.ns) from {self._waits} w anti join unknown u on u.id = w.call"
            " group by all"
        )

    def histograms(self) -> str:
        """Rows of keys, bucket and count, in the buckets of `latency`: four per power of two."""
        keys = ", ".join(self.keys)
        return (
            f"with {self._named} sized as (select {keys}, wall_ns, ending, length(bin(wall_ns)) as bits"
            f" from {self._calls}) select {keys}, case when wall_ns < 4 then wall_ns else"
            " ((bits - 2) * 4 + ((wall_ns >> (bits - 3)) & 3)) end as bucket, count(*) from sized"
            " where ending is distinct from 'open' group by all"
        )


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


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
