"""A flame graph in one HTML file that needs nothing else: flamegraph.html, with the data put in.

Names come from the traced program and may be anything. They are in the page as JSON in which nothing can end the
element it is in, and reach the screen as text only; a content security policy forbids the page all else.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import BinaryIO

import numpy as np

from undergo.exports.stacks import Stacks
from undergo.exports.timeline import BINS
from undergo.recording.reader import Recordings
from undergo.views.style import escape

_DATA, _TITLE = "@DATA@", "@TITLE@"


def export(found: Stacks, recordings: Recordings, out: BinaryIO, notes: Sequence[str]) -> None:
    """Writes the page."""
    title = ", ".join(path.rstrip("/").rpartition("/")[2] for path in recordings.paths)
    page = files("undergo.exports").joinpath("flamegraph.html").read_text("utf-8")
    # no `<` in the data: neither `</script` nor `<!--` can come about
    shown = json.dumps(_data(found, recordings, title, notes), separators=(",", ":")).replace("<", "\\u003c")
    before, _, after = page.replace(_TITLE, html.escape(escape(title))).partition(_DATA)
    out.write((before + shown + after).encode("utf-8", "replace"))


def _data(found: Stacks, recordings: Recordings, title: str, notes: Sequence[str]) -> dict[str, object]:
    used, func = np.unique(found.func, return_inverse=True)
    names = [escape(found.names[at]) for at in used.tolist()]
    columns = {"parent": found.parent, "func": func, "calls": found.calls, "wall": found.wall}
    columns |= {name.removesuffix("_ns"): found.bins[:, at] for at, name in enumerate(BINS)}
    columns |= {"unsplit": found.unsplit}
    return {
        "title": escape(title),
        "host": ", ".join(dict.fromkeys(escape(meta.host.name) for meta in recordings.metas)),
        "notes": [escape(note) for note in notes],
        "names": names,
        "nodes": {name: values.tolist() for name, values in columns.items()},
        "reasons": [escape(reason) for reason in found.reasons],
        "waits": [found.wait_node.tolist(), found.wait_reason.tolist(), found.wait_ns.tolist()],
    }
