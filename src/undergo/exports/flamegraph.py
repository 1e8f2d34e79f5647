"""A flame graph in one HTML file that needs nothing else: flamegraph.html, with the data put in.

Names come from the traced program and may be anything. They are in the page as JSON in which nothing can end the
element it is in, and reach the screen as text only; a content security policy forbids the page all else.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import BinaryIO, Final

import numpy as np

from undergo.exports.stacks import Stacks
from undergo.exports.timeline import BINS
from undergo.recording.reader import Recordings
from undergo.views.style import escape

_DATA, _TITLE = "@DATA@", "@TITLE@"
_AT_ONCE: Final = 50_000  # numbers


def export(found: Stacks, recordings: Recordings, out: BinaryIO, notes: Sequence[str]) -> None:
    """Writes the page."""
    title = ", ".join(path.rstrip("/").rpartition("/")[2] for path in recordings.paths)
    page = files("undergo.exports").joinpath("flamegraph.html").read_text("utf-8")
    before, _, after = page.replace(_TITLE, html.escape(escape(title))).partition(_DATA)
    out.write(before.encode("utf-8", "replace"))
    for part in _members(_about(recordings, title, notes) | _data(found, recordings)):
        out.write(part)
    out.write(after.encode("utf-8", "replace"))


def _members(value: Mapping[str, object]) -> Iterator[bytes]:
    """JSON of an object by its members, arrays of numbers by stretches: the whole is many times what it is made of."""
    yield b"{"
    for number, (key, member) in enumerate(value.items()):
        yield f"{',' if number else ''}{_json(key)}:".encode()
        if isinstance(member, Mapping):
            yield from _members(member)
        elif isinstance(member, np.ndarray):
            yield b"["
            for since in range(0, len(member), _AT_ONCE):
                some = _json(member[since : since + _AT_ONCE].tolist())[1:-1]
                yield f"{',' if since else ''}{some}".encode()
            yield b"]"
        else:
            yield _json(member).encode()
    yield b"}"


def _json(value: object) -> str:
    # no `<` in the data: neither `</script` nor `<!--` can come about
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _about(recordings: Recordings, title: str, notes: Sequence[str]) -> dict[str, object]:
    return {
        "title": escape(title),
        "host": ", ".join(dict.fromkeys(escape(meta.host.name) for meta in recordings.metas)),
        "notes": [escape(note) for note in notes],
    }


def _data(found: Stacks, recordings: Recordings) -> dict[str, object]:
    used, func = np.unique(found.func, return_inverse=True)
    names = [escape(found.names[at]) for at in used.tolist()]
    columns = {"parent": found.parent, "func": func, "calls": found.calls, "wall": found.wall}
    columns |= {name.removesuffix("_ns"): found.bins[:, at] for at, name in enumerate(BINS)}
    columns |= {"unsplit": found.unsplit}
    return {
        "names": names,
        "nodes": columns,
        "reasons": [escape(reason) for reason in found.reasons],
        "waits": {"node": found.wait_node, "reason": found.wait_reason, "ns": found.wait_ns},
    }
