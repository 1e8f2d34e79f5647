"""profile.proto, gzipped, as `go tool pprof` reads it: a sample per call path, and one more per reason it waited for.

https://github.com/google/pprof/blob/main/proto/profile.proto
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np

from undergo.exports import protobuf as pb
from undergo.exports.stacks import Ints, Stacks, depths_of
from undergo.recording.reader import Recordings

_BINS: Final = ("cpu", "descheduled", "syscall", "runnable", "wait")
_LABEL: Final = "wait reason"
_AT_ONCE: Final = 100_000
# fields of Profile
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRINGS = 1, 2, 4, 5, 6
_TIME, _DURATION, _COMMENT, _DEFAULT = 9, 10, 13, 14


def export(found: Stacks, recordings: Recordings, out: BinaryIO, notes: Sequence[str]) -> None:
    """Writes the profile."""
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        _Profile(found, recordings, file).write(notes)


class _Profile:
    def __init__(self, found: Stacks, recordings: Recordings, out: gzip.GzipFile) -> None:
        self.found = found
        self.recordings = recordings
        self.out = out
        self.strings: dict[str, int] = {"": 0}

    def write(self, notes: Sequence[str]) -> None:
        """All of it; the strings last, when they are known."""
        found = self.found
        types = [
            "calls",
            "wall",
            *(_BINS if found.split else ()),
            *(["unsplit"] if found.unsplit.any() else []),
        ]
        for name in types:
            unit = "count" if name == "calls" else "nanoseconds"
            value = pb.number(1, self._string(name)) + pb.number(2, self._string(unit))
            self.out.write(pb.data(_SAMPLE_TYPE, value))
        self._samples(types)
        self._functions()
        started = min((meta.started_ns for meta in self.recordings.metas), default=0)
        ended = max((meta.ended_ns or 0 for meta in self.recordings.metas), default=0)
        self.out.write(pb.number(_TIME, started) + pb.number(_DURATION, max(0, ended - started)))
        for note in notes:
            self.out.write(pb.number(_COMMENT, self._string(note)))
        self.out.write(pb.number(_DEFAULT, self._string("wall")))
        for text in self.strings:
            self.out.write(pb.text(_STRINGS, text))

    def _string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def _functions(self) -> None:
        """A function is a location too: places within functions are not recorded."""
        rows = self.recordings.connection.execute("select func, name, file, line from functions").fetchall()
        about = {func: row for func, *row in rows}
        for func in np.flatnonzero(np.bincount(self.found.func)).tolist():
            label = self.found.names[func]
            name, file, line = about.get(func, (label, "", 0))
            id = func + 1  # 0 means none
            fields = pb.number(1, id) + pb.number(2, self._string(label)) + pb.number(3, self._string(name))
            if file:
                fields += pb.number(4, self._string(file))
            self.out.write(pb.data(_FUNCTION, fields + (pb.number(5, line) if line else b"")))
            at = pb.number(1, id) + (pb.number(2, line) if line else b"")
            self.out.write(pb.data(_LOCATION, pb.number(1, id) + pb.data(4, at)))

    def _samples(self, types: Sequence[str]) -> None:
        found = self.found
        # waits are samples of their own; what is left is the other bins, and all if none are known
        wall = found.wall.copy()
        if found.split:
            wall -= found.bins[:, -1]
        plain = {"calls": found.calls, "wall": wall, "unsplit": found.unsplit}
        plain |= {name: found.bins[:, index] for index, name in enumerate(_BINS)} | {
            "wait": np.zeros_like(wall)
        }
        values = np.stack([plain[name] for name in types], axis=1)
        depths = depths_of(found.parent)
        nodes = np.flatnonzero(values.any(axis=1))
        self._rows(nodes, depths[nodes], values[nodes], None)
        if found.split:
            waited = np.zeros((len(found.wait_node), len(types)), np.int64)
            waited[:, types.index("wall")] = waited[:, types.index("wait")] = found.wait_ns
            texts = np.array([self._string(reason) for reason in found.reasons], np.int64)
            self._rows(found.wait_node, depths[found.wait_node], waited, texts[found.wait_reason])

    def _rows(self, nodes: Ints, depths: Ints, values: Ints, labels: Ints | None) -> None:
        """Samples with the stacks of nodes; those of one depth have one shape, and are made at once."""
        key = self._string(_LABEL)
        for depth in np.flatnonzero(np.bincount(depths)).tolist():
            all_of = np.flatnonzero(depths == depth)
            for since in range(0, len(all_of), _AT_ONCE):
                some = all_of[since : since + _AT_ONCE]
                at = nodes[some]
                locations: list[pb.Part] = []
                for _ in range(depth + 1):  # the leaf comes first
                    locations.append(pb.column(self.found.func[at] + 1))
                    at = self.found.parent[at]
                parts = pb.nested(1, locations)
                parts += pb.nested(2, [pb.column(values[some, index]) for index in range(values.shape[1])])
                if labels is not None:
                    parts += pb.nested(3, [pb.number(1, key), *pb.number_column(2, labels[some])])
                self.out.write(pb.rows(len(some), pb.nested(_SAMPLE, parts)).tobytes())
