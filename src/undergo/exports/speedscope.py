"""speedscope's own JSON, for speedscope.app: a profile per bin, of times by call path.

https://www.speedscope.app/file-format-schema.json
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import numpy as np

from undergo.exports.folded import VALUES, values_of
from undergo.exports.stacks import Ints, Stacks
from undergo.recording.reader import Recordings

_AT_ONCE: Final = 50_000  # numbers


def export(found: Stacks, recordings: Recordings, out: BinaryIO, notes: Sequence[str]) -> None:
    """Writes the file; it has no place for notes but its name."""
    rows = recordings.connection.execute("select file, line from functions order by func").fetchall()
    places = [*rows, *[("", 0)] * (len(found.names) - len(rows))]
    frames = [_frame(name, *place) for name, place in zip(found.names, places, strict=True)]
    title = ", ".join(path.rstrip("/").rpartition("/")[2] for path in recordings.paths)
    title = " · ".join([title, *notes])
    # profiles are many times as large as all else, and are written one after the other
    head: dict[str, Any] = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "undergo",
        "name": title,
    }
    head |= {"activeProfileIndex": 0, "shared": {"frames": frames}}
    out.write(_json(head)[:-1] + b',"profiles":[')
    stacks = _Stacks(found)
    first = True
    for value in VALUES:
        weights = values_of(found, value)
        if not weights.any() and value != "wall":
            continue
        out.write(b"" if first else b",\n")
        first = False
        _profile(out, value, weights, stacks)
    out.write(b"]}\n")


def _profile(out: BinaryIO, value: str, weights: Ints, stacks: _Stacks) -> None:
    shown = np.flatnonzero(weights)
    about: dict[str, Any] = {
        "type": "sampled",
        "name": value,
        "unit": "none" if value == "calls" else "nanoseconds",
        "startValue": 0,
        "endValue": int(weights.sum()),
    }
    out.write(_json(about)[:-1])
    out.write(b',"weights":[')
    for since in range(0, len(shown), _AT_ONCE):
        some = weights[shown[since : since + _AT_ONCE]]
        out.write((b"," if since else b"") + _json(some.tolist())[1:-1])
    out.write(b'],"samples":[')
    separator = b""
    firsts = shown[np.diff(shown, prepend=-2) > 1]
    lasts = shown[np.diff(shown, append=len(weights) + 1) > 1]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        out.write(separator)
        out.write(stacks.of(first, last))
        separator = b","
    out.write(b"]}")


class _Stacks:
    """The frames of each node, outermost first, as JSON has them: `[0,1],[0,2]` and so on."""

    def __init__(self, found: Stacks) -> None:
        text, begins = bytearray(), array("q", [0])
        for parent, func in zip(found.parent.tolist(), found.func.tolist(), strict=True):
            callers = text[begins[parent] : begins[parent + 1] - 2] + b"," if parent >= 0 else b"["
            text += callers + b"%d]," % func
            begins.append(len(text))
        self.text, self.begins = memoryview(text), begins

    def of(self, first: int, last: int) -> memoryview:
        """Those of some nodes, one after the other."""
        return self.text[self.begins[first] : self.begins[last + 1] - 1]


def _frame(name: str, file: str, line: int) -> dict[str, Any]:
    frame: dict[str, Any] = {"name": name}
    return frame | ({"file": file} if file else {}) | ({"line": line} if line else {})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
