"""Where the profiler's labels of a goroutine are (pprof.Do, SetGoroutineLabels).

g.labels points to a runtime/pprof.labelMap: up to Go 1.23 a map[string]string, since then a slice of pairs of strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from undergo.plan.ops import G_AT, REGISTERS, Op, OpKind

MOST_LABELS: Final = 8  # of a goroutine that are looked at
PAIR: Final = 32  # bytes: two strings
_KEYS, _VALUES, _BUCKET = 8, 8 + 8 * 16, 8 + 8 * 32 + 8  # runtime/map.go: tophash, keys, elements, overflow


@dataclass(frozen=True, slots=True)
class LabelSource:
    """How an executable keeps labels."""

    offset: int  # of labels in runtime.g
    in_map: bool


NO_LABELS: Final = LabelSource(0, False)  # of what is no place in code


def label_source(version: tuple[int, ...], offset: int) -> LabelSource:
    """Of a Go version; `offset` is that of labels in its runtime.g."""
    return LabelSource(offset, version < (1, 24))


def label_ops(source: LabelSource, first: int) -> tuple[Op, ...]:
    """The ops that read labels; the last leaves pairs of strings. `first` is the number of the first one's piece."""
    own = Op(OpKind.POINTED, REGISTERS, G_AT, 8, offset=source.offset)
    if not source.in_map:
        pairs = Op(OpKind.COUNTED, first + 1, 0, MOST_LABELS * PAIR, PAIR)
        return own, Op(OpKind.POINTED, first, 0, 24), pairs
    string = 16 | 16 << 16
    pairs = Op(OpKind.BUCKETS, first + 2, 16, string, string, _KEYS | _VALUES << 16, MOST_LABELS, _BUCKET)
    return own, Op(OpKind.POINTED, first, 0, 8), Op(OpKind.POINTED, first + 1, 0, 32), pairs
