"""Records and tables become calls, percentiles and a ledger that adds up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from undergo.events.calls import Call, CallOpened, Split
from undergo.events.decode import CallDecoder, bucket_bounds, latencies, ledger, percentile, still_open
from undergo.kernel.btf import Btf
from undergo.kernel.program import object_bytes
from undergo.kernel.session import OpenFrame

BTF = Btf(object_bytes())
REASONS = ("sleep", "select", "chan send", "chan receive")


def bucket_of(ns: int) -> int:
    """The kernel side's bucket_of (bpf/emit.bpf.h), written from its description."""
    if ns < 4:
        return ns
    log = ns.bit_length() - 1
    return (log - 1) * 4 + (ns >> (log - 2)) % 4


def test_buckets_meet_without_gap_or_overlap() -> None:
    """Each bucket begins where the one before it ends."""
    bounds = [bucket_bounds(index) for index in range(176)]
    assert 0 == bounds[0][0]
    assert [high for _, high in bounds[:-1]] == [low for low, _ in bounds[1:]]


@given(st.integers(0, 2**43))
def test_a_time_lies_within_its_bucket(ns: int) -> None:
    """Bounds invert the kernel's choice of a bucket, and a bucket is at most a quarter of its low end wide."""
    low, high = bucket_bounds(bucket_of(ns))
    assert low <= ns < high
    assert high - low <= max(1, low // 4)


def test_calls_keep_order_and_fields() -> None:
    """An opened call and a closed one, with times moved to the epoch."""
    records = np.zeros(2, BTF.dtype("call_record"))
    records["kind"], records["end"] = [1, 2], [0, 1]
    records["id"], records["parent"], records["func"] = [7, 8], [0, 7], [3, 4]
    records["tgid"], records["tid"], records["goid"], records["depth"] = 10, 11, 12, [0, 1]
    records["start"], records["wall"] = [100, 150], [0, 25]
    expected = [
        CallOpened(7, 0, 10, 11, 12, 3, 0, 1100),
        Call(8, 7, 10, 11, 12, 4, 1, 1150, 25, "panic"),
    ]
    assert expected == CallDecoder(1000, REASONS, BTF.dtype("waits_record")).feed(records)


def closed(id_: int, bins: list[int], waits: dict[int, int]) -> np.void:
    """A CALL_CLOSED of 1,000 ns with a split."""
    record = np.zeros(1, BTF.dtype("call_record"))[0]
    record["kind"], record["flags"], record["id"], record["wall"] = 2, 1, id_, 1000
    record["split"]["bins"] = bins
    record["split"]["slots"], record["split"]["waits"] = list(waits), list(waits.values())
    return record


def test_a_split_adds_up_and_names_its_waits() -> None:
    """Running is the rest; waits that came in a record of their own, even in an earlier batch, are put to it."""
    early = np.zeros(1, BTF.dtype("waits_record"))
    early["kind"], early["count"], early["id"] = 3, 2, 7
    early["slots"][0][:2], early["waits"][0][:2] = [2, 3], [30, 40]
    decoder = CallDecoder(0, REASONS, BTF.dtype("waits_record"))
    assert [] == decoder.feed(early.view(BTF.dtype("call_record")))
    records = np.array([closed(7, [1, 2, 3, 100], {0: 10, 1: 20}), closed(8, [0, 0, 0, 0], {0: 0, 1: 0})])
    found = [call.split for call in decoder.feed(records) if isinstance(call, Call)]
    assert [
        Split(894, 1, 2, 3, 100, {"sleep": 10, "select": 20, "chan send": 30, "chan receive": 40}),
        Split(1000, 0, 0, 0, 0, {}),
    ] == found


def test_a_call_with_a_gap_has_no_split() -> None:
    """Where a transition was lost nothing is said about the bins."""
    record = closed(7, [1, 2, 3, 4], {0: 4, 1: 0})
    record["flags"] = 3
    (call,) = CallDecoder(0, REASONS, BTF.dtype("waits_record")).feed(np.array([record]))
    assert isinstance(call, Call)
    assert (None, True) == (call.split, call.gap)


def test_the_split_of_an_open_call_goes_on_to_the_end() -> None:
    """What the clock did not book yet belongs to the bin it is in."""
    frame = OpenFrame(1, 0, 5, 9, 0, 0, 100, (10, 0, 0, 0, 40), (40, 0, 0, 0), since=150, bin=4, slot=1)
    (call,) = still_open([frame], 1000, 0, frozenset(), REASONS)
    assert Split(10, 0, 0, 0, 890, {"sleep": 40, "select": 850}) == call.split
    assert 900 == call.wall_ns


def test_open_calls_of_a_dead_process_died() -> None:
    """Callees come first, and the end depends on whether the process is still there."""
    frames = [
        OpenFrame(1, 0, 5, 9, 0, 0, 100),
        OpenFrame(2, 1, 5, 9, 1, 1, 200),
        OpenFrame(3, 0, 6, 9, 0, 0, 300),
    ]
    found = still_open(frames, 1000, 0, frozenset({5}), REASONS)
    assert [(3, "open", 700), (2, "died", 800), (1, "died", 900)] == [(c.id, c.end, c.wall_ns) for c in found]


def test_latency_sums_over_processors() -> None:
    """Counts, sums and extremes of all CPUs together; open calls count as calls."""
    values = np.zeros(2, BTF.dtype("latency"))
    for cpu, times in enumerate([[5, 100], [7]]):
        for ns in times:
            values[cpu]["ends"][0] += 1
            values[cpu]["buckets"][bucket_of(ns)] += 1
        values[cpu]["sum"] = sum(times)
        values[cpu]["max"] = max(times)
        values[cpu]["inverse_min"] = 2**64 - 1 - min(times)
        values[cpu]["spent"]["bins"] = [10, 20, 30, 40, 50]
        values[cpu]["spent"]["waits"][1] = 50
    (row,) = latencies([(42, 0, values)], [OpenFrame(1, 0, 42, 9, 0, 0, 1)], REASONS)
    assert Split(20, 40, 60, 80, 100, {"select": 100}) == row.split
    assert (4, 1, 112, 5, 100) == (row.calls, row.open, row.sum_ns, row.min_ns, row.max_ns)
    assert 3 == sum(count for _, _, count in row.histogram)


def test_percentiles_stay_within_the_extremes() -> None:
    """Interpolation never leaves what was measured exactly."""
    histogram = ((64, 80, 10), (1024, 1280, 1))
    assert 70 <= percentile(histogram, 0.5, 70, 1030) <= 80
    assert 1030 == percentile(histogram, 0.999, 70, 1030)


def test_the_ledger_counts_open_calls_once() -> None:
    """Calls still open belong to what was delivered, or to what was aggregated."""
    tally = np.zeros(2, BTF.dtype("tally"))
    tally["hits"], tally["delivered"], tally["filtered"] = [5, 4], [3, 1], [1, 1]
    tally[1]["dropped"][1] = 1
    none = np.zeros(1, BTF.dtype("tally"))
    causes = [
        "ring full",
        "goroutines full",
        "frames full",
        "functions full",
        "g unreadable",
        "g implausible",
    ]
    row = ledger([(1, 0, tally)], none, causes, 2, aggregated=False)
    assert {"goroutines full": 1} == row.dropped
    assert row.hits == row.delivered + row.aggregated + row.filtered + sum(row.dropped.values())
