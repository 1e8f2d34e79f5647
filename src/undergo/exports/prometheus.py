"""Latencies as Prometheus reads them: the text format and OpenMetrics, both written by `prometheus-client`.

Counters are as the kernel counts them, so they never fall, and processes that have ended keep theirs. Of each
histogram only every fourth edge is shown, at the powers of two. A kernel's bucket ends before its edge and a
Prometheus bucket includes it, hence `le` is the edge less 1 ns: no call is in a bucket too early or too late.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from undergo.errors import UsageError
from undergo.events.calls import Latency, Ledger
from undergo.events.row_values import FUNCTION, Rest, RowValue
from undergo.views.jsonlines import clean
from undergo.views.split import BINS, ns_of

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

#: Ends of buckets in ns, exclusive: 256 ns to 69 s; each costs a series per function.
EDGES: Final = tuple(1 << power for power in range(8, 37))
_PLAIN: Final = "text/plain; version=0.0.4"
_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"

_Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """All there is to know at one moment."""

    rows: tuple[Latency, ...]
    values: Mapping[int, RowValue]  # by Latency.func: the value of --by that a row is of
    ledger: Ledger  # of what has ended: calls still open are in no figure but `open`


@dataclass(frozen=True, slots=True)
class Naming:
    """What does not change from scrape to scrape. Names by FunctionPlan.id."""

    functions: Mapping[int, str]
    programs: Mapping[int, str]
    causes: tuple[str, ...]  # of drops
    by: bool  # rows are told apart by a value
    version: str
    kernel: str


def require() -> None:
    """Raises UsageError where prometheus-client is not installed."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise UsageError(
            "--prometheus needs the package prometheus-client", "pip install 'undergo[prometheus]'"
        ) from None


def encode(scrape: Scrape, naming: Naming, *, openmetrics: bool) -> tuple[bytes, str]:
    """The answer to a scrape in the text format, or as OpenMetrics; and its content type."""
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector, CollectorRegistry

    class Collected(Collector):
        def collect(self) -> Iterable[Metric]:
            return families(scrape, naming)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    encoder, content_type = choose_encoder(_OPENMETRICS if openmetrics else _PLAIN)
    return encoder(registry), content_type


def families(scrape: Scrape, naming: Naming) -> Iterator[Metric]:
    """Every metric, with all its samples."""
    from prometheus_client.metrics_core import CounterMetricFamily, InfoMetricFamily

    build = {"version": naming.version, "kernel": naming.kernel}
    yield InfoMetricFamily("undergo_build", "The undergo that answers, and the kernel it traces on.", build)
    yield from _of_calls(_by_labels(scrape, naming), _label_names(naming))
    ledger = scrape.ledger
    for name, text, count in (
        ("hits", "Calls that the probes saw begin.", ledger.hits),
        ("delivered", "Calls that were streamed.", ledger.delivered),
        ("aggregated", "Calls that are in the figures.", ledger.aggregated),
        ("filtered", "Calls that were not asked for.", ledger.filtered),
        ("unmatched_exits", "Returns from calls that were not seen to begin.", ledger.unmatched_exits),
    ):
        yield CounterMetricFamily(f"undergo_{name}", text, count)
    dropped = CounterMetricFamily("undergo_dropped", "Calls that were lost, by cause.", labels=["cause"])
    for cause in naming.causes:
        dropped.add_metric([cause], ledger.dropped.get(cause, 0))
    yield dropped


def _label_names(naming: Naming) -> list[str]:
    return ["function", "program", "pid", *(["value", "rest"] if naming.by else [])]


def _by_labels(scrape: Scrape, naming: Naming) -> dict[_Labels, list[Latency]]:
    """Rows by what names them; several where names are the same, as those of a generic function's instances are."""
    found: dict[_Labels, list[Latency]] = {}
    for row in scrape.rows:
        function = row.func & FUNCTION
        labels = [naming.functions[function], naming.programs[function], str(row.pid)]
        if naming.by:
            labels += _value(scrape.values[row.func])
        found.setdefault(tuple(map(clean, labels)), []).append(row)
    return found


def _value(value: RowValue) -> tuple[str, str]:
    if isinstance(value, Rest):
        return "", value.value
    return str(value).lower() if isinstance(value, bool) else str(value), ""


def _of_calls(rows: Mapping[_Labels, list[Latency]], names: list[str]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    walls = HistogramMetricFamily(
        "undergo_call_duration_seconds", "Wall time of the calls that ended.", labels=names
    )
    ends = CounterMetricFamily("undergo_calls", "Calls that ended, by how they did.", labels=[*names, "end"])
    still = GaugeMetricFamily("undergo_open_calls", "Calls that are open.", labels=names)
    states = CounterMetricFamily(
        "undergo_call_time_seconds",
        "Where the time of the calls that ended went; all states and the unsplit time add up to the wall time.",
        labels=[*names, "state"],
    )
    waits = CounterMetricFamily(
        "undergo_call_waits_seconds",
        "What calls waited for; all reasons add up to the state `waiting`.",
        labels=[*names, "reason"],
    )
    unsplit = CounterMetricFamily(
        "undergo_unsplit_calls", "Calls of which it is not known where their time went.", labels=names
    )
    unsplit_time = CounterMetricFamily("undergo_unsplit_seconds", "Their wall time.", labels=names)
    for labels, same in rows.items():
        walls.add_metric(labels, *_histogram(same))
        open_calls, panics = sum(row.open for row in same), sum(row.panics for row in same)
        goexits = sum(row.goexits or 0 for row in same)
        returns = sum(row.calls for row in same) - open_calls - panics - goexits
        for end, count in (("return", returns), ("panic", panics), ("goexit", goexits)):
            ends.add_metric([*labels, end], count)
        still.add_metric(labels, open_calls)
        splits = [row.split for row in same if row.split is not None]
        if not splits:
            continue
        for bin in BINS:
            states.add_metric([*labels, bin], _seconds(sum(ns_of(split, bin) for split in splits)))
        for reason in dict.fromkeys(reason for split in splits for reason in split.waits):
            ns = sum(split.waits.get(reason, 0) for split in splits)
            waits.add_metric([*labels, clean(reason)], _seconds(ns))
        unsplit.add_metric(labels, sum(row.unsplit for row in same))
        unsplit_time.add_metric(labels, _seconds(sum(row.unsplit_ns for row in same)))
    yield from (walls, ends, still, states, waits, unsplit, unsplit_time)


def _histogram(rows: Iterable[Latency]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets, and the sum of all times in s."""
    counts = [0] * (len(EDGES) + 1)
    sum_ns = 0
    for row in rows:
        sum_ns += row.sum_ns
        for low, _, count in row.histogram:
            # up to the first edge above it: no bucket of the kernel goes beyond the next power of two
            counts[bisect_right(EDGES, low)] += count
    total, cumulated = 0, []
    for le, count in zip(_BOUNDS, counts, strict=True):
        total += count
        cumulated.append((le, float(total)))
    return cumulated, _seconds(sum_ns)


def _seconds(ns: int) -> float:
    return ns / 1e9


_BOUNDS: Final = (*(repr(_seconds(edge - 1)) for edge in EDGES), "+Inf")
