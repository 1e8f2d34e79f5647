"""Perfetto's native format, for ui.perfetto.dev: a track per goroutine, with its states below it.

https://perfetto.dev/docs/reference/trace-packet-proto has the messages. Times are ns since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

import numpy as np

from undergo.exports import protobuf as pb
from undergo.exports.timeline import (
    BINS,
    DEEPEST,
    ENDINGS,
    Events,
    Ints,
    Processes,
    Seen,
    ahead,
    by_time,
    calls,
    captured,
    choice,
    events,
    numbered,
)
from undergo.recording.reader import Recordings

_SEQUENCE: Final = pb.number(10, 1)
_CLEARED, _NEEDS_STATE = pb.number(13, 1), pb.number(13, 2)  # of interned names
_BEGIN, _END, _INSTANT = pb.number(9, 1), pb.number(9, 2), pb.number(9, 3)
_BOOTTIME, _REALTIME = 6, 1
_NAMES, _ANNOTATIONS, _STRINGS = 2, 3, 29  # fields of InternedData
_TIMESTAMP, _EVENT, _INTERNED, _TRACK, _SNAPSHOT = 8, 11, 12, 60, 6  # of TracePacket
_TRACK_UUID, _NAME, _FLOWS, _ANNOTATION = 11, 10, 47, 4  # of TrackEvent
_CHRONOLOGICAL = 2
#: Kinds of tracks: the last two bits of their ids.
_GOROUTINE, _STATES, _THREAD, _PROCESS = range(4)

Progress = Callable[[int], None]


def export(recordings: Recordings, out: BinaryIO, notes: Sequence[str], progress: Progress) -> None:
    """Writes the trace. `progress` is told of rows done."""
    _Trace(recordings, out, progress).write(notes)


class _Trace:
    def __init__(self, recordings: Recordings, out: BinaryIO, progress: Progress) -> None:
        self.recordings = recordings
        self.out = out
        self.progress = progress
        self.processes = Processes()
        self.tracks: set[int] = set()  # that were described
        self.iids: dict[int, dict[Any, int]] = {_NAMES: {}, _ANNOTATIONS: {}, _STRINGS: {}}
        self.goroutines = Seen()  # that have calls
        self.functions = np.zeros(len(recordings.names), np.int64)  # the interned name of each; 0: none yet
        self.interned: list[bytes] = []  # not written yet
        self.descriptors: list[bytes] = []  # the same
        self.pids: dict[int, tuple[int, int]] = {}  # by number of the process: (recording, pid)

    def write(self, notes: Sequence[str]) -> None:
        first = min((meta.started_ns for meta in self.recordings.metas), default=0)
        clocks = (pb.data(1, pb.number(1, clock) + pb.number(2, first)) for clock in (_BOOTTIME, _REALTIME))
        # Both clocks are the epoch's: times are those of the recording, and the UI can show the date.
        self.out.write(_packet(_SEQUENCE + _CLEARED + pb.data(_SNAPSHOT, b"".join(clocks))))
        self._about(first, notes)
        if any("states" in meta.kept for meta in self.recordings.metas):
            self._births()
            self._states()
        for some in events(ahead(calls(self.recordings, deepest=DEEPEST)), self.processes):
            self._calls(some)
            self.progress(len(some.calls))
        self._flush(b"")

    def _about(self, first: int, notes: Sequence[str]) -> None:
        """What there is to know of the recording, as instants of a track of their own."""
        if not notes:
            return
        self.descriptors.append(_track(pb.number(1, 1) + pb.text(2, "undergo: about this recording")))
        for note in notes:
            event = _INSTANT + pb.number(_TRACK_UUID, 1) + pb.text(23, note)
            self.descriptors.append(
                _packet(_SEQUENCE + pb.number(_TIMESTAMP, first) + pb.data(_EVENT, event))
            )

    # names and tracks

    def _iid(self, kind: int, key: Any, text: Callable[[], str]) -> int:
        known = self.iids[kind]
        found = known.get(key)
        if found is None:
            found = known[key] = len(known) + 1
            self.interned.append(pb.data(kind, pb.number(1, found) + pb.text(2, text())))
        return found

    def _names(self, keys: Ints, text: Callable[[int], str], prefix: str) -> Ints:
        """The interned name of each number."""
        distinct, inverse = numbered(keys)
        iids = [
            self._iid(_NAMES, (prefix, key), lambda key=key: text(key))  # type: ignore[misc]
            for key in distinct.tolist()
        ]
        return np.array(iids, np.int64)[inverse]

    def _described(self, keys: Ints, kind: int, names: Callable[[int], str]) -> Ints:
        """The id of each goroutine's or thread's track; describes what is new."""
        ids = keys << 2 | kind
        for key in np.unique(keys).tolist():
            self._describe(key, kind, names)
        return ids

    def _describe(self, key: int, kind: int, names: Callable[[int], str]) -> int:
        id = key << 2 | kind
        if id in self.tracks:
            return id
        self.tracks.add(id)
        process = self.processes.process(key)
        parent = self._process(process)
        if kind == _STATES:
            parent = self._describe(key, _GOROUTINE, self.processes.name)
        fields = pb.number(1, id)
        if kind == _THREAD:
            thread = pb.number(1, self.pids[process][1]) + pb.number(2, int(names(key)))
            self.descriptors.append(_track(fields + pb.data(4, thread)))
        else:
            self.descriptors.append(_track(fields + pb.number(5, parent) + pb.text(2, names(key))))
        return id

    def _process(self, process: int) -> int:
        id = (process << 47) << 2 | _PROCESS
        if id not in self.tracks:
            self.tracks.add(id)
            self.pids = {number: pair for pair, number in self.processes.known.items()}
            recording, pid = self.pids[process]
            meta = self.recordings.metas[recording]
            paths = [meta.executables[row.executable].path for row in meta.processes if row.pid == pid]
            path = paths[0] if paths else meta.executables[0].path if len(meta.executables) == 1 else ""
            name = path.partition(" (")[0].rpartition("/")[2]
            if len(self.recordings.metas) > 1:
                name = f"{name} on {meta.host.name}"
            about = pb.number(1, pid) + (pb.text(6, name) if name else b"")
            self.descriptors.append(
                _track(pb.number(1, id) + pb.data(3, about) + pb.number(11, _CHRONOLOGICAL))
            )
        return id

    def _flush(self, packets: bytes | memoryview) -> None:
        """Writes packets, after what they refer to."""
        if self.interned:
            self.out.write(_packet(_SEQUENCE + _NEEDS_STATE + pb.data(_INTERNED, b"".join(self.interned))))
            self.interned = []
        self.out.write(b"".join(self.descriptors))
        self.descriptors = []
        self.out.write(packets)

    # calls

    def _calls(self, some: Events) -> None:
        found = some.calls
        fresh = self.goroutines.new(some.key)
        self._described(fresh, _GOROUTINE, self.processes.name)
        tracks = some.key << 2 | _GOROUTINE
        names = self._functions(found.func)
        extra = self._extra(some, fresh)
        added = np.zeros(len(found), np.int64)
        added[list(extra)] = [len(more) for more in extra.values()]
        ends = self._ends(some.end_ts, some.end_key << 2 | _GOROUTINE)
        count = len(ends)
        sizes = np.full(count + len(found), ends.shape[1])
        groups = []
        split = found.bins[:, 0] >= 0
        for kind in (split & (added == 0), ~split & (added == 0), split & (added > 0), ~split & (added > 0)):
            where = np.flatnonzero(kind)
            if not len(where):
                continue
            whole = slice(None) if len(where) == len(found) else where
            parts = [
                _BEGIN,
                *pb.number_column(_TRACK_UUID, tracks[whole]),
                *pb.number_column(_NAME, names[whole]),
            ]
            if split[where[0]]:
                for column, name in enumerate(BINS):
                    iid = self._iid(_ANNOTATIONS, name, lambda name=name: name)  # type: ignore[misc]
                    bins = [pb.number(1, iid), *pb.number_column(4, found.bins[whole, column])]
                    parts += pb.nested(_ANNOTATION, bins)
            begins = _events(found.start[whole], parts, added[whole] if added[where[0]] else None)
            sizes[count + where] = begins.shape[1] + added[where]
            groups.append((begins, where))
        # where the packet of each event goes
        after = np.cumsum(sizes[some.order])
        at = np.empty_like(after)
        at[some.order] = after
        at -= sizes
        places = [(ends, at[:count]), *((begins, at[count + where]) for begins, where in groups)]
        packets = pb.laid_out(int(sizes.sum()), places).data
        for index, more in extra.items():
            until = at[count + index] + sizes[count + index]
            packets[until - len(more) : until] = more
        self._flush(packets)

    def _functions(self, func: Ints) -> Ints:
        """The interned name of each function."""
        names = self.functions[func]
        if not names.all():
            for key in np.unique(func[names == 0]).tolist():
                text = self.recordings.names[key]
                self.functions[key] = self._iid(_NAMES, ("call", key), lambda text=text: text)  # type: ignore[misc]
            names = self.functions[func]
        return names

    def _ends(self, times: Ints, tracks: Ints) -> pb.Bytes:
        return _events(times, [_END, *pb.number_column(_TRACK_UUID, tracks)])

    def _extra(self, some: Events, fresh: Ints) -> dict[int, bytes]:
        """More of single calls: how they ended, if not by returning; what was captured; arrows to first ones."""
        found = some.calls
        extra = {
            index: _string("ending", ENDINGS[int(found.ending[index])])
            for index in np.flatnonzero(found.ending).tolist()
        }
        if len(fresh):
            keys, first = np.unique(some.key, return_index=True)
            first = first[np.isin(keys, fresh)]
            for index, flow in zip(
                first.tolist(), _flow(some.key[first]).view(np.uint64).tolist(), strict=True
            ):
                extra[index] = extra.get(index, b"") + pb.fixed64(_FLOWS, flow)
        values = captured(self.recordings, found)
        if values:
            for index, id in enumerate(found.id.tolist()):
                shown = b"".join(_string(name, text) for name, text in values.get(id, ()))
                if shown:
                    extra[index] = extra.get(index, b"") + shown
        return extra

    # states, where they were recorded

    def _births(self) -> None:
        con = self.recordings.connection
        places = {
            place: (function, f"{file}:{line}")
            for place, function, file, line in con.execute(
                "select * exclude recording from places"
            ).fetchall()
        }
        statement_iid = self._iid(_ANNOTATIONS, "statement", lambda: "statement")
        goid_iid = self._iid(_ANNOTATIONS, "goid", lambda: "goid")
        columns = (
            "recording, pid, tid, goid, coalesce(parent, -1) as parent,"
            " coalesce(statement, -1) as statement, coalesce(start, -1) as start"
        )
        for rows in by_time(self.recordings, "births", columns):
            keys = self.processes.keys(rows["recording"], rows["pid"], rows["goid"], rows["tid"])
            for key, start in zip(keys.tolist(), rows["start"].tolist(), strict=True):
                function = places.get(start, ("", ""))[0]
                name = f"{self.processes.name(key)} {function}".rstrip()
                self._describe(key, _GOROUTINE, lambda _, name=name: name)  # type: ignore[misc]
            made = rows["parent"] >= 0
            rows = {name: values[made] for name, values in rows.items()}
            born = keys[made]
            parents = self.processes.keys(rows["recording"], rows["pid"], rows["parent"], rows["tid"])
            tracks = self._described(parents, _GOROUTINE, self.processes.name)
            names = self._names(rows["start"], lambda start: f"go {places.get(start, ('?',))[0]}", "go")
            distinct, inverse = numbered(rows["statement"])
            texts = [
                self._iid(_STRINGS, place, lambda place=place: places.get(place, ("", "not known"))[1])  # type: ignore[misc]
                for place in distinct.tolist()
            ]
            statements = np.array(texts, np.int64)[inverse]
            parts = [
                _INSTANT,
                *pb.number_column(_TRACK_UUID, tracks),
                *pb.number_column(_NAME, names),
                # one arrow to its first state, and one on to its first call
                *pb.fixed_column(_FLOWS, _flow(born)),
                *pb.fixed_column(_FLOWS, _flow(born, rows["ts_ns"])),
                *pb.nested(_ANNOTATION, [pb.number(1, goid_iid), *pb.number_column(4, rows["goid"])]),
                *pb.nested(_ANNOTATION, [pb.number(1, statement_iid), *pb.number_column(17, statements)]),
            ]
            self._flush(_events(rows["ts_ns"], parts).data)
            self.progress(len(keys))

    def _states(self) -> None:
        con = self.recordings.connection
        words = _words(con, "before") | _words(con, "after")
        labels = sorted(words)
        numbers = {label: number for number, label in enumerate(labels)}
        dead = {numbers[label] for label in labels if label in ("dead", "idle", "")}
        waiting = numbers.get("waiting", -1)
        columns = (
            "recording, pid, tid, goid, coalesce(waker, -1) as waker, coalesce(spent_ns, -1) as spent, "
            f"{choice(_label('before'), labels)} as before, "
            f"{choice(_label('after'), labels)} as after"
        )
        started = np.array([meta.started_ns for meta in self.recordings.metas], np.int64)
        last: dict[int, tuple[int, int, int]] = {}  # of what lives: since when in which state, recording
        busy: dict[int, int] = {}  # until when each thread's last slice goes
        for rows in by_time(self.recordings, "states", columns):
            keys = self.processes.keys(rows["recording"], rows["pid"], rows["goid"], rows["tid"])
            ends = rows["ts_ns"]
            unknown = rows["spent"] < 0
            begins = np.where(unknown, np.minimum(started[rows["recording"]], ends), ends - rows["spent"])
            shown = np.flatnonzero(~np.isin(rows["before"], list(dead)))
            self._wakes(rows, keys, waiting)
            self._slices(keys[shown], begins[shown], ends[shown], rows["before"][shown], labels)
            self._threads(rows, keys, begins, numbers.get("running", -1), busy)
            final = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
            for index in final.tolist():
                after = int(rows["after"][index])
                if after in dead:
                    last.pop(int(keys[index]), None)
                else:
                    last[int(keys[index])] = (int(ends[index]), after, int(rows["recording"][index]))
            self.progress(len(keys))
        if last:
            keys = np.fromiter(last, np.int64)
            since, after, recording = np.array(list(last.values()), np.int64).T
            until = np.array(
                [_ended(self.recordings, number) for number in range(len(self.recordings.metas))], np.int64
            )
            self._slices(keys, since, np.maximum(since, until[recording]), after, labels)

    def _slices(self, keys: Ints, begins: Ints, ends: Ints, states: Ints, labels: Sequence[str]) -> None:
        """What goroutines were in; every slice is whole, and they come by their ends."""
        tracks = self._described(keys, _STATES, lambda _: "state")
        names = self._names(states, lambda state: labels[state], "state")
        parts = [
            _BEGIN,
            *pb.number_column(_TRACK_UUID, tracks),
            *pb.number_column(_NAME, names),
            *pb.fixed_column(_FLOWS, _flow(keys, begins)),
        ]
        self._pairs(begins, parts, ends, tracks)

    def _wakes(self, rows: dict[str, Ints], keys: Ints, waiting: int) -> None:
        """Arrows from who ended a wait to what it made runnable."""
        woken = np.flatnonzero(rows["waker"] > 0)
        if not len(woken):
            return
        rows = {name: values[woken] for name, values in rows.items()}
        wakers = self.processes.keys(rows["recording"], rows["pid"], rows["waker"], rows["tid"])
        tracks = self._described(wakers, _STATES, lambda _: "state")
        iid = self._iid(_NAMES, "wakes", lambda: "wakes")
        goid = self._iid(_ANNOTATIONS, "goid", lambda: "goid")
        parts = [
            _INSTANT,
            *pb.number_column(_TRACK_UUID, tracks),
            pb.number(_NAME, iid),
            *pb.fixed_column(_FLOWS, _flow(keys[woken], rows["ts_ns"])),
            *pb.nested(_ANNOTATION, [pb.number(1, goid), *pb.number_column(4, rows["goid"])]),
        ]
        self._flush(_events(rows["ts_ns"], parts).data)

    def _threads(
        self, rows: dict[str, Ints], keys: Ints, begins: Ints, running: int, busy: dict[int, int]
    ) -> None:
        """Which goroutine a thread ran: of states it left by itself, which running is."""
        ran = np.flatnonzero((rows["before"] == running) & (rows["spent"] >= 0) & (rows["tid"] > 0))
        if not len(ran):
            return
        threads = self.processes.threads(rows["recording"][ran], rows["pid"][ran], rows["tid"][ran])
        order = np.argsort(threads, kind="stable")
        ran, threads = ran[order], threads[order]
        ends = rows["ts_ns"][ran]
        same = np.concatenate([[False], threads[1:] == threads[:-1]])
        before = np.concatenate([[0], ends[:-1]])
        for index in np.flatnonzero(~same).tolist():
            before[index] = busy.get(int(threads[index]), 0)
        # a thread runs one goroutine at a time
        starts = np.minimum(np.maximum(begins[ran], before), ends)
        busy.update(zip(threads.tolist(), ends.tolist(), strict=True))
        mask = (1 << 46) - 1
        tracks = self._described(threads, _THREAD, lambda key: str(key & mask))
        names = self._names(keys[ran], self.processes.name, "thread")
        parts = [_BEGIN, *pb.number_column(_TRACK_UUID, tracks), *pb.number_column(_NAME, names)]
        self._pairs(starts, parts, ends, tracks)

    def _pairs(self, begins: Ints, parts: Sequence[pb.Part], ends: Ints, tracks: Ints) -> None:
        pairs = np.concatenate([_events(begins, parts), self._ends(ends, tracks)], axis=1)
        self._flush(pairs.data)


def _words(con: Any, side: str) -> set[str]:
    found = con.execute(f"select distinct {_label(side)} from states").fetchall()
    return {word for (word,) in found}


def _label(side: str) -> str:
    """A state, with the reason of a wait: the one of `before` ends and of `after` begins."""
    other = " and before != 'waiting'" if side == "after" else ""
    waits = f"{side} = 'waiting' and reason is not null{other}"
    return f"coalesce(case when {waits} then 'waiting: ' || reason else {side} end, '')"


def _ended(recordings: Recordings, number: int) -> int:
    """When a recording ended; of one without an end, the last that is known of it."""
    meta = recordings.metas[number]
    if meta.ended_ns is not None:
        return meta.ended_ns
    row = recordings.connection.execute(
        f"select max(ts_ns) from states where recording = {number}"
    ).fetchone()
    return row[0] if row and row[0] is not None else meta.started_ns


def _flow(keys: Ints, times: Ints | None = None) -> Ints:
    """Ids of arrows to a goroutine's first call, or to its state that begins at a time: mixed, so as not to meet."""
    mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    if times is not None:
        mixed = (mixed ^ (mixed >> np.uint64(29)) ^ times.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return mixed.view(np.int64)


def _events(times: Ints, parts: Sequence[pb.Part], extra: Ints | None = None) -> pb.Bytes:
    """Rows of packets with a track event each; `extra` as in `protobuf.nested`."""
    event = pb.nested(_EVENT, parts, extra)
    packet = [*pb.number_column(_TIMESTAMP, times), _SEQUENCE, _NEEDS_STATE, *event]
    return pb.rows(len(times), pb.nested(1, packet, extra))


def _string(name: str, value: str) -> bytes:
    return pb.data(_ANNOTATION, pb.text(10, name) + pb.text(6, value))


def _packet(fields: bytes) -> bytes:
    return pb.data(1, fields)


def _track(fields: bytes) -> bytes:
    return _packet(_SEQUENCE + pb.data(_TRACK, fields))
