"""The rows of `latency` at one moment, read from the kernel's tables while it goes on counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from undergo.events.calls import Latency
from undergo.events.decode import is_whole, latencies
from undergo.events.row_values import RowValue, row_values
from undergo.kernel.session import OpenFrame, Session
from undergo.plan.filters import Key

#: How often the table is read again for rows that were being added to.
_TRIES = 5

_Table = dict[tuple[int, int], npt.NDArray[np.void]]  # by process and function: struct latency per CPU


@dataclass(frozen=True, slots=True)
class Reading:
    """All rows, and with --by the value each is of, by `Latency.func`."""

    rows: tuple[Latency, ...]
    values: Mapping[int, RowValue]


class LatencyRows:
    """Reads them again and again. Figures never fall, and those of one row agree with each other.

    A row that is caught in the middle of an update each time stays as it was in the reading before. Not for more
    than one thread; each may have its own.
    """

    def __init__(self, running: Session, reasons: Sequence[str] | None, keys: Mapping[int, Key]) -> None:
        """`reasons` are the names of the wait slots, None if no clocks are kept; `keys` are those of --by."""
        self._running, self._reasons, self._keys = running, reasons, keys
        self._before: dict[tuple[int | None, int], Latency] = {}

    def read(self, frames: Sequence[OpenFrame]) -> Reading:
        """The rows now; `frames` are the calls that are open."""
        whole: _Table = {}
        for _ in range(_TRIES):
            torn: _Table = {}
            for pid, func, values in self._running.latencies():
                kept = whole if is_whole(values, split=self._reasons is not None) else torn
                kept[pid, func] = values
            if not torn.keys() - whole.keys():
                break
        tables = ((*key, values) for key, values in (torn | whole).items())
        rows = []
        for row in latencies(tables, frames, self._reasons):
            key = (row.pid, row.func)
            before = self._before.get(key)
            if before is not None and key in torn and key not in whole:
                closed = before.calls - before.open
                row = replace(before, calls=closed + row.open, open=row.open)
            self._before[key] = row
            rows.append(row)
        known = self._running.key_values() if self._keys else {}
        return Reading(tuple(rows), row_values(known, rows, self._keys) if self._keys else {})
