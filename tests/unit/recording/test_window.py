"""The window keeps what it has room for, and what is needed to understand it."""

from __future__ import annotations

import struct

import numpy as np

from tests.raw_records import CALL, Records, batch, closed, far, opened
from undergo.recording.window import Batch, Window

SECOND = 10**9


def ids(records: Records) -> list[tuple[int, int]]:
    return [(int(row["kind"]), int(row["id"])) for row in records]


def taken(window: Window) -> list[tuple[int, int]]:
    return ids(np.concatenate([np.zeros(0, CALL), *(each.records for each in window.take())]))


def test_time_bounds_it() -> None:
    window = Window(2 * SECOND, 10**9, began=7)
    assert 7 == window.since
    for second in range(1, 6):
        window.add(Batch(second * SECOND, batch(closed(second))))
    assert 2 * SECOND == window.since
    assert [(2, 3), (2, 4), (2, 5)] == taken(window)
    assert not window.crowded
    assert 0 == window.size
    assert [] == taken(window)
    assert 5 * SECOND == window.since
    window.add(Batch(9 * SECOND, batch(closed(9))))
    window.add(Batch(12 * SECOND, np.zeros(0, CALL)))
    assert [] == taken(window)


def test_bytes_bound_it() -> None:
    window = Window(60 * SECOND, 3 * CALL.itemsize, began=0)
    for second in range(1, 6):
        window.add(Batch(second, batch(closed(second)), (bytes(8),) if second == 4 else ()))
    assert window.crowded
    assert [(2, 4), (2, 5)] == taken(window)


def test_calls_that_began_before() -> None:
    """What announced them is there as long as they are open; those that ended are gone."""
    window = Window(SECOND, 10**9, began=0)
    window.add(Batch(1 * SECOND, batch(opened(1), opened(2, parent=1), closed(3, parent=2))))
    window.add(Batch(2 * SECOND, batch(closed(2, parent=1), opened(4, parent=1), far(9, {0: 1}))))
    window.add(Batch(5 * SECOND, batch(closed(9), closed(5, parent=4), closed(4, parent=1))))
    assert [(1, 1), (1, 4), (3, 0), (2, 9), (2, 5), (2, 4)] == [
        (kind, 0 if kind == 3 else id) for kind, id in taken(window)
    ]
    window.add(Batch(6 * SECOND, batch(closed(6, parent=1))))
    assert [(1, 1), (2, 6)] == taken(window)


def test_what_was_captured_of_calls_that_have_not_ended() -> None:
    """However long ago; the oldest is forgotten where it is too much."""
    window = Window(SECOND, 4 * (100 + 48) * 2, began=0)
    window.add(Batch(1 * SECOND, batch(closed(2)), [capture(1), capture(2), capture(3)]))
    window.add(Batch(3 * SECOND, batch(closed(3)), [capture(4)]))
    assert [1, 3, 4] == [call for each in window.take() for call in map(call_of, each.captures)]
    window.add(Batch(9 * SECOND, batch(closed(9)), [capture(9), capture(5)]))
    window.add(Batch(19 * SECOND, batch(), []))
    assert [4, 5] == [call for each in window.take() for call in map(call_of, each.captures)]


def capture(call: int) -> bytes:
    return struct.pack("<Q92x", call)


def call_of(raw: bytes) -> int:
    return int(struct.unpack_from("<Q", raw)[0])
