"""The machine interface keeps its documented form whatever the names hold."""

from __future__ import annotations

import io
import json

import numpy as np

from undergo.events.calls import Call, Latency, Ledger
from undergo.plan.probe_plan import Issue
from undergo.views import jsonlines
from undergo.views.jsonlines import CallLines


def test_session() -> None:
    """The session line has the documented keys in the documented order."""
    target = {"pid": np.int32(7), "exe": "/srv/shop", "go": "go1.24.11", "build_id": "ab"}
    assert (
        '{"v":1,"type":"session","undergo":"0.1.0","kernel":"6.18","targets":[{"pid":7,"exe":"/srv/shop",'
        '"go":"go1.24.11","build_id":"ab"}],"functions":2,"probes":9}\n'
    ) == jsonlines.session("0.1.0", "6.18", [target], 2, 9)


def test_calls() -> None:
    """One line per call; quotes and letters of any language are kept."""
    lines = CallLines(['main."größe"']).batch(
        [Call(5, 0, 7, 70, 17, 0, 0, 1_700_000_000_000_000_000, 42, "panic")] * 2
    )
    assert (
        '{"v":1,"type":"call","id":5,"parent":0,"pid":7,"tid":70,"goid":17,"func":"main.\\"größe\\"","depth":0,'
        '"start_ts_ns":1700000000000000000,"wall_ns":42,"end":"panic"}\n'
    ) * 2 == lines


def test_latency() -> None:
    """The latency line nests the wall times and lists the buckets."""
    row = Latency(7, 1, 3, 1, 0, 60, 10, 30, 20, 29, 30, ((8, 16, 1), (16, 32, 2)))
    assert {
        "v": 1, "type": "latency", "pid": 7, "func": "main.f", "calls": 3, "panics": 1, "open": 0,
        "wall_ns": {"sum": 60, "min": 10, "max": 30, "p50": 20, "p90": 29, "p99": 30},
        "histogram": [[8, 16, 1], [16, 32, 2]],
    } == json.loads(jsonlines.latency(row, "main.f"))  # fmt: skip


def test_issue_and_ledger() -> None:
    """Issues and the ledger have the documented keys."""
    assert '{"v":1,"type":"issue","func":"f","kind":"inlined","message":"m"}\n' == jsonlines.issue(
        Issue("f", "inlined", "m")
    )
    assert (
        '{"v":1,"type":"ledger","hits":10,"delivered":1,"aggregated":2,"filtered":3,"dropped":{"ring full":4},'
        '"unmatched_exits":5,"open_calls":6}\n'
    ) == jsonlines.ledger(Ledger(10, 1, 2, 3, {"ring full": 4}, 5, 6))


def test_invalid_utf8_and_line_breaks_in_names() -> None:
    """A name that is no UTF-8 or holds a line break still gives one line of valid UTF-8 and JSON."""
    name = b"main.\xff\xc3\n\x1b".decode("utf-8", "surrogateescape")
    out = io.BytesIO()
    jsonlines.write_batch(out, CallLines({3: name}).batch([Call(1, 0, 7, 70, 1, 3, 0, 0, 1, "return")]))
    jsonlines.write_batch(out, jsonlines.issue(Issue(name, "inlined", name)))
    first, second = out.getvalue().decode("utf-8").splitlines()
    assert "main.\ufffd\ufffd\n\x1b" == json.loads(first)["func"] == json.loads(second)["message"]
