"""speedscope's own JSON, for speedscope.app: a profile per bin, of times by call path.

https://www.speedscope.app/file-format-schema.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import numpy as np

from undergo.exports.folded import VALUES, values_of
from undergo.exports.stacks import Stacks
from undergo.recording.reader import Recordings

_AT_ONCE: Final = 10_000  # stacks


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
    stacks = _stacks(found)
    first = True
    for value in VALUES:
        weights = values_of(found, value)
        if not weights.any() and value != "wall":
            continue
        out.write(b"" if first else b",\n")
        first = False
        _profile(out, value, weights.tolist(), stacks)
    out.write(b"]}\n")


def _profile(out: BinaryIO, value: str, weights: list[int], stacks: Sequence[str]) -> None:
    shown = np.flatnonzero(weights).tolist()
    about: dict[str, Any] = {
        "type": "sampled",
        "name": value,
        "unit": "none" if value == "calls" else "nanoseconds",
        "startValue": 0,
        "endValue": sum(weights),
        "weights": [weights[node] for node in shown],
    }
    out.write(_json(about)[:-1] + b',"samples":[')
    for since in range(0, len(shown), _AT_ONCE):
        some = ",".join(f"[{stacks[node]}]" for node in shown[since : since + _AT_ONCE])
        out.write((b"," if since else b"") + some.encode())
    out.write(b"]}")


def _stacks(found: Stacks) -> list[str]:
    """The frames of each node, outermost first, as JSON has them between its brackets."""
    stacks: list[str] = []
    for parent, frame in zip(found.parent.tolist(), found.func.tolist(), strict=True):
        stacks.append(str(frame) if parent < 0 else f"{stacks[parent]},{frame}")
    return stacks


def _frame(name: str, file: str, line: int) -> dict[str, Any]:
    frame: dict[str, Any] = {"name": name}
    return frame | ({"file": file} if file else {}) | ({"line": line} if line else {})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
