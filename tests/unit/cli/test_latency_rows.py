"""Rows that are read while the kernel counts never fall, and never contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from undergo.cli.latency_rows import LatencyRows
from undergo.events.calls import Latency
from undergo.events.decode import is_whole
from undergo.kernel.btf import Btf
from undergo.kernel.program import object_bytes
from undergo.kernel.session import OpenFrame, Session

LATENCY = Btf(object_bytes()).dtype("latency")
REASONS = ("sleep", "select", "chan send", "chan receive")
RETURN, RUNNING, WAITING = 0, 0, 4

Table = npt.NDArray[np.void]


def row(calls: int) -> Table:
    """Two CPUs; on the second so many calls of 100 ns, of which 60 ns asleep."""
    values = np.zeros(2, LATENCY)
    values["ends"][1, RETURN] = calls
    values["sum"][1] = calls * 100
    values["max"][1], values["inverse_min"] = 100, ~np.uint64(100)
    values["spent"]["bins"][1, [RUNNING, WAITING]] = calls * 40, calls * 60
    values["spent"]["waits"][1, 0] = calls * 60
    values["buckets"][1, 22] = calls
    return values


def torn(calls: int, *parts: str) -> Table:
    """The same, but one call more only in these of its parts."""
    values, after = row(calls), row(calls + 1)
    for part in parts:
        if part in ("bins", "waits"):
            values["spent"][part] = after["spent"][part]
        else:
            values[part] = after[part]
    return values


@dataclass
class Tables:
    """What a session gives in one reading after the other."""

    readings: list[dict[tuple[int, int], Table]]
    read: int = field(default=0)

    def latencies(self) -> Iterator[tuple[int, int, Table]]:
        now = self.readings[min(self.read, len(self.readings) - 1)]
        self.read += 1
        for (pid, func), values in now.items():
            yield pid, func, values


def rows_of(tables: Tables) -> LatencyRows:
    return LatencyRows(cast(Session, tables), REASONS, {})


def one(reading: tuple[Latency, ...]) -> Latency:
    assert 1 == len(reading)
    return reading[0]


@pytest.mark.parametrize("part", ["ends", "sum", "buckets", "bins", "waits", "unsplit_sum"])
def test_a_row_in_the_middle_of_an_update_is_not_whole(part: str) -> None:
    """Whichever part of it is ahead of the others."""
    assert is_whole(row(5), split=True)
    values = torn(5, part)
    if part == "unsplit_sum":
        values["unsplit_sum"][0] = 100
    assert not is_whole(values, split=True)


def test_without_clocks_their_parts_do_not_matter() -> None:
    """They are all 0."""
    values = row(5)
    values["spent"] = 0
    assert is_whole(values, split=False)
    assert not is_whole(torn(5, "ends"), split=False)


def test_torn_rows_are_read_again() -> None:
    """Until they are whole."""
    tables = Tables([{(7, 0): torn(5, "ends")}, {(7, 0): torn(5, "bins")}, {(7, 0): row(6)}])
    found = one(rows_of(tables).read(()).rows)
    assert (6, 600, ((96, 112, 6),)) == (found.calls, found.sum_ns, found.histogram)
    assert 3 == tables.read


def test_a_row_that_stays_torn_stays_as_it_was() -> None:
    """With the calls that are open now."""
    frame = OpenFrame(1, 0, 7, 1, 0, 0, 0)
    tables = Tables([{(7, 0): row(5), (7, 1): row(1)}, {(7, 0): torn(5, "ends", "sum"), (7, 1): row(2)}])
    rows = rows_of(tables)
    rows.read(())
    first, second = rows.read((frame,)).rows
    assert (6, 1, 500, 5) == (first.calls, first.open, first.sum_ns, first.histogram[0][2])
    assert 2 == second.calls


def test_rows_of_open_calls_alone() -> None:
    """A function of which no call has ended has a row too."""
    found = one(rows_of(Tables([{}])).read((OpenFrame(1, 0, 7, 1, 0, 0, 0),)).rows)
    assert (1, 1, 0) == (found.calls, found.open, found.goexits)
