"""Whole trees are kept or dropped by what became of their outermost call."""

from __future__ import annotations

import pytest

from undergo.events import tail
from undergo.events.calls import Call, CallOpened, End
from undergo.events.tail import Tail


def opened(id_: int, goid: int, depth: int = 0) -> CallOpened:
    return CallOpened(id_, 0, 7, 70, goid, 1, depth, 0)


def call(id_: int, goid: int, depth: int = 0, wall: int = 10, end: End = "return", tid: int = 70) -> Call:
    return Call(id_, 0, 7, tid, goid, 1, depth, 0, wall, end)


def test_slow_and_failed_trees_come_out_whole() -> None:
    """In their own order, once the outermost call has ended, with goroutines interleaved."""
    dropped: list[int] = []
    kept = Tail(100, lambda one: one.id == 6, dropped.append)
    assert [] == kept.admit([opened(1, 1), call(2, 1, 1), opened(3, 2), call(4, 2, 1, 500)])
    slow = call(1, 1, wall=100)
    assert [opened(1, 1), call(2, 1, 1), slow] == kept.admit([slow])
    # what was slow inside a call that was not does not count
    assert [] == kept.admit([call(3, 2, wall=99)])
    panicked, failed = call(5, 3, end="panic"), call(6, 3)
    assert [panicked, failed] == kept.admit([panicked, failed, call(7, 3)])
    assert ([4, 3, 7], 3) == (dropped, kept.cut)


def test_system_stacks_are_told_by_thread() -> None:
    """Goroutine 0 is any code on a system stack."""
    kept = Tail(100, lambda _: False)
    kept.admit([call(1, 0, 1, tid=1)])
    assert [call(2, 0, wall=200, tid=2)] == kept.admit([call(2, 0, wall=200, tid=2)])


def test_what_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end, and where a tree grows beyond all bounds."""
    monkeypatch.setattr(tail, "MOST_RECORDS", 10)
    kept = Tail(100, lambda _: False)
    kept.admit([call(number, 1, 1) for number in range(25)])
    assert kept.cut == 15
    kept.finish()
    assert 25 == kept.cut
