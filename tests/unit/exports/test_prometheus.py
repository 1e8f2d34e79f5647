"""What Prometheus is given: read back by the parsers of its own client, it is the latencies' figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from undergo.events.calls import Latency, Ledger, Split
from undergo.events.decode import bucket_bounds
from undergo.events.row_values import Rest, RowValue
from undergo.exports.prometheus import EDGES, Naming, Scrape, encode

CAUSES = ("ring full", "functions full")
LEDGER = Ledger(120, 3, 100, 10, {"functions full": 7}, 2, 0)
SPLIT = Split(100, 200, 300, 400, 6_000, {"sleep": 5_000, "chan receive": 1_000})
ROW = Latency(
    pid=7,
    func=0,
    calls=12,
    panics=2,
    open=3,
    sum_ns=7_500,
    min_ns=200,
    max_ns=3_000,
    p50_ns=1,
    p90_ns=1,
    p99_ns=1,
    histogram=((192, 224, 1), (256, 320, 2), (896, 1024, 3), (1024, 1280, 2), (2560, 3072, 1)),
    split=SPLIT,
    unsplit=1,
    unsplit_ns=500,
    goexits=1,
)
#: Of 0 to 2**44 ns, as the kernel has them.
BUCKETS = [bucket_bounds(index) for index in range(176)]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def naming(functions: Mapping[int, str] | None = None, by: bool = False) -> Naming:
    names = functions or {0: "main.handle"}
    return Naming(names, dict.fromkeys(names, "shop"), CAUSES, by, "1.2.3", "6.1")


def scrape(*rows: Latency, values: Mapping[int, RowValue] | None = None) -> Scrape:
    return Scrape(rows, values or {}, LEDGER)


def read(one: Scrape, names: Naming, *, openmetrics: bool = False) -> Samples:
    """All samples, each of which must be there once."""
    body, content_type = encode(one, names, openmetrics=openmetrics)
    assert content_type.startswith("application/openmetrics-text" if openmetrics else "text/plain")
    found: Samples = {}
    for family in (parse_openmetrics if openmetrics else parse_text)(body.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def get(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"undergo_{name}", frozenset(labels.items())]


WHOSE = {"function": "main.handle", "program": "shop", "pid": "7"}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_figure_of_a_row_is_there(openmetrics: bool) -> None:
    """Both formats have the row's figures, times in seconds."""
    samples = read(scrape(ROW), naming(), openmetrics=openmetrics)
    assert 9 == get(samples, "call_duration_seconds_count", **WHOSE)
    assert 7.5e-6 == get(samples, "call_duration_seconds_sum", **WHOSE)
    ends = {end: get(samples, "calls_total", end=end, **WHOSE) for end in ("return", "panic", "goexit")}
    assert {"return": 6, "panic": 2, "goexit": 1} == ends
    assert 3 == get(samples, "open_calls", **WHOSE)
    for state, ns in (
        ("running", 100),
        ("descheduled", 200),
        ("syscall", 300),
        ("runnable", 400),
        ("waiting", 6_000),
    ):
        assert ns / 1e9 == get(samples, "call_time_seconds_total", state=state, **WHOSE)
    assert 5e-6 == get(samples, "call_waits_seconds_total", reason="sleep", **WHOSE)
    assert 1e-6 == get(samples, "call_waits_seconds_total", reason="chan receive", **WHOSE)
    assert 1 == get(samples, "unsplit_calls_total", **WHOSE)
    assert 5e-7 == get(samples, "unsplit_seconds_total", **WHOSE)
    assert 1 == get(samples, "build_info", version="1.2.3", kernel="6.1")


def test_the_ledger_is_there() -> None:
    """All its figures, and causes of drops that did not happen as well: 0 is known of them."""
    samples = read(scrape(), naming())
    counted = {
        name: get(samples, f"{name}_total")
        for name in ("hits", "delivered", "aggregated", "filtered", "unmatched_exits")
    }
    expected = {"hits": 120, "delivered": 3, "aggregated": 100, "filtered": 10, "unmatched_exits": 2}
    assert expected == counted
    assert 7 == get(samples, "dropped_total", cause="functions full")
    assert 0 == get(samples, "dropped_total", cause="ring full")


def test_without_clocks_nothing_is_said_of_where_time_went() -> None:
    """Not even zeros."""
    samples = read(scrape(replace(ROW, split=None)), naming())
    named = {name for name, _ in samples}
    assert "undergo_call_duration_seconds_sum" in named
    assert not {name for name in named if "time" in name or "waits" in name or "unsplit" in name}


def test_buckets_are_cumulative() -> None:
    """Each holds all calls that took no longer than `le`; by hand from the row."""
    samples = read(scrape(ROW), naming())
    counts = {
        labels_of["le"]: value
        for (name, labels), value in samples.items()
        if name == "undergo_call_duration_seconds_bucket" and (labels_of := dict(labels))
    }
    assert len(EDGES) + 1 == len(counts)
    some = {le: counts[le] for le in ("2.55e-07", "5.11e-07", "1.023e-06", "2.047e-06", "4.095e-06", "+Inf")}
    expected = {
        "2.55e-07": 1,
        "5.11e-07": 3,
        "1.023e-06": 6,
        "2.047e-06": 8,
        "4.095e-06": 9,
        "+Inf": 9,
    }
    assert expected == some


@given(st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 2**40)))
def test_no_call_is_in_a_bucket_it_does_not_belong_to(counts: dict[tuple[int, int], int]) -> None:
    """Of every bucket of the kernel: counted from the first `le` on that is as long as its longest call."""
    row = replace(ROW, histogram=tuple((*bounds, n) for bounds, n in sorted(counts.items())))
    samples = read(scrape(row), naming())
    for edge in EDGES:
        # every bucket is all on one side of the edge, so any of its times tells
        expected = sum(n for (low, high), n in counts.items() if high - 1 <= edge - 1)
        assert expected == sum(n for (low, _), n in counts.items() if low <= edge - 1)
        le = repr((edge - 1) / 1e9)
        assert expected == get(samples, "call_duration_seconds_bucket", le=le, **WHOSE)
    assert sum(counts.values()) == get(samples, "call_duration_seconds_count", **WHOSE)


ODD = 'a"b\\c\nd\te\r\x00\u2028{le="1"} \ud83d\ude00 # HELP'


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("name", [ODD, 'main.F[go.shape.struct { A string "json:\\"a\\"" }]', "é·世界", ""])
def test_odd_names_come_back(name: str, openmetrics: bool) -> None:
    """Whatever is in a name, a parser reads it back, but for what is no text at all."""
    shown = name.replace("\ud83d\ude00", "\ufffd\ufffd")
    samples = read(scrape(ROW), naming({0: name}), openmetrics=openmetrics)
    assert 3 == get(samples, "open_calls", **(WHOSE | {"function": shown}))


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """A name with a byte 0xff is shown with U+FFFD."""
    samples = read(scrape(ROW), naming({0: "main.f\udcff"}))
    assert 3 == get(samples, "open_calls", **(WHOSE | {"function": "main.f\ufffd"}))


def test_functions_of_the_same_name_are_summed_up() -> None:
    """Instances of a generic function have one name, and a series may be there only once."""
    other = replace(ROW, func=1, calls=5, panics=0, open=1, goexits=0, sum_ns=100, histogram=((0, 1, 4),))
    samples = read(scrape(ROW, other), naming({0: "main.handle", 1: "main.handle"}))
    assert 13 == get(samples, "call_duration_seconds_count", **WHOSE)
    assert 7.6e-6 == get(samples, "call_duration_seconds_sum", **WHOSE)
    assert 10 == get(samples, "calls_total", end="return", **WHOSE)
    assert 4 == get(samples, "open_calls", **WHOSE)
    assert 1e-5 == get(samples, "call_waits_seconds_total", reason="sleep", **WHOSE)


def test_values_are_labels() -> None:
    """A text is itself, and rows of no one value have a label of their own."""
    values: dict[int, RowValue] = {
        0: "/cart",
        1 << 24: True,
        2 << 24: -7,
        3 << 24: "other",
        4 << 24: Rest.OTHER,
        5 << 24: "",
        6 << 24: Rest.UNREAD,
    }
    rows = [replace(ROW, func=func, open=number) for number, func in enumerate(values)]
    samples = read(scrape(*rows, values=values), naming(by=True))
    shown = [
        ("/cart", ""),
        ("true", ""),
        ("-7", ""),
        ("other", ""),
        ("", "other"),
        ("", ""),
        ("", "unread"),
    ]
    for number, (value, rest) in enumerate(shown):
        assert number == get(samples, "open_calls", value=value, rest=rest, **WHOSE)


def test_long_texts_that_begin_alike_are_one_series() -> None:
    """The kernel tells them apart by their length, which their shortened texts do not show."""
    samples = read(scrape(ROW, replace(ROW, func=1 << 24), values={0: "a…", 1 << 24: "a…"}), naming(by=True))
    assert 6 == get(samples, "open_calls", value="a…", rest="", **WHOSE)
