"""Spans for an OpenTelemetry collector, over HTTP in protobuf: root calls are traces, the calls beneath their spans.

https://github.com/open-telemetry/opentelemetry-proto has the messages, opentelemetry.io/docs/specs/otlp the rules.
Ids come from the recording alone: exported twice, it gives the same spans twice, not two of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from undergo import __version__
from undergo.exports import protobuf as pb
from undergo.exports.collector import Collector
from undergo.exports.timeline import BINS, ENDINGS, Processes, calls, captured, events
from undergo.recording.reader import Recordings

_BATCH: Final = 1_000  # spans a request
_MOST_LINKS: Final = 64  # of a span
_ERROR: Final = 2  # StatusCode
_INTERNAL: Final = 1  # SpanKind
_RESOURCE, _SCOPE = 1, 2  # fields of ResourceSpans


@dataclass(slots=True)
class _Open:
    """A span that has begun; times in ns since the epoch."""

    id: int
    root: int  # the id of the call that is the trace
    parent: int  # 0: none
    recording: int
    func: int
    pid: int
    tid: int
    goid: int
    start: int
    wall: int
    ending: int
    bins: list[int]
    captured: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[_Open, str]] = field(default_factory=list)
    more_links: int = 0

    def link(self, to: _Open, why: str) -> None:
        if len(self.links) < _MOST_LINKS:
            self.links.append((to, why))
        else:
            self.more_links += 1


def export(
    recordings: Recordings, endpoint: str, headers: Mapping[str, str], progress: Callable[[int], None]
) -> list[str]:
    """Sends all spans; what the collector had to say of them. Raises UndergoError if it does not take them."""
    messages = _Messages(recordings)
    collector = Collector(endpoint, headers)
    waiting: dict[tuple[int, int], list[bytes]] = {}
    count = 0
    for span in _spans(recordings, progress):
        waiting.setdefault((span.recording, span.pid), []).append(messages.span(span))
        count += 1
        if count % _BATCH == 0:
            collector.send(messages.request(waiting), _BATCH)
            waiting = {}
    if waiting:
        collector.send(messages.request(waiting), count % _BATCH)
    return collector.close()


def _spans(recordings: Recordings, progress: Callable[[int], None]) -> Iterator[_Open]:
    """All spans, when they end."""
    processes = Processes()
    stacks: dict[int, list[_Open]] = {}  # by goroutine
    origins: dict[int, _Open] = {}  # in which call's time a goroutine was made, until its first call
    hops = _Hops(recordings, processes)
    for some in events(calls(recordings), processes):
        found = some.calls
        values = captured(recordings, found)
        columns = [
            getattr(found, name).tolist()
            for name in ("id", "parent", "recording", "func", "pid", "tid", "goid", "start", "wall", "ending")
        ]
        rows = list(zip(*columns, found.bins.tolist(), strict=True))
        keys, end_keys, ends = some.key.tolist(), some.end_key.tolist(), len(some.end_ts)
        times = np.concatenate([some.end_ts, found.start])[some.order]
        happened = zip(times.tolist(), some.order.tolist(), strict=True)
        for event, hop in _merged(happened, hops.until(found.until)):
            if hop:
                made, source, target = hop
                if not stacks.get(source):
                    continue
                if made:
                    origins[target] = stacks[source][-1]
                elif stacks.get(target):
                    stacks[target][-1].link(stacks[source][-1], "woken by")
                continue
            if event < ends:
                open = stacks[end_keys[event]]
                yield open.pop()
                if not open:
                    del stacks[end_keys[event]]
                continue
            id, parent, recording, func, pid, tid, goid, start, wall, ending, bins = rows[event - ends]
            key = keys[event - ends]
            open = stacks.setdefault(key, [])
            # the record of a caller may have been lost, and nobody can be sent to a span that is not there
            caller = open[-1] if open and parent else None
            begun = _Open(
                id,
                caller.root if caller else id,
                caller.id if caller else 0,
                recording,
                func,
                pid,
                tid,
                goid,
                start,
                wall,
                ending,
                bins,
                values.get(id, []),
            )
            if key in origins:
                begun.link(origins.pop(key), "started by")
            open.append(begun)
        progress(len(found))


#: made (or woken), the goroutine that did it, the one it was done to
_Hop = tuple[bool, int, int]


def _merged(
    happened: Iterator[tuple[int, int]], hops: list[tuple[int, _Hop]]
) -> Iterator[tuple[int, _Hop | None]]:
    """Events of calls and hops by time; of one time, hops first: what they begin comes after."""
    at = 0
    for time, event in happened:
        while at < len(hops) and hops[at][0] <= time:
            yield -1, hops[at][1]
            at += 1
        yield event, None
    for _, hop in hops[at:]:
        yield -1, hop


class _Hops:
    """From one goroutine to another: births, and ends of waits."""

    def __init__(self, recordings: Recordings, processes: Processes) -> None:
        self._con = recordings.connection
        self._processes = processes
        self._kept = any("states" in meta.kept for meta in recordings.metas)
        self._since = 0

    def until(self, time: int) -> list[tuple[int, _Hop]]:
        """Those before a time that were not asked for yet."""
        if not self._kept:
            return []
        bounds = f"ts_ns >= {self._since} and ts_ns < {time}"
        self._since = time
        found = self._con.execute(
            "select ts_ns, recording, pid, tid, goid, parent as other, true as made from births"
            f" where parent > 0 and {bounds} union all"
            " select ts_ns, recording, pid, tid, goid, waker as other, false as made from states"
            f" where waker > 0 and before = 'waiting' and {bounds} order by ts_ns"
        ).fetchnumpy()
        rows = {name: np.asarray(values, np.int64) for name, values in found.items()}
        of = (rows["recording"], rows["pid"])
        sources = self._processes.keys(*of, rows["other"], rows["tid"]).tolist()
        targets = self._processes.keys(*of, rows["goid"], rows["tid"]).tolist()
        made = (rows["made"] > 0).tolist()
        return list(zip(rows["ts_ns"].tolist(), zip(made, sources, targets, strict=True), strict=True))


class _Messages:
    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._salts = [
            int.from_bytes(
                hashlib.blake2b(f"{meta.host.name} {meta.started_ns}".encode(), digest_size=8).digest(),
                "little",
            )
            for meta in recordings.metas
        ]
        rows = recordings.connection.execute(
            "select name, file, line from functions order by func"
        ).fetchall()
        self._functions = [
            pb.text(5, name)
            + pb.number(6, _INTERNAL)
            + _text("code.function.name", name)
            + (_text("code.file.path", file) if file else b"")
            + (_int("code.line.number", line) if line else b"")
            for name, file, line in rows
        ]
        self._resources: dict[tuple[int, int], bytes] = {}

    def request(self, spans: Mapping[tuple[int, int], list[bytes]]) -> bytes:
        """ExportTraceServiceRequest."""
        scope = pb.data(1, pb.text(1, "undergo") + pb.text(2, __version__))
        return b"".join(
            pb.data(1, self._resource(process) + pb.data(_SCOPE, scope + b"".join(some)))
            for process, some in spans.items()
        )

    def _resource(self, process: tuple[int, int]) -> bytes:
        known = self._resources.get(process)
        if known is None:
            recording, pid = process
            meta = self._recordings.metas[recording]
            paths = [meta.executables[row.executable].path for row in meta.processes if row.pid == pid]
            path = paths[0] if paths else meta.executables[0].path if len(meta.executables) == 1 else ""
            path = path.partition(" (")[0]
            fields = _text("service.name", path.rpartition("/")[2] or "unknown_service", 1)
            fields += _int("process.pid", pid, 1) + _text("host.name", meta.host.name, 1)
            if path:
                fields += _text("process.executable.path", path, 1)
            known = self._resources[process] = pb.data(_RESOURCE, fields)
        return known

    def span(self, span: _Open) -> bytes:
        """A span, as a field of ScopeSpans."""
        fields = [
            self._ids(span),
            pb.data(4, self._span_id(span.recording, span.parent)) if span.parent else b"",
            pb.fixed64(7, span.start),
            pb.fixed64(8, span.start + span.wall),
            self._functions[span.func],
            _int("undergo.goid", span.goid),
            _int("thread.id", span.tid) if span.tid else b"",
        ]
        if span.bins[0] >= 0:
            fields += [_int(f"undergo.{name}", ns) for name, ns in zip(BINS, span.bins, strict=True)]
        fields += [_text(f"undergo.{name}", text) for name, text in span.captured]
        if span.ending:
            fields.append(_text("undergo.ending", ENDINGS[span.ending]))
        for other, why in span.links:
            fields.append(pb.data(13, self._ids(other) + _text("undergo.link", why, 4)))
        if span.more_links:
            fields.append(pb.number(14, span.more_links))
        if ENDINGS[span.ending] == "panic":
            fields.append(pb.data(15, pb.text(2, "panic") + pb.number(3, _ERROR)))
        return pb.data(2, b"".join(fields))

    def _ids(self, span: _Open) -> bytes:
        trace = self._salts[span.recording].to_bytes(8, "little") + span.root.to_bytes(8, "little")
        return pb.data(1, trace) + pb.data(2, self._span_id(span.recording, span.id))

    def _span_id(self, recording: int, id: int) -> bytes:
        return (self._salts[recording] ^ id).to_bytes(8, "little")


def _text(key: str, value: str, field: int = 9) -> bytes:
    return pb.data(field, pb.text(1, key) + pb.data(2, pb.text(1, value)))


def _int(key: str, value: int, field: int = 9) -> bytes:
    return pb.data(field, pb.text(1, key) + pb.data(2, pb.number(3, value)))
