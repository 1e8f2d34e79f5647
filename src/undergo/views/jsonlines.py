"""The machine interface, version 1: one JSON object a line, as docs/design.md lists them.

Every line is valid UTF-8 and valid JSON whatever names the executable holds: lone surrogates, which stand
for bytes of a name that are no UTF-8, become U+FFFD. Times are integers in ns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from undergo.events.calls import Call, Latency, Ledger, Split
from undergo.events.row_values import Rest, RowValue
from undergo.views.split import BINS, ns_of

if TYPE_CHECKING:  # each command imports those that it has
    from undergo.analysis.changes import Change, Side
    from undergo.analysis.graph import GraphRow
    from undergo.analysis.story import Stay
    from undergo.events.states import Birth, Longest, StateChange, Stays
    from undergo.goexe.function import Source
    from undergo.plan.probe_plan import Issue
    from undergo.views.doctor import Check
    from undergo.views.functions import Listed

VERSION = 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def write_batch(out: BinaryIO, text: str) -> None:
    """Write whole lines and flush them, so that a reader of the pipe never waits for half a batch."""
    out.write(text.encode("utf-8"))
    out.flush()


def session(
    undergo: str, kernel: str, targets: Sequence[Mapping[str, object]], functions: int, probes: int
) -> str:
    """The first line. Each target has "pid" (or null), "exe", "go" and "build_id"."""
    return _line(
        "session",
        undergo=undergo,
        kernel=kernel,
        targets=[dict(target) for target in targets],
        functions=functions,
        probes=probes,
    )


class Members(Protocol):
    """What calls were given and gave back, as members of their lines."""

    def members(self, call: int, func: int) -> Mapping[str, Any]:
        """The members of one call's line."""

    def forget(self, call: int) -> None:
        """The call has been shown."""


class CallLines:
    """Lines of calls; names are encoded once per function."""

    def __init__(self, names: Sequence[str] | Mapping[int, str], values: Members | None = None) -> None:
        """`names` are the functions' names by FunctionPlan.id, `values` their arguments and results."""
        self._names = names
        self._values = values
        self._encoded: dict[int, str] = {}

    def batch(self, calls: Iterable[Call]) -> str:
        """One line per call."""
        encoded = self._encoded
        lines = []
        for c in calls:
            name = encoded.get(c.func)
            if name is None:
                name = encoded[c.func] = _encode(clean(self._names[c.func]))
            lines.append(
                f'{{"v":1,"type":"call","id":{c.id},"parent":{c.parent},"pid":{c.pid},"tid":{c.tid},'
                f'"goid":{c.goid},"func":{name},"depth":{c.depth},"start_ts_ns":{c.start_ts_ns},'
                f'"wall_ns":{c.wall_ns},"end":"{c.end}"{self._split(c)}{self._given(c)}}}\n'
            )
        return "".join(lines)

    def _given(self, c: Call) -> str:
        if self._values is None:
            return ""
        members = self._values.members(c.id, c.func)
        self._values.forget(c.id)
        return "".join(f',"{name}":{_encode(_clean(value))}' for name, value in members.items())

    def _split(self, c: Call) -> str:
        split = c.split
        if split is None:
            return _NO_SPLIT if c.gap else ""
        waits = _encode(split.waits) if split.waits else "{}"
        return (
            f',"running_ns":{split.running_ns},"descheduled_ns":{split.descheduled_ns},'
            f'"syscall_ns":{split.syscall_ns},"runnable_ns":{split.runnable_ns},'
            f'"waiting_ns":{split.waiting_ns},"waits":{waits}'
        )


#: Of a call some of whose transitions were lost.
_NO_SPLIT = "".join(f',"{field.name}":null' for field in fields(Split))


def latency(row: Latency, name: str, by: tuple[str, RowValue] | None = None) -> str:
    """The line of one function's latencies; `by` is what its rows are told apart by, and this one's value.

    It becomes "by": {"path", "value"}, or {"path", "rest"} where the row is of no one value.
    """
    wall = {
        "sum": row.sum_ns,
        "min": row.min_ns,
        "max": row.max_ns,
        "p50": row.p50_ns,
        "p90": row.p90_ns,
        "p99": row.p99_ns,
    }
    split: dict[str, object] = {}
    if row.split is not None:
        split = {field.name: getattr(row.split, field.name) for field in fields(row.split)}
        split |= {"unsplit": row.unsplit, "unsplit_ns": row.unsplit_ns}
    return _line(
        "latency",
        pid=row.pid,
        func=name,
        calls=row.calls,
        panics=row.panics,
        open=row.open,
        **_by(by),
        wall_ns=wall,
        **split,
        histogram=row.histogram,
    )


def _by(by: tuple[str, RowValue] | None) -> dict[str, object]:
    if by is None:
        return {}
    path, value = by
    if isinstance(value, Rest):
        return {"by": {"path": path, "rest": value.value}}
    return {"by": {"path": path, "value": value}}


def birth(row: Birth) -> str:
    """The change of a goroutine's state from dead to runnable."""
    return _line(
        "state",
        **_whose(row),
        **{"from": "dead", "to": "runnable", "reason": None, "waker_goid": None, "spent_ns": None},
        parent_goid=row.parent or None,
        statement=_source(row.statement),
        start=_source(row.start),
    )


def state(row: StateChange) -> str:
    """A change of a goroutine's state."""
    ended = {"lifetime_ns": row.lifetime_ns} if row.after == "dead" else {}
    return _line(
        "state",
        **_whose(row),
        **{"from": row.before, "to": row.after},
        reason=row.reason or None,
        waker_goid=row.waker or None,
        spent_ns=row.spent_ns,
        **ended,
    )


def _whose(row: StateChange | Birth) -> dict[str, int]:
    return {"ts_ns": row.ts_ns, "pid": row.pid, "tid": row.tid, "goid": row.goid}


def _source(place: Source | None) -> dict[str, object] | None:
    return None if place is None else {"func": place.function, "file": place.file, "line": place.line}


def stays(row: Stays, longest: Sequence[Longest]) -> str:
    """All stays in a state ("reason" is null) or in waits of one reason."""
    return _line(
        "state_summary",
        pid=row.pid,
        state=row.state,
        reason=row.reason or None,
        count=row.count,
        total_ns=row.total_ns,
        p50_ns=row.p50_ns,
        p99_ns=row.p99_ns,
        max_ns=row.max_ns,
        longest=[
            {"pid": one.pid, "goid": one.goid, "ns": one.ns, "reason": one.reason or None, "still": one.still}
            for one in longest
        ],
    )


def goroutines(born: int, died: int) -> str:
    """How many goroutines were made and ended."""
    return _line("goroutines", born=born, died=died)


def issue(row: Issue) -> str:
    """The line of a probe that could not be placed, or only with a caveat."""
    return _line("issue", func=row.func, kind=row.kind, message=row.message)


def recording(path: str, calls: int, states: int, births: int, size: int) -> str:
    """A recording that was made; `size` in bytes on disk."""
    return _line("recording", path=path, calls=calls, states=states, births=births, bytes=size)


def ledger(row: Ledger) -> str:
    """The last line: where every hit went."""
    return _line(
        "ledger",
        hits=row.hits,
        delivered=row.delivered,
        aggregated=row.aggregated,
        filtered=row.filtered,
        dropped=row.dropped,
        unmatched_exits=row.unmatched_exits,
        open_calls=row.open_calls,
    )


def path(row: GraphRow) -> str:
    """All calls of a function that came about in one way; "path" begins with the outermost caller."""
    known = bool(row.calls)
    split = {f"{bin}_ns": ns_of(row.split, bin) if row.split else None for bin in BINS}
    return _line(
        "path",
        func=row.names[-1],
        path=row.names,
        calls=row.calls,
        total_ns=row.total_ns if known else None,
        self_ns=row.self_ns,
        **split,
        unsplit_ns=row.unsplit_ns,
        left_out=row.left_out,
    )


def stay(call: Call, row: Stay) -> str:
    """A stretch of a call's time in which its goroutine did not run, and who ended it."""
    by = row.waker
    waker = None if by is None else {"goid": by.goid, "calls": by.within, "spent_ns": by.spent}
    return _line(
        "stay",
        call=call.id,
        ts_ns=row.start_ts_ns,
        ns=row.ns,
        state=row.state,
        reason=row.reason or None,
        ended=row.ended,
        waker=waker,
    )


def change(row: Change) -> str:
    """What changed of one function: figures before and after, and which changes are more than noise.

    "beyond_noise" has true, false, or null where there are too few stretches of time to tell.
    """
    known = {"more": True, "less": True, "same": False, "unknown": None}
    return _line(
        "change",
        func=row.name,
        before=_side(row.before),
        after=_side(row.after),
        recorded=dict(zip(("before", "after"), row.recorded, strict=True)),
        beyond_noise={metric: known[verdict] for metric, verdict in row.verdicts.items()},
    )


def _side(side: Side | None) -> dict[str, object] | None:
    if side is None:
        return None
    bins = {f"{bin}_ns": round(ns) for bin, ns in side.bins.items()} if side.bins else None
    wall = {name: round(getattr(side, name)) for name in ("mean", "p50", "p99")}
    return {"calls": side.calls, "panics": side.panics, "wall_ns": wall, "per_call": bins}


def no_ledger() -> str:
    """The last line where it is not known where every hit went: whoever recorded did not live to say."""
    return _line("ledger", **{field.name: None for field in fields(Ledger)})


def function(row: Listed) -> str:
    """A function as `list` shows it; "traceable" says whether it can be probed, "note" what else there is."""
    where = row.function
    return _line(
        "function",
        func=where.name,
        address=where.entry or None,
        file=where.file,
        line=where.line,
        exits=row.exits,
        traceable=not row.reason,
        note=row.reason or row.note,
    )


def executable(path: str, facts: Mapping[str, Mapping[str, str]]) -> str:
    """An executable as `inspect` shows it: groups of facts."""
    return _line(
        "executable",
        exe=path,
        **{title.partition(" (")[0].replace(" ", "_"): rows for title, rows in facts.items()},
    )


def check(row: Check) -> str:
    """One answer of `doctor`."""
    return _line("check", name=row.name, state=row.state, detail=row.detail, remedy=row.remedy)


def clean(text: str) -> str:
    """`text` as it can be encoded: each lone surrogate replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _line(kind: str, /, **fields: Any) -> str:
    return (
        _encode({"v": VERSION, "type": kind, **{key: _clean(value) for key, value in fields.items()}}) + "\n"
    )


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if hasattr(value, "__index__"):  # numpy's integers as well; bool would not come here
        return value if isinstance(value, bool) else int(value)
    return value
