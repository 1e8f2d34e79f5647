"""A recording with a bit of everything, and known contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.recordings import PID, START, UNSPLIT, call, write_recording

HOSTILE = 'main."</script><script>alert(1)</script>;b\n\x1b[31m\\'
NAMES = ["main.serve", "main.(*shop).charge", HOSTILE]


def state(
    at: int, goid: int, before: str, after: str, spent: int | None, reason: str | None = None, **more: Any
) -> dict[str, Any]:
    """A row of `states`; `at` in ns since the recording began."""
    row = {"ts_ns": START + at, "pid": PID, "tid": 7, "goid": goid, "before": before, "after": after}
    return row | {"reason": reason, "waker": None, "spent_ns": spent} | more


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Goroutine 1 serves and charges; goroutine 2, which it makes, panics; goroutine 3 never ends."""
    calls = [
        call(2, 1, 2, 5, 30, parent=1, depth=1, waiting_ns=20),
        call(3, 1, 2, 50, 0, parent=1, depth=1),
        call(1, 0, 1, 0, 100, waiting_ns=25, syscall_ns=5),
        call(4, 2, 3, 52, 5, goid=2, ending="panic", **UNSPLIT),
        call(5, 2, 3, 60, 10**9 - 60, goid=3, ending="open"),
    ]
    waits = [
        {"call": 2, "func": 1, "path": 2, "pid": PID, "goid": 1, "reason": "sleep", "ns": 20},
        {"call": 1, "func": 0, "path": 1, "pid": PID, "goid": 1, "reason": "sleep", "ns": 20},
        {"call": 1, "func": 0, "path": 1, "pid": PID, "goid": 1, "reason": "chan receive", "ns": 5},
    ]
    paths = [
        {"path": 1, "parent": None, "func": 0, "depth": 0},
        {"path": 2, "parent": 1, "func": 1, "depth": 1},
        {"path": 3, "parent": None, "func": 2, "depth": 0},
    ]
    states = [
        state(50, 2, "runnable", "running", 30),
        state(60, 2, "running", "waiting", 10, "chan receive"),
        state(70, 1, "running", "syscall", None),
        state(90, 2, "waiting", "runnable", 30, "chan receive", waker=1),
        state(95, 2, "runnable", "running", 5),
        state(99, 2, "running", "dead", 4),
    ]
    births = [{"ts_ns": START + 20, "pid": PID, "tid": 7, "goid": 2, "parent": 1, "statement": 0, "start": 1}]
    places = [
        {"place": 0, "function": "main.serve", "file": "shop.go", "line": 12},
        {"place": 1, "function": "main.worker", "file": "worker.go", "line": 30},
    ]
    captures = [
        {
            "call": 2,
            "func": 1,
            "place": place,
            "position": 0,
            "name": name,
            "type": "int",
            "value": "1",
            "text": text,
        }
        for place, name, text in (("argument", "o", '"tea"'), ("result", "", "42"))
    ]
    tables = {"calls": calls, "waits": waits, "paths": paths, "states": states, "births": births}
    return write_recording(
        tmp_path / "run.undergo",
        NAMES,
        [tables | {"places": places, "captures": captures}],
        kept=("calls", "split", "states", "args", "results"),
        ledger={"hits": 8, "delivered": 5, "aggregated": 0, "filtered": 0, "dropped": {"ring full": 3}},
    )


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A recording in which nothing happened."""
    return write_recording(tmp_path / "empty.undergo", NAMES, [])
