"""The queries for latencies: plain SQL, which other engines that read Parquet answer alike.

They stay within what DuckDB and Spark have in common, but for the name of exact quantiles (`QUANTILES`, and Spark's
percentile) and for the order by one of them, since Spark's arrays begin at 0. tests/unit/analysis/test_spark.py holds
them to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from undergo.analysis.ask import BIN_COLUMNS
from undergo.errors import UsageError

#: Exact quantiles in DuckDB's words.
QUANTILES: Final = "quantile_cont(wall_ns, [0.5, 0.9, 0.99])"
#: What rows may be told apart by beside the function; `arg:`, `result:` and `label:` take a name.
BY: Final = ("func", "goroutine", "process", "wait", "callpath")
CAPTURED: Final = {"arg": "argument", "result": "result", "label": "label"}

#: Sort keys -> columns of the query below.
ORDER: Final = {
    "sum": "sum_ns", "calls": "coalesce(calls, 0) + coalesce(still, 0)", "panics": "panics", "open": "still",
    "min": "min_ns", "p50": "quantiles[1]", "p90": "quantiles[2]", "p99": "quantiles[3]", "max": "max_ns",
    **{name.removesuffix("_ns"): name for name in BIN_COLUMNS},
}  # fmt: skip

#: All calls of each path: count, wall time, bins, and the wall time of those without a split.
BY_PATH: Final = (
    f"select path, func, count(*), sum(wall_ns), {', '.join(f'sum({name})' for name in BIN_COLUMNS)},"
    " sum(wall_ns) filter (where running_ns is null) from calls group by path, func"
)


@dataclass(frozen=True, slots=True)
class By:
    """What rows are told apart by: one of `BY`, or one of `CAPTURED` and the name of what was captured."""

    kind: str = "func"
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


BY_FUNCTION: Final = By()


def parse_by(text: str) -> By:
    """What follows --by. Raises UsageError."""
    kind, _, name = text.partition(":")
    if text in BY or (kind in CAPTURED and name):
        return By(kind, name)
    known = ", ".join([*BY, "arg:NAME", "result:NAME", "label:NAME"])
    raise UsageError(f"--by {text}: there is no such thing", f"one of: {known}")


class Queries:
    """The queries for one way of telling rows apart."""

    def __init__(self, by: By, where: str, quantiles: str = QUANTILES) -> None:
        """`where` is a condition on func and recording, which `calls` and `waits` both have."""
        self._quantiles = quantiles
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
            nulls = ", ".join(f"cast(null as BIGINT) as {name}" for name in BIN_COLUMNS)
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
            " count(*) filter (where ending = 'panic') as panics, sum(wall_ns) as sum_ns, min(wall_ns) as min_ns,"
            f" max(wall_ns) as max_ns, {self._quantiles} as quantiles, min(pid) as pid_from,"
            f" max(pid) as pid_to, {sums}, count(running_ns) as known,"
            f" sum(wall_ns) filter (where running_ns is null) as unknown_ns"
            f" from {self._calls} where ending is distinct from 'open' group by all),"
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
            f" select {keys}, w.reason, sum(w.ns) from {self._waits} w"
            # not NOT EXISTS: DuckDB answers that in five times the time and twice the memory
            " left join unknown u on u.id = w.call where u.id is null group by all"
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


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
