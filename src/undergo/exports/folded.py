"""Folded stacks, a line each, for flamegraph.pl, inferno and whatever else reads `a;b;c 42`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

import numpy as np

from undergo.exports.stacks import Ints, Stacks
from undergo.exports.timeline import BINS
from undergo.views.style import escape

#: What a line can count.
VALUES: Final = ("wall", "running", "descheduled", "syscall", "runnable", "waiting", "unsplit", "calls")
_AT_ONCE: Final = 10_000  # lines


def export(found: Stacks, out: BinaryIO, value: str) -> None:
    """Writes the lines of what is not zero: ns, or the number of calls."""
    lines: list[str] = []
    values = values_of(found, value).tolist()
    for node, stack in enumerate(_texts(found, [folded(name) for name in found.names])):
        if not values[node]:
            continue
        lines.append(f"{stack} {values[node]}\n")
        if len(lines) == _AT_ONCE:
            out.write("".join(lines).encode("utf-8", "replace"))
            lines = []
    out.write("".join(lines).encode("utf-8", "replace"))


def values_of(found: Stacks, value: str) -> Ints:
    """One of `VALUES`, by node."""
    if value in ("wall", "unsplit", "calls"):
        values: Ints = getattr(found, value)
        return values
    return found.bins[:, BINS.index(f"{value}_ns")]


def folded(name: str) -> str:
    """A name that cannot be taken for several: in these files `;` parts functions, and a line ends a stack."""
    return escape(name.replace(";", ":"))


def _texts(found: Stacks, names: Sequence[str]) -> Iterator[str]:
    """The stack of each node. Those of callers are kept until their last callee: all would be the whole file."""
    callees = np.flatnonzero(found.parent >= 0)
    last = np.full(len(found.parent), -1, np.int64)
    np.maximum.at(last, found.parent[callees], callees)
    texts: dict[int, str] = {}
    rows = zip(found.parent.tolist(), found.func.tolist(), last.tolist(), strict=True)
    for node, (parent, func, until) in enumerate(rows):
        text = names[func] if parent < 0 else f"{texts[parent]};{names[func]}"
        if until >= 0:
            texts[node] = text
        if parent >= 0 and last[parent] == node:
            del texts[parent]
        yield text
