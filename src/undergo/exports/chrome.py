"""Trace events in JSON, for chrome://tracing and whatever else takes them: a call is one complete event.

Its times are in us, so they have decimals, and count from the beginning of the recording: as doubles, times since 1970
would not tell nanoseconds apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import BinaryIO

from undergo.exports.timeline import BINS, ENDINGS, Processes, calls
from undergo.recording.reader import Recordings

_KEYS = [json.dumps(name) for name in BINS]


def export(
    recordings: Recordings, out: BinaryIO, notes: Sequence[str], progress: Callable[[int], None]
) -> None:
    """Writes the file; `progress` is told of calls done."""
    first = min((meta.started_ns for meta in recordings.metas), default=0)
    processes = Processes()
    names = [json.dumps(name) for name in recordings.names]
    known: dict[int, int] = {}  # goroutines by their keys, numbered: readers want small numbers
    about = {
        "recordings": list(recordings.paths),
        "started_ns": first,
        "notes": list(notes),
        "exporter": "undergo",
    }
    out.write(b'{"displayTimeUnit":"ns","otherData":' + json.dumps(about).encode() + b',"traceEvents":[\n')
    separator = ""
    for some in calls(recordings):
        keys = processes.keys(some.recording, some.pid, some.goid, some.tid)
        lines = []
        columns = (keys, some.pid, some.func, some.start - first, some.wall, some.ending, some.id)
        for key, pid, func, start, wall, ending, id, bins in zip(
            *(column.tolist() for column in columns), some.bins.tolist(), strict=True
        ):
            process = processes.process(key) << 22 | pid if len(recordings.metas) > 1 else pid
            thread = known.get(key)
            if thread is None:
                thread = known[key] = len(known) + 1
                lines.append(_name("thread_name", process, thread, processes.name(key)))
            args = f'"id":{id}'
            if bins[0] >= 0:
                args += "".join(f",{name}:{ns}" for name, ns in zip(_KEYS, bins, strict=True))
            if ending:
                args += f',"ending":"{ENDINGS[ending]}"'
            lines.append(
                f'{{"ph":"X","name":{names[func]},"pid":{process},"tid":{thread},"ts":{_us(start)},"dur":{_us(wall)},'
                f'"args":{{{args}}}}}'
            )
        out.write((separator + ",\n".join(lines)).encode())
        separator = ",\n" if lines or separator else ""
        progress(len(some))
    for (recording, pid), number in processes.known.items():
        meta = recordings.metas[recording]
        paths = [meta.executables[row.executable].path for row in meta.processes if row.pid == pid]
        name = paths[0].rpartition("/")[2] if paths else f"process {pid}"
        process = number << 22 | pid if len(recordings.metas) > 1 else pid
        out.write((separator + _name("process_name", process, 0, f"{name} ({meta.host.name})")).encode())
        separator = ",\n"
    out.write(b"\n]}\n")


def _name(kind: str, process: int, thread: int, name: str) -> str:
    event = {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}
    return json.dumps(event, separators=(",", ":"))


def _us(ns: int) -> str:
    return f"{ns // 1000}.{ns % 1000:03d}"
