"""Spans, as a collector gets them: decoded with OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.recordings import PID, START, call, write_recording
from tests.unit.exports.conftest import HOSTILE, state
from undergo.errors import UndergoError, UsageError
from undergo.exports import otlp
from undergo.recording.reader import open_recordings

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def collector(answer: Callable[[int], Answer]) -> Iterator[tuple[str, list[tuple[str, Any, bytes]]]]:
    """One that answers its n-th request; its endpoint, and what it was asked: path, headers, body."""
    asked: list[tuple[str, Any, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers, body))
            status, headers, said = answer(len(asked))
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(said))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fine(_: int) -> Answer:
    return 200, {}, b""


def send(path: Path, endpoint: str, headers: dict[str, str] | None = None) -> list[str]:
    return otlp.export(open_recordings([str(path)]), endpoint, headers or {}, lambda _: None)


def decoded(body: bytes) -> Any:
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    request = service.ExportTraceServiceRequest()
    request.ParseFromString(body)
    size = request.ByteSize()
    request.DiscardUnknownFields()
    assert size == request.ByteSize()
    return request


def attributes(rows: Any) -> dict[str, Any]:
    return {row.key: getattr(row.value, row.value.WhichOneof("value")) for row in rows}


def spans_of(asked: list[tuple[str, Any, bytes]]) -> list[Any]:
    requests = [decoded(body) for _, _, body in asked]
    return [
        span
        for request in requests
        for of in request.resource_spans
        for in_ in of.scope_spans
        for span in in_.spans
    ]


def test_calls_are_spans(recording: Path) -> None:
    """Names, times, callers, bins, values, endings; a link from a goroutine's first call to where it was made."""
    with collector(fine) as (endpoint, asked):
        assert [] == send(recording, endpoint, {"Authorization": "Bearer x"})
    ((path, headers, body),) = asked
    assert "/v1/traces" == path and "application/x-protobuf" == headers["Content-Type"]
    assert "Bearer x" == headers["Authorization"]
    (resource,) = decoded(body).resource_spans
    assert {
        "service.name": "shop",
        "process.pid": PID,
        "host.name": "host",
        "process.executable.path": "/bin/shop",
    } == (attributes(resource.resource.attributes))
    spans = {span.start_time_unix_nano - START: span for span in spans_of(asked)}
    serve, charge, instant, panicked, left = (spans[at] for at in (0, 5, 50, 52, 60))
    assert ["main.serve", "main.(*shop).charge", HOSTILE] == [one.name for one in (serve, charge, panicked)]
    assert [100, 30, 0, 5, 10**9 - 60] == [
        one.end_time_unix_nano - one.start_time_unix_nano for one in (serve, charge, instant, panicked, left)
    ]
    assert serve.trace_id == charge.trace_id == instant.trace_id != panicked.trace_id
    assert b"" == serve.parent_span_id and serve.span_id == charge.parent_span_id == instant.parent_span_id
    assert 5 == len({one.span_id for one in spans.values()})
    assert all(len(one.span_id) == 8 and len(one.trace_id) == 16 for one in spans.values())
    said = attributes(charge.attributes)
    assert {
        "code.function.name": "main.(*shop).charge", "code.file.path": "main.go", "code.line.number": 1,
        "undergo.goid": 1, "thread.id": PID, "undergo.running_ns": 10, "undergo.waiting_ns": 20,
        "undergo.descheduled_ns": 0, "undergo.syscall_ns": 0, "undergo.runnable_ns": 0,
        "undergo.argument.o": '"tea"', "undergo.result.0": "42",
    } == said  # fmt: skip
    assert 2 == panicked.status.code and "panic" == attributes(panicked.attributes)["undergo.ending"]
    assert "open" == attributes(left.attributes)["undergo.ending"] and 0 == left.status.code
    assert "undergo.running_ns" not in attributes(panicked.attributes)
    # goroutine 2 was made at 20, while main.(*shop).charge ran
    ((link, why),) = [(one, attributes(one.attributes)) for one in panicked.links]
    assert (charge.trace_id, charge.span_id) == (link.trace_id, link.span_id)
    assert {"undergo.link": "started by"} == why


def test_who_ended_a_wait_is_a_link(tmp_path: Path) -> None:
    """To the innermost call of the waker; from the innermost call that waited."""
    calls = [
        call(2, 0, 1, 10, 20, goid=1),
        call(4, 0, 1, 6, 30, parent=3, depth=1, goid=2),
        call(3, 0, 1, 5, 50, goid=2),
    ]
    states = [state(15, 2, "waiting", "runnable", 5, "select", waker=1)]
    path = write_recording(
        tmp_path / "r", ["main.a"], [{"calls": calls, "states": states}], kept=("calls", "states")
    )
    with collector(fine) as (endpoint, asked):
        send(path, endpoint)
    spans = {span.start_time_unix_nano - START: span for span in spans_of(asked)}
    assert [spans[10].span_id] == [link.span_id for link in spans[6].links]
    assert [] == list(spans[5].links) == list(spans[10].links)


def test_the_same_recording_gives_the_same_spans(recording: Path) -> None:
    with collector(fine) as (endpoint, asked):
        send(recording, endpoint)
        send(recording, endpoint)
    assert asked[0][2] == asked[1][2]


def test_a_busy_collector_is_asked_again(recording: Path) -> None:
    """As it says when; nothing is sent twice that it took."""
    answers: list[Answer] = [
        (429, {"Retry-After": "0"}, b""),
        (503, {"Retry-After": "0"}, b""),
        (200, {}, b""),
    ]
    with collector(lambda n: answers[n - 1]) as (endpoint, asked):
        assert [] == send(recording, endpoint)
    assert 3 == len(asked) and 1 == len({body for _, _, body in asked})


def test_a_collector_that_stays_busy_is_left(recording: Path) -> None:
    with (
        collector(lambda _: (503, {"Retry-After": "0"}, b"")) as (endpoint, asked),
        pytest.raises(UndergoError, match="503 Service Unavailable, 6 times"),
    ):
        send(recording, endpoint)
    assert 6 == len(asked)


def test_a_refusal_is_one_line(recording: Path) -> None:
    with (
        collector(lambda _: (400, {}, b"bad\x1b[31m\nspans")) as (endpoint, asked),
        pytest.raises(UndergoError) as caught,
    ):
        send(recording, endpoint)
    assert caught.value.message.endswith("refused spans: 400 Bad Request bad [31m spans")
    assert 1 == len(asked)


def test_what_was_rejected_is_told(recording: Path) -> None:
    """ExportTracePartialSuccess: 2 rejected, "too old"."""
    partial = b"\x0a\x0b\x08\x02\x12\x07too old"
    with collector(lambda _: (200, {}, partial)) as (endpoint, _):
        assert ["the collector rejected 2 of 5 spans: too old"] == send(recording, endpoint)


def test_nobody_there(recording: Path) -> None:
    """A port on which nobody listens: at once, in one line."""
    with collector(fine) as (endpoint, _):
        pass
    with pytest.raises(UndergoError, match=r"no collector answers at .*: connection refused"):
        send(recording, endpoint)


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x", "http://", "http://x:y", "http://x:99999"])
def test_endpoints_that_are_none(recording: Path, endpoint: str) -> None:
    with pytest.raises(UsageError, match="is no endpoint"):
        send(recording, endpoint)


def test_an_empty_recording_sends_nothing(empty: Path) -> None:
    with collector(fine) as (endpoint, asked):
        assert [] == send(empty, endpoint)
    assert [] == asked
